"""Instructions of the kernels, counted in the emulator: README, "figures".

`python -m pytest -m benchmark -s tests/benchmarks/test_mcu_kernels.py`; the comparison wants emx-onnx-cgen (`emx.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nas_edge.errors import UnknownNameError
from nas_edge.mcu.boards import load_board
from nas_edge.mcu.codegen import generate, write_library
from nas_edge.mcu.emulator import EmulatedRun, count_firmware
from nas_edge.mcu.emulator.layer_bench import count_layers, shape
from nas_edge.mcu.firmware import build_firmware
from nas_edge.mcu.from_onnx import read_graph
from nas_edge.mcu.reference import dequantise, quantise_images, run
from nas_edge.memory import Layer, LayerKind
from nas_edge.spaces.blocks import BlockSpec
from nas_edge.spaces.onnx_quantise import CANONICAL
from tests.benchmarks import mlperf_tiny
from tests.benchmarks.emx import find_emx, write_emx_program
from tests.emulated import needs_emulator
from tests.mcu.test_from_onnx import session_outputs

pytestmark = [pytest.mark.benchmark, *needs_emulator]

ROOMY = "mps2-an386"  # a Cortex-M4 with 4 MB, for programs that keep all tensors on the stack
EMX_STACK_BYTES = 4_050_000
EMX_VALUES = 100_000  # in the widest tensors of all blocks

CONV = Layer("conv 3x3", LayerKind.CONV, 16, 16, 32, 32, 3, 3, 1, (1, 1, 1, 1))
POINTWISE = Layer("pointwise", LayerKind.POINTWISE, 16, 16, 32, 32)
DEPTHWISE = tuple(
    Layer(f"depthwise {k}x{k}", LayerKind.DEPTHWISE, 16, 16, 32, 32, k, k, 1, (k // 2,) * 4) for k in (3, 5, 7)
)
MOST = {  # instructions a MAC
    "stm32f405": {"conv 3x3": 1.6, "pointwise": 2.0, "depthwise 3x3": 4.5},
    "mps3-an547": {"pointwise": 0.6},
}
NETWORKS = {
    "ResNet-8": (mlperf_tiny.resnet8, 24e6, 2.5),
    "MobileNetV1-0.25-96": (mlperf_tiny.mobilenet_v1, 16e6, 5.0),
    "DS-CNN": (mlperf_tiny.ds_cnn, 4.5e6, 0.0),
}
"""What makes each, the most instructions it may take, and how many times fewer than emx-onnx-cgen at least."""


@pytest.mark.parametrize("name", ["stm32f405", "mps2-an500", "mps2-an505", "mps3-an547"])
def test_instructions_of_single_kernels(name: str) -> None:
    layers = (CONV, POINTWISE, *DEPTHWISE)
    counts = count_layers(layers, load_board(name))
    print(f"\n{name}, 16 x 16, 32 to 32 channels")
    for layer in layers:
        each = counts[shape(layer)].instructions / layer.macs
        most = MOST.get(name, {}).get(layer.name)
        print(f"    {layer.name:<14} {each:5.2f} instructions a MAC{f' (at most {most})' if most else ''}")
        assert most is None or each <= most


@pytest.mark.parametrize("name", NETWORKS)
def test_instructions_of_mlperf_tiny_shapes(name: str, tmp_path: Path) -> None:
    make, most, _ = NETWORKS[name]
    model = make()
    taken = counted(model, sample(model), tmp_path, "stm32f405")
    macs = read_graph(model).macs
    instructions = taken.total.instructions
    print(
        f"\n{name}: {instructions / 1e6:.2f} M instructions on stm32f405 (at most {most / 1e6:g} M), "
        f"{macs / 1e6:.2f} M MACs, {instructions / macs:.2f} a MAC, arena and variables "
        f"{taken.firmware.static_ram_bytes:,} bytes"
    )
    assert instructions <= most


@pytest.mark.parametrize("name", ["ResNet-8", "MobileNetV1-0.25-96"])
def test_mlperf_tiny_shapes_against_emx_onnx_cgen(name: str, tmp_path: Path) -> None:
    make, _, least = NETWORKS[name]
    compare(name, make(), least, tmp_path)


@pytest.mark.parametrize("number", range(3))
def test_subnets_of_the_bundle_against_emx_onnx_cgen(number: int, tmp_path: Path) -> None:
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.networks import deployed_model, subnet_of_bundle

    try:
        bundle = load_bundle("trashnet-mcu")
    except UnknownNameError as error:
        pytest.skip(str(error))
    # All of emx's float32 tensors lie on the stack at once: of 40 subnets those that fit into 4 MB with it.
    lowered = [(arch, bundle.space.lower(arch, 6)) for arch in bundle.space.sample(40, np.random.default_rng(0))]
    arch = [arch for arch, blocks in lowered if sum(map(wide, blocks)) < EMX_VALUES][number]
    net = subnet_of_bundle(bundle, arch)
    model = onnx.load_from_string(deployed_model(net, bundle, "int8", CANONICAL))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    compare(f"subnet {number} at {net.resolution} px", model, 5.0, tmp_path)


def wide(block: BlockSpec) -> int:
    """Values of a block's widest tensor."""
    return block.height * block.width * block.mid_channels


