"""A run goes on with the recipe that it was begun with, in all its phases, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nas_edge.errors import TrainingError
from nas_edge.training.recipe import Recipe, recipe_differences
from nas_edge.training.running.checkpoint import noted
from nas_edge.training.running.stepping import CHECKPOINT


def hold_to_recipe(out: Path, recipe: Recipe, places: Mapping[str, Recipe]) -> None:
    """Look into every checkpoint of a run, before the weights of any are loaded.

    Those of an earlier nas-edge say the recipe of their own phase only, and are held to that.

    Args:
        out: directory of the run.
        recipe: of all of it.
        places: names of directories in `out` that phases are at work in -> the phase's recipe; empty without phases.

    Raises:
        TrainingError: one is of another recipe: the difference. FormatError: damaged.
    """
    found = {path: noted(path) for path in sorted([*out.glob(CHECKPOINT), *out.glob(f"*/{CHECKPOINT}")])}
    diverged = any(each.diverged for each in found.values())
    for path, own in found.items():
        place = path.parent.name
        if own.whole is not None or path.parent == out:
            before = own.recipe if own.whole is None else own.whole
            different = recipe_differences(before, recipe.to_dict(), diverged=diverged)
        elif place in places:
            different = recipe_differences(own.recipe, places[place].to_dict(), diverged=diverged)
        else:
            different = f"a phase in {place} then, none now"
        if different:
            raise TrainingError(
                f"{path}: was trained with another recipe ({different}); go on with that, or delete all checkpoints"
                f" in {out} to start anew"
            )
