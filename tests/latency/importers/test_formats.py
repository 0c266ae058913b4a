"""The other formats: ProxylessNAS, NSGANetV2, nn-Meter, our CSV; and the registry."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.errors import ConfigError, NasEdgeError, UnknownNameError
from nas_edge.latency import BlockEntry, LatencyTable, TableHeader, read_table, write_table
from nas_edge.latency.importers import (
    ImportRequest,
    get_table_format,
    register_table_format,
    registry,
    table_format_names,
)
from nas_edge.latency.plan import distinct_blocks
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec, Kind, Padding, Precision, SearchSpace

RATIO = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0"


def imported(name: str, *paths: Path, **request: Any) -> LatencyTable:
    return get_table_format(name).import_table(paths, ImportRequest("phone", **request))


def put(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# The registry --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", table_format_names())
def test_every_format_describes_itself_and_refuses_an_empty_file(name: str, tmp_path: Path) -> None:
    found = get_table_format(name)
    assert found.name == name
    assert found.summary
    for suffix in (".csv", ".yaml", ".json", ".md"):
        with pytest.raises(NasEdgeError, match="empty"):
            found.import_table([put(tmp_path / f"empty{suffix}", "")], ImportRequest("phone"))


def test_a_format_of_somebody_else_s_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))

    @register_table_format
    class Mine:
        name = "mine"
        summary = "nothing at all"

        def import_table(self, paths: Any, request: ImportRequest) -> LatencyTable:
            return LatencyTable(TableHeader(request.target, "mine"), {})

    assert "mine" in table_format_names()
    assert imported("mine").header.runtime == "mine"
    with pytest.raises(UnknownNameError, match="unknown table format 'nsganet'; did you mean nsganetv2"):
        get_table_format("nsganet")


# ProxylessNAS --------------------------------------------------------------------------------------------------


def test_proxylessnas_blocks_are_read_by_ratio_and_variance(shared_dir: Path) -> None:
    path = shared_dir / "data/latency/proxylessnas_pixel1/mobile_trim.yaml"
    table = imported("proxylessnas", path)
    raw = yaml.safe_load(path.read_text())
    assert len(table.blocks) == len(raw) == 72
    block = BlockSpec(Kind.INVERTED_RESIDUAL, 112, 112, 16, 48, 24, 3, 2, 48, activation=Activation.RELU6)
    entry = table.blocks[block]
    assert (entry.ms, entry.count, entry.origin) == (raw[RATIO]["mean"], 164, OriginKind.PUBLISHED)
    assert entry.spread == pytest.approx(1.349 * raw[RATIO]["var"] ** 0.5 / raw[RATIO]["mean"])
    assert sum(e.ms for e in table.blocks.values()) == pytest.approx(sum(v["mean"] for v in raw.values()))


@pytest.mark.parametrize(
    ("key", "figures", "message"),
    [
        (RATIO.replace("expand:3", "expand:48"), {"mean": 1}, "is a number of middle channels; .*--format ofa"),
        (RATIO, {"mean": 1, "std": 0.1}, "'std' where this format has 'var'"),
        (RATIO, {"mean": 1, "var": -0.1}, "var = -0.1"),
        ("Logits-input:1x1x1280-output:1000", {"mean": 1}, "not the map before the pooling"),
        ("Conv_2-input:1x1x1152-output:1x1x1536", {"mean": 1}, "no layer of ProxylessNAS"),
    ],
)
def test_what_is_not_proxylessnas_s_is_refused(tmp_path: Path, key: str, figures: object, message: str) -> None:
    with pytest.raises(NasEdgeError, match=rf"t\.json:1: .*{message}"):
        imported("proxylessnas", put(tmp_path / "t.json", {key: figures}))


def test_an_ofa_file_is_no_proxylessnas_file_nor_the_other_way_round(shared_dir: Path) -> None:
    data = shared_dir / "data/latency"
    with pytest.raises(NasEdgeError, match=r"224_lookup_table.yaml:\d+: "):
        imported("proxylessnas", data / "ofa_note10/224_lookup_table.yaml")
    with pytest.raises(NasEdgeError, match=r"mobile_trim.yaml:\d+: "):
        imported("ofa", data / "proxylessnas_pixel1/mobile_trim.yaml")


# NSGANetV2 -----------------------------------------------------------------------------------------------------


def test_nsganetv2_covers_both_widths_of_once_for_all_but_for_the_pooling(shared_dir: Path, tmp_path: Path) -> None:
    raw = gzip.decompress((shared_dir / "data/latency/nsganetv2_i7/i7-8700K_lut.yaml.gz").read_bytes())
    path = tmp_path / "i7.yaml"
    path.write_bytes(raw)
    table = imported("nsganetv2", path)
    assert len(table.blocks) == 4050
    for name in ("ofa-mbv3-w1.0", "ofa-mbv3-w1.2"):
        missing = [b for b in distinct_blocks(SearchSpace.named(name), 1000) if table.find(b) is None]
        assert {block.kind for block in missing} == {Kind.POOLING}


def test_a_width_that_tells_no_stage_is_refused(tmp_path: Path) -> None:
    key = "MBConv-input:28x28x{0}-output:28x28x{0}-expand:3-kernel:3-stride:1-idskip:1-se:0"
    table = imported("nsganetv2", put(tmp_path / "t.json", {key.format(80): {"mean": 1.0, "var": 0.0}}))
    assert next(iter(table.blocks)).activation is Activation.H_SWISH
    with pytest.raises(NasEdgeError, match=r"t\.json:1: .*64 channels are no stage"):
        imported("nsganetv2", put(tmp_path / "t.json", {key.format(64): {"mean": 1.0}}))


# nn-Meter ------------------------------------------------------------------------------------------------------

KERNELS = """model_path,HW,CIN,COUT,KERNEL_SIZE,STRIDES,feature_0,feature_1,latency
conv-bn-relu_A,112,3,32,3,2,1,1,4.0
conv-bn-relu_B,56,24,144,1,1,1,1,2.0
conv-bn-relu_B2,56,24,144,1,1,1,1,2.2
dwconv-bn-relu_C,56,144,144,5,2,1,1,3.0
conv-bn_D,28,144,40,1,1,1,1,1.0
fc_E,,1280,1000,,,1,1,0.5
global-avgpool_F,7,1280,,,,1,1,0.1
hswish_G,7,1280,,,,1,1,0.1
se_H,7,960,,,,1,1,0.3
"""


def test_nn_meter_s_kernels_become_blocks_and_three_of_them_an_inverted_residual(tmp_path: Path) -> None:
    table = imported("nnmeter", put(tmp_path / "kernels.csv", KERNELS))
    by_kind = {kind: [b for b in table.blocks if b.kind is kind] for kind in Kind}
    assert {kind: len(found) for kind, found in by_kind.items()} == dict.fromkeys(Kind, 1)
    (block,) = by_kind[Kind.INVERTED_RESIDUAL]
    expected = BlockSpec(Kind.INVERTED_RESIDUAL, 56, 56, 24, 144, 40, 5, 2, 144, activation=Activation.RELU)
    assert block == expected
    assert table.blocks[block] == BlockEntry(6.0, origin=OriginKind.MODELLED)
    assert table.blocks[by_kind[Kind.HEAD][0]].ms == pytest.approx(2.1)  # measured twice
    assert any("1 of hswish, 1 of se" in note for note in table.header.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",4.0", ",-4.0", r"k\.csv:2: 'conv-bn-relu_A': latency = -4.0"),
        (",4.0", ",4ms", r"k\.csv:2: .*without a unit"),
        (",4.0", ",", r"k\.csv:2: .*latency = ''"),
        ("112,3,32", "112,three,32", r"k\.csv:2: .*CIN = 'three'"),
        ("conv-bn-relu_A", "Model A", r"k\.csv:2: .*does not begin with a kernel's type"),
        (",latency", ",time", r"k\.csv:1: lacks the column 'latency'"),
        (KERNELS, ",mobilenetv3large_579,71.4404,1.574,2.12\n", "log of whole networks"),
    ],
)
def test_what_nn_meter_did_not_write_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(NasEdgeError, match=message):
        imported("nnmeter", put(tmp_path / "k.csv", KERNELS.replace(old, new, 1)))


# Our own CSV ---------------------------------------------------------------------------------------------------

SIMPLE = """kind,height,width,in,out,kernel,stride,mid,se,activation,residual,ms
stem,224,224,3,16,3,2,,0,h_swish,0,1.93
inverted_residual,112,112,16,24,3,2,64,0,relu,0,3.4
pooling,7,7,960,960,1,1,,0,none,0,0.02
"""


def test_a_csv_written_by_hand_becomes_a_table(tmp_path: Path) -> None:
    table = imported("csv", put(tmp_path / "t.csv", SIMPLE))
    assert list(table.blocks) == [
        BlockSpec(Kind.STEM, 224, 224, 3, 3, 16, 3, 2, activation=Activation.H_SWISH),
        BlockSpec(Kind.INVERTED_RESIDUAL, 112, 112, 16, 64, 24, 3, 2, 64, activation=Activation.RELU),
        BlockSpec(Kind.POOLING, 7, 7, 960, 960, 960, groups=960),
    ]
    assert [entry.ms for entry in table.blocks.values()] == [1.93, 3.4, 0.02]
    assert table.header.sources[0].licence == "none stated"
    in_us = SIMPLE.replace(",ms", ",us").replace("mid", "expand").replace(",64,", ",4,")
    other = imported("csv", put(tmp_path / "us.csv", in_us))
    assert list(other.blocks) == list(table.blocks)
    assert next(iter(other.blocks.values())).ms == pytest.approx(0.00193)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3.4\n", "nan\n", r"t\.csv:3: ms = nan is not a positive, finite figure"),
        ("3.4\n", "-3.4\n", r"t\.csv:3: ms = -3.4"),
        ("3.4\n", "\n", r"t\.csv:3: ms is missing"),
        ("3.4\n", "3.4us\n", r"t\.csv:3: ms = '3.4us' is not a number without a unit"),
        (",64,", ",,", r"t\.csv:3: mid is missing"),
        ("inverted_residual", "bottleneck", r"t\.csv:3: column 'kind'"),
        (",relu,", ",swish,", r"t\.csv:3: column 'activation'"),
        (",ms\n", ",ms,us\n", r"t\.csv:2: 12 fields where 13 are expected"),
        (",ms\n", ",time\n", r"t\.csv:1: does not know the column 'time'"),
        (",se,", ",squeeze,", r"t\.csv:1: does not know the column 'squeeze'"),
        ("kind,", "kind,kind,", r"t\.csv:1: the column 'kind' is there twice"),
        ("pooling,7,7,960,960", "inverted_residual,112,112,16,24", r"t\.csv:4"),
        ("0.02\n", "0.02", "the last line has no end"),
        (SIMPLE, SIMPLE.replace(",", ";"), r"t\.csv:1: .*\(fields are separated by commas\)"),
    ],
)
def test_a_csv_that_cannot_be_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(NasEdgeError, match=message):
        imported("csv", put(tmp_path / "t.csv", SIMPLE.replace(old, new, 1)))


def test_two_units_or_two_ways_to_say_the_middle_channels_are_refused(tmp_path: Path) -> None:
    rows = list(csv.reader(SIMPLE.splitlines()))
    for extra, message in (("us", "both ms and us"), ("expand", "both mid and expand")):
        text = "\n".join(",".join([*row, extra if i == 0 else "1"]) for i, row in enumerate(rows)) + "\n"
        with pytest.raises(NasEdgeError, match=rf"t\.csv:1: .*{message}"):
            imported("csv", put(tmp_path / "t.csv", text))


def test_one_block_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    text = SIMPLE + SIMPLE.splitlines()[2].replace("3.4", "3.5") + "\n"
    with pytest.raises(NasEdgeError, match=r"t\.csv:5: .*is the same block as line 3; keep one"):
        imported("csv", put(tmp_path / "t.csv", text))


SIZES = st.sampled_from((1, 7, 14, 28, 56))
CHANNELS = st.integers(1, 40).map(lambda n: 8 * n)


@st.composite
def blocks(draw: st.DrawFn) -> BlockSpec:
    kind = draw(st.sampled_from(Kind))
    side, inputs, outputs = draw(SIZES), draw(CHANNELS), draw(CHANNELS)
    mid = draw(CHANNELS) if kind is Kind.INVERTED_RESIDUAL else inputs
    groups = {Kind.INVERTED_RESIDUAL: mid, Kind.POOLING: inputs}.get(kind, 1)
    return BlockSpec(
        kind, side, side, inputs, mid, outputs, draw(st.sampled_from((1, 3, 5, 7))), draw(st.sampled_from((1, 2))),
        groups, draw(st.sampled_from(Padding)), draw(st.sampled_from(Activation)), draw(st.booleans()),
        draw(st.booleans()), draw(st.booleans()),
    )  # fmt: skip


ENTRIES = st.builds(
    BlockEntry,
    ms=st.floats(1e-4, 1e4),
    p90_ms=st.none() | st.floats(1e-4, 1e4),
    spread=st.none() | st.floats(0, 3),
    count=st.integers(0, 10**6),
    energy_mj=st.none() | st.floats(1e-4, 1e4),
    origin=st.sampled_from(OriginKind),
)


@settings(max_examples=25, deadline=None)  # each writes seven files and flushes them to the disk
@given(st.dictionaries(blocks(), ENTRIES, max_size=8))
def test_any_table_survives_its_files_and_its_blocks_csv_survives_an_import(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[BlockSpec, BlockEntry]
) -> None:
    folder = tmp_path_factory.mktemp("round-trip")
    table = LatencyTable(TableHeader("phone", "toy"), entries)
    write_table(table, folder)
    read = read_table(folder)
    assert read.header == table.header
    assert set(read.blocks) == set(entries)
    for block, entry in entries.items():
        for name in ("ms", "p90_ms", "spread", "energy_mj"):
            found, written = getattr(read.blocks[block], name), getattr(entry, name)
            assert found == (None if written is None else pytest.approx(written, rel=1e-5))
        assert (read.blocks[block].count, read.blocks[block].origin) == (entry.count, entry.origin)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_table(read, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    if len(entries) > 3:  # so few that no unit can be told from them
        return
    rows = [row[:-1] for row in csv.reader((folder / "blocks.csv").read_text().splitlines())]
    (folder / "mine.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    if not entries:
        with pytest.raises(NasEdgeError, match="holds no rows"):
            imported("csv", folder / "mine.csv")
        return
    again = imported("csv", folder / "mine.csv")
    published = {b: replace(e, origin=OriginKind.PUBLISHED) for b, e in read.blocks.items()}
    assert again.blocks == published


def test_a_precision_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    rows = [f"{line},{'precision' if i == 0 else 'int8'}" for i, line in enumerate(SIMPLE.splitlines())]
    path = put(tmp_path / "t.csv", "\n".join(rows) + "\n")
    with pytest.raises(NasEdgeError, match=r"t\.csv:2: a block of int8 in a table of fp32; say --precision"):
        imported("csv", path)
    table = imported("csv", path, precision=Precision.INT8)
    assert {block.precision for block in table.blocks} == {Precision.INT8}


def test_ncnn_says_which_devices_and_conditions_there_are(tmp_path: Path) -> None:
    lines = ["### Board A", "num_threads = 4", "gpu_device = -1"]
    lines += [f"  {name}  min = {ms}  max = 99.00  avg = 50.00" for name, ms in (("mnasnet", 9.5), ("resnet18", 80.0))]
    path = put(tmp_path / "README.md", "\n".join(lines) + "\n")
    several = "\n".join([*lines, lines[3], *(line.replace("Board A", "Board C") for line in lines)]) + "\n"
    with pytest.raises(ConfigError, match=r"'Board A' and 'Board C'; say more of it by --option device=NAME"):
        imported("ncnn", put(tmp_path / "several.md", several), threads=4)
    for options, threads, message in (
        ({"device": "Board B"}, 4, "no such device"),
        ({"device": "Board A"}, 1, "only 4 threads with gpu -1"),
        ({"device": "Board A", "gpu": "0"}, 4, "only 4 threads with gpu -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            imported("ncnn", path, options=options, threads=threads)
    with pytest.raises(NasEdgeError, match="needs 3 networks whose blocks are known, not 1"):
        imported("ncnn", path, options={"device": "Board A"}, threads=4)
    with pytest.raises(NasEdgeError, match=r"README\.md:6: mnasnet of Board A is there twice"):
        imported("ncnn", put(tmp_path / "README.md", "\n".join([*lines, lines[3]]) + "\n"), threads=4)
