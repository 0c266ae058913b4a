"""A plan is written, filled in by somebody, and becomes a table that a search can use."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import onnx
import pytest

from nas_edge.errors import ConfigError, FormatError, TableError, UnknownNameError
from nas_edge.latency import read_table
from nas_edge.latency.networks import read_onnx
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.planning import plan_command
from nas_edge.pipeline.tables.predicting import predict_command
from nas_edge.pipeline.tables.showing import check_command
from nas_edge.pipeline.tables.transferring import TransferRequest, transfer_command
from tests.stand import MS_PER_BYTE


def plan(stand: Path, count: int = 6) -> Path:
    plan_command("phone", count, "board", None, None, "tiny", stand / "plan", 0)
    return stand / "plan" / "networks.csv"


def fill(path: Path, factor: float = 2.0) -> None:
    """Somebody measures: times in proportion to multiply-adds and layers."""
    rows = list(csv.DictReader(path.open()))
    for row in rows:
        blocks = read_onnx(path.parent / row["file"]).blocks
        row["ms"] = f"{factor * (0.01 * len(blocks) + sum(b.macs for b in blocks) / 1e6):.5f}"
    written(path, rows)


def written(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def request(path: Path, **options: object) -> TransferRequest:
    return TransferRequest("phone", path, "board", bundle="tiny", **options)  # type: ignore[arg-type]


def test_a_plan_is_a_set_of_files_ready_to_run(stand: Path) -> None:
    path = plan(stand)
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 6
    assert all(row["ms"] == "" and json.loads(row["arch"]) for row in rows)
    for row in rows:
        onnx.checker.check_model(str(path.parent / row["file"]))
    assert "nas-edge table transfer --to phone" in (path.parent / "README.txt").read_text()
    with pytest.raises(ConfigError, match="there already"):
        plan(stand)


def test_measured_networks_become_a_table_and_a_target(stand: Path) -> None:
    path = plan(stand, 12)
    fill(path)
    report = transfer_command(request(path))
    assert report.data["networks"] == 12
    table = read_table(Path(report.data["table"]))
    assert table.header.transfer["networks"] == 12
    assert table.header.origin.kind == "modelled"
    assert load_target("phone").table == "phone/onnxruntime-fp32"
    predicted = predict_command("phone", path.parent / "network-03.onnx", None, None, "tiny", 0.9)
    measured = float(list(csv.DictReader(path.open()))[2]["ms"])
    assert predicted.data["latency_ms"]["predicted"] == pytest.approx(measured, rel=0.3)
    assert predicted.data["latency_ms"]["origin"] == "modelled"
    with pytest.raises(ConfigError, match="--overwrite"):
        transfer_command(request(path))
    assert transfer_command(request(path, overwrite=True)).exit_code == 0


def test_a_target_that_names_another_table_is_told_of(stand: Path) -> None:
    path = plan(stand)
    fill(path)
    transfer_command(request(path))
    assert not any(line.startswith("note") for line in transfer_command(request(path, overwrite=True)).lines())
    lines = transfer_command(request(path, runtime="litert")).lines()
    assert any("write 'table: phone/litert-fp32' in its file" in line for line in lines)


def test_rows_that_were_not_measured_are_skipped_and_counted(stand: Path) -> None:
    path = plan(stand)
    with pytest.raises(TableError, match="no row has milliseconds"):
        transfer_command(request(path))
    fill(path)
    lines = path.read_text().splitlines()
    row = next(csv.reader([lines[3]]))
    row[4] = ""
    with path.open("w", newline="") as file:
        file.write("\n".join(lines[:3]) + "\n")
        csv.writer(file).writerow(row)
        file.write("\n".join(lines[4:]) + "\n")
    assert transfer_command(request(path)).data["skipped"] == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ms,", "time,", "lacks the column 'ms'"), ("network-02,", "network-01,", "twice"),
        ("{", "[", "csv:2"), (":[", ":", "csv:2: arch is not JSON"), ('""r"":', '""q"":', "csv:2: arch"),
        (',3,"{', ',three,"{', "csv:2: num_classes = 'three'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_its_line(stand: Path, old: str, new: str, message: str) -> None:
    path = plan(stand)
    fill(path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((TableError, FormatError), match=message):
        transfer_command(request(path))


def test_a_file_that_ends_within_a_row_is_told(stand: Path) -> None:
    path = plan(stand)
    fill(path)
    path.write_text(path.read_text()[:-60])
    with pytest.raises(TableError, match=r"csv:\d+: has not as many fields"):
        transfer_command(request(path))


def test_the_command_that_comes_next_has_a_budget(stand: Path) -> None:
    path = plan(stand)
    fill(path)
    last = transfer_command(request(path)).lines()[-1]
    assert re.fullmatch(r"next +nas-edge search --target phone --latency [\d.]+ms", last)


@pytest.mark.parametrize("text", ["nan", "-1", "0", "3 ms", "inf"])
def test_figures_that_are_none_are_refused(stand: Path, text: str) -> None:
    path = stand / "own.csv"
    path.write_text(f'name,arch,ms\na,"{{}}",{text}\n')
    with pytest.raises(TableError, match=r"own\.csv:2: ms"):
        transfer_command(request(path))


def test_one_figure_in_another_unit_is_found(stand: Path) -> None:
    path = plan(stand)
    fill(path)
    rows = list(csv.reader(path.open()))
    rows[3][4] = str(1000 * float(rows[3][4]))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(TableError, match=r"network-03.*another unit"):
        transfer_command(request(path))


def test_times_that_stand_beside_the_wrong_networks_are_noticed(stand: Path) -> None:
    path = plan(stand, 8)
    rows = list(csv.DictReader(path.open()))
    for row in rows:  # a device like the one that the transfer starts from, half as fast
        blocks = read_onnx(path.parent / row["file"]).blocks
        row["ms"] = f"{2 * sum(MS_PER_BYTE * max(b.weight_bytes, 100) for b in blocks):.5f}"
    written(path, rows)
    assert not any("WARNING" in line for line in transfer_command(request(path)).lines())
    for row, ms in zip(rows, [row["ms"] for row in reversed(rows)], strict=True):
        row["ms"] = ms
    written(path, rows)
    report = transfer_command(request(path, overwrite=True))
    assert any(
        line.startswith("WARNING") and "are the times in the order of the rows" in line for line in report.lines()
    )
    checked = check_command(report.to_json()["table"], None, None, None)
    assert checked.exit_code == 1
    assert any("was carried over by networks that it mispredicts" in line for line in checked.lines())


def test_unknown_sources_and_names_are_told(stand: Path) -> None:
    path = plan(stand)
    fill(path)
    with pytest.raises(UnknownNameError, match="did you mean board"):
        transfer_command(TransferRequest("phone", path, "bord", bundle="tiny"))
    with pytest.raises(ConfigError, match="--to"):
        transfer_command(TransferRequest("../phone", path, "board", bundle="tiny"))
    with pytest.raises(ConfigError, match="--target"):
        plan_command("../phone", 4, "board", None, None, "tiny", stand / "other", 0)
    with pytest.raises(ConfigError, match="fp23"):
        transfer_command(request(path, precision="fp23"))
