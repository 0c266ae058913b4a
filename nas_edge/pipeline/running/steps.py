"""The steps that a pipeline may have: the options of the commands, validated by pydantic."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from nas_edge.errors import NasEdgeError
from nas_edge.pipeline.report import FlowReport
from nas_edge.progress import Progress
from nas_edge.units import (
    parse_bytes,
    parse_count,
    parse_duration_s,
    parse_energy_mj,
    parse_latency_ms,
    parse_limit,
    parse_share,
)

if TYPE_CHECKING:
    from nas_edge.spreading import Spread


def _quantity(parse: Any) -> BeforeValidator:
    """Text with a unit to a number; what is wrong with it is said in the error's own words."""

    def convert(value: object) -> object:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{value!r} is not a quantity; write it like 5ms, 30M or 1h")
        try:
            return parse(str(value))
        except NasEdgeError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(convert)


Latency = Annotated[float | None, _quantity(parse_latency_ms)]
Macs = Annotated[float | None, _quantity(partial(parse_count, what="macs"))]
Params = Annotated[float | None, _quantity(partial(parse_count, what="params"))]
Instructions = Annotated[float | None, _quantity(partial(parse_count, what="instructions"))]
Limit = Annotated[tuple[str, str, float], _quantity(parse_limit)]
Energy = Annotated[float | None, _quantity(parse_energy_mj)]
Size = Annotated[float | None, _quantity(parse_bytes)]
Share = Annotated[float | None, _quantity(partial(parse_share, what="min_accuracy"))]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Duration = Annotated[float | None, _quantity(parse_duration_s)]


class Arguments(BaseModel):
    """Options of one step. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Run the flow; `directory` is the step's own, `named` holds the runs of earlier steps."""
        raise TypeError(f"{type(self).__name__} does not say what it runs")


class _OnRun(Arguments):
    """Options of a step that works on the run of an earlier one: its name, or a directory; default: the latest."""

    run: str = ""

    def run_directory(self, named: dict[str, Path]) -> Path:
        """The directory meant. Raises ConfigError where no earlier step made a run."""
        from nas_edge.errors import ConfigError

        if not self.run and not named:
            raise ConfigError("this step needs a run: put a search before it, or say run: DIRECTORY")
        return named.get(self.run, Path(self.run))


class _Spreading(Arguments):
    """Options of a step that measures subnets: over what."""

    workers: int | None = Field(default=None, ge=1)
    cluster: str | None = None

    def spread(self) -> Spread | None:
        """What is asked for, None where nothing is. Raises ConfigError."""
        from nas_edge.pipeline.spread import chosen_spread

        nothing = self.workers is None and self.cluster is None
        return None if nothing else chosen_spread(self.workers, self.cluster)


class TrainArguments(_Spreading):
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
    recipe: dict[str, Any] = Field(default_factory=dict)
    subnets: int = Field(default=260, ge=30)
    processes: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("recipe")
    @classmethod
    def _is_a_recipe(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        from nas_edge.training.recipe import Recipe

        try:
            Recipe.from_dict(recipe)
        except NasEdgeError as error:
            raise ValueError(str(error).removeprefix("recipe: ")) from None
        return recipe

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Train into `out`, by default the step's directory; cut off, it goes on from there."""
        from nas_edge.pipeline.learning.train_flow import EVERYWHERE, train_flow

        options = self.model_dump(exclude={"data", "space", "out", "time_limit", "workers", "cluster"})
        return train_flow(
            self.data, self.space, self.out or directory, **options, time_limit_s=self.time_limit,
            spread=self.spread() or EVERYWHERE, progress=progress,
        )  # fmt: skip


class SearchArguments(_Spreading):
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


class ExportArguments(_OnRun):
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


class ProfileArguments(_OnRun):
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


class EvaluateArguments(_OnRun):
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


class FinetuneArguments(_OnRun):
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
