"""Harmonic-NAS's Jetson tables are carried over whole, with energy, source and missing licence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas_edge.errors import FormatError, TableError
from nas_edge.latency import LatencyPredictor, read_table
from nas_edge.latency.importers.harmonicnas import import_harmonicnas
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace

TABLES = Path(__file__).resolve().parents[2] / "latency_tables"
KEY = "MBConvLayer-input:1_48_28_28-in_ch:48-out_ch:96-mid_ch:192-expand:4-kernel:3-stride:2-use_se:0"


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_keys_become_blocks(tmp_path: Path) -> None:
    figures = {"lat": "1.5", "enrg": "7"}
    keys = [
        KEY,
        "MBConvLayer-input:1_24_112_112-in_ch:24-out_ch:24-mid_ch:0-expand:1-kernel:3-stride:1-use_se:0",
        "ConvLayer-input:1_3_224_224-in_ch:3-out_ch:24-kernel:3-stride:2-use_se:0-use_bn:1",
        "ConvLayer-input:1_1152_1_1-in_ch:1152-out_ch:1536-kernel:1-stride:1-use_se:0-use_bn:0",
        "LinearLayer-input:1536-in_ch:1536-out_ch:1000",
    ]
    path = write(tmp_path / "lut.json", dict.fromkeys(keys, figures))
    blocks = list(import_harmonicnas([path], "tx2").blocks)
    assert blocks[0] == BlockSpec(
        Kind.INVERTED_RESIDUAL, 28, 28, 48, 192, 96, 3, 2, 192, activation=Activation.H_SWISH
    )  # fmt: skip
    assert not blocks[1].expands
    assert blocks[1].residual
    assert blocks[1].activation is Activation.RELU
    assert [b.kind for b in blocks[2:]] == [Kind.STEM, Kind.HEAD, Kind.LINEAR]
    assert not blocks[3].norm


@pytest.mark.parametrize(
    ("key", "figures"),
    [
        (KEY, {"lat": "x", "enrg": "1"}),
        (KEY, {"lat": "1.0"}),
        (KEY, {"lat": "-1", "enrg": "1"}),
        (KEY, 3),
        ("PoolLayer-input:1_3_4_4-in_ch:3-out_ch:3-kernel:3-stride:1-use_se:0", {"lat": "1", "enrg": "1"}),
        ("MBConvLayer", {"lat": "1", "enrg": "1"}),
    ],
)
def test_what_is_no_entry_is_refused_by_name(tmp_path: Path, key: str, figures: object) -> None:
    with pytest.raises(FormatError, match="is not an entry of Harmonic-NAS"):
        import_harmonicnas([write(tmp_path / "lut.json", {key: figures})], "agx")


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{ms}.json", {KEY: {"lat": str(ms), "enrg": "1"}}) for ms in (1, 2)]
    with pytest.raises(TableError, match="another figure"):
        import_harmonicnas(paths, "agx")
    with pytest.raises(ValueError, match="board"):
        import_harmonicnas(paths, "nano")


@pytest.mark.parametrize(("board", "target"), [("tx2", "jetson-tx2"), ("agx", "jetson-agx-xavier")])
def test_the_shipped_tables_are_what_the_importer_makes(board: str, target: str, shared_dir: Path) -> None:
    path = TABLES / target / "harmonicnas-fp32"
    if not path.is_dir():
        pytest.skip(f"the table of {target} was removed, as it may be")
    made = import_harmonicnas((shared_dir / "data/latency/harmonicnas_jetson").glob(f"*_{board}.json"), board)
    shipped = read_table(path)
    assert shipped.header == made.header
    assert len(shipped.blocks) == len(made.blocks) == (198 if board == "tx2" else 199)
    for block, entry in made.blocks.items():
        assert shipped.blocks[block].ms == pytest.approx(entry.ms, rel=1e-5)
        assert shipped.blocks[block].energy_mj == pytest.approx(entry.energy_mj, rel=1e-5)
        assert shipped.blocks[block].origin is OriginKind.PUBLISHED


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
