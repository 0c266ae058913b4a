"""Vela's estimates for Ethos-U: read as they are, and never called measured."""

from __future__ import annotations

import pytest

from nas_edge.errors import ExportError, MeasurementError
from nas_edge.runtimes.vela import Accelerator, estimate, read_summary
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import quantise

U55 = Accelerator("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
U85 = Accelerator("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram")
SUMMARY = (
    "core_clock,inference_time,sram_memory_used,dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,"
    "cycles_npu,cycles_total\n500000000.0,0.004200602,278.609375,0.0,0.0,916.21875,1594182,2100301\n"
)


@pytest.fixture(scope="module")
def file() -> bytes:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("ethosu")
    from nas_edge.runtimes.tflite import convert

    space = SearchSpace.named("mcu")
    model = build_onnx(space.lower(space.smallest(), 6))
    names = [model.graph.input[0].name, *(node.output[0] for node in model.graph.node)]
    return convert(quantise(model, dict.fromkeys(names, (-4.0, 4.0))).SerializeToString()).data


@pytest.mark.parametrize("accelerator", [U55, U85], ids=lambda a: a.config)
def test_a_whole_network_runs_on_the_accelerator(file: bytes, accelerator: Accelerator) -> None:
    found = estimate(file, accelerator)
    assert found.cpu_operators == 0
    assert found.npu_operators > 10
    assert found.ms == pytest.approx(1e3 * found.cycles / found.clock_hz, rel=1e-3)
    assert found.sram_bytes > 0
    assert found.compiled[4:8] == b"TFL3"


def test_the_summary_is_read_in_bytes_and_milliseconds() -> None:
    found = read_summary(SUMMARY, "CPU operators = 2 (4.0%)\nNPU operators = 48 (96.0%)\n", b"file")
    assert found.ms == pytest.approx(4.200602)
    assert (found.sram_bytes, found.flash_bytes) == (285296, 938208)
    assert (found.cycles, found.npu_cycles, found.cpu_operators, found.npu_operators) == (2100301, 1594182, 2, 48)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", SUMMARY.replace("0.004200602", "nan"), SUMMARY + SUMMARY[-40:]])
def test_another_summary_is_not_believed(text: str) -> None:
    with pytest.raises(MeasurementError, match="Vela's summary is not what it was"):
        read_summary(text, "", b"")


def test_what_vela_refuses_is_told_in_one_line(file: bytes) -> None:
    for data, accelerator in ((b"nothing", U55), (file, Accelerator("ethos-u1", "a", "b"))):
        with pytest.raises(ExportError, match="Vela does not compile the file for ethos-u") as caught:
            estimate(data, accelerator)
        assert "\n" not in str(caught.value)


def test_a_float_network_is_left_to_the_cpu() -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("ethosu")
    from nas_edge.runtimes.tflite import convert

    space = SearchSpace.named("mcu")
    data = convert(build_onnx(space.lower(space.smallest(), 6)).SerializeToString()).data
    found = estimate(data, U55)
    assert (found.npu_operators, found.cpu_operators > 10) == (0, True)
