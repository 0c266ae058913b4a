"""Once-for-All's tables: every block of its space is found, and sums are its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas_edge.errors import NasEdgeError
from nas_edge.latency import LatencyPredictor, LatencyTable
from nas_edge.latency.importers import ImportRequest, get_table_format
from nas_edge.latency.plan import distinct_blocks
from nas_edge.latency.suspicious import contaminated, describe_block
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace

SPACE = SearchSpace.named("ofa-mbv3-w1.2")
SIDES = (160, 176, 192, 208, 224)
BLOCK = "expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0"
MEASURED = {"count": 500, "mean": 1.5, "std": 0.1}


@pytest.fixture(scope="module")
def note10(shared_dir: Path) -> Path:
    return shared_dir / "data/latency/ofa_note10"


def imported(*paths: Path, **request: Any) -> LatencyTable:
    return get_table_format("ofa").import_table(paths, ImportRequest("phone", **request))


def their_sum(lut: dict[str, dict[str, float]], arch: dict[str, Any]) -> float:
    """Once-for-All's `MBv3LatencyTable` on a network of width 1.2, written from its rules, none of our code used."""
    side = arch["r"]
    total, size = lut[f"Conv-input:{side}x{side}x3-output:{side // 2}x{side // 2}x24"]["mean"], (side + 1) // 2
    layers = [(24, 24, 3, 1, 1, 0, 0)]
    inputs = 24
    stages = [(32, 2, 0, 0), (48, 2, 1, 0), (96, 2, 0, 1), (136, 1, 1, 1), (192, 2, 1, 1)]
    for number, (width, stride, se, hs) in enumerate(stages):
        for slot in range(arch["d"][number]):
            kernel, ratio = arch["ks"][4 * number + slot], arch["e"][4 * number + slot]
            layers.append((inputs, width, kernel, stride if slot == 0 else 1, ratio, se, hs))
            inputs = width
    for before, after, kernel, stride, ratio, se, hs in layers:
        out = int((size - 1) / stride + 1)
        total += lut[
            f"expanded_conv-input:{size}x{size}x{before}-output:{out}x{out}x{after}-expand:{before * ratio}"
            f"-kernel:{kernel}-stride:{stride}-idskip:{int(stride == 1 and before == after)}-se:{se}-hs:{hs}"
        ]["mean"]
        size = out
    return total + sum(
        lut[key]["mean"]
        for key in (
            f"Conv_1-input:{size}x{size}x192-output:{size}x{size}x1152",
            f"AvgPool2D-input:{size}x{size}x1152-output:1x1x1152",
            "Conv_2-input:1x1x1152-output:1x1x1536",
            "Logits-input:1x1x1536-output:1000",
        )
    )


@pytest.mark.parametrize("side", SIDES)
def test_plain_sums_are_once_for_all_s_own_to_the_last_digit(side: int, note10: Path) -> None:
    path = note10 / f"{side}_lookup_table.yaml"
    space = SPACE.restrict([side])
    table = imported(path, space=SPACE)
    assert all(block in table.blocks for block in distinct_blocks(space, 1000))
    population = space.sample(200, np.random.default_rng(side))
    prediction = LatencyPredictor.of(table, space, 1000).predict(population, confidence=0.5)
    lut = yaml.safe_load(path.read_text())
    assert prediction.point == pytest.approx([their_sum(lut, space.to_json(row)) for row in population], rel=1e-12)
    assert (prediction.exact_share == 1.0).all()


def test_five_files_together_cover_the_space_and_agree_with_each_within_two_per_mille(note10: Path) -> None:
    """Blocks that two resolutions share were timed in both; the table holds their weighted mean."""
    table = imported(*sorted(note10.glob("*.yaml")), space=SPACE)
    assert len(table.blocks) == 450
    assert table.header.space == {"name": SPACE.name, "num_classes": 1000, "resolutions": list(SIDES)}
    assert sum(entry.count for entry in table.blocks.values()) > 5 * 96 * 50
    population = SPACE.restrict(SIDES).sample(300, np.random.default_rng(0))
    prediction = LatencyPredictor.of(table, SPACE, 1000).predict(population, confidence=0.5)
    luts = {side: yaml.safe_load((note10 / f"{side}_lookup_table.yaml").read_text()) for side in SIDES}
    archs = [SPACE.to_json(row) for row in population]
    assert (prediction.exact_share == 1.0).all()
    assert prediction.point == pytest.approx([their_sum(luts[a["r"]], a) for a in archs], rel=2e-3)


