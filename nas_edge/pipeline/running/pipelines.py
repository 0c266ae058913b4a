"""YAML pipelines: flows one after another, each step a command with its options; resumable.

format: 1
steps:
  - search: {as: best, target: local, latency: 5ms}
  - export: {run: best, format: onnx}
  - profile: {run: best}
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge import resources
from nas_edge.errors import ConfigError, FormatError, UnknownNameError
from nas_edge.files import make_directory, read_json, write_json
from nas_edge.pipeline.running.directory import run_path, sha256
from nas_edge.progress import Progress, silent

if TYPE_CHECKING:
    from nas_edge.pipeline.running.steps import Step

_STATE = "pipeline.json"
_FORMAT = 1
INTERRUPTED = 130  # exit code of a flow that Ctrl-C ended


@dataclass(frozen=True)
class StepReport:
    """What one step gave: the object that its command prints with --json, and lines for a person."""

    title: str
    data: dict[str, Any]
    lines: tuple[str, ...]
    wall_s: float
    exit_code: int = 0


@dataclass
class PipelineRun:
    """A pipeline under way in its directory. `done` grows step by step; the state on disk follows it.

    Attributes:
        path: the YAML file.
        directory: where steps write; step results are in `pipeline.json`.
        steps: what is to be done, in order.
        done: reports of the steps that are through.

    """

    path: Path
    directory: Path
    steps: tuple[Step, ...]
    done: list[StepReport] = field(default_factory=list)

    def pending(self) -> Iterable[Step]:
        """The steps that are still to be run, in order."""
        return self.steps[len(self.done) :]

    def run(self, step: Step, progress: Progress = silent) -> StepReport:
        """Run one step and record it.

        Raises:
            Whatever the flow raises; the steps before stay recorded. KeyboardInterrupt: the step was interrupted, and
            what it has so far is not for the steps after it.

        """
        number = len(self.done) + 1
        begun = time.monotonic()
        report = step.run(self.directory / f"{number}-{step.flow}", self._named(), progress)
        if report.exit_code == INTERRUPTED:
            raise KeyboardInterrupt
        wall_s = time.monotonic() - begun
        finished = StepReport(step.title, report.to_json(), tuple(report.lines()), wall_s, report.exit_code)
        self.done.append(finished)
        self.save()
        return finished

    def to_json(self) -> dict[str, Any]:
        """The results of all steps so far: {"run": ..., "steps": [{"step": ..., "result": ..., "wall_s": ...}]}."""
        steps = [{"step": r.title, "result": r.data, "wall_s": round(r.wall_s, 3)} for r in self.done]
        return {"run": str(self.directory), "pipeline": str(self.path), "steps": steps}

    def _named(self) -> dict[str, Path]:
        """Directories of the runs so far by name, the latest also as "" for steps that name none."""
        named = {}
        for step, report in zip(self.steps, self.done, strict=False):
            if "run" in report.data and step.flow in ("search", "finetune", "alone"):
                named[step.name] = named[""] = Path(report.data["run"])
        return named

    def save(self) -> None:
        """Write the state to the directory. Raises StorageError."""
        steps = [{**asdict(report), "wall_s": round(report.wall_s, 3)} for report in self.done]
        state = {"format": _FORMAT, "pipeline": self.path.name, "sha256": sha256(self.path), "steps": steps}
        write_json(self.directory / _STATE, state)


def open_pipeline(name: str, out: Path | None = None, resume: Path | None = None) -> PipelineRun:
    """Read a pipeline and make, or find again, its directory.

    Args:
        name: a file, or the name of a pipeline at hand ("quickstart").
        out: directory of the run, by default `runs/<time>-<name>`.
        resume: directory of a run of the same pipeline that was cut off; its finished steps are kept.

    Raises:
        UnknownNameError: no such pipeline. ConfigError: an unknown key or a bad value (file and line), or the
        pipeline has changed since. StorageError: the directory cannot be written.

    """
    path = find_pipeline(name)
    steps = read_pipeline(path)
    if resume is None:
        begun = PipelineRun(path, make_directory(run_path(out, path.stem)), steps)
        begun.save()  # a first step that is cut off after hours is resumed as well
        return begun
    if not (resume / _STATE).is_file():
        raise ConfigError(f"{resume}: is not the directory of a pipeline (no {_STATE})")
    state = read_json(resume / _STATE)
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise FormatError(f"{resume / _STATE}: 'format: {_FORMAT}' is expected; a newer file needs a newer nas-edge")
    if state["sha256"] != sha256(path):
        raise ConfigError(f"{path}: has changed since {resume} was begun; run it anew without --resume")
    done = [StepReport(**(step | {"lines": tuple(step["lines"])})) for step in state["steps"]]
    return PipelineRun(path, resume, steps, done)


def find_pipeline(name: str) -> Path:
    """The file of a path or name. Raises UnknownNameError with near names."""
    path = Path(name)
    if path.is_file():
        return path
    # "pipelines/quickstart.yaml" is what the README says; installed from a wheel it is among the defaults.
    found = resources.find(name) if not path.is_absolute() else None
    known = resources.names("pipelines", ".yaml")
    found = found or known.get(name)
    if found is None or not found.is_file():
        raise UnknownNameError("pipeline", name, known, "(or give the path of a YAML file)")
    return found


def read_pipeline(path: Path) -> tuple[Step, ...]:
    """Read and validate the steps. Raises ConfigError with file and line, FormatError where it cannot be read."""
    from nas_edge.pipeline.running.steps import Pipeline
    from nas_edge.pipeline.yaml_model import read_model

    return read_model(Pipeline, path, "a pipeline").steps
