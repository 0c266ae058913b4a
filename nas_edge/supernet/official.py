"""Once-for-All's own checkpoints: read without running anything that they say, and put into a supernet.

Key names have changed over that project's history: blocks were `.mobile_inverted_conv.`, and layers stand one level
deeper or not (`.bn.bn.`, `.conv.conv.weight`, `.linear.linear.`). All of these are accepted, as are the checkpoints
between the phases of progressive shrinking: the first of them has no kernel matrices, which stay identities.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nas_edge.errors import FormatError
from nas_edge.supernet.supernet import Supernet

# What torch's and safetensors' readers raise on damaged files: torch's own unpickler trusts them to be whole.
_DAMAGED = (
    SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, struct.error,
)  # fmt: skip
_WRAPPERS = ("state_dict_ema", "state_dict", "model_state_dict", "model")
_DEEPER = ((".bn.", ".bn.bn."), (".conv.weight", ".conv.conv.weight"), (".linear.", ".linear.linear."))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of one that torch saved, by name.

    Raises:
        FormatError: missing, damaged, no state dict, or a pickle that would run code: it is not run.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(str(path)))
        with path.open("rb") as file:
            begins = file.read(2)
        if begins != b"PK" and begins[:1] != b"\x80":  # a zip, or a pickle as torch wrote them before 1.6
            raise FormatError(f"{path}: is no checkpoint: it begins with {begins!r}, as no file of torch's does")
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols, before the error that tells all
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FormatError(f"{path}: is refused, nothing in it was run: {_refusal(str(error))}") from None
    except _DAMAGED as error:
        reason = " ".join(str(error).partition(". ")[0].split())[:120]
        raise FormatError(f"{path}: is not a whole checkpoint ({reason}); fetch it again") from error
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    state = dict(loaded) if isinstance(loaded, Mapping) else {}
    if not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise FormatError(f"{path}: holds no state dict: a mapping of names to tensors is expected")
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _refusal(message: str) -> str:
    """Why torch would not read a pickle, from its long explanation."""
    found = re.search(r"GLOBAL (\S+)", message)
    if found:
        return f"it names {found[1]}, and weights need no code; of a whole model, save its state_dict()"
    return "it is damaged, or another kind of pickle"


def classes_of(state: Mapping[str, Tensor], where: str) -> int:
    """Outputs of the classifier in a checkpoint. Raises FormatError where there is none."""
    for name in ("classifier.linear.weight", "classifier.linear.linear.weight", "classifier.weight"):
        if name in state:
            return int(state[name].shape[0])
    raise FormatError(f"{where}: has no classifier; is it a checkpoint of Once-for-All?")


@torch.no_grad()
def load_official(net: Supernet, state: Mapping[str, Tensor], where: str) -> None:
    """Fill a supernet with a checkpoint of Once-for-All.

    Args:
        net: of the space that the checkpoint is of; changed in place.
        state: from `read_checkpoint`.
        where: names the file in errors.

    Raises:
        FormatError: a tensor is unknown, missing, or of another shape: which one.
    """
    own = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    filled = {name for name in own if name.endswith("_matrix")}
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        name = _own_name(key, own)
        if name is None:
            raise FormatError(f"{where}: has {key!r}, which is not of space {net.template.name!r}")
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, not the {tuple(own[name].shape)}"
            raise FormatError(
                f"{where}: {key!r} has shape {shapes}; is it of another space than {net.template.name!r}?"
            )
        found[name] = tensor
    missing = sorted(own.keys() - filled - found.keys())
    if missing:
        raise FormatError(f"{where}: lacks {len(missing)} tensors of space {net.template.name!r}, first {missing[0]!r}")
    for name, tensor in found.items():
        own[name].copy_(tensor)


def _own_name(key: str, own: Mapping[str, Tensor]) -> str | None:
    key = key.replace(".mobile_inverted_conv.", ".conv.")
    candidates = [key]
    for shallow, deep in _DEEPER:
        if deep in key:
            candidates.append(key.replace(deep, shallow))
        elif shallow in key:
            candidates.append(key.replace(shallow, deep))
    return next((name for name in candidates if name in own), None)