@pytest.mark.parametrize("board", ["jetson", "jetson_GPU"])
@pytest.mark.parametrize("side", [160, 164, 224])
def test_the_six_contaminated_keys_of_dynamic_ofa_are_found(
    board: str, side: int, note10: Path, shared_dir: Path
) -> None:
    folder = shared_dir / "data/latency/dynamicofa_jetson" / board
    table = imported(folder / f"{side}_lookup_table.json")
    found = contaminated(table, {"note10": imported(*sorted(note10.glob("*.yaml")))})
    half, last = side // 2, -(-side // 32)
    assert {row.text for row in found} == {
        f"stem {side}x{side}x3 -> 24",
        f"inverted_residual {half}x{half}x24 -> 24, k3 s1 mid 24",
        f"head {last}x{last}x192 -> 1152",
        f"pooling {last}x{last}x1152 -> 1152",
        "head 1x1x1152 -> 1536",
        "linear 1x1x1536 -> 1000",
    }
    assert any("note10" in row.why for row in found) == (side != 164)  # the Note10 was never measured at 164 pixels


@pytest.mark.parametrize("board", ["jetson", "jetson_GPU"])
def test_they_are_found_in_an_import_of_all_resolutions_as_well(board: str, shared_dir: Path) -> None:
    """Seventeen stems and first blocks, three sizes of the last map, and the two that all files share."""
    paths = sorted((shared_dir / "data/latency/dynamicofa_jetson" / board).glob("*.json"))
    found = contaminated(imported(*paths))
    kinds = [row.text.split()[0] for row in found]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "stem": 17, "inverted_residual": 17, "head": 4, "pooling": 3, "linear": 1,
    }  # fmt: skip
    clean = imported(*paths, without=("Conv", "AvgPool2D", "Logits"))
    assert {row.text.split()[0] for row in contaminated(clean)} == {"inverted_residual"}


def test_the_note10_table_itself_is_clean(note10: Path) -> None:
    assert contaminated(imported(*sorted(note10.glob("*.yaml")))) == ()


# What is refused -----------------------------------------------------------------------------------------------


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return path


