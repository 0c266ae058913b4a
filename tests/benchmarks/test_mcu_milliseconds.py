"""Modelled milliseconds against published ones that were left out of the fit: README, "figures".

The first test counts the published networks anew, which is how `nas_edge/mcu/timing/counts.csv` is made: `--write` is
the environment variable WRITE_COUNTS.
"""

from __future__ import annotations

import csv
import io
import os
from statistics import mean

import pytest

from nas_edge.files import write_text
from nas_edge.mcu.boards import load_board
from nas_edge.mcu.emulator.counts import total
from nas_edge.mcu.emulator.layer_bench import count_layers, shape
from nas_edge.mcu.timing import core_timing, published
from nas_edge.mcu.timing.model import COUNTS
from nas_edge.mcu.timing.networks import NETWORKS
from tests.emulated import needs_emulator

BOARDS = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500", "cortex-m33": "mps2-an505"}


@pytest.mark.benchmark
class TestCounts:
    pytestmark = needs_emulator

    def test_the_published_networks_are_counted_as_the_stored_counts_say(self) -> None:
        shapes = {shape(layer) for network in NETWORKS.values() for layer in network()}
        rows = [("core", "network", "instructions", "cycles")]
        for core, board in BOARDS.items():
            counts = count_layers(sorted(shapes, key=repr), load_board(board))
            for name, network in NETWORKS.items():
                whole = total(counts[shape(layer)] for layer in network())
                rows.append((core, name, f"{whole.instructions:.0f}", f"{whole.cycles:.0f}"))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        print(f"\n{text.getvalue()}")
        if os.environ.get("WRITE_COUNTS"):
            write_text(COUNTS, text.getvalue())
        assert COUNTS.read_text() == text.getvalue()


@pytest.mark.benchmark
def test_modelled_against_published_milliseconds_left_out_of_the_fit() -> None:
    """Each stack on each board is left out as a whole; the interval is that of all others of its core."""
    every, inside, errors = published(), [], []
    print("\ncore        figures  point: error  inside the interval")
    for core in BOARDS:
        mine = [one for one in every if one.core == core]
        own_inside, own_errors = [], []
        for group in sorted({(one.board, one.stack) for one in mine}):
            timing = core_timing(core, [one for one in mine if (one.board, one.stack) != group])
            for one in mine:
                if (one.board, one.stack) == group:
                    cycles = one.ms / 1e3 * one.clock_hz / one.factor
                    low, high = timing.bounds(cycles, one.clock_hz)
                    own_inside.append(low <= one.ms <= high)
                    own_errors.append(abs(timing.ms(cycles, one.clock_hz) / one.ms - 1))
        timing = core_timing(core)
        print(
            f"{core:<12}{len(mine):>6}  {mean(own_errors):>12.1%}  {mean(own_inside):.1%} ({timing.low:.2f} to "
            f"{timing.high:.2f} times the plain cycles; the point is {timing.factor:.2f})"
        )
        inside += own_inside
        errors += own_errors
    print(f"all         {len(errors):>6}  {mean(errors):>12.1%}  {mean(inside):.1%}")
    assert mean(inside) >= 0.8
