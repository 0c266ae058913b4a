"""Quantities as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.errors import QuantityError
from nas_edge.units import (
    format_bytes,
    format_count,
    format_duration,
    format_ms,
    parse_bytes,
    parse_count,
    parse_duration_s,
    parse_latency_ms,
)


@pytest.mark.parametrize(
    ("text", "ms"), [("20ms", 20.0), ("350us", 0.35), ("350µs", 0.35), (" 0.3 s ", 300.0), ("1e1ms", 10.0), ("2.MS", 2)]
)
def test_latencies_become_milliseconds(text: str, ms: float) -> None:
    assert parse_latency_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize(
    "text", ["", "20", "20mss", "-3ms", "0ms", "ms", "nanms", "infms", "1e999ms", "20 m s", "20ms!", "20KB", "1_0ms"]
)
def test_a_bad_latency_is_refused_in_one_line_that_shows_how_to_write_it(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_latency_ms(text)
    assert "20ms" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "size"), [("256KB", 262_144), ("2MB", 2 * 2**20), ("1.5KiB", 1536), ("7b", 7)])
def test_a_kilobyte_has_1024_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(("text", "count"), [("30M", 30e6), ("1.2G", 1.2e9), ("5000", 5000), ("4k", 4000), ("2B", 2e9)])
def test_a_million_is_ten_to_the_sixth(text: str, count: float) -> None:
    assert parse_count(text) == count


def test_the_message_says_which_quantity_was_wrong() -> None:
    with pytest.raises(QuantityError, match="macs '30X' has no unit that macs knows"):
        parse_count("30X", "macs")


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("20min", 1200), ("90s", 90), ("2d", 172_800)])
def test_durations_become_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@given(st.floats(1e-3, 1e6))
def test_a_formatted_latency_reads_back_to_three_figures(ms: float) -> None:
    text = format_ms(ms)
    assert parse_latency_ms(text) == pytest.approx(ms, rel=0.051 if ms < 0.01 else 0.0051)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_quantity_error(text: str) -> None:
    for parse in (parse_latency_ms, parse_bytes, parse_count, parse_duration_s):
        try:
            assert parse(text) >= 0
        except QuantityError:
            continue


def test_formats_are_for_people() -> None:
    assert format_ms(math.nan) == "nan ms"
    assert [format_ms(v) for v in (0.0123, 4.87, 128.4)] == ["0.0123 ms", "4.87 ms", "128 ms"]
    assert [format_count(v) for v in (12, 12_345, 12_345_678, 1.2e9, 1e12)] == ["12", "12.3k", "12.3M", "1.2G", "1000G"]
    assert [format_bytes(v) for v in (12, 2**18, 3 * 2**20)] == ["12B", "256KB", "3MB"]
    assert [format_duration(v) for v in (4.2, 75, 3700)] == ["4 s", "1 min 15 s", "1 h 01 min"]
