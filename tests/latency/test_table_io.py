"""Tables survive a round trip, and nothing damaged is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nas_edge.errors import ConfigError, FormatError, NasEdgeError, TableError
from nas_edge.latency import (
    BlockEntry,
    LatencyTable,
    Role,
    Source,
    read_header,
    read_table,
    table_directory,
    write_table,
)
from nas_edge.latency.table import canonical
from nas_edge.origin import OriginKind
from nas_edge.spaces import BlockSpec, Kind, Padding, SearchSpace

from .toy import make_table


@pytest.fixture
def table(tiny_space: SearchSpace) -> LatencyTable:
    return make_table(tiny_space.restrict([32]), calibration=4, holdout=2)


@pytest.fixture
def directory(table: LatencyTable, tmp_path: Path) -> Path:
    path = table_directory(tmp_path, table.header)
    write_table(table, path)
    return path


def test_a_table_survives_a_round_trip_up_to_six_digits(table: LatencyTable, directory: Path) -> None:
    read = read_table(directory)
    assert directory.parts[-2:] == ("toy-board", "toy-fp32")
    assert read.header == table.header
    assert set(read.blocks) == set(table.blocks)
    for block, entry in table.blocks.items():
        assert read.blocks[block].ms == pytest.approx(entry.ms, rel=1e-5)
        assert read.blocks[block].count == entry.count
    assert [n.arch for n in read.networks] == [n.arch for n in table.networks]
    assert len(read.calibration_networks()) == 4
    assert [n.role for n in read.holdout_networks()] == [Role.HOLDOUT] * 2


def test_writing_twice_gives_the_same_bytes(directory: Path) -> None:
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    write_table(read_table(directory), directory)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before


def test_sources_notes_and_energy_survive(table: LatencyTable, tmp_path: Path) -> None:
    block, entry = next(iter(table.blocks.items()))
    header = replace(
        table.header,
        reference_quiet_ms=0.0875,
        reference_kernel="a, version 2",
        sources=(Source("A", "https://a", "1", "MIT", "all"),),
        notes=("a: b",),
    )
    entry = replace(entry, energy_mj=1.5, origin=OriginKind.PUBLISHED)
    write_table(LatencyTable(header, {block: entry}), tmp_path)
    read = read_table(tmp_path)
    assert read.header == header
    assert read.blocks == {block: replace(entry, ms=float(f"{entry.ms:.6g}"))}


def test_a_quiet_value_is_of_one_machine_and_one_kernel(table: LatencyTable) -> None:
    header = replace(table.header, reference_quiet_ms=0.0875, reference_kernel="a, version 2")
    machine = header.origin.machine
    assert header.quiet_reference_ms(machine, "a, version 2") == 0.0875
    assert header.quiet_reference_ms("another", "a, version 2") is None
    assert header.quiet_reference_ms(machine, "a, version 3") is None
    assert replace(header, reference_kernel="").quiet_reference_ms(machine, "") is None


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def nth_field(line: int, column: str, value: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        lines = text.splitlines()
        fields = lines[line - 1].split(",")
        fields[lines[0].split(",").index(column)] = value
        lines[line - 1] = ",".join(fields)
        return "\n".join(lines) + "\n"

    return change


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "", "fast"])
def test_a_latency_that_cannot_be_is_refused_with_file_and_line(directory: Path, value: str) -> None:
    edit(directory / "blocks.csv", nth_field(3, "ms", value))
    with pytest.raises(TableError, match=r"blocks\.csv:3: ms"):
        read_table(directory)


@pytest.mark.parametrize(
    ("column", "value"), [("kind", "blob"), ("kernel", "0"), ("se", "yes"), ("origin", "heard"), ("count", "-3")]
)
def test_a_value_that_does_not_fit_is_refused_with_file_and_line(directory: Path, column: str, value: str) -> None:
    edit(directory / "blocks.csv", nth_field(2, column, value))
    with pytest.raises((TableError, FormatError), match=r"blocks\.csv:2: "):
        read_table(directory)


def test_a_block_that_occurs_twice_is_refused(directory: Path) -> None:
    edit(directory / "blocks.csv", lambda text: text + text.splitlines()[1] + "\n")
    with pytest.raises(TableError, match=r"blocks\.csv:\d+: this block occurs twice"):
        read_table(directory)


def test_a_network_that_occurs_twice_is_refused(directory: Path) -> None:
    edit(directory / "networks.csv", lambda text: text + text.splitlines()[1] + "\n")
    edit(directory / "table.yaml", lambda text: text.replace("networks: 6", "networks: 7"))
    with pytest.raises(TableError, match="occurs twice"):
        read_table(directory)


def test_other_columns_are_refused_by_name(directory: Path) -> None:
    edit(directory / "blocks.csv", lambda text: text.replace("spread", "sigma", 1))
    with pytest.raises(FormatError, match=r"blocks\.csv:1: .*'spread'"):
        read_table(directory)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused(directory: Path, keep: float) -> None:
    for name in ("blocks.csv", "networks.csv"):
        whole = (directory / name).read_text(encoding="utf-8")
        (directory / name).write_text(whole[: int(keep * len(whole))], encoding="utf-8")
        with pytest.raises(NasEdgeError, match=name):
            read_table(directory)
        (directory / name).write_text(whole, encoding="utf-8")


def test_a_file_that_lost_whole_lines_is_refused(directory: Path) -> None:
    edit(directory / "blocks.csv", lambda text: "\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(FormatError, match="truncated or edited"):
        read_table(directory)


def test_an_unknown_key_is_refused_with_its_line(directory: Path) -> None:
    edit(directory / "table.yaml", lambda text: text.replace("threads: 1", "thread: 1\nthreads: 1"))
    with pytest.raises(ConfigError, match=r"table\.yaml:6: 'thread' is not known"):
        read_table(directory)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 1", "format: 2", "newer"),
        ("precision: fp32", "precision: fp31", "fp31"),
        ("threads: 1", "threads: 0", "positive"),
        ("runtime_version: '1.0'", "runtime_version: 1.0", "quote"),
        ("kind: measured", "kind: guessed", "guessed"),
        ("threads: 1", "threads: 1\nreference_quiet_ms: -1", "reference_quiet_ms"),
        ("threads: 1", "threads: 1\nreference_quiet_ms: fast", "milliseconds"),
        ("target: toy-board\n", "", "'target' is missing"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(directory: Path, old: str, new: str, message: str) -> None:
    edit(directory / "table.yaml", lambda text: text.replace(old, new, 1))
    with pytest.raises(NasEdgeError, match=message):
        read_header(directory / "table.yaml")


def test_a_missing_file_is_named(directory: Path) -> None:
    (directory / "networks.csv").unlink()
    with pytest.raises(FormatError, match=r"networks\.csv"):
        read_table(directory)


def test_an_unwritable_directory_is_one_line(table: LatencyTable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasEdgeError, match="file"):
        write_table(table, tmp_path / "file" / "toy")


def test_an_entry_must_be_positive_and_finite() -> None:
    with pytest.raises(TableError, match="ms"):
        BlockEntry(float("nan"))
    with pytest.raises(TableError, match="energy_mj"):
        BlockEntry(1.0, energy_mj=-1.0)


def test_blocks_that_compute_the_same_share_an_entry(table: LatencyTable) -> None:
    block = BlockSpec(Kind.INVERTED_RESIDUAL, 8, 8, 16, 64, 16, 3, 1, 64, Padding.SAME)
    known = LatencyTable(table.header, {block: BlockEntry(1.0)})
    other = replace(block, padding=Padding.SYMMETRIC)
    strided = replace(block, stride=2)
    assert known.find(other) == BlockEntry(1.0)
    assert known.find(replace(strided, padding=Padding.SYMMETRIC)) is None
    assert canonical(strided) == strided


def test_a_thousand_rows_are_read_fast_enough_for_a_search(tmp_path: Path) -> None:
    table = make_table(SearchSpace.named("mcu"), calibration=0)
    write_table(table, tmp_path)
    begun = time.perf_counter()
    assert len(read_table(tmp_path).blocks) == len(table.blocks) > 900
    assert time.perf_counter() - begun < 2.0  # a runaway, not a benchmark: 0.02 s on an idle core


def test_a_table_of_format_1_is_read_for_ever() -> None:
    table = read_table(Path(__file__).parent / "specimens" / "table-format-1")
    header = table.header
    assert (header.target, header.runtime, header.threads, header.regime) == ("toy-board", "toy", 1, "hot")
    assert header.origin.kind is OriginKind.MEASURED
    assert header.reference_quiet_ms == 0.0875
    assert header.quiet_reference_ms("toy-board #1", "a kernel of today") is None  # of which kernel was not said then
    assert header.sources[0].licence == "MIT"
    assert len(table.blocks) == 3
    stem = next(entry for block, entry in table.blocks.items() if block.kind is Kind.STEM)
    assert (stem.p90_ms, stem.spread, stem.energy_mj, stem.origin) == (0.02, 0.01, 1.5, OriginKind.PUBLISHED)
    assert [network.role for network in table.networks] == [Role.CALIBRATION, Role.HOLDOUT, Role.CALIBRATION]
    assert SearchSpace.named("lite0").from_json(table.networks[0].arch).any()
