"""Networks that no table holds, predicted from this machine's tables and measured now, in another process.

Other widths, inputs up to 288 pixels, stages of another family, `net.config` files: `pytest -m benchmark -s
tests/benchmarks/test_other_networks.py`; again some time later, since one sitting says little of the next. Asked:
within 10 %, and inside the interval. The features of the block model were chosen with the first test's networks in
view; those of the second were drawn when all was done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from nas_edge.latency.network_predictor import NetworkPredictor, in_precision
from nas_edge.latency.networks import read_net_config
from nas_edge.pipeline.seeded import seeded_network
from nas_edge.profiling import Measurement, Protocol
from nas_edge.spaces import BlockSpec, Precision, SearchSpace, make_divisible
from tests.benchmarks.test_latency_error import Ground

pytestmark = pytest.mark.benchmark

CONFIDENCE, SEED = 0.9, 2026
WIDTHS, SIDES = (0.75, 1.1, 1.2, 1.5), (96, 160, 208, 260)
FAMILIES = {  # of another family than the tables', by preset: sides
    "ofa-mbv3-w1.0": (128, 224, 260),
    "ofa-mbv3-w1.2": (160, 224, 260),
    "mbv3-32": (40, 48),
}


UNSEEN_WIDTHS, UNSEEN_SIDES = (0.5, 0.75, 1.3, 1.5, 2.0), (140, 200, 260, 288)
UNSEEN_SEEDS = (71, 72)
Stages = tuple[tuple[int, int, bool, str], ...]
# Once-for-All's stages: channels, stride, squeeze-and-excitation, activation.
_OFA = ((24, 2, False, "relu"), (40, 2, True, "relu"), (80, 2, False, "h_swish"), (112, 1, True, "h_swish"),
        (160, 2, True, "h_swish"))  # fmt: skip
_MCUNET = ((16, 2, False, "relu6"), (24, 2, False, "relu6"), (40, 2, False, "relu6"), (48, 1, False, "relu6"),
           (96, 2, False, "relu6"), (160, 1, False, "relu6"))  # fmt: skip


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


def unseen(seed: int) -> list[Other]:
    """A random subnet of lite0's stages for each width and side, and `net.config` files of no preset's widths."""
    rng = np.random.default_rng(seed)
    stages = SearchSpace.named("lite0").template
    wide = SearchSpace(replace(stages, widths=UNSEEN_WIDTHS, resolutions=UNSEEN_SIDES))
    found = []
    for width in UNSEEN_WIDTHS:
        for side in UNSEEN_SIDES:
            row = wide.restrict([side], w=(width,)).sample(1, rng)[0]
            found.append(Other(f"lite0 x {width:g} at {side}", wide.lower(row, 6)))
    for stages_of, name, sides in (
        (_OFA, "OFA net.config", UNSEEN_SIDES),
        (_MCUNET, "MCUNet net.config", (96, 144, 200)),
    ):
        for side in sides:
            for width in rng.choice(UNSEEN_WIDTHS, 2, replace=False):
                config = net_config(stages_of, float(width), side, rng)
                found.append(Other(f"{name} x {width:g} at {side}", read_net_config(config)))
    return found


def net_config(
    stages: tuple[tuple[int, int, bool, str], ...], width: float, side: int, rng: np.random.Generator
) -> Any:
    """A network as Once-for-All and MCUNet write them, with random depths, kernels and ratios."""
    first, act = make_divisible(16 * width), stages[-1][3]
    blocks, inputs = [], first
    for channels, first_stride, se, act_of in stages:
        out = make_divisible(channels * width)
        for number in range(int(rng.integers(2, 5))):
            stride = first_stride if number == 0 else 1
            layer = {
                "name": "MBInvertedConvLayer", "in_channels": inputs, "out_channels": out,
                "kernel_size": int(rng.choice([3, 5, 7])), "stride": stride, "expand_ratio": int(rng.choice([3, 4, 6])),
                "act_func": act_of, "use_se": se,
            }  # fmt: skip
            same = stride == 1 and inputs == out
            blocks.append({"mobile_inverted_conv": layer, "shortcut": {"name": "IdentityLayer"} if same else None})
            inputs = out
    last, mixed = make_divisible(inputs * 6), make_divisible(1280 * max(width, 1.0))
    squeezes = any(stage[2] for stage in stages)
    ends = {
        "final_expand_layer": {"kernel_size": 1, "in_channels": inputs, "out_channels": last, "act_func": act},
        "feature_mix_layer": {"kernel_size": 1, "in_channels": last, "out_channels": mixed, "act_func": act,
                              "use_bn": False},
    }  # fmt: skip
    return {
        "resolution": side, "blocks": blocks, **(ends if squeezes else {}),
        "first_conv": {"kernel_size": 3, "stride": 2, "in_channels": 3, "out_channels": first, "act_func": act},
        "classifier": {"in_features": mixed if squeezes else inputs, "out_features": 10},
    }  # fmt: skip


def measured(ground: Ground, others: list[Other]) -> list[Measurement]:
    precision = Precision(ground.precision)
    models = {f"{i}": seeded_network(in_precision(other.blocks, precision), SEED) for i, other in enumerate(others)}
    quiet_ms = ground.bench.quiet_reference_ms(ground.table.header)
    return list(
        ground.bench.measure(models, Protocol.default(), ground.precision, reference_quiet_ms=quiet_ms).values()
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_networks_that_no_table_holds(precision: str) -> None:
    told(precision, [*of_other_widths(), *of_other_families()])


@pytest.mark.parametrize("seed", UNSEEN_SEEDS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_networks_that_nobody_had_seen(precision: str, seed: int) -> None:
    told(precision, unseen(seed))


def told(precision: str, others: list[Other]) -> None:
    ground = Ground.of(precision)
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
