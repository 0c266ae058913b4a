"""How far sittings differ: found where networks were measured twice, pooled, and written into the header."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.latency import LatencyTable
from nas_edge.latency.drift import compared, network_times, pooled, sitting_drift
from nas_edge.latency.interval import ASSUMED_BESIDE_REFERENCE, ASSUMED_SITTING_LOG_ERROR, assumed_sitting_log_error
from nas_edge.latency.merge import merge_tables
from nas_edge.spaces import SearchSpace

from .toy import make_table

SPACE = SearchSpace.named("mcu").restrict([32], w=[0.5])
TABLE = make_table(SPACE, 10, noise=0.0)


def sitting(factor: float, quiet_ms: float | None = None, kernel: str = "") -> LatencyTable:
    networks = tuple(replace(n, ms=factor * n.ms) for n in TABLE.networks)
    header = replace(TABLE.header, reference_quiet_ms=quiet_ms, reference_kernel=kernel)
    return replace(TABLE, header=header, networks=networks)


def test_times_are_compared_at_one_quiet_value_of_the_reference_kernel() -> None:
    found = compared(sitting(1.0, 0.1, "k"), sitting(1.21, 0.11, "k"))  # the clock at ten per cent less, and 10 % more
    assert found["shift_percent"] == pytest.approx(10, abs=0.01)
    assert found["pairs"] == 1
    assert compared(sitting(1.0, 0.1, "k"), sitting(1.21, 0.11, "another")) == {}
    raw, scaled = network_times(sitting(1.1, 0.11, "k")), network_times(sitting(1.1, 0.11, "k"), 0.1)
    assert all(scaled[name] == pytest.approx(raw[name] / 1.1) for name in raw)


def test_what_is_assumed_depends_on_whether_there_is_a_reference_kernel() -> None:
    assert assumed_sitting_log_error(sitting(1.0).header) == ASSUMED_SITTING_LOG_ERROR
    assert assumed_sitting_log_error(sitting(1.0, 0.1, "k").header) == ASSUMED_BESIDE_REFERENCE
    assert assumed_sitting_log_error(None) == ASSUMED_SITTING_LOG_ERROR


def test_pairs_found_one_after_the_other_count_as_if_found_together() -> None:
    times = [network_times(sitting(factor)) for factor in (1.0, 1.02, 1.0, 1.05)]
    one, two = sitting_drift(times[:2]), sitting_drift(times[2:])
    both = sitting_drift(times[2:], None, [one])
    assert both["pairs"] == 2
    assert both["sittings"] == 3
    assert both["rms"] == pytest.approx(((one["rms"] ** 2 + two["rms"] ** 2) / 2) ** 0.5, abs=2e-4)
    assert min(one["log_error"], two["log_error"]) <= both["log_error"] + 1e-3
    header = replace(TABLE.header, sittings=one)
    assert pooled(header, two) == both
    assert pooled(header, {}) == one
    assert pooled(TABLE.header, {}) == {}


def test_what_each_network_has_by_itself_widens_no_bound_a_second_time() -> None:
    """Leave-one-out residuals hold it already; what all share, a level or a slope over their size, they do not."""
    rng = np.random.default_rng(0)
    ms = np.exp(rng.uniform(0, 2, 400))
    own = np.exp(0.02 * rng.standard_normal((2, 400)))

    def found(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        return sitting_drift([dict(zip(map(str, range(400)), times, strict=True)) for times in (first, second)])

    assert found(ms * own[0], ms * own[1])["rms"] == pytest.approx(0.02 * 2**0.5, rel=0.1)
    assert found(ms * own[0], ms * own[1])["beyond"] == pytest.approx(0.02, rel=0.1)
    assert found(ms, ms * 1.02)["beyond"] == pytest.approx(0.0198, rel=1e-2)
    tilted = found(ms, ms**1.02 / np.exp(0.02))
    assert tilted["beyond"] == pytest.approx(tilted["rms"], rel=1e-2)


def test_findings_of_before_count_with_all_that_they_say() -> None:
    old = {"log_error": 0.0194, "rms": 0.0113, "shift_percent": 0.49, "networks": 120, "sittings": 3, "pairs": 2}
    header = replace(TABLE.header, reference_quiet_ms=0.1, reference_kernel="k", sittings=old)
    found = pooled(header, {})
    assert found["beyond"] == found["rms"] == 0.0113
    assert found["log_error"] == pytest.approx(((0.0113**2 + ASSUMED_BESIDE_REFERENCE**2) / 2) ** 0.5, abs=1e-4)


def test_a_stated_figure_that_says_not_how_it_was_found_stays_as_it_is() -> None:
    header = replace(TABLE.header, sittings={"log_error": 0.08})
    assert pooled(header, {}) == {"log_error": 0.08}


def test_a_merged_table_says_how_far_its_sittings_differ() -> None:
    slow = replace(
        sitting(1.06), blocks={block: replace(entry, ms=1.02 * entry.ms) for block, entry in TABLE.blocks.items()}
    )
    merged = merge_tables(TABLE, slow).table
    assert merged.header.sittings["shift_percent"] == pytest.approx(6, abs=0.01)
    assert merged.header.sittings["networks"] == len(TABLE.networks)
    again = merge_tables(merged, slow).table
    assert again.header.sittings["pairs"] == 2
    few = replace(TABLE, networks=TABLE.networks[:2])
    assert merge_tables(few, slow).table.header.sittings == {}
