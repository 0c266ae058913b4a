"""Which subnets are measured for the accuracy predictor, and measuring them: resumable, one line a subnet."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nas_edge.accuracy import AccuracySet
from nas_edge.accuracy.dataset import Role
from nas_edge.data import Split
from nas_edge.errors import FormatError
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, Precision, SearchSpace
from nas_edge.spreading import Spread, open_executor
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.evaluate import Evaluator, View
from nas_edge.training.measuring.subnet_work import OpenSubnets

EVERYWHERE = Spread()  # this machine's cores
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
    spread: Spread = EVERYWHERE,
    time_limit_s: float | None = None,
    least: int = 0,
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
        spread: over what the subnets are spread; the figures are the same whatever it is.
        time_limit_s: what is not measured by then is left out, of training and held-out subnets alike.
        least: subnets that are measured whatever the time.

    Raises:
        FormatError: a journal of other images or views. WorkerError: a cluster that cannot be used.
    """
    work = OpenSubnets(net, evaluator, split, views, Precision.FP32)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    known = _known_answers(work, population, journal, progress, spread, deadline, least)
    there = [arch for arch in population if _key(arch) in known]
    kept = np.stack(there)
    holdout = round(holdout * len(kept) / len(population))
    roles: list[Role] = ["train"] * (len(kept) - holdout)
    roles += ["holdout"] * holdout
    return AccuracySet.of_bits(kept, np.stack([known[_key(arch)] for arch in there]), roles)


def answers_of_subnets(
    net: Supernet,
    evaluator: Evaluator,
    split: Split,
    population: Population,
    views: tuple[View, ...],
    journal: Path,
    precision: Precision = Precision.FP32,
    progress: Progress = silent,
    spread: Spread = EVERYWHERE,
) -> NDArray[np.bool_]:
    """Right and wrong answers of each subnet in a precision: bool [n, images, views]; arguments as `measure_subnets`.

    A journal is of one precision. Each subnet is computed on one thread, and kept as soon as it is known.

    Raises:
        FormatError: a journal of other images or views. TrainingError: a precision that is not measured.
        WorkerError: a cluster that cannot be used.
    """
    work = OpenSubnets(net, evaluator, split, views, precision)
    known = _known_answers(work, population, journal, progress, spread)
    return np.stack([known[_key(arch)] for arch in population])


def _known_answers(
    work: OpenSubnets,
    population: Population,
    journal: Path,
    progress: Progress,
    spread: Spread,
    deadline: float | None = None,
    least: int = 0,
) -> dict[str, NDArray[np.bool_]]:
    """Answers by architecture: those of the journal, and those measured now, up to the deadline."""
    known = _read_journal(journal, work.shape)
    missing = {_key(arch): arch for arch in population if _key(arch) not in known}
    order, done = list(missing), len(population) - len(missing)
    text = f"measuring the {work.precision.value} accuracy of {len(population)} subnets"
    progress(done, len(population), text)
    with closing(open_executor(spread, torch.get_num_threads()).run(work, list(missing.values()))) as results:
        for number, correct in results:
            key = order[number]
            known[key] = correct
            packed = np.packbits(correct).tobytes().hex()
            _append(journal, {"arch": key, "shape": list(work.shape), "correct": packed})
            done += 1
            progress(done, len(population), text)
            if deadline is not None and done >= least and time.monotonic() > deadline:
                break
    return known


def _key(arch: Population) -> str:
    return arch.tobytes().hex()


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
