"""Which table a target has, and what it has when there is none."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge import resources
from nas_edge.devices.fingerprint import local_fingerprint
from nas_edge.errors import ConfigError, NasEdgeError, UnknownNameError
from nas_edge.latency import LatencyPredictor, LatencyTable, TableHeader, write_table
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.targets import Target, load_target
from nas_edge.pipeline.tables.finding import all_tables, cache_path, device_facts, load_table_for, table_path
from nas_edge.spaces import SearchSpace
from tests.latency.toy import make_table

LITE0 = SearchSpace.named("lite0")
SLUG = local_fingerprint().slug


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with no tables at all: no defaults, no cache."""
    monkeypatch.setattr(resources, "roots", lambda: (tmp_path,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def target(
    name: str = "local", kind: str = "local", runtime: str = "onnxruntime", threads: int = 1, table: str = ""
) -> Target:
    """Read from a file, as a user's target is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        lines = ["format: 1", "description: a board", f"device: {{kind: {kind}}}", f"runtime: {runtime}"]
        lines += ["precision: fp32", f"threads: {threads}", *([f"table: {table}"] if table else [])]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load_target(str(path))


def put(root: Path, where: str, **header: object) -> LatencyTable:
    table = make_table(LITE0.restrict([64]), 6, calibration=2, holdout=0)
    table = replace(table, header=replace(table.header, **{"runtime": "onnxruntime", "target": SLUG} | header))  # type: ignore[arg-type]
    write_table(table, root / "latency_tables" / where)
    return table


def test_local_is_the_table_of_this_cpu(home: Path) -> None:
    table = put(home, f"{SLUG}/onnxruntime-fp32")
    found = load_table_for(target())
    assert found.own
    assert found.path == home / "latency_tables" / SLUG / "onnxruntime-fp32"
    assert found.table.header == table.header
    assert any("is installed" in note for note in found.notes)  # toy version 1.0


def test_a_named_table_of_another_runtime_is_used_and_said(home: Path) -> None:
    put(home, "jetson-tx2/harmonicnas-fp32", runtime="harmonicnas", target="jetson-tx2")
    found = load_table_for(target("jetson-tx2", "none", "tensorrt", table="jetson-tx2/harmonicnas-fp32"))
    assert found.own
    assert found.notes == ("the table's runtime is harmonicnas, networks are exported for tensorrt",)


def test_a_table_of_other_threads_is_not_this_target_s(home: Path) -> None:
    put(home, f"{SLUG}/onnxruntime-fp32")
    found = load_table_for(target(threads=2))
    assert not found.own
    assert found.table.header.origin.kind is OriginKind.MODELLED
    assert found.table.header.threads == 2


def test_a_first_contact_in_the_cache_is_found_by_its_conditions(home: Path) -> None:
    local = target()
    facts = device_facts(local)
    from nas_edge.pipeline.tables.finding import _installed_version

    path = cache_path(local, facts, "hot", _installed_version(local))
    write_table(LatencyTable(TableHeader(SLUG, "onnxruntime", origin=Origin(OriginKind.MODELLED)), {}), path)
    found = load_table_for(local)
    assert found.own
    assert found.path == path
    assert not load_table_for(local, regime="cold").own


def test_without_a_table_the_nearest_of_the_same_class_stands_in(home: Path) -> None:
    put(home, "cpu-other/onnxruntime-fp32", target="cpu-other", device={"class": "cpu", "vendor": "other"})
    put(home, "board/harmonicnas-fp32", runtime="harmonicnas", device={"class": "gpu"})
    found = load_table_for(target())
    assert not found.own
    assert "cpu-other" in found.notes[0]
    prediction = LatencyPredictor.of(found.table, LITE0, 6).predict(LITE0.sample(4, np.random.default_rng(0)))
    assert prediction.interval == "assumed"
    assert (prediction.exact_share == 0).all()


def test_of_equally_like_tables_the_one_that_knows_more_blocks_stands_in(home: Path) -> None:
    few = put(home, "a-phone/unstated-fp32", target="a-phone", runtime="unstated", device={"class": "mobile-cpu"})
    many = replace(few, header=replace(few.header, target="z-phone"), blocks=make_table(LITE0, 6).blocks)
    write_table(
        replace(few, blocks=dict(list(many.blocks.items())[:20])), home / "latency_tables/a-phone/unstated-fp32"
    )
    write_table(many, home / "latency_tables/z-phone/unstated-fp32")
    found = load_table_for(target("mine", "adb", "onnxruntime"))
    assert "z-phone" in found.notes[0]


def test_a_table_that_was_carried_over_stands_in_for_no_other_device(home: Path) -> None:
    put(home, "a-phone/unstated-fp32", target="a-phone", runtime="unstated", device={"class": "mobile-cpu"})
    near = {"target": "b-phone", "device": {"class": "mobile-cpu"}, "transfer": {"networks": 5}}
    put(home, "b-phone/onnxruntime-fp32", **near)
    assert "a-phone" in load_table_for(target("mine", "adb", "onnxruntime")).notes[0]


def test_of_equally_like_tables_a_device_s_own_of_another_regime_stands_in(home: Path) -> None:
    facts = {"runtime": "harmonicnas", "device": {"class": "gpu"}}
    first = put(home, "a-jetson/harmonicnas-fp32", target="a-jetson", **facts)
    put(home, "jetson-tx2/harmonicnas-fp32", target="jetson-tx2", **facts)
    write_table(
        replace(first, blocks=make_table(LITE0, 6).blocks), home / "latency_tables/a-jetson/harmonicnas-fp32"
    )  # more blocks
    asked = target("jetson-tx2", "none", "tensorrt", table="jetson-tx2/harmonicnas-fp32")
    assert "jetson-tx2: harmonicnas" in load_table_for(asked, "cold").notes[0]


def test_a_cpu_s_table_says_nothing_about_a_neural_accelerator(home: Path) -> None:
    put(home, f"{SLUG}/onnxruntime-fp32", device={"class": "cpu"})
    found = load_table_for(target("npu", "none", "ethos-u"))
    assert not found.table.blocks
    assert "class npu" in found.notes[0]


def test_a_device_is_of_the_class_of_its_table_or_else_of_the_way_it_is_reached(home: Path) -> None:
    put(home, "desktop/unstated-fp32", target="desktop", runtime="unstated", device={"class": "cpu"})
    assert device_facts(target("pc", "none", table="desktop/unstated-fp32")) == {"class": "cpu"}
    assert device_facts(target("phone", "adb")) == {"class": "mobile-cpu"}
    assert device_facts(target("server", "none")) == {"class": "cpu"}
    assert device_facts(target("board", "none", "tensorrt")) == {"class": "gpu"}


@pytest.mark.parametrize(
    ("runtime", "kind", "expected"),
    [("onnxruntime", "local", "cpu"), ("tensorrt", "none", "gpu"), ("mcu", "none", "mcu"), ("litert", "adb", "mobile")],
)
def test_without_any_table_a_prior_stands_in_and_no_target_is_a_dead_end(
    home: Path, runtime: str, kind: str, expected: str
) -> None:
    found = load_table_for(target("board", kind, runtime, table="" if kind == "local" else "gone/harmonicnas-fp32"))
    assert not found.own
    assert expected in found.notes[0]
    prediction = LatencyPredictor.of(found.table, LITE0, 6).predict(LITE0.sample(4, np.random.default_rng(0)))
    assert (prediction.high > 2.5 * prediction.point).all()
    assert np.isfinite(prediction.high).all()


def test_a_damaged_table_of_the_target_is_an_error_and_of_another_is_not(home: Path) -> None:
    put(home, f"{SLUG}/onnxruntime-fp32")
    put(home, "cpu-other/onnxruntime-fp32", target="cpu-other", device={"class": "cpu"})
    (home / "latency_tables/cpu-other/onnxruntime-fp32/table.yaml").write_text("format: 9\n")
    assert load_table_for(target()).own
    assert not load_table_for(target("phone", "adb")).own
    (home / f"latency_tables/{SLUG}/onnxruntime-fp32/blocks.csv").write_text("kind\n")
    with pytest.raises(NasEdgeError, match=r"blocks\.csv:1"):
        load_table_for(target())


def test_tables_are_named_by_target_runtime_and_precision(home: Path) -> None:
    put(home, "a/onnxruntime-fp32")
    put(home, "b/onnxruntime-fp32")
    assert [path.parent.name for path in all_tables()] == ["a", "b"]
    assert table_path("b/onnxruntime-fp32") == home / "latency_tables/b/onnxruntime-fp32"
    assert table_path(str(home / "latency_tables/a/onnxruntime-fp32")).parent.name == "a"
    with pytest.raises(UnknownNameError, match="did you mean"):
        table_path("c/onnxruntime-fp32")
    with pytest.raises(ConfigError, match=r"is a directory without table\.yaml"):
        table_path(str(home / "latency_tables"))
