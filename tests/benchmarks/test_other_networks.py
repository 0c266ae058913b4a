"""Networks that no table holds, predicted from this machine's tables and measured now, in another process.

Other widths, inputs up to 260 pixels, stages of another family: `pytest -m benchmark -s
tests/benchmarks/test_other_networks.py`; again some time later, since one sitting says little of the next. Asked:
within 10 %, and inside the interval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nas_edge.latency.network_predictor import NetworkPredictor, in_precision
from nas_edge.pipeline.seeded import seeded_network
from nas_edge.profiling import Measurement, Protocol
from nas_edge.spaces import BlockSpec, Precision, SearchSpace
from tests.benchmarks.test_latency_error import Ground

pytestmark = pytest.mark.benchmark

CONFIDENCE, SEED = 0.9, 2026
WIDTHS, SIDES = (0.75, 1.1, 1.2, 1.5), (96, 160, 208, 260)
FAMILIES = {  # of another family than the tables', by preset: sides
    "ofa-mbv3-w1.0": (128, 224, 260),
    "ofa-mbv3-w1.2": (160, 224, 260),
    "mbv3-32": (40, 48),
}


@dataclass(frozen=True)
class Other:
    """A network that no table holds: what it is called, and its blocks from input to output."""

    name: str
    blocks: tuple[BlockSpec, ...]


def of_other_widths() -> list[Other]:
    """One random subnet of lite0's stages for each width and side; width 1 where the side alone is another."""
    rng = np.random.default_rng(SEED)
    stages = SearchSpace.named("lite0").template
    wide = SearchSpace(replace(stages, widths=tuple(sorted({1.0, *WIDTHS})), resolutions=SIDES))
    chosen = [(width, side) for width in WIDTHS for side in SIDES] + [(1.0, side) for side in SIDES if side > 160]
    rows = [(width, side, wide.restrict([side], w=(width,)).sample(1, rng)[0]) for width, side in chosen]
    return [Other(f"lite0 x {width:g} at {side}", wide.lower(row, 6)) for width, side, row in rows]


def of_other_families() -> list[Other]:
    """Two random subnets of each family and side."""
    rng = np.random.default_rng(SEED)
    found = []
    for name, sides in FAMILIES.items():
        for side in sides:
            space = SearchSpace(SearchSpace.named(name).template.with_resolutions((side,)))
            found += [Other(f"{name} at {side}", space.lower(row, 10)) for row in space.sample(2, rng)]
    return found


def measured(ground: Ground, others: list[Other]) -> list[Measurement]:
    precision = Precision(ground.precision)
    models = {f"{i}": seeded_network(in_precision(other.blocks, precision), SEED) for i, other in enumerate(others)}
    quiet_ms = ground.bench.quiet_reference_ms(ground.table.header)
    return list(
        ground.bench.measure(models, Protocol.default(), ground.precision, reference_quiet_ms=quiet_ms).values()
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_networks_that_no_table_holds(precision: str) -> None:
    ground, others = Ground.of(precision), [*of_other_widths(), *of_other_families()]
    found = measured(ground, others)
    ms = np.array([m.median_ms for m in found])
    predictor = NetworkPredictor.of(ground.table, from_elsewhere=True).later()
    prediction = predictor.predict([other.blocks for other in others], CONFIDENCE)
    error = 100 * (prediction.point / ms - 1)
    inside = (prediction.low <= ms) & (ms <= prediction.high)
    print(f"\n{precision}: {len(others)} networks, {ground.table.header.describe()}")
    for i, other in enumerate(others):
        width = 50 * (prediction.high[i] / prediction.low[i] - 1)
        print(
            f"  {other.name:24s} {ms[i]:7.3f} ms, predicted {prediction.point[i]:7.3f} ({error[i]:+5.1f} %), "
            f"+-{width:4.1f} % {'' if inside[i] else 'OUTSIDE'}{' disturbed' if found[i].disturbed else ''}"
        )
    size, ratios = np.abs(error), [v.reference_ratio for m in found for v in m.used_visits]
    print(
        f"  MAPE {size.mean():.2f} %  bias {error.mean():+.2f} %  worst {size.max():.1f} %  "
        f"within 10 %: {(size <= 10).sum()} of {len(others)}"
    )
    print(
        f"  inside the two-sided interval of {2 * CONFIDENCE - 1:.0%}: {inside.sum()}; at or below its upper bound: "
        f"{(ms <= prediction.high).sum()}; without a common factor within 10 %: "
        f"{(np.abs(error - np.median(error)) <= 10).sum()}"
    )
    print(f"  machine at {100 * (np.median(ratios) - 1):+.1f} % of its quiet state; {found[0].interference.describe()}")
    assert np.isfinite(prediction.high).all()
