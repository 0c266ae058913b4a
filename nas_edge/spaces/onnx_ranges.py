"""Ranges of activations, observed by running a float32 model on images: what static quantisation rests on.

ONNX Runtime is imported when something is observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DataError, ExportError
from nas_edge.spaces.onnx_quantise import observed_tensors
from nas_edge.spaces.onnx_session import answering_session

if TYPE_CHECKING:
    import onnx

_KEPT_PER_IMAGE = 512  # values of each tensor that the choice of a range looks at
_SHRINK = np.linspace(1.0, 0.3, 36)
_CODES = 255


class RangeMethod(StrEnum):
    """How a range follows from what was observed."""

    EXTREMES = "extremes"
    LEAST_ERROR = "least-error"


@dataclass
class _Observed:
    """One tensor: extremes of all values, and a sample of them."""

    low: float
    high: float
    sample: list[NDArray[np.float32]]


def observe(
    model: onnx.ModelProto,
    batches: Iterable[NDArray[np.float32]],
    method: RangeMethod = RangeMethod.LEAST_ERROR,
    *,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Range of every tensor that `quantise` needs.

    Args:
        model: float32, from `build_onnx`; a dynamic batch, or one of the batches' size.
        batches: normalised images, float32 [n, 3, r, r] each (or whatever the model takes).
        method: the extremes; or the range with the least mean squared error of rounding and cutting off, searched
            on a sample as Banner et al. (2019) and TensorRT's calibrators do.
        seed: of the sample.

    Raises:
        DataError: no batch. ExportError: the model does not run, or gives values that are not finite.

    """
    import onnx
    from onnx import TensorProto, helper

    names = observed_tensors(model)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    source, known = names[0], {item.name for item in model.graph.output}
    for name in names[1:]:
        if name not in known:
            wide.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = answering_session(wide.SerializeToString())
    rng = np.random.default_rng(seed)
    found: dict[str, _Observed] = {}
    for batch in batches:
        values = [batch, *session.run(list(names[1:]), {source: batch})]
        for name, value in zip(names, values, strict=True):
            _take(found, name, value, rng if method is RangeMethod.LEAST_ERROR else None)
    if not found:
        raise DataError("ranges of activations are observed on images, and there are none; add some to calibrate on")
    for name, seen in found.items():
        if not (np.isfinite(seen.low) and np.isfinite(seen.high)):
            raise ExportError(f"tensor {name!r} holds NaN or infinite values; the network cannot be quantised")
    whole = {name: (seen.low, seen.high) for name, seen in found.items()}
    if method is RangeMethod.EXTREMES:
        return whole
    # Of logits the greatest is asked for: two that were cut off would be alike.
    logits = {item.name for item in model.graph.output if len(item.type.tensor_type.shape.dim) == 2}
    return {
        name: ends if name in logits else least_error_range(np.concatenate(found[name].sample), *ends)
        for name, ends in whole.items()
    }


def least_error_range(sample: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """The range within (low, high) that 256 codes render a sample in with the least mean squared error.

    Ends at or beyond zero stay there; both ends are drawn in, first the longer one.
    """
    ends = [min(low, 0.0), max(high, 0.0)]
    for end in sorted((0, 1), key=lambda i: -abs(ends[i])):
        if ends[end]:
            trials = [(*ends[:end], ends[end] * share, *ends[end + 1 :]) for share in _SHRINK]
            ends = list(min(trials, key=lambda pair: _error(sample, *pair)))
    return float(ends[0]), float(ends[1])


def _error(sample: NDArray[np.float32], low: float, high: float) -> float:
    scale = (high - low) / _CODES
    inside = np.clip(sample, low, high)
    inside = np.rint(inside / scale) * scale - sample
    return float(np.dot(inside, inside))


def _take(found: dict[str, _Observed], name: str, value: NDArray[np.float32], rng: np.random.Generator | None) -> None:
    seen = found.setdefault(name, _Observed(np.inf, -np.inf, []))
    # NaN must not get lost: min and max hand it on, comparisons would not.
    seen.low, seen.high = float(np.minimum(seen.low, value.min())), float(np.maximum(seen.high, value.max()))
    if rng is None:
        return
    flat = value.ravel()
    wanted = _KEPT_PER_IMAGE * len(value)
    seen.sample.append(flat if len(flat) <= wanted else flat[rng.integers(len(flat), size=wanted)])
