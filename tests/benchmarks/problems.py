"""The problems that searches are compared on: Once-for-All's own, and the embedded bundle on this kind of CPU."""

from __future__ import annotations

from pathlib import Path

from nas_edge.accuracy.once_for_all import load_accuracy_predictor
from nas_edge.latency import LatencyPredictor
from nas_edge.latency.table_io import read_table
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.search.metrics import Metric, MetricContext, TargetSources, build_metrics
from nas_edge.spaces import SearchSpace

TABLES = Path(__file__).resolve().parents[2] / "latency_tables"
METRICS = ("accuracy", "latency")


def once_for_all(shared_dir: Path) -> tuple[SearchSpace, dict[str, Metric]]:
    """MobileNetV3 w1.2 priced by the plain sum of the Note10 tables, accuracy by their predictor."""
    space = SearchSpace.named("ofa-mbv3-w1.2").restrict(resolutions=(160, 176, 192, 208, 224))
    table = read_table(TABLES / "samsung-note10" / "unstated-fp32")
    sources = TargetSources(LatencyPredictor.of(table, space, 1000), confidence=0.5)
    accuracy = load_accuracy_predictor(shared_dir / "data" / "ofa" / "acc_predictor.pth", space)
    return space, build_metrics(METRICS, MetricContext(space, 1000, accuracy, sources))


def trashnet() -> tuple[SearchSpace, dict[str, Metric]]:
    """The embedded bundle, priced by the table of a server's CPU."""
    bundle = load_bundle("trashnet")
    table = read_table(TABLES / "cpu-amd-epyc-f26m2" / "onnxruntime-fp32")
    sources = TargetSources(LatencyPredictor.of(table, bundle.space, bundle.num_classes))
    context = MetricContext(bundle.space, bundle.num_classes, bundle.accuracy_predictor(), sources)
    return bundle.space, build_metrics(METRICS, context)
