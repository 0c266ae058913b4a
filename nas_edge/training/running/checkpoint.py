"""Checkpoints: weights, average and optimiser in one safetensors file, written whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nas_edge.errors import FormatError, TrainingError
from nas_edge.supernet.weights import write_tensors
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.average import WeightAverage
from nas_edge.training.running.schedule import Horizon

FORMAT = 1


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
) -> None:
    """Write a checkpoint whole. Raises StorageError, ConfigError: full disk or unwritable; the old one stays."""
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
    write_tensors(path, tensors, metadata)


def load_checkpoint(
    path: Path,
    net: nn.Module,
    average: WeightAverage,
    optimiser: torch.optim.Optimizer,
    recipe: dict[str, Any],
    scaler: torch.amp.GradScaler,
) -> Position:
    """Restore a run in place.

    Raises:
        FormatError: truncated, or not a checkpoint. TrainingError: of another recipe (with the difference) or space.
    """
    try:
        with safe_open(str(path), "pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: is not a whole safetensors file ({error}); delete it to start afresh") from error
    if metadata.get("format") != str(FORMAT) or "position" not in metadata:
        raise FormatError(f"{path}: is not a checkpoint that this version reads")
    _same_recipe(json.loads(metadata["recipe"]), recipe, path)
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    own = net.state_dict()
    for name, tensor in own.items():
        saved = parts["net"].get(name)
        if saved is None or saved.shape != tensor.shape:
            shape = "is missing" if saved is None else f"has shape {tuple(saved.shape)}, not {tuple(tensor.shape)}"
            raise TrainingError(f"{path}: is of another space: {name!r} {shape}")
    net.load_state_dict(parts["net"])
    for name, tensor in average.state.items():
        tensor.copy_(parts["average"][name])
    average.updates = int(metadata["updates"])
    if scale := json.loads(metadata.get("scaler", "{}")):  # empty but in float16
        scaler.load_state_dict(scale)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        index, _, field = name.partition(".")
        like = parameters[int(index)]
        # In the parameter's layout, as the optimiser itself makes them: it walks through both as they lie in memory.
        laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[field] = laid_out
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return Position(**json.loads(metadata["position"]))


def _same_recipe(saved: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    # What a recipe could not say when the checkpoint was written was as it is by default now.
    defaults = Recipe().to_dict()
    saved, wanted = defaults | saved, defaults | json.loads(json.dumps(wanted))
    different = [key for key in sorted(saved.keys() | wanted.keys()) if saved.get(key) != wanted.get(key)]
    if different:
        changes = ", ".join(f"{key}: {saved.get(key)!r} then, {wanted.get(key)!r} now" for key in different)
        raise TrainingError(
            f"{path}: was trained with another recipe ({changes}); go on with that, or delete the file to start anew"
        )
