"""The single runs of a comparison, one file each: whatever ends the program, finished runs are not repeated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_edge.errors import BudgetError, ConfigError, FormatError
from nas_edge.files import make_directory, read_json, write_json
from nas_edge.pipeline.comparing.problem import ComparedProblem
from nas_edge.pipeline.comparing.request import parse_strategy
from nas_edge.progress import Progress
from nas_edge.search.constraints import Constraint
from nas_edge.search.run import search

_FORMAT = 1
_SETTINGS, _RUNS = "comparison.json", "runs"


@dataclass(frozen=True)
class RunKey:
    """Which run: strategy with options and budget as they were written, and the seed."""

    strategy: str
    budget: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its file: readable, and distinct."""
        label = f"{self.strategy}-{self.budget or 'no-budget'}"
        readable = re.sub(r"[^A-Za-z0-9.=_-]+", "_", label)[:80]
        # What was made readable may have become the same.
        return f"{readable}-{hashlib.sha256(label.encode()).hexdigest()[:8]}-seed{self.seed}.json"


@dataclass(frozen=True)
class RunRecord:
    """What one run found.

    Attributes:
        key: which run.
        evaluations: that were used.
        value: best first objective within the budget; None where nothing was found.
        arch: that has it.
        trace: (evaluations, best so far) wherever it became better.
        front: objectives of what is not dominated, of a search with several objectives; else empty.
        fronts: (evaluations, such a front) on the way there, for anytime curves.
        wall_s: of the search.

    """

    key: RunKey
    evaluations: int
    value: float | None
    arch: Mapping[str, Any] | None
    trace: tuple[tuple[int, float], ...]
    front: tuple[tuple[float, ...], ...]
    wall_s: float
    fronts: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...] = ()


class RunStore:
    """The finished runs in a directory.

    Args:
        directory: of the comparison.
        settings: what must be the same for runs to be comparable, plain data.

    Raises:
        ConfigError: the directory holds runs of other settings (what differs is named), or cannot be written.
        FormatError: damaged.

    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self._runs = make_directory(directory / _RUNS)
        wanted = {"format": _FORMAT, **settings}
        path = directory / _SETTINGS
        if not path.is_file():
            write_json(path, wanted)
            return
        found = read_json(path)
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise FormatError(f"{path}: 'format: {_FORMAT}' is expected; a newer file needs a newer nas-edge")
        for key in {**found, **wanted}:
            if found.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{directory}: holds a comparison with {key} {found.get(key)!r}, not {wanted.get(key)!r}; "
                    "choose another directory"
                )

    def get(self, key: RunKey) -> RunRecord | None:
        """A finished run, None where it is still to be done. Raises FormatError where its file is damaged."""
        path = self._runs / key.file
        if not path.is_file():
            return None
        data = read_json(path)
        try:
            trace = tuple((int(n), float(v)) for n, v in data["trace"])
            front = _points(data["front"])
            fronts = tuple((int(n), _points(found)) for n, found in data.get("fronts", ()))
            value = None if data["value"] is None else float(data["value"])
            spent, seconds = int(data["evaluations"]), float(data["wall_s"])
            return RunRecord(key, spent, value, data["arch"], trace, front, seconds, fronts)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: is not a run of a comparison ({error}); delete it to repeat the run") from error

    def put(self, record: RunRecord) -> None:
        """Keep a finished run. Raises ConfigError, StorageError."""
        data = asdict(record)
        write_json(self._runs / record.key.file, {"format": _FORMAT, **data.pop("key"), **data})


def run_once(
    problem: ComparedProblem, constraints: Sequence[Constraint], key: RunKey, evaluations: int, progress: Progress
) -> RunRecord:
    """One search.

    Raises:
        KeyboardInterrupt: it was cut off, and is not to be counted. UnknownNameError, QuantityError, SpaceError,
        FormatError: as searching does.

    """
    name, options = parse_strategy(key.strategy)
    try:
        result = search(
            problem.space, problem.metrics, constraints, objective=problem.objectives, strategy=name, options=options,
            evaluations=evaluations, seed=key.seed, look_for_slack=False, progress=progress,
        )  # fmt: skip
    except BudgetError:
        # That the budget can be met was shown before the first run: this one just did not find how.
        return RunRecord(key, evaluations, None, None, (), (), 0.0)
    if result.interrupted:
        raise KeyboardInterrupt
    several = len(problem.objectives) > 1
    points = zip(*(result.front_figures[o] for o in problem.objectives), strict=True)
    front = tuple(tuple(float(v) for v in point) for point in points) if several else ()
    fronts = tuple((n, _points(found)) for n, found in result.fronts)
    value = float(result.figures[problem.objectives[0]])
    return RunRecord(key, result.evaluations, value, result.arch, result.trace, front, result.wall_s, fronts)


def _points(front: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in point) for point in front)
