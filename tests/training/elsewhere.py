"""A device that this machine has not got: it computes with the CPU's kernels, and refuses what a GPU refuses.

torch's own device `meta` needs no driver, and has no numbers. Its tensors have them here, so that whole runs can be
made, but for the differences between the kernels, as on a GPU: whatever mixes tensors of two devices is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

ELSEWHERE = torch.device("meta")

_aten = torch.ops.aten
_CROSSING = {_aten.copy_.default, _aten._to_copy.default, _aten._foreach_copy_.default}
_IN_PLACE = {_aten.copy_.default}  # into a tensor of the CPU
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor that says it is there; its numbers are in `here`."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype,
            device=ELSEWHERE,
        )  # fmt: skip
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


@contextmanager
def another_device() -> Iterator[torch.device]:
    """The device, usable in this thread."""
    tensor = torch.tensor

    def of_list(data: Any, **options: Any) -> Tensor:  # torch's own would lose the numbers before they are seen here
        device = options.pop("device", None)
        made = tensor(data, **options)
        return made if device is None else made.to(device)

    fused = patch("torch.optim.adam._device_dtype_check_for_fused", lambda *_, **__: None)  # as for all real devices
    with patch.object(torch, "tensor", of_list), fused, _Device():
        yield ELSEWHERE


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    flat, layout = tree_flatten((args, kwargs))
    away = any(isinstance(each, Elsewhere) for each in flat)
    if away:
        _refuse(func, args, flat)
    here_args, here_kwargs = tree_unflatten([_here(each) for each in flat], layout)
    made = func(*here_args, **here_kwargs)
    device = kwargs.get("device")
    stays = func in _IN_PLACE and not _is(args[0])
    if device != ELSEWHERE and (device is not None or not away or stays):
        return args[0] if stays else made
    wrapped = tree_map(lambda each: Elsewhere(each) if isinstance(each, Tensor) else each, made)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _here(each: Any) -> Any:
    if isinstance(each, Elsewhere):
        return each.here
    assert not isinstance(each, Tensor) or each.device != ELSEWHERE, "a tensor whose numbers are lost"
    return torch.device("cpu") if isinstance(each, torch.device) else each


def _is(each: Any) -> bool:
    return isinstance(each, Elsewhere)


def _refuse(func: Any, args: Any, flat: list[Any]) -> None:
    """Raise RuntimeError where a GPU's kernel would."""
    if func in _CROSSING:
        return
    if func is _aten.native_batch_norm_backward.default and None in args[5:7]:
        raise RuntimeError("save_mean should always be defined")
    if func in _INDEXING and _is(args[0]):  # places may be numbers of the CPU
        flat = [*args[:1], *args[2:]]
    strangers = [each for each in flat if isinstance(each, Tensor) and not _is(each) and each.ndim]
    if strangers:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
