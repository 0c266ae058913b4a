"""What the steps of pipelines have in common: quantities with units, and the options that several of them share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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


def quantity(parse: Any) -> BeforeValidator:
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


Latency = Annotated[float | None, quantity(parse_latency_ms)]
Macs = Annotated[float | None, quantity(partial(parse_count, what="macs"))]
Params = Annotated[float | None, quantity(partial(parse_count, what="params"))]
Instructions = Annotated[float | None, quantity(partial(parse_count, what="instructions"))]
Limit = Annotated[tuple[str, str, float], quantity(parse_limit)]
Energy = Annotated[float | None, quantity(parse_energy_mj)]
Size = Annotated[float | None, quantity(parse_bytes)]
Share = Annotated[float | None, quantity(partial(parse_share, what="min_accuracy"))]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Duration = Annotated[float | None, quantity(parse_duration_s)]


class Arguments(BaseModel):
    """Options of one step. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def execute(self, directory: Path, named: dict[str, Path], progress: Progress) -> FlowReport:
        """Run the flow; `directory` is the step's own, `named` holds the runs of earlier steps."""
        raise TypeError(f"{type(self).__name__} does not say what it runs")


class OnRun(Arguments):
    """Options of a step that works on the run of an earlier one: its name, or a directory; default: the latest."""

    run: str = ""

    def run_directory(self, named: dict[str, Path]) -> Path:
        """The directory meant. Raises ConfigError where no earlier step made a run."""
        from nas_edge.errors import ConfigError

        if not self.run and not named:
            raise ConfigError("this step needs a run: put a search before it, or say run: DIRECTORY")
        return named.get(self.run, Path(self.run))


class Spreading(Arguments):
    """Options of a step that measures subnets: over what."""

    workers: int | None = Field(default=None, ge=1)
    cluster: str | None = None

    def spread(self) -> Spread | None:
        """What is asked for, None where nothing is. Raises ConfigError."""
        from nas_edge.pipeline.spread import chosen_spread

        nothing = self.workers is None and self.cluster is None
        return None if nothing else chosen_spread(self.workers, self.cluster)


class WithRecipe(BaseModel):
    """Options of a step that trains: `recipe` holds changes to the recipe that it would go by."""

    recipe: dict[str, Any] = Field(default_factory=dict)

    @field_validator("recipe")
    @classmethod
    def _is_a_recipe(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        from nas_edge.training.recipe import Recipe

        try:
            Recipe.from_dict(recipe)
        except NasEdgeError as error:
            raise ValueError(str(error).removeprefix("recipe: ")) from None
        return recipe
