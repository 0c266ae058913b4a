"""A profile on an Ethos-U: Vela's estimate, called modelled everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, MeasurementError
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.profiling.command import profile_command
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import quantise

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ethosu")

from nas_edge.runtimes.tflite import convert


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One network as float and int8 ONNX, and as int8 .tflite."""
    space = SearchSpace.named("mcu")
    plain = build_onnx(space.lower(space.smallest(), 6))
    names = [plain.graph.input[0].name, *(node.output[0] for node in plain.graph.node)]
    int8 = quantise(plain, dict.fromkeys(names, (-4.0, 4.0))).SerializeToString()
    (tmp_path / "plain.onnx").write_bytes(plain.SerializeToString())
    (tmp_path / "int8.onnx").write_bytes(int8)
    (tmp_path / "int8.tflite").write_bytes(convert(int8).data)
    return tmp_path


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u85-256"])
def test_the_estimate_is_modelled_and_has_no_interval(folder: Path, target: str) -> None:
    report = profile_command(folder / "int8.tflite", target)
    text = "\n".join(report.lines())
    assert report.lines()[0].startswith("MODELLED")
    assert "easured" not in text
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["origin"]["kind"] == "modelled"
    assert data["latency_ms"]["interval"] is None
    assert data["operators"]["cpu"] == 0
    assert f"for {target}," in data["origin"]["source"]


def test_an_onnx_file_is_estimated_as_its_tflite_file_is(folder: Path) -> None:
    one, two = (profile_command(folder / name, "ethos-u55-128").to_json() for name in ("int8.onnx", "int8.tflite"))
    assert one["latency_ms"] == two["latency_ms"]


def test_a_float_network_is_refused(folder: Path) -> None:
    with pytest.raises(MeasurementError, match="computes in fp32, not int8; quantise it first"):
        profile_command(folder / "plain.onnx", "ethos-u55-128")


def test_a_target_without_its_accelerator_is_told(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("format: 1\ndescription: mine\nruntime: ethos-u\nprecision: int8\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: runtime 'ethos-u' needs 'accelerator:'"):
        profile_command(folder / "int8.onnx", str(path))
    path.write_text(
        "format: 1\ndescription: mine\nruntime: ethos-u\naccelerator: {config: a, system: b, memories: c}\n"
    )
    with pytest.raises(ConfigError, match=r"lacks the key .memory."):
        load_target(str(path))