def test_every_layer_becomes_its_block(tmp_path: Path) -> None:
    keys = [
        "Conv-input:224x224x3-output:112x112x24",
        BLOCK,
        "Conv_1-input:7x7x192-output:7x7x1152",
        "AvgPool2D-input:7x7x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    ]
    table = imported(write(tmp_path / "a.json", dict.fromkeys(keys, MEASURED)))
    kinds = [block.kind for block in table.blocks]
    assert kinds == [Kind.STEM, Kind.INVERTED_RESIDUAL, Kind.HEAD, Kind.POOLING, Kind.HEAD, Kind.LINEAR]
    block = list(table.blocks)[1]
    assert block == BlockSpec(Kind.INVERTED_RESIDUAL, 112, 112, 24, 144, 32, 3, 2, 144, activation=Activation.RELU)
    assert table.blocks[block].spread == pytest.approx(1.349 * 0.1 / 1.5)
    assert describe_block(block) == "inverted_residual 112x112x24 -> 32, k3 s2 mid 144"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (BLOCK.replace("expand:144", "expand:6"), "is a ratio; is this a file of --format proxylessnas"),
        (BLOCK.replace("expand:144", "expand:20"), "neither a ratio nor a number of middle channels"),
        (BLOCK.replace("112x112x24", "112x112x4").replace("expand:144", "expand:6"), "can be a ratio as well as"),
        (BLOCK.replace("stride:2", "stride:1"), "makes 112x112 of 112x112, not 56x56"),
        (BLOCK.replace("idskip:0", "idskip:1"), "differ in shape"),
        (BLOCK.replace("kernel:3", "kernel:4"), "kernel = 4 is even"),
        (BLOCK.replace("-se:0", "-se:2"), "se = '2' is neither 0 nor 1"),
        (BLOCK.replace("-hs:0", ""), "lacks 'hs'; is it a file of another format"),
        (BLOCK + "-groups:2", "has 'groups', which this format has not"),
        (BLOCK + "-hs:1", "'hs' is there twice"),
        (BLOCK.replace("112x112x24", "112x112"), "neither height x width x channels nor channels"),
        (BLOCK.replace("kernel:3", "kernel:x3"), "is not a whole number"),
        (BLOCK.replace("kernel:3", "kernel"), "is not a field like"),
        ("Logits-input:7x7x1280-output:1000", "a larger one is ProxylessNAS's"),
        ("Conv-input:224x224x3-output:56x56x24", "is no convolution of stride 2|is not a convolution of stride 2"),
        ("AvgPool2D-input:7x7x1152-output:2x2x1152", "is not a global pooling"),
        ("MBConv-input:7x7x8-output:7x7x8", "is no layer of Once-for-All"),
    ],
)
def test_an_ambiguous_or_contradictory_key_is_refused_with_file_line_and_key(
    tmp_path: Path, key: str, message: str
) -> None:
    good = "Conv-input:64x64x3-output:32x32x24"
    path = write(tmp_path / "table.json", {good: MEASURED, key: MEASURED})
    with pytest.raises(NasEdgeError, match=message) as caught:
        imported(path)
    assert str(caught.value).startswith(f"{path}:7: '{key}'")


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"count": 5, "std": 0.1}, "has no 'mean', only 'count', 'std'"),
        ({"mean": float("nan")}, "mean = nan"),
        ({"mean": float("inf")}, "mean = inf"),
        ({"mean": -1.5}, "mean = -1.5"),
        ({"mean": 0}, "mean = 0.0"),
        ({"mean": "1.5ms"}, "mean = '1.5ms' is not a number of milliseconds without a unit"),
        ({"mean": True}, "mean = true"),
        ({"mean": 1.5, "std": -0.1}, "std = -0.1"),
        ({"mean": 1.5, "count": 2.5}, "count = 2.5"),
        ({"mean": 1.5, "var": 0.1}, "is this a file of --format proxylessnas"),
        ([1.5], "is not a mapping of figures"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_with_file_and_line(tmp_path: Path, figures: object, message: str) -> None:
    path = write(tmp_path / "table.json", {BLOCK: figures})
    with pytest.raises(NasEdgeError, match=message) as caught:
        imported(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_another_space_s_blocks_are_refused_where_a_space_is_given(tmp_path: Path, note10: Path) -> None:
    path = note10 / "224_lookup_table.yaml"
    with pytest.raises(NasEdgeError, match=r"224_lookup_table\.yaml:\d+: '.*is no block of space 'ofa-mbv3-w1.0'"):
        imported(path, space=SearchSpace.named("ofa-mbv3-w1.0"))


def test_one_key_with_two_values_is_refused_and_a_repeated_measurement_averaged(tmp_path: Path) -> None:
    def file(name: str, mean: float, count: int = 100) -> Path:
        return write(tmp_path / name, {BLOCK: {"mean": mean, "count": count, "std": 0.0}})

    with pytest.raises(NasEdgeError, match=r"b\.json:2: .*1500 ms, but 1.5 ms in a\.json:2; one key cannot"):
        imported(file("a.json", 1.5), file("b.json", 1500.0))
    table = imported(file("a.json", 1.0, 100), file("b.json", 1.3, 200))
    (entry,) = table.blocks.values()
    assert (entry.ms, entry.count) == (pytest.approx(1.2), 300)
    assert any("measured several times" in note for note in table.header.notes)
    with pytest.raises(NasEdgeError, match="is given twice"):
        imported(tmp_path / "a.json", tmp_path / "a.json")


def test_a_file_in_microseconds_among_milliseconds_is_refused(tmp_path: Path) -> None:
    keys = [BLOCK.replace("expand:144", f"expand:{24 * e}").replace("kernel:3", f"kernel:{k}")
            for e in (3, 4, 6) for k in (3, 5, 7)]  # fmt: skip
    entries = {key: {"mean": 1.5} for key in keys} | {keys[4]: {"mean": 1500.0}}
    with pytest.raises(NasEdgeError, match=r"t\.json:\d+: .*1500 ms is .* times what its like take; are units mixed"):
        imported(write(tmp_path / "t.json", entries))
