"""Which subnets are measured for the accuracy predictor, and measuring them: resumable, one line a subnet."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracySet
from nas_edge.accuracy.dataset import Role
from nas_edge.data import Split
from nas_edge.errors import FormatError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, Precision, SearchSpace
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.evaluate import Evaluator, View

_CANDIDATES = 40  # random architectures for each that is chosen


def choose_subnets(space: SearchSpace, num_classes: int, count: int, seed: int) -> Population:
    """Distinct architectures, int8 [count, genes], evenly spread over log MACs; smallest and largest come first.

    Uniform sampling alone would crowd around the middle, while searches return networks from everywhere.
    """
    rng = np.random.default_rng([seed, 4])
    ends = np.stack([space.smallest(), space.largest()])
    pool = np.unique(space.sample(_CANDIDATES * count, rng), axis=0)
    pool = pool[~(pool[:, None] == ends[None]).all(axis=2).any(axis=1)]
    size = np.log(space.macs(pool, num_classes))
    low, high = np.quantile(size, [0.002, 0.998])
    chosen: list[int] = []
    free = np.ones(len(pool), bool)
    for aim in rng.permutation(np.linspace(low, high, max(0, count - len(ends)))):
        nearest = int(np.argmin(np.where(free, np.abs(size - aim), np.inf)))
        if free[nearest]:
            free[nearest] = False
            chosen.append(nearest)
    picked: Population = np.concatenate([ends, pool[chosen]])[:count]
    return picked


def measure_subnets(
    net: Supernet,
    evaluator: Evaluator,
    split: Split,
    population: Population,
    holdout: int,
    views: tuple[View, ...],
    journal: Path,
    progress: Progress = silent,
) -> AccuracySet:
    """Accuracy of each subnet in fp32, recalibrated, on a split under every view.

    Args:
        net: with the weights that will be stored.
        evaluator: recalibrates and evaluates.
        split: the search split.
        population: int8 [n, genes].
        holdout: how many, the last ones, are kept to judge the predictor.
        views: fixed views of each image.
        journal: one line a subnet, so that an interrupted run goes on.
        progress: told after each subnet.

    Raises:
        FormatError: a journal of other images or views.
    """
    bits = answers_of_subnets(net, evaluator, split, population, views, journal, progress=progress)
    roles: list[Role] = ["train"] * (len(population) - holdout)
    roles += ["holdout"] * holdout
    return AccuracySet.of_bits(population, bits, roles)


def answers_of_subnets(
    net: Supernet,
    evaluator: Evaluator,
    split: Split,
    population: Population,
    views: tuple[View, ...],
    journal: Path,
    precision: Precision = Precision.FP32,
    progress: Progress = silent,
) -> NDArray[np.bool_]:
    """Right and wrong answers of each subnet in a precision: bool [n, images, views]; arguments as `measure_subnets`.

    A journal is of one precision.

    Raises:
        FormatError: a journal of other images or views. TrainingError: a precision that is not measured.
    """
    shape = (len(split), len(views))
    known = _read_journal(journal, shape)
    answers: list[NDArray[np.bool_]] = []
    for number, arch in enumerate(population):
        key = arch.tobytes().hex()
        if key not in known:
            subnet = evaluator.recalibrated(net, arch)
            known[key] = evaluator.evaluate(subnet, subnet.resolution, split, views, precision).correct
            _append(journal, {"arch": key, "shape": list(shape), "correct": np.packbits(known[key]).tobytes().hex()})
        answers.append(known[key])
        progress(number + 1, len(population), f"measuring the {precision.value} accuracy of {len(population)} subnets")
    return np.stack(answers)


def _append(journal: Path, record: dict[str, object]) -> None:
    with open(journal, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(record) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def _read_journal(journal: Path, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    known: dict[str, NDArray[np.bool_]] = {}
    if not journal.exists():
        return known
    lines = journal.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # killed while writing: this one is measured again
                break
            raise FormatError(f"{journal}:{number}: is damaged; delete the file to measure anew") from error
        if tuple(record["shape"]) != shape:
            raise FormatError(f"{journal}:{number}: was measured on other images or views; delete it to measure anew")
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8), count=shape[0] * shape[1])
        known[record["arch"]] = bits.reshape(shape).astype(bool)
    return known