def compare(name: str, model: onnx.ModelProto, least: float, folder: Path) -> None:
    """Count both programs on one image and hold their logits against ONNX Runtime's."""
    program = find_emx()
    if program is None:
        pytest.skip("emx-onnx-cgen is not installed (tests/benchmarks/emx.py says how)")
    images = sample(model)
    (wanted,) = session_outputs(model, images)
    board = load_board(ROOMY)
    ours = counted(model, images, folder, ROOMY)
    other = build_firmware(
        board, write_emx_program(program, model, folder / "emx"), folder / "emx-firmware", stack_bytes=EMX_STACK_BYTES
    )
    data = np.ascontiguousarray(images).reshape(1, -1).view(np.int8)
    theirs = count_firmware(other, data, wanted.nbytes)
    logits = theirs.outputs.view(np.float32)
    ratio = theirs.total.instructions / ours.total.instructions
    print(
        f"\n{name}: nas-edge {ours.total.instructions / 1e6:.2f} M, emx-onnx-cgen "
        f"{theirs.total.instructions / 1e6:.2f} M instructions: {ratio:.1f} times (at least {least:g}); stack and "
        f"variables {ours.stack_bytes + ours.firmware.static_ram_bytes:,} and "
        f"{theirs.stack_bytes + other.static_ram_bytes:,} bytes; largest difference of emx's logits from ONNX "
        f"Runtime's {np.abs(logits - wanted).max():.1e}, of ours {difference(model, ours, wanted):.1e}, "
        f"of emx's from ours {difference(model, ours, logits):.1e}"
    )
    assert logits.argmax() == wanted.argmax()
    assert ratio >= least


def counted(model: onnx.ModelProto, images: np.ndarray, folder: Path, name: str) -> EmulatedRun:
    """Our program on one image; what it gives is what the reference gives."""
    graph = read_graph(model)
    write_library(folder / "network", generate(graph))
    firmware = build_firmware(load_board(name), folder / "network", folder / "firmware")
    codes = quantise_images(graph, images)
    found = count_firmware(firmware, codes.reshape(1, -1), graph.output.bytes)
    assert found.outputs.tobytes() == run(graph, codes).tobytes()
    return found


def difference(model: onnx.ModelProto, ours: EmulatedRun, wanted: np.ndarray) -> float:
    """Largest difference of our logits from ONNX Runtime's."""
    output = read_graph(model).output
    logits = dequantise(output, ours.outputs.view(np.int32 if output.dtype == "int32" else np.int8))
    return float(np.abs(logits - wanted).max())


def sample(model: onnx.ModelProto) -> np.ndarray:
    """One image, float32 [1, channels, height, width]."""
    channels, height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
    return mlperf_tiny.image((channels, height, width), 99)
