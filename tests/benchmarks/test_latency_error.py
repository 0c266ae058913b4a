"""Predicted against measured latency on networks that no table has seen, measured now, in another process.

The README's figures: `pytest -m benchmark -s tests/benchmarks/test_latency_error.py`, some time after the tables were
measured. Asked of random subnets: error at most 2.5 % on average and 10 % at worst, 95 % of them within 5 %, Spearman
at least 0.99. Networks that searches return are no random ones: a search picks what is under-estimated; random ones
measured beside them tell that from what the sitting does to all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.errors import BudgetError
from nas_edge.latency import LatencyPrediction, LatencyPredictor, LatencyTable, Role
from nas_edge.latency.check import spearman
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.devices.bench import Bench
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.profiling import Measurement, Protocol
from nas_edge.runtimes import get_runtime
from nas_edge.search.constraints import Constraint
from nas_edge.search.metrics import MetricContext, TargetSources, build_metrics
from nas_edge.search.run import search
from nas_edge.spaces import Population, SearchSpace

pytestmark = pytest.mark.benchmark

NETWORKS, RETURNED, BESIDE, SEED, CONFIDENCE = 30, 50, 20, 2026, 0.9


@dataclass(frozen=True)
class Ground:
    """A table of this machine, and how to measure what it predicts."""

    table: LatencyTable
    bench: Bench
    precision: str

    @classmethod
    def of(cls, precision: str) -> Ground:
        target = load_target("local").model_copy(update={"precision": precision})
        found = load_table_for(target)
        if not found.own:
            pytest.skip(f"no {precision} table of this CPU: nas-edge table measure --precision {precision}")
        return cls(found.table, Bench(target, LocalDevice(), get_runtime(target.runtime)), precision)

    def measure(self, space: SearchSpace, classes: int, rows: Population) -> list[Measurement]:
        models = {f"{i}": seeded_model(space, row, classes, SEED, self.precision) for i, row in enumerate(rows)}
        quiet_ms = self.bench.quiet_reference_ms(self.table.header)
        return list(
            self.bench.measure(models, Protocol.default(), self.precision, reference_quiet_ms=quiet_ms).values()
        )


def told(what: str, predictor: LatencyPredictor, rows: Population, measured: list[Measurement]) -> None:
    ms = np.array([m.median_ms for m in measured])
    prediction = predictor.predict(rows, CONFIDENCE)
    error = 100 * (prediction.point / ms - 1)
    size, first = np.abs(error), measured[0]
    ratios = [v.reference_ratio for m in measured for v in m.used_visits]
    print(f"\n{what}: {len(rows)} networks, {ms.min():.3f} to {ms.max():.3f} ms, {predictor.table.header.describe()}")
    print(
        f"  MAPE {size.mean():.2f} %  bias {error.mean():+.2f} %  worst {size.max():.2f} %  "
        f"within 5 %: {(size <= 5).mean():.0%}  Spearman {spearman(prediction.point, ms):.4f}"
    )
    print(f"  without a common factor: MAPE {np.abs(error - np.median(error)).mean():.2f} %")
    later = predictor.later().predict(rows, CONFIDENCE)
    print(
        f"  measured at or below the {CONFIDENCE:.0%} bound of another sitting (+{wide(later):.1f} %): "
        f"{(ms <= later.high).sum()} of {len(rows)}; of the table's own (+{wide(prediction):.1f} %): "
        f"{(ms <= prediction.high).sum()}; of that, less the common factor: "
        f"{(ms / np.median(ms / prediction.point) <= prediction.high).sum()}"
    )
    print(f"  machine at {100 * (np.median(ratios) - 1):+.1f} % of its quiet state; {first.interference.describe()}")
    assert np.isfinite(prediction.high).all()


def wide(prediction: LatencyPrediction) -> float:
    """Median distance of the upper bound from the point, per cent."""
    return float(100 * np.median(prediction.high / prediction.point - 1))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("name", "classes"), [("lite0", 6), ("mbv3-32", 10)])
def test_latency_error_on_random_networks(name: str, classes: int, precision: str) -> None:
    ground, space = Ground.of(precision), SearchSpace.named(name)
    predictor = LatencyPredictor.of(ground.table, space, classes)
    if predictor.missing:
        pytest.skip(f"the table lacks {len(predictor.missing)} blocks of {name}: nas-edge table measure --space {name}")
    rows = space.sample(NETWORKS, np.random.default_rng(SEED))
    told(f"random, {name}", predictor, rows, ground.measure(space, classes, rows))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_latency_error_on_networks_that_searches_return(precision: str) -> None:
    ground, bundle = Ground.of(precision), load_bundle("trashnet")
    space, classes = bundle.space, bundle.num_classes
    predictor = LatencyPredictor.of(ground.table, space, classes)
    spread = predictor.point(space.sample(2000, np.random.default_rng(SEED)))
    accuracy, sources = bundle.accuracy_predictor(precision), TargetSources(latency=predictor)
    metrics = build_metrics(("accuracy", "latency"), MetricContext(space, classes, accuracy, sources, confidence=0.5))
    rows = []
    for number, limit_ms in enumerate(np.quantile(spread, np.linspace(0.05, 0.95, RETURNED))):
        budget = [Constraint("latency", "<=", float(limit_ms))]
        try:
            rows.append(search(space, metrics, budget, evaluations=5000, seed=number).best)
        except BudgetError:
            continue
    distinct = np.unique(np.stack(rows), axis=0)
    beside = space.sample(BESIDE, np.random.default_rng(SEED + 1))
    known = [n for n in ground.table.networks if n.space == space.name and n.num_classes == classes]
    again = np.stack([space.from_json(network.arch) for network in known])
    measured = ground.measure(space, classes, np.concatenate([distinct, beside, again]))
    told("returned by searches, lite0", predictor, distinct, measured[: len(distinct)])
    told("random ones of the same sitting", predictor, beside, measured[len(distinct) : -len(again)])
    # What a sitting does to all networks alike decides over all of them at once: one sitting is one draw of that.
    same = tuple(
        replace(network, role=Role.CALIBRATION, ms=m.median_ms)
        for network, m in zip(known, measured[-len(again) :], strict=True)
    )
    of_sitting = LatencyPredictor.of(replace(ground.table, networks=same), space, classes).predict(distinct, CONFIDENCE)
    ms = np.array([m.median_ms for m in measured[: len(distinct)]])
    below = int((ms <= of_sitting.high).sum())
    low, high = exact_interval(below, len(ms))
    print(
        f"  calibrated on the table's networks in this sitting: {below} of {len(ms)} returned ones at or below the "
        f"{CONFIDENCE:.0%} bound (+{wide(of_sitting):.1f} %), 95 % interval {low:.0%} to {high:.0%}"
    )


def exact_interval(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper and Pearson, 1934)."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, hits, total - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, total - hits)) if hits < total else 1.0
