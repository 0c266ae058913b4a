"""Harmonic-NAS's Jetson tables are carried over whole, with energy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import TableError
from nas_edge.latency import LatencyPredictor, LatencyTable, read_table
from nas_edge.latency.importers import ImportRequest, get_table_format
from nas_edge.latency.suspicious import monotony
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace

TABLES = Path(__file__).resolve().parents[2] / "latency_tables"
KEY = "MBConvLayer-input:1_48_28_28-in_ch:48-out_ch:96-mid_ch:192-expand:4-kernel:3-stride:2-use_se:0"


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def imported(*paths: Path) -> LatencyTable:
    return get_table_format("harmonicnas").import_table(paths, ImportRequest("board"))


def test_keys_become_blocks(tmp_path: Path) -> None:
    figures = {"lat": "1.5", "enrg": "7"}
    keys = [
        KEY,
        "MBConvLayer-input:1_24_112_112-in_ch:24-out_ch:24-mid_ch:0-expand:1-kernel:3-stride:1-use_se:0",
        "ConvLayer-input:1_3_224_224-in_ch:3-out_ch:24-kernel:3-stride:2-use_se:0-use_bn:1",
        "ConvLayer-input:1_1152_1_1-in_ch:1152-out_ch:1536-kernel:1-stride:1-use_se:0-use_bn:0",
        "LinearLayer-input:1536-in_ch:1536-out_ch:1000",
    ]
    table = imported(write(tmp_path / "lut.json", dict.fromkeys(keys, figures)))
    blocks = list(table.blocks)
    assert blocks[0] == BlockSpec(
        Kind.INVERTED_RESIDUAL, 28, 28, 48, 192, 96, 3, 2, 192, activation=Activation.H_SWISH
    )  # fmt: skip
    assert not blocks[1].expands
    assert blocks[1].residual
    assert blocks[1].activation is Activation.RELU
    assert [b.kind for b in blocks[2:]] == [Kind.STEM, Kind.HEAD, Kind.LINEAR]
    assert not blocks[3].norm
    assert {(e.ms, e.energy_mj) for e in table.blocks.values()} == {(1.5, 7.0)}


@pytest.mark.parametrize(
    ("key", "figures", "message"),
    [
        (KEY, {"lat": "x", "enrg": "1"}, "lat = 'x'"),
        (KEY, {"lat": "1.0"}, "has no 'enrg'"),
        (KEY, {"lat": "-1", "enrg": "1"}, "lat = -1"),
        (KEY, 3, "not a mapping"),
        ("PoolLayer-input:1_3_4_4-in_ch:3-out_ch:3-kernel:3-stride:1-use_se:0", {"lat": "1", "enrg": "1"}, "no layer"),
        ("MBConvLayer", {"lat": "1", "enrg": "1"}, "lacks 'input'"),
    ],
)
def test_what_is_no_entry_is_refused_by_line_and_key(tmp_path: Path, key: str, figures: object, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        imported(write(tmp_path / "lut.json", {key: figures}))
    assert str(caught.value).startswith(f"{tmp_path}/lut.json:1: '{key}'")


def test_files_that_disagree_by_far_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{ms}.json", {KEY: {"lat": str(ms), "enrg": "1"}}) for ms in (1, 4)]
    with pytest.raises(TableError, match=r"4\.json:1: .*one key cannot have two values"):
        imported(*paths)


@pytest.mark.parametrize(("board", "rising"), [("agx", 8), ("tx2", 7)])
def test_few_groups_of_a_launch_bound_board_rise_with_the_kernel(board: str, rising: int, shared_dir: Path) -> None:
    """The counts are those that the data's own description gives."""
    table = imported(shared_dir / f"data/latency/harmonicnas_jetson/lut_ofa_imdb_{board}.json")
    found = monotony(table, tolerance=0.0)
    assert (found.groups, found.groups - found.falling) == (30, rising)


@pytest.mark.parametrize("target", ["jetson-tx2", "jetson-agx-xavier"])
def test_the_default_space_is_modelled_on_a_jetson_with_a_wide_interval(target: str) -> None:
    path = TABLES / target / "harmonicnas-fp32"
    if not path.is_dir():
        pytest.skip(f"the table of {target} was removed, as it may be")
    space = SearchSpace.named("lite0")
    prediction = LatencyPredictor.of(read_table(path), space, 6).predict(np.stack([space.smallest(), space.largest()]))
    assert prediction.interval == "assumed"
    assert (prediction.exact_share < 0.05).all()
    assert (prediction.high > 1.25 * prediction.point).all()
    assert (prediction.point > 3).all()
    assert (prediction.point < 30).all()


def test_once_for_all_s_own_space_rests_on_the_table_at_224_pixels() -> None:
    path = TABLES / "jetson-tx2" / "harmonicnas-fp32"
    if not path.is_dir():
        pytest.skip("the table was removed, as it may be")
    space = SearchSpace.named("ofa-mbv3-w1.2")
    predictor = LatencyPredictor.of(read_table(path), space, 1000)
    population = space.restrict([224]).sample(20, np.random.default_rng(0))
    assert (predictor.predict(population).exact_share > 0.95).all()
