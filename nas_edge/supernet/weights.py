"""A supernet's weights as a safetensors file: float16 on disk, float32 in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nas_edge.errors import FormatError
from nas_edge.files import write_bytes


def to_stored_precision(net: nn.Module) -> nn.Module:
    """Round every weight to float16 and back, in place, so that figures are those of the stored file."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    return net


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a safetensors file, whole. Raises StorageError, ConfigError.

    safetensors' own `save_file` tells of a full disk by an error that is no OSError, so its bytes are written here.
    """
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(about)))


def save_weights(net: nn.Module, path: Path, *, half: bool = True) -> None:
    """Write parameters and running statistics, whole, as float16 or as they are. Raises StorageError, ConfigError."""
    tensors = {
        name: tensor.detach().half() if half else tensor.detach()
        for name, tensor in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_tensors(path, tensors, {"format": "1"})


def load_weights(net: nn.Module, path: Path) -> None:
    """Read a safetensors file of exactly this network's tensors.

    Raises:
        FormatError: missing, truncated, or of another network (which tensor, which shape).
    """
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: is not a whole safetensors file ({error}); fetch or train it again") from error
    own = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    for name in sorted(own.keys() ^ tensors.keys()):
        raise FormatError(
            f"{path}: {'lacks' if name in own else 'has an unknown'} tensor {name!r}; is it of another space?"
        )
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
            raise FormatError(f"{path}: {name!r} has shape {shapes}; is it of another space?")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
