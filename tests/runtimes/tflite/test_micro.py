"""The int8 file in TensorFlow Lite Micro: bit by bit what LiteRT's reference kernels compute."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import MeasurementError
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding, SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import quantise
from nas_edge.spaces.onnx_ranges import observe

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tflite_micro")

from nas_edge.runtimes.litert import LiteRtSession
from nas_edge.runtimes.tflite import TfliteModel, convert
from nas_edge.runtimes.tflite.loading import read_tflite
from nas_edge.runtimes.tflite.micro import run_micro

GATED = BlockSpec(Kind.INVERTED_RESIDUAL, 10, 10, 8, 24, 8, 5, 1, 24, Padding.SYMMETRIC, Activation.H_SWISH, True, True)


def int8(blocks, seed: int = 0) -> TfliteModel:
    model = build_onnx(blocks, seed=seed)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return convert(quantise(model, observe(model, [images])).SerializeToString())


def compared(file: TfliteModel, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Codes that TensorFlow Lite Micro and LiteRT's reference kernels give for random images."""
    plain = read_tflite(file.data.replace(b"nas-edge", b"somebody"))  # which takes codes as they are
    rng = np.random.default_rng(1)
    shape = (count, *plain.inputs[0].shape[1:])
    images = rng.integers(-128, 128, shape).astype(np.int8)
    session = LiteRtSession(plain, 1, reference=True)
    wanted = [session.run({plain.inputs[0].name: image[None]})[plain.outputs[0].name] for image in images]
    return run_micro(file.data, images).outputs, np.concatenate(wanted)


@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_networks_of_the_microcontroller_space_are_bit_exact(which: str) -> None:
    space = SearchSpace.named("mcu")
    found, wanted = compared(int8(space.lower(getattr(space, which)(), 6), seed=3))
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(wanted)) > 4


def test_gates_hard_swish_and_explicit_padding_are_bit_exact() -> None:
    found, wanted = compared(int8((GATED,), seed=4))
    np.testing.assert_array_equal(found, wanted)


def test_the_arena_is_told() -> None:
    file = int8((GATED,))
    run = run_micro(file.data, np.zeros((1, 10, 10, 8), np.int8))
    assert run.arena_bytes == run.head_bytes + run.tail_bytes
    assert run.head_bytes >= 2 * 10 * 10 * 24  # of the depthwise layer, in and out


def test_what_it_cannot_run_is_told_in_one_line() -> None:
    with pytest.raises(MeasurementError, match="TensorFlow Lite Micro does not run the file: ") as caught:
        run_micro(b"no model at all, only text" * 10, np.zeros((1, 4), np.int8))
    assert "\n" not in str(caught.value)
