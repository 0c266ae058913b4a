"""Instructions predicted against instructions counted, on subnets that no table has seen: README, "figures"."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.latency import LatencyPredictor
from nas_edge.mcu.boards import load_board
from nas_edge.mcu.counted import count_network
from nas_edge.mcu.emulator import Method
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.modelled import instruction_table
from nas_edge.search.metrics import MetricContext, build_metrics
from nas_edge.spaces import Precision, SearchSpace
from tests.emulated import needs_emulator

pytestmark = [pytest.mark.benchmark, *needs_emulator]

SEED = 20261122  # not the table's
SUBNETS = 30
SRAM_BYTES = 120 * 1024


def test_predicted_against_counted_instructions_on_30_fresh_subnets() -> None:
    space, board = SearchSpace.named("mcu"), load_board("stm32f405")
    found = instruction_table(load_target("stm32f405"))
    assert found is not None
    predictor = LatencyPredictor.of(found[0], space, 6)
    context = MetricContext(space, 6, precision=Precision.INT8)
    pool = space.sample(400, np.random.default_rng(SEED))
    fitting = pool[build_metrics(["sram"], context)["sram"](pool) <= SRAM_BYTES][:SUBNETS]
    predicted = predictor.point(fitting)
    counted = np.array(
        [count_network(seeded_model(space, arch, 6, precision="int8"), board).instructions for arch in fitting]
    )
    error = 100 * (predicted / counted - 1)
    order = np.argsort(counted)
    print(f"\n{len(fitting)} subnets of mcu on {board.name}, {counted.min():,.0f} to {counted.max():,.0f} instructions")
    for i in order[:: max(1, len(order) // 6)]:
        print(f"  predicted {predicted[i]:>12,.0f}  counted {counted[i]:>12,.0f}  {error[i]:+.3f} %")
    print(f"error {np.abs(error).mean():.4f} %, worst {np.abs(error).max():.4f} %, bias {error.mean():+.4f} %")
    assert np.abs(error).mean() <= 0.5


def test_repeats_are_identical_to_the_last_digit_by_either_way_of_counting() -> None:
    space = SearchSpace.named("mcu")
    model = seeded_model(space, space.smallest(), 6, precision="int8")
    print()
    for name in ("stm32f405", "mps2-an500", "mps2-an505", "mps3-an547"):
        for method in Method:
            runs = [count_network(model, load_board(name), method=method) for _ in range(3)]
            figures = {run.instructions for run in runs}
            print(f"{name:<12} {method:<8} {', '.join(f'{figure:,.0f}' for figure in figures)}")
            assert len(figures) == 1
