"""Where a run computes, and in which numbers."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nas_edge.errors import ConfigError, TrainingError
from nas_edge.training.recipe import Recipe


def present_device() -> torch.device:
    """The GPU that torchrun means this process to have (its `LOCAL_RANK`), the only one, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def uses_bf16(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16: as the recipe says, else where it pays.

    It does on GPUs that have it. Even on CPUs with instructions for it, depthwise convolutions make a step of these
    networks slower in bfloat16 than in float32 (`tests/benchmarks/test_training_step.py` prints both).
    """
    if recipe.bf16 is not None:
        return recipe.bf16
    return not recipe.fp16 and present_device().type == "cuda" and torch.cuda.is_bf16_supported()


def autocast(images: Tensor, recipe: Recipe, bf16: bool) -> torch.autocast:
    """What a forward pass on images is computed in."""
    dtype = torch.float16 if recipe.fp16 else torch.bfloat16
    return torch.autocast(images.device.type, dtype, enabled=bf16 or recipe.fp16)


def gradient_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Keeps small gradients above the smallest float16 (Micikevicius et al., Mixed precision training, ICLR 2018).

    They are scaled where they enter the network from the loss (`scale_gradients`); `unscale_` and `step` of the scaler
    undo it. Does nothing but in float16.

    Raises:
        ConfigError: float16 on a CPU, where it is slow and its kernels are few.
    """
    if recipe.fp16 and device.type == "cpu":
        raise ConfigError("recipe: fp16 needs a GPU; leave it out, on a CPU float32 is the fastest")
    return torch.amp.GradScaler("cuda" if device.type == "cuda" else "cpu", enabled=recipe.fp16)


def scale_gradients(net: nn.Module, scale: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Let the gradients of a network's outputs be scaled before they go into it; `remove` ends it."""

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(scale)  # type: ignore[no-untyped-call]

    return net.register_forward_hook(hook)


def out_of_memory(error: RuntimeError, recipe: Recipe, side: int) -> TrainingError:
    """What to lower where a GPU's memory does not suffice."""
    more = min(2 * recipe.accumulate, recipe.batch_size // 2)
    return TrainingError(
        f"the GPU's memory does not suffice for {recipe.batch_size // recipe.accumulate} images of {side} px at a time"
        f" ({str(error).splitlines()[0][:80]}); set accumulate: {more}, or lower batch_size or the resolutions"
    )
