"""Budgets of all kinds: several targets, memory, accuracy, fronts, held genes, other sources of accuracy."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas_edge.errors import BudgetError, ConfigError, SpaceError, UnknownNameError
from nas_edge.latency import BlockEntry, LatencyTable, TableHeader, table_directory, write_table
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.report import SearchReport
from nas_edge.pipeline.searching.request import SearchRequest, TargetBudget
from nas_edge.pipeline.searching.task import prepare
from nas_edge.spaces import Precision, SearchSpace
from tests.stand import BOARD, FakeBench


def find(**options: object) -> SearchReport:
    given = {"target": "board", "bundle": "tiny", "evaluations": 2000, "verify": False, **options}
    return search_flow(SearchRequest(**given))  # type: ignore[arg-type]


@pytest.fixture
def phone(stand: Path, tiny_space: SearchSpace) -> str:
    """Another target, where a block takes as long as its MACs, with energies."""
    (stand / "targets").mkdir(exist_ok=True)
    (stand / "targets" / "phone.yaml").write_text(BOARD)
    write(stand, "phone", tiny_space, Precision.FP32, lambda block: max(block.macs, 1000) / 1e5, energy=2.0)
    return "phone"


def write(root, target, space, precision, cost, energy=None):
    blocks = {b for term in space.terms(3, precision) for entry in term.blocks for b in entry}
    header = TableHeader(
        target, "onnxruntime", precision=precision, origin=Origin(OriginKind.PUBLISHED, source="a test")
    )
    entries = {
        block: BlockEntry(cost(block), energy_mj=None if energy is None else energy * cost(block)) for block in blocks
    }
    write_table(LatencyTable(header, entries), table_directory(root / "latency_tables", header))


def brute_force(task, objective="accuracy"):
    rows = task.source.space.enumerate()
    metrics = task.metrics()
    met = np.all([c.excess(metrics[c.metric](rows)) <= 0 for c in task.constraints()], axis=0)
    values = metrics[objective](rows[met])
    return values.max() if metrics[objective].maximise else values.min()


def test_one_network_meets_the_budgets_of_two_targets(stand: Path, phone: str) -> None:
    budgets = {"latency_ms": 2.2, "others": (TargetBudget(phone, 6.0),)}
    report = find(**budgets)
    assert report.latencies["board"].high <= 2.2
    assert report.latencies[phone].high <= 6.0
    task = prepare(SearchRequest(target="board", bundle="tiny", verify=False, **budgets))
    assert report.accuracy.predicted == pytest.approx(brute_force(task))
    alone = find(latency_ms=2.2)
    assert alone.accuracy.predicted > report.accuracy.predicted
    data = report.to_json()
    assert set(data["targets"]) == {"board", phone}
    assert sum(line.startswith("target ") for line in report.lines()) == 2


def test_energy_bounds_the_search_where_the_table_has_it(stand: Path, phone: str) -> None:
    report = find(target=phone, energy_mj=8.0)
    assert report.energies[phone].high <= 8.0
    assert report.energies[phone].origin == "published"
    assert report.accuracy.predicted > find(target=phone, energy_mj=5.0).accuracy.predicted
    with pytest.raises(ConfigError, match="holds no energies"):
        find(energy_mj=8.0)


def test_memory_and_other_metrics_bound_the_search(stand: Path, tiny_space: SearchSpace) -> None:
    rows = tiny_space.enumerate()
    peak = np.array([max(b.activation_bytes for b in tiny_space.lower(row, 3)) for row in rows])
    limit = float(np.quantile(peak, 0.3))
    report = find(sram_bytes=limit, limits=(("params", "<=", 9000.0),))
    assert report.others["sram"] <= limit
    assert report.params <= 9000
    assert "sram" in report.to_json()["figures"]


def test_the_fastest_network_of_an_accuracy_is_found(stand: Path) -> None:
    request = {"min_accuracy": 0.7, "confidence": 0.5}
    report = find(**request)
    task = prepare(SearchRequest(target="board", bundle="tiny", verify=False, **request))
    assert report.accuracy.predicted >= 0.7
    assert report.latency.predicted == pytest.approx(brute_force(task, "latency"))
    with pytest.raises(BudgetError, match=r"accuracy >= 99.00 % cannot be met: the greatest"):
        find(min_accuracy=0.99)


def test_an_accuracy_that_is_not_reached_as_measured_is_not_called_met(stand: Path, bench: FakeBench) -> None:
    report = find(min_accuracy=0.8, verify=True, rounds=2)
    assert report.accuracy.measured is not None
    assert report.verified == (report.accuracy.measured >= 0.8)
    assert report.exit_code == (0 if report.verified else 1)


def test_a_front_has_its_knee_and_nothing_on_it_is_dominated(stand: Path) -> None:
    report = find(pareto=("latency", "accuracy"))
    accuracy, latency = (np.array([p.figures[name] for p in report.front]) for name in ("accuracy", "latency"))
    assert (np.diff(latency) > 0).all()
    assert (np.diff(accuracy) > 0).all()
    assert sum(point.knee for point in report.front) == 1
    assert any("<- knee" in line for line in report.lines())
    with open(report.run / "pareto.csv", newline="") as handle:
        assert len(list(csv.DictReader(handle))) == len(report.front)


def test_points_of_a_verified_front_are_measured(stand: Path, bench: FakeBench) -> None:
    report = find(pareto=("accuracy", "latency"), verify=True)
    assert sum(bool(point.measured_ms) for point in report.front) >= 5
    assert report.latency.measured is not None
    assert report.verified


def test_genes_are_held(stand: Path) -> None:
    report = find(latency_ms=2.0, fix=("r=32", "w=0.5", "k=3"))
    assert report.arch["r"] == 32
    assert report.arch["w"] == 0.5
    assert set(report.arch["ks"]) <= {0, 3}


def test_the_precision_is_chosen_where_the_target_has_tables_and_the_bundle_accuracies(
    stand: Path, tiny_space: SearchSpace, stand_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no accuracy measured in int8"):
        find(latency_ms=2.0, precision=("fp32", "int8"))
    fp32 = load_bundle("tiny").accuracy_predictor()
    monkeypatch.setattr("nas_edge.pipeline.bundle.Bundle.accuracy_predictor", lambda self, precision="fp32": fp32)
    with pytest.raises(ConfigError, match="no table in int8"):
        find(latency_ms=2.0, precision=("fp32", "int8"))
    # A table of another precision that stands in says nothing of which precision is faster.
    (stand / "targets").mkdir()
    (stand / "targets" / "one-table.yaml").write_text(f"{BOARD}table: board/onnxruntime-fp32\n")
    with pytest.raises(ConfigError, match="'one-table' has no table in int8"):
        find(target="one-table", latency_ms=2.0, precision=("fp32", "int8"))
    write(stand, "board", tiny_space, Precision.INT8, lambda block: 5e-5 * max(block.weight_bytes, 30))
    report = find(latency_ms=2.0, precision=("fp32", "int8"))
    assert report.precision == report.arch["p"] == "int8"
    assert report.latency.high <= 2.0
    assert report.accuracy.predicted >= find(latency_ms=2.0).accuracy.predicted
    assert json.loads((report.run / "result.json").read_text())["precision"] == "int8"


def test_a_space_is_searched_by_a_predictor_of_its_own_without_a_bundle(stand: Path, tiny_space: SearchSpace) -> None:
    (stand / "tiny.yaml").write_text(yaml.safe_dump(tiny_space.template.to_dict()))
    predictor = load_bundle("tiny").path / "accuracy_predictor.npz"
    options = {"space": "tiny.yaml", "bundle": "trashnet", "num_classes": 3, "latency_ms": 2.0}
    report = find(**options, accuracy_predictor=str(predictor))
    assert report.accuracy.predicted == find(latency_ms=2.0).accuracy.predicted
    assert any("given predictor" in note for note in report.notes)
    with pytest.raises(ConfigError, match="add --accuracy-predictor"):
        find(**options)
    with pytest.raises(SpaceError, match="is of space 'tiny'"):
        find(**{**options, "space": "lite0"}, accuracy_predictor=str(predictor))


def test_resolutions_that_a_predictor_does_not_know_are_left_out_unless_they_are_asked_for(
    stand: Path, shared_dir: Path
) -> None:
    predictor = shared_dir / "data" / "ofa" / "acc_predictor.pth"
    options = {
        "bundle": "trashnet", "space": "ofa-mbv3-w1.2", "accuracy_predictor": str(predictor), "macs": 200e6,
        "target": "samsung-note10",
    }  # fmt: skip
    report = find(**options)
    assert report.arch["r"] % 16 == 0
    assert any("knows resolutions 128,144,160,176,192,208,224" in note for note in report.notes)
    asked = find(**options, resolutions=(160, 224))
    assert asked.arch["r"] in (160, 224)
    assert not any("knows resolutions" in note for note in asked.notes)
    for given in ({"resolutions": (160, 164)}, {"fix": ("r=164",)}):
        with pytest.raises(SpaceError, match="not 164"):
            find(**options, **given)


def test_a_zero_cost_proxy_ranks_networks_and_says_that_it_is_no_accuracy(stand: Path) -> None:
    report = find(latency_ms=2.0, accuracy_predictor="zero-cost:synflow", evaluations=60)
    assert "synflow score" in " ".join(report.lines())
    assert any("no accuracies" in note for note in report.notes)
    with pytest.raises(UnknownNameError, match="synflow"):
        find(latency_ms=2.0, accuracy_predictor="zero-cost:synflo")
    for bounded in ({"min_accuracy": 0.9}, {"limits": (("accuracy", ">=", 0.9),)}):
        with pytest.raises(ConfigError, match="zero-cost proxy 'synflow' are no accuracies"):
            find(**bounded, accuracy_predictor="zero-cost:synflow")


def test_a_table_of_architectures_is_searched_and_its_regret_told(stand: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["gene.a,gene.b,gene.c,metric.accuracy:max,metric.flops:min"]
    for a in range(6):
        for b in range(6):
            for c in range(6):
                lines.append(f"{a},{b},{c},{(a + b * c) / 40 + rng.uniform(0, 0.05):.4f},{1 + a + 2 * b + c}")
    Path("bench.csv").write_text("\n".join(lines) + "\n")
    report = search_flow(
        SearchRequest(space="bench.csv", limits=(("flops", "<=", 12.0),), evaluations=100, strategy="evolution")
    )
    assert report.figures["flops"] <= 12
    assert report.regret is not None
    assert report.regret.optimum >= report.figures["accuracy"]
    assert any(line.startswith("regret") for line in report.lines())
    assert json.loads((report.run / "result.json").read_text())["regret"]["feasible"] > 10
    traded = search_flow(SearchRequest(space="bench.csv", pareto=("accuracy", "flops"), evaluations=100))
    assert sum(point.knee for point in traded.front) == 1
    assert sum("<- knee" in line for line in traded.lines()) == 1
    stored = json.loads((traded.run / "result.json").read_text())
    assert [point["arch"] for point in stored["front"] if point["knee"]] == [stored["arch"]]
    with pytest.raises(ConfigError, match="two or more different metrics"):
        search_flow(SearchRequest(space="bench.csv", pareto=("accuracy",)))
    for options in ({"latency_ms": 3.0}, {"target": "board"}, {"num_classes": 5}):
        with pytest.raises(ConfigError, match=r"--(latency|target|classes) is of networks"):
            search_flow(SearchRequest(space="bench.csv", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_accuracy": 1.5}, ConfigError, "between 0 and 100 %"),
        ({"pareto": ("latency",)}, ConfigError, "two or more"),
        ({"pareto": ("latency", "sped")}, UnknownNameError, "sped"),
        ({"latency_ms": 2.0, "others": (TargetBudget("board", 3.0),)}, ConfigError, "named twice"),
        ({"latency_ms": 2.0, "objective": "accurracy"}, UnknownNameError, "accuracy"),
        ({"latency_ms": 2.0, "strategy": "evolutoin"}, UnknownNameError, "evolution"),
        ({"latency_ms": 2.0, "options": {"herd": 3}, "strategy": "evolution"}, UnknownNameError, "herd"),
        ({"instructions": 1e6}, SpaceError, "no table of counted instructions"),
        ({"latency_ms": 2.0, "fix": ("r=40",)}, SpaceError, "r cannot be 40"),
        ({"limits": (("flops", "<=", 1e6),)}, UnknownNameError, "flops"),
        ({"latency_ms": 2.0, "num_classes": 5}, ConfigError, "--classes goes with --space"),
        ({"macs": 1.0, "latency_ms": 2.0}, BudgetError, "macs <= 1 MACs cannot be met: the least in space 'tiny'"),
        ({"latency_ms": 1.2, "min_accuracy": 0.88, "objective": "accuracy"}, BudgetError, "fails where"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    stand: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find(**options)
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
