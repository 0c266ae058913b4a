"""What the table commands say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.errors import ArchitectureError, ConfigError, FormatError, SpaceError, UnknownNameError
from nas_edge.pipeline.tables.commands import chosen_space, measure_command
from nas_edge.pipeline.tables.predicting import predict_command
from nas_edge.pipeline.tables.showing import check_command, show_command
from nas_edge.spaces import SearchSpace


@pytest.fixture
def arch(stand: Path, tiny_space: SearchSpace) -> Path:
    path = stand / "arch.json"
    path.write_text(json.dumps(tiny_space.to_json(tiny_space.largest())))
    return path


def test_a_table_is_shown_with_what_it_rests_on(stand: Path) -> None:
    by_target, by_name = show_command(None, "board"), show_command("board/onnxruntime-fp32", None)
    assert by_target.data["blocks"] == by_name.data["blocks"] > 0
    assert by_target.data["origin"]["machine"] == "another machine"
    assert not any("this machine" in line for line in by_target.lines())
    with pytest.raises(UnknownNameError, match="did you mean board/onnxruntime-fp32"):
        show_command("bord/onnxruntime-fp32", None)


def test_a_check_covers_the_space_that_is_asked_about(stand: Path, stand_template: Path) -> None:
    space = str(stand_template / "bundles" / "tiny" / "space.yaml")
    good = check_command(None, "board", space, 3)
    assert (good.exit_code, good.data["coverage"]) == (0, 1.0)
    other = check_command(None, "board", "lite0", 6)
    assert other.exit_code == 1
    assert other.data["missing_blocks"] > 0
    assert any(line.startswith("missing") for line in other.lines())


def test_a_prediction_says_what_it_rests_on(arch: Path) -> None:
    report = predict_command("board", arch, None, None, "tiny", 0.9)
    latency = report.data["latency_ms"]
    assert latency["low"] < latency["predicted"] < latency["high"]
    assert (latency["origin"], report.data["basis"]["exact_share"]) == ("measured", 1.0)
    assert any("model 0%" in line for line in report.lines())


def test_a_prediction_by_a_model_is_not_called_measured(arch: Path) -> None:
    report = predict_command("jetson", arch, None, None, "tiny", 0.9)
    assert report.data["latency_ms"]["origin"] == "modelled"


@pytest.mark.parametrize(
    ("content", "error"), [('{"r": 40}', ArchitectureError), ('{"r": 4', FormatError), ("[]", ArchitectureError)]
)
def test_files_that_are_no_architecture_are_told(stand: Path, content: str, error: type[Exception]) -> None:
    path = stand / "bad.json"
    path.write_text(content)
    with pytest.raises(error, match=r"bad\.json"):
        predict_command("board", path, None, None, "tiny", 0.9)


def test_a_precision_that_a_device_has_not_costs_no_measuring() -> None:
    spaces = [(SearchSpace.named("mcu"), 10)]
    with pytest.raises(UnknownNameError, match="fp8"):
        measure_command("local", spaces, precision="fp8")
    with pytest.raises(ConfigError, match="'stm32f405' runs int8 alone"):
        measure_command("stm32f405", spaces, precision="fp32")


def test_bad_options_are_told(arch: Path) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        predict_command("board", arch, None, None, "tiny", 2.0)
    with pytest.raises(SpaceError, match="add --classes"):
        chosen_space("lite0", None)
    assert chosen_space(None, None, "tiny")[1] == 3
