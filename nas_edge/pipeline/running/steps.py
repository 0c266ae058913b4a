"""The steps that a pipeline may have: the options of the commands, validated by pydantic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas_edge.pipeline.report import FlowReport
from nas_edge.pipeline.running.arguments import (
    Arguments,
    Duration,
    Energy,
    Instructions,
    Latency,
    Limit,
    Macs,
    Names,
    OnRun,
    Params,
    Share,
    Size,
    Spreading,
    WithRecipe,
)
from nas_edge.progress import Progress


class TrainArguments(Spreading, WithRecipe):
    """As `nas-edge train`; `name` is the bundle's, `recipe` holds changes to the default recipe."""

    data: str
    name: str = ""
    space: str = "lite0"
    init: str | None = None
    init_normalisation: str | None = None
    teacher: str | None = None
    out: Path | None = None
    epochs: int | None = Field(default=None, ge=1)
    time_limit: Duration = None
    resolutions: tuple[int, ...] | None = None
    subnets: int = Field(default=260, ge=30)
    processes: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Train into `out`, by default the step's directory; cut off, it goes on from there."""
        from nas_edge.pipeline.learning.train_flow import EVERYWHERE, train_flow

        options = self.model_dump(exclude={"data", "space", "out", "time_limit", "workers", "cluster"})
        return train_flow(
            self.data, self.space, self.out or directory, **options, time_limit_s=self.time_limit,
            spread=self.spread() or EVERYWHERE, progress=progress,
        )  # fmt: skip


class AloneArguments(OnRun, WithRecipe):
    """As `nas-edge train --alone`: `arch`, else the network of an earlier step; `as` names the run."""

    name: str = Field(default="", alias="as")
    arch: str | dict[str, Any] | None = None
    bundle: str | None = None
    data: str | None = None
    space: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    time_limit: Duration = None
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Train one network from scratch into the step's directory; cut off, it goes on from there."""
        from nas_edge.errors import ConfigError
        from nas_edge.pipeline.alone.flow import alone_flow
        from nas_edge.pipeline.alone.subject import find_subject

        if self.run and self.arch is not None:
            raise ConfigError("a step that trains one network takes arch or run, not both")
        meant = str(self.run_directory(named)) if self.arch is None else self.arch
        subject = find_subject(
            meant if isinstance(meant, str) else json.dumps(meant), bundle=self.bundle, data=self.data, space=self.space
        )
        return alone_flow(
            subject, directory, epochs=self.epochs, time_limit_s=self.time_limit, recipe=self.recipe, seed=self.seed,
            progress=progress,
        )  # fmt: skip


class SearchArguments(Spreading):
    """As `nas-edge search`; `as` names the run for later steps."""

    name: str = Field(default="", alias="as")
    target: str = "local"
    latency: Latency = None
    energy: Energy = None
    macs: Macs = None
    params: Params = None
    sram: Size = None
    flash: Size = None
    instructions: Instructions = None
    min_accuracy: Share = None
    limit: tuple[Limit, ...] = ()
    objective: str = ""
    pareto: tuple[str, ...] = ()
    bundle: str = "trashnet"
    space: str = ""
    accuracy_predictor: str = ""
    classes: int | None = Field(default=None, ge=2, le=100_000)
    confidence: float = 0.9
    precision: Names = ()
    resolutions: tuple[int, ...] | None = None
    fix: tuple[str, ...] = ()
    strategy: str = "auto"
    evaluate: int = Field(default=0, ge=0)
    verify: bool | None = None
    host: str = ""
    serial: str = ""
    statistic: str = "median"
    regime: str = "hot"
    rounds: int = Field(default=4, ge=1, le=20)
    evaluations: int = Field(default=50_000, ge=100, le=10_000_000)
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Search into the step's directory."""
        from nas_edge.pipeline.comparing.request import parse_strategy
        from nas_edge.pipeline.searching.flow import search_flow
        from nas_edge.pipeline.searching.request import SearchRequest

        apart = {"name", "latency", "energy", "sram", "flash", "strategy", "limit", "classes", "workers", "cluster"}
        values = self.model_dump(exclude=apart)
        strategy, options = (self.strategy, {}) if self.strategy == "auto" else parse_strategy(self.strategy)
        request = SearchRequest(
            **values, latency_ms=self.latency, energy_mj=self.energy, sram_bytes=self.sram, flash_bytes=self.flash,
            limits=self.limit, num_classes=self.classes, strategy=strategy, options=options, out=directory,
        )  # fmt: skip
        return search_flow(request, progress, self.spread())


