"""Where a run computes, and in which numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nas_edge.errors import ConfigError, TrainingError
from nas_edge.training.recipe import Recipe

_NO_MEMORY = ("out of memory", "status_alloc_failed")  # of torch, CUDA, NCCL; of cuDNN and cuBLAS


def present_device() -> torch.device:
    """The GPU that torchrun means this process to have (its `LOCAL_RANK`), the only one, or the CPU.

    Raises:
        ConfigError: see `one_gpu_each`.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    one_gpu_each(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def one_gpu_each(processes: int) -> None:
    """Raise ConfigError where a machine with GPUs has fewer than processes: two on one only take turns."""
    if torch.cuda.is_available() and processes > (gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"{processes} processes on this machine need as many GPUs, and {gpus} can be seen; start {gpus}, or hide"
            " the GPUs to train on the CPU (CUDA_VISIBLE_DEVICES=)"
        )


def uses_bf16(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16: as the recipe says, else where it pays.

    It does on GPUs that have it; older ones emulate it, slowly. Even on CPUs with instructions for it, depthwise
    convolutions make a step of these networks slower in bfloat16 than in float32
    (`tests/benchmarks/test_training_step.py` prints both).
    """
    if recipe.bf16 is not None:
        return recipe.bf16
    if recipe.fp16 or present_device().type != "cuda":
        return False
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def autocast(images: Tensor, recipe: Recipe, bf16: bool) -> torch.autocast:
    """What a forward pass on images is computed in."""
    dtype = torch.float16 if recipe.fp16 else torch.bfloat16
    return torch.autocast(images.device.type, dtype, enabled=bf16 or recipe.fp16)


def gradient_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Keeps small gradients above the smallest float16 (Micikevicius et al., Mixed precision training, ICLR 2018).

    They are scaled where they enter the network from the loss (`scale_gradients`), still in float32; `unscale_` and
    `step` of the scaler undo it. Does nothing but in float16.

    Raises:
        ConfigError: float16 on a CPU, where it is slow and its kernels are few.
    """
    if recipe.fp16 and device.type == "cpu":
        raise ConfigError("recipe: fp16 needs a GPU; leave it out, on a CPU float32 is the fastest")
    return torch.amp.GradScaler("cuda" if device.type == "cuda" else "cpu", enabled=recipe.fp16)


def scale_gradients(net: nn.Module, scale: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Let the gradients of a network's outputs be scaled before they go into it; `remove` ends it.

    Its outputs become float32: a loss's gradient that was cast to half precision first has lost what scaling is for.
    """

    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        whole = output.float()
        if whole.requires_grad:
            whole.register_hook(scale)  # type: ignore[no-untyped-call]
        return whole

    return net.register_forward_hook(hook)


@contextmanager
def memory_told(recipe: Recipe, side: int, processes: int) -> Iterator[None]:
    """Say what to lower where a GPU's memory does not suffice.

    Args:
        recipe: of the run.
        side: of its images, in pixels.
        processes: that share each batch.

    Raises:
        TrainingError: instead of torch's and its libraries' errors for that.
    """
    try:
        yield
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise TrainingError(_out_of_memory(str(error), recipe, side, processes)) from error
        raise


def _out_of_memory(error: str, recipe: Recipe, side: int, processes: int) -> str:
    own = recipe.batch_size // processes
    finer = [parts for parts in range(recipe.accumulate + 1, own // 2 + 1) if own % parts == 0]
    advice = f"set accumulate: {finer[0]}, or lower" if finer else "lower"
    return (
        f"the GPU's memory does not suffice for {own // recipe.accumulate} images of {side} px at a time"
        f" ({error.splitlines()[0][:80]}); {advice} batch_size or the resolutions"
    )
