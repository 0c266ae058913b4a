"""Checkpoints: weights, average and optimiser in one safetensors file, written whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nas_edge.errors import FormatError, TrainingError
from nas_edge.supernet.weights import write_tensors
from nas_edge.training.recipe import recipe_changes, recipe_differences
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.schedule import Horizon

FORMAT = 1
_PARTS = ("net", "average", "optimiser")


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: epochs completed.
        step: optimiser steps completed.
        total, moved_at, fraction: the horizon (see `schedule.Horizon`).
        seconds: training time spent so far.
        attempt: how often the run returned to an earlier state, the loss not being finite.
        loss_total, losses: sum and number of the losses of the epoch under way.
    """

    epoch: int
    step: int
    total: int
    moved_at: int
    fraction: float
    seconds: float
    attempt: int = 0
    loss_total: float = 0.0
    losses: int = 0

    @property
    def horizon(self) -> Horizon:
        """Where the run ends."""
        return Horizon(self.total, self.moved_at, self.fraction)


def save_checkpoint(
    path: Path,
    net: nn.Module,
    average: WeightAverage,
    optimiser: torch.optim.Optimizer,
    position: Position,
    recipe: dict[str, Any],
    scaler: torch.amp.GradScaler,
    whole: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint whole; `whole` is the recipe of all phases where it is of one of several.

    Raises:
        StorageError, ConfigError: full disk or unwritable; the old one stays.
    """
    tensors: dict[str, Tensor] = {f"net.{name}": t for name, t in net.state_dict().items()}
    tensors |= {f"average.{name}": t for name, t in average.state.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": t for name, t in state.items()}
    metadata = {
        "format": str(FORMAT),
        "position": json.dumps(vars(position)),
        "recipe": json.dumps(recipe),
        "updates": str(average.updates),
        "scaler": json.dumps(scaler.state_dict()),
    }
    write_tensors(path, tensors, metadata | ({"whole_recipe": json.dumps(whole)} if whole else {}))


@dataclass(frozen=True)
class Noted:
    """What a checkpoint says of how it came about.

    Attributes:
        recipe, whole: its own, and that of all phases where it says so.
        diverged: whether its run has returned to an earlier state.
    """

    recipe: dict[str, Any]
    whole: dict[str, Any] | None
    diverged: bool


def noted(path: Path) -> Noted:
    """What a checkpoint notes. Raises FormatError."""
    with _opened(path) as (_, metadata):
        whole, position = metadata.get("whole_recipe"), json.loads(metadata["position"])
        diverged = position.get("attempt", 0) > 0
        return Noted(json.loads(metadata["recipe"]), json.loads(whole) if whole else None, diverged)


def load_checkpoint(
    path: Path,
    net: nn.Module,
    average: WeightAverage,
    optimiser: torch.optim.Optimizer,
    recipe: dict[str, Any],
    scaler: torch.amp.GradScaler,
    told: Callable[[str], None] = lambda text: None,
) -> Position:
    """Restore a run in place; nothing has changed where an error is raised.

    `told` hears of what the recipe says otherwise than the checkpoint, and may (see `recipe_differences`).

    Raises:
        FormatError: truncated, or not a checkpoint. TrainingError: of another recipe (with the difference) or space.
    """
    with _opened(path) as (handle, metadata):
        position, before = Position(**json.loads(metadata["position"])), json.loads(metadata["recipe"])
        if different := recipe_differences(before, recipe, diverged=position.attempt > 0):
            raise TrainingError(
                f"{path}: was trained with another recipe ({different}); go on with that, or delete the file to start"
                " anew"
            )
        updates, scale = int(metadata["updates"]), json.loads(metadata.get("scaler", "{}"))
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
        for name in handle.keys():  # noqa: SIM118 - not a mapping
            part, _, rest = name.partition(".")
            parts[part][rest] = handle.get_tensor(name)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    _check_same_shapes(path, parts["net"], net.state_dict())
    _check_same_shapes(path, parts["average"], average.state)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        index, _, field = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise TrainingError(f"{path}: is of another network: its optimiser knows {name!r}, which is none of this")
        like = parameters[int(index)]
        if tensor.ndim and tensor.shape != like.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(like.shape)}"
            raise TrainingError(f"{path}: is of another network: its optimiser's {name!r} has shape {shapes}")
        # In the parameter's layout, as the optimiser itself makes them: it walks through both as they lie in memory.
        laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[field] = laid_out
    net.load_state_dict(parts["net"])
    for name, tensor in average.state.items():
        tensor.copy_(parts["average"][name])
    average.updates = updates
    if scale:  # empty but in float16
        scaler.load_state_dict(scale)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    if changes := recipe_changes(before, recipe):
        told(f"goes on with another recipe than it was begun with ({changes})")
    calmer = recipe["learning_rate"] < before.get("learning_rate", 0.0)
    return replace(position, attempt=0) if calmer else position  # that rate is meant as it is said


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Mapping[str, str]]]:
    """A checkpoint's tensors and metadata. Raises FormatError, also for what is wrong with them inside."""
    try:
        with safe_open(str(path), "pt") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != str(FORMAT):
                raise FormatError(f"{path}: is not a checkpoint that this version reads")
            yield handle, metadata
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: is not a whole safetensors file ({error}); delete it to start afresh") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: is not a checkpoint that this version reads ({error!r})") from error


def _check_same_shapes(path: Path, saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise TrainingError where either has a tensor that the other has not, or not in this shape."""
    for name in sorted(saved.keys() | own.keys()):
        theirs, ours = (tuple(each[name].shape) if name in each else None for each in (saved, own))
        if theirs == ours:
            continue
        expected = "there is none" if ours is None else f"not {ours}"
        wrong = "is missing" if theirs is None else f"has shape {theirs}, {expected}"
        raise TrainingError(f"{path}: is of another space: {name!r} {wrong}")