class ExportArguments(OnRun):
    """As `nas-edge export`."""

    format: str = "onnx"
    precision: str | None = None
    keep_float: int = Field(default=0, ge=0)
    sensitivity: bool = False
    data: str | None = None
    calibrate: str | None = None
    target: str | None = None
    host: str | None = None
    serial: str | None = None

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Export into the run, where a later profile finds the file."""
        from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow

        wishes = ExportWishes(
            self.keep_float, self.sensitivity, self.data, self.calibrate, self.target, self.host, self.serial
        )
        return export_flow(self.run_directory(named), self.format, self.precision, None, progress, wishes)


class ProfileArguments(OnRun):
    """As `nas-edge profile`."""

    target: str | None = None
    host: str | None = None
    serial: str | None = None
    runtime: str | None = None
    per_layer: bool = False
    regime: str = "hot"
    statistic: str = "median"
    effort: str = "thorough"
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Profile the run's network."""
        from nas_edge.pipeline.profiling.command import profile_command

        subject = self.run_directory(named)
        return profile_command(
            subject, self.target, host=self.host, serial=self.serial, runtime=self.runtime, regime=self.regime,
            statistic=self.statistic, effort=self.effort, per_layer=self.per_layer, seed=self.seed, progress=progress,
        )  # fmt: skip


class EvaluateArguments(OnRun):
    """As `nas-edge evaluate` of a run."""

    split: str = "search"
    data: str | None = None
    precision: str | None = None
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Evaluate the run's network."""
        from nas_edge.pipeline.evaluate_flow import evaluate_flow

        subject = str(self.run_directory(named))
        return evaluate_flow(
            subject, None, split=self.split, data=self.data, precision=self.precision, seed=self.seed, progress=progress
        )


class FinetuneArguments(OnRun):
    """As `nas-edge finetune`."""

    data: str | None = None
    epochs: int = Field(default=5, ge=1)
    time_limit: Duration = None
    qat: bool = False
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Train the run's network on its own, in the run."""
        from nas_edge.pipeline.learning.finetuning import finetune_flow

        return finetune_flow(
            self.run_directory(named), data=self.data, epochs=self.epochs, time_limit_s=self.time_limit, qat=self.qat,
            seed=self.seed, progress=progress,
        )  # fmt: skip


class TableArguments(Arguments):
    """As `nas-edge table measure`; the table goes into `latency_tables/` where the user stands."""

    target: str = "local"
    space: str | None = None
    classes: int | None = Field(default=None, ge=2)
    bundle: str = "trashnet"
    host: str | None = None
    serial: str | None = None
    precision: str | None = None
    resolutions: tuple[int, ...] | None = None
    effort: str = "default"
    regime: str = "hot"
    statistic: str = "median"
    networks: int = Field(default=40, ge=2, le=200)
    holdout: int = Field(default=20, ge=0, le=200)
    probes: int | None = Field(default=None, ge=0, le=2000)
    append: bool = False
    seed: int = Field(default=0, ge=0)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Measure every block of the space."""
        from nas_edge.pipeline.tables.commands import chosen_space, measure_command

        about, count = chosen_space(self.space, self.classes, self.bundle)
        if self.resolutions is not None:
            about = about.restrict(resolutions=self.resolutions)
        return measure_command(
            self.target, [(about, count)], host=self.host, serial=self.serial, precision=self.precision,
            effort=self.effort, regime=self.regime, statistic=self.statistic, calibration=self.networks,
            holdout=self.holdout, probes=self.probes, append=self.append, seed=self.seed, progress=progress,
        )  # fmt: skip


class Step(BaseModel):
    """One entry of `steps`: exactly one flow with its options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: TrainArguments | None = None
    alone: AloneArguments | None = None
    table: TableArguments | None = None
    search: SearchArguments | None = None
    finetune: FinetuneArguments | None = None
    export: ExportArguments | None = None
    profile: ProfileArguments | None = None
    evaluate: EvaluateArguments | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Refuse two flows in one step, and none."""
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a step is one of {', '.join(type(self).model_fields)} with its options")

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return next(iter(self.model_fields_set))

    @property
    def arguments(self) -> Arguments:
        """Its options; all defaults where the file gives none."""
        given: Arguments | None = getattr(self, self.flow)
        return given if given is not None else _NO_OPTIONS[self.flow]()

    @property
    def name(self) -> str:
        """What later steps call its run."""
        return getattr(self.arguments, "name", "") or self.flow

    @property
    def title(self) -> str:
        """For people: the flow, and its name where it has one."""
        return self.flow if self.name == self.flow else f"{self.flow} {self.name}"

    def run(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Run the flow into `directory`. Raises what the flow raises."""
        return self.arguments.execute(directory, named, progress)


_NO_OPTIONS: dict[str, type[Arguments]] = {
    "alone": AloneArguments,
    "table": TableArguments,
    "search": SearchArguments,
    "finetune": FinetuneArguments,
    "export": ExportArguments,
    "profile": ProfileArguments,
    "evaluate": EvaluateArguments,
}


class Pipeline(BaseModel):
    """A whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    description: str = ""
    steps: tuple[Step, ...] = Field(min_length=1)
