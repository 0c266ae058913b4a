"""Predicted against measured latency on networks that no table has seen, measured now, on this machine.

The README's figure: MAPE at most 4 %, Spearman at least 0.98
(`pytest -m benchmark -s tests/benchmarks/test_latency_error.py`).
"""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.latency import LatencyPredictor
from nas_edge.latency.check import holdout_error, spearman
from nas_edge.latency.plan import plan_networks
from nas_edge.pipeline.tables.finding import load_table_for
from nas_edge.pipeline.targets import load_target
from nas_edge.profiling import Protocol, WorkItem, measure_many
from nas_edge.runtimes import get_runtime
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx

NETWORKS, CLASSES, SEED = 20, 6, 2026


@pytest.mark.benchmark
def test_latency_error_on_fresh_networks() -> None:
    target = load_target("local")
    found = load_table_for(target)
    if not found.own:
        pytest.skip("no table of this CPU; measure one: nas-edge table measure --target local")
    space = SearchSpace.named("lite0")
    stored = holdout_error(found.table, space, CLASSES)
    plan = plan_networks(space, CLASSES, NETWORKS, 0, SEED)
    items = [WorkItem(p.name, build_onnx(space.lower(p.arch, CLASSES), seed=SEED).SerializeToString()) for p in plan]
    header, device = found.table.header, LocalDevice()
    measured = measure_many(
        items, get_runtime(target.runtime), device, Protocol.default(),
        reference_quiet_ms=header.quiet_reference_ms(device.fingerprint().machine),
    )  # fmt: skip
    ms = np.array([measured[p.name].median_ms for p in plan])
    prediction = LatencyPredictor.of(found.table, space, CLASSES).predict(np.stack([p.arch for p in plan]))
    error = 100 * (prediction.point / ms - 1)
    print(f"\ntable                     {found.table.header.describe()}")
    if stored is not None:
        print(f"its hold-out networks     MAPE {stored.mape_percent:.2f} %  Spearman {stored.spearman:.4f}")
    mape, rank = np.abs(error).mean(), spearman(prediction.point, ms)
    print(f"{NETWORKS} networks measured now  MAPE {mape:.2f} %  Spearman {rank:.4f}")
    print(f"                          bias {error.mean():+.2f} %  worst {np.abs(error).max():.2f} %")
    print(f"measured below the 90 % bound: {(ms <= prediction.high).sum()} of {NETWORKS}")
    print(f"range {ms.min():.3f} to {ms.max():.3f} ms, disturbed: {sum(m.disturbed for m in measured.values())}")
    assert np.isfinite(prediction.high).all()
