"""One network's latency, however the network is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas_edge.errors import ArchitectureError, UnknownNameError
from nas_edge.latency import LatencyTable, write_table
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.tables.predicting import predict_command, read_network
from nas_edge.spaces import Precision, SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx


def test_an_architecture_and_its_onnx_file_are_predicted_alike(stand: Path, tiny_space: SearchSpace) -> None:
    row = tiny_space.largest()
    arch, model = stand / "arch.json", stand / "net.onnx"
    arch.write_text(json.dumps(tiny_space.to_json(row)))
    model.write_bytes(build_onnx(tiny_space.lower(row, 3)).SerializeToString())
    by_arch, by_file = (predict_command("board", path, None, None, "tiny", 0.9).data for path in (arch, model))
    assert by_arch["latency_ms"]["origin"] == by_file["latency_ms"]["origin"] == "measured"
    for figure in ("predicted", "low", "high"):
        assert by_arch["latency_ms"][figure] == pytest.approx(by_file["latency_ms"][figure], rel=1e-9)
    assert by_arch["macs"] == by_file["macs"]
    assert by_file["basis"]["exact_share"] == 1.0
    assert by_file["unrecognised_share"] == 0.0


def test_another_resolution_is_modelled_with_a_wider_interval(stand: Path, tiny_space: SearchSpace) -> None:
    arch = stand / "arch.json"
    arch.write_text(json.dumps(tiny_space.to_json(tiny_space.largest())))
    known, other = (predict_command("board", arch, None, None, "tiny", 0.9, r).data for r in (None, 72))
    assert other["macs"] > known["macs"]
    assert other["latency_ms"]["origin"] == "modelled"

    def width(data: dict[str, dict[str, float]]) -> float:
        return data["latency_ms"]["high"] / data["latency_ms"]["predicted"]

    assert width(other) > width(known)


def test_a_run_s_arch_json_names_its_own_space(stand: Path) -> None:
    space = SearchSpace.named("mbv3-32")
    path = stand / "arch.json"
    path.write_text(json.dumps(space.to_json(space.smallest()) | {"space": "mbv3-32", "num_classes": 10}))
    network = read_network(path, None, None)
    assert network.name == "mbv3-32"
    assert network.blocks == space.lower(space.smallest(), 10)
    with pytest.raises(ArchitectureError):
        read_network(path, "lite0", 6)


def test_energy_stands_beside_latency_where_a_table_has_it(stand: Path, tiny_space: SearchSpace) -> None:
    arch = stand / "arch.json"
    arch.write_text(json.dumps(tiny_space.to_json(tiny_space.largest())))
    report = predict_command("jetson", arch, None, None, "tiny", 0.9)
    assert report.data["energy_mj"]["low"] < report.data["energy_mj"]["high"]
    assert any(line.startswith("energy") for line in report.lines())
    assert "energy_mj" not in predict_command("board", arch, None, None, "tiny", 0.9).data


def test_a_precision_has_its_own_table_and_an_int8_file_asks_for_it(stand: Path, tiny_space: SearchSpace) -> None:
    arch, model = stand / "arch.json", stand / "net.onnx"
    arch.write_text(json.dumps(tiny_space.to_json(tiny_space.largest())))
    model.write_bytes(seeded_model(tiny_space, tiny_space.largest(), 3, precision="int8"))
    put_int8_table(stand, factor=0.5)
    fp32, int8 = (predict_command("board", arch, None, None, "tiny", 0.9, None, p).data for p in (None, "int8"))
    by_file = predict_command("board", model, None, None, "tiny", 0.9).data
    assert "int8" in int8["basis"]["table"]
    assert "int8" in by_file["basis"]["table"]
    assert int8["latency_ms"]["predicted"] == pytest.approx(0.5 * fp32["latency_ms"]["predicted"])
    assert by_file["latency_ms"]["predicted"] == pytest.approx(int8["latency_ms"]["predicted"], rel=1e-6)
    with pytest.raises(UnknownNameError, match="precision 'int4'"):
        predict_command("board", arch, None, None, "tiny", 0.9, None, "int4")


def put_int8_table(stand: Path, factor: float) -> None:
    """The board's table again, all blocks in int8 at so many times the milliseconds."""
    table = load_table_for(load_target("board")).table
    header = replace(table.header, precision=Precision.INT8)
    blocks = {
        replace(block, precision=Precision.INT8): replace(entry, ms=factor * entry.ms)
        for block, entry in table.blocks.items()
    }
    write_table(LatencyTable(header, blocks), stand / "latency_tables/board/onnxruntime-int8")
