"""What a network answers for many images, through ONNX Runtime: what the exported file will answer, and no slower.

Against eager torch: 2 to 2.6 times as fast, 1.1 times where freed memory is kept
(`tests/benchmarks/test_training_step.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_half import half
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm, Ranges, quantise
from nas_edge.spaces.onnx_ranges import observe
from nas_edge.spaces.onnx_session import answering_session
from nas_edge.supernet.fold import fold
from nas_edge.supernet.static import StaticNet

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_OBSERVED_AT_ONCE = 8  # every activation of so many images is in memory


def float_model(net: StaticNet) -> onnx.ModelProto:
    """The exported graph of a recalibrated network in evaluation mode: batch norms folded, dynamic batch."""
    return build_onnx(net.specs, fold(net), batch=None)


def half_model(net: StaticNet) -> onnx.ModelProto:
    """The same in float16; where ONNX Runtime has no kernel for it, its sums are rounded more rarely than a GPU's."""
    return half(float_model(net))


def ranges_of(net: StaticNet, calibration: Iterable[Tensor]) -> Ranges:
    """Ranges of activations, observed on `calibration`: normalised images, float [n, 3, r, r] each."""
    return observe(float_model(net), _few_at_once(calibration))


def int8_model(net: StaticNet, calibration: Iterable[Tensor], form: QdqForm = CANONICAL) -> onnx.ModelProto:
    """The same in int8, its ranges observed on `calibration`: normalised images, float [n, 3, r, r] each."""
    model = float_model(net)
    return quantise(model, observe(model, _few_at_once(calibration)), form)


def answers(model: onnx.ModelProto, batches: Iterable[Tensor]) -> NDArray[np.int64]:
    """Class of each image, int64 [n].

    Args:
        model: from `float_model` or `int8_model`.
        batches: normalised images, float [n, 3, r, r] each.
    """
    session = open_session(model)
    name = session.get_inputs()[0].name
    logits = [session.run(None, {name: batch.contiguous().numpy()})[0] for batch in batches]
    classes: NDArray[np.int64] = np.concatenate(logits).argmax(axis=1)
    return classes


def torch_answers(net: StaticNet, batches: Iterable[Tensor]) -> NDArray[np.int64]:
    """The same of a network in evaluation mode, asked in torch where it lies: needs no ONNX Runtime."""
    device = next(net.parameters()).device
    with torch.no_grad():
        logits = [net(batch.to(device)) for batch in batches]
    classes: NDArray[np.int64] = torch.cat(logits).argmax(dim=1).cpu().numpy()
    return classes


def has_onnx() -> bool:
    """Whether networks can be asked through ONNX Runtime."""
    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A model loaded into ONNX Runtime, on as many threads as torch uses."""
    return answering_session(model.SerializeToString(), torch.get_num_threads())


def _few_at_once(batches: Iterable[Tensor]) -> Iterator[NDArray[np.float32]]:
    for batch in batches:
        for start in range(0, len(batch), _OBSERVED_AT_ONCE):
            yield batch[start : start + _OBSERVED_AT_ONCE].contiguous().numpy()
