"""LiteRT through the flows: a file profiled, a target, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, FormatError, NasEdgeError
from nas_edge.pipeline.devices.reaching import run_by
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.exporting.flow import ExportWishes, export_flow
from nas_edge.pipeline.profiling.timed import profile_flow
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding
from nas_edge.spaces.onnx_blocks import build_onnx

pytest.importorskip("ai_edge_litert")

from nas_edge.runtimes.tflite import convert

BLOCK = BlockSpec(Kind.INVERTED_RESIDUAL, 12, 12, 16, 48, 16, 3, 1, 48, Padding.SAME, Activation.RELU6, residual=True)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "block.tflite"
    path.write_bytes(convert(build_onnx((BLOCK,)).SerializeToString()).data)
    return path


@pytest.fixture
def run(stand: Path) -> Path:
    return search_flow(SearchRequest(target="board", bundle="tiny", latency_ms=2.0, evaluations=500)).run


@pytest.mark.parametrize(
    ("target", "package", "told"),
    [
        (
            "ethos-u55-128",
            "ethosu",
            r"model_vela.tflite is for ethos-u55-128: .* \(modelled: ethos-u-vela .*is not known",
        ),
        ("stm32f405", "tflite_micro", "TensorFlow Lite Micro runs it in an arena of "),
    ],
)
def test_an_int8_export_says_what_a_small_device_makes_of_it(run: Path, target: str, package: str, told: str) -> None:
    pytest.importorskip(package)
    report = export_flow(run, "litert", "int8", wishes=ExportWishes(target=target))
    assert report.model.parent.name == "tflite-int8"
    assert any(re.search(told, note) for note in report.notes)
    assert any(re.match(r"same answer as ONNX Runtime's int8 form for (9|100)", note) for note in report.notes)
    assert (report.directory / "model_vela.tflite").exists() == (target == "ethos-u55-128")
    assert not any("measured" in note for note in report.notes)


def test_a_tflite_file_is_profiled_by_litert_without_being_told(file: Path) -> None:
    report = profile_flow(file, "local", effort="quick")
    assert report.measurement.runtime == "litert"
    assert report.measurement.precision == "fp32"
    assert 0 < report.measurement.median_ms < 100


def test_an_onnx_file_is_profiled_by_the_runtime_that_was_asked_for(file: Path) -> None:
    path = file.with_suffix(".onnx")
    path.write_bytes(build_onnx((BLOCK,)).SerializeToString())
    assert profile_flow(path, "local", runtime="litert", effort="quick").measurement.runtime == "litert"


def test_a_tflite_file_is_not_given_to_another_runtime(file: Path) -> None:
    with pytest.raises(ConfigError, match="runtime 'onnxruntime' does not run; leave out --runtime"):
        profile_flow(file, "local", runtime="onnxruntime")


def test_a_damaged_tflite_file_is_told(file: Path) -> None:
    data = file.read_bytes()
    for broken, error in ((b"", FormatError), (b"text", FormatError), (data[:64], NasEdgeError)):
        file.write_bytes(broken)
        with pytest.raises(error) as caught:
            profile_flow(file, "local")
        assert "\n" not in str(caught.value)


def test_the_shipped_target_runs_litert_here() -> None:
    target = load_target("local-litert")
    assert (target.device.kind, target.runtime) == ("local", "litert")


def test_another_runtime_has_another_table() -> None:
    phone = load_target("samsung-note10")
    assert run_by(phone, None) is phone
    assert run_by(phone, phone.runtime) is phone
    assert (run_by(phone, "onnxruntime").runtime, run_by(phone, "onnxruntime").table) == ("onnxruntime", "")
