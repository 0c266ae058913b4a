"""Quantities as people write them: "20ms", "256KB", "30M", "1h". KB = 1,024 bytes, M = 10^6."""

from __future__ import annotations

import math
import re

from nas_edge.errors import QuantityError

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ%]*)\s*\Z")

_LATENCY_MS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"b": 1.0, "kb": 1024.0, "kib": 1024.0, "mb": 2.0**20, "mib": 2.0**20, "gb": 2.0**30, "gib": 2.0**30}
_COUNT = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_ENERGY_MJ = {"uj": 1e-3, "µj": 1e-3, "μj": 1e-3, "mj": 1.0, "j": 1e3}
_SHARE = {"": 1.0, "%": 0.01}
_LIMIT = re.compile(r"\s*([A-Za-z_][\w.@-]*)\s*(<=|>=)\s*(.+?)\s*\Z")
_DURATION_S = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# "b" is bytes here and "m" a million: what bounds a network is counted in these.
_ANY_UNIT = {**_COUNT, **_LATENCY_MS, **_ENERGY_MJ, **_BYTES, "%": 0.01}


def _parse(text: str, scale: dict[str, float], what: str, example: str) -> float:
    match = _NUMBER.match(text)
    if not match:
        raise QuantityError(f"{what} {text!r} is not a quantity; write it like {example}")
    number, unit = float(match[1]), match[2].lower()
    if unit not in scale:
        problem = f"has no unit that {what} knows" if unit else "has no unit"
        raise QuantityError(f"{what} {text!r} {problem}; write it like {example}")
    value = number * scale[unit]
    if not (value > 0 and math.isfinite(value)):
        raise QuantityError(f"{what} {text!r} must be positive and finite; write it like {example}")
    return value


def parse_latency_ms(text: str) -> float:
    """ "20ms" -> 20.0, "350us" -> 0.35, "0.3s" -> 300.0 (milliseconds).

    Raises:
        QuantityError: no number, no unit, an unknown unit, zero or negative.

    """
    return _parse(text, _LATENCY_MS, "latency", "20ms, 350us or 0.3s")


def parse_bytes(text: str) -> int:
    """ "256KB" -> 262144 (KB = 1,024 bytes). Raises QuantityError as `parse_latency_ms`."""
    return round(_parse(text, _BYTES, "size", "256KB or 2MB"))


def parse_count(text: str, what: str = "count") -> float:
    """ "30M" -> 30e6, "1.2G" -> 1.2e9, "5000" -> 5000. Raises QuantityError."""
    return _parse(text, _COUNT, what, "30M or 1.2G")


def parse_duration_s(text: str) -> float:
    """ "1h" -> 3600, "20min" -> 1200 (seconds). Raises QuantityError."""
    return _parse(text, _DURATION_S, "duration", "1h, 20min or 90s")


def parse_energy_mj(text: str) -> float:
    """ "300mJ" -> 300.0, "0.3J" -> 300.0, "500uJ" -> 0.5 (millijoules). Raises QuantityError."""
    return _parse(text, _ENERGY_MJ, "energy", "300mJ or 0.3J")


def parse_share(text: str, what: str = "share") -> float:
    """ "92%" -> 0.92, "0.92" -> 0.92. Raises QuantityError outside 0 to 1."""
    value = _parse(text, _SHARE, what, "92% or 0.92")
    if value > 1:
        raise QuantityError(f"{what} {text!r} is more than 100 %; write it like 92% or 0.92")
    return value


def parse_limit(text: str) -> tuple[str, str, float]:
    """ "flops<=100M" -> ("flops", "<=", 1e8): a bound on a metric; units of latency, size, energy, %, k, M, G.

    Raises:
        QuantityError: not of that form.

    """
    match = _LIMIT.match(text)
    if not match:
        raise QuantityError(f"limit {text!r} is not a bound; write it like 'flops<=100M' or 'accuracy>=92%'")
    value = _parse(match[3], _ANY_UNIT, f"limit on {match[1]}", "100M, 20ms, 64KB or 92%")
    return match[1], match[2], value


def format_ms(ms: float) -> str:
    """A latency with three significant figures: 0.0123 ms, 4.87 ms, 128 ms."""
    if not math.isfinite(ms):
        return f"{ms} ms"
    digits = max(0, 2 - (math.floor(math.log10(abs(ms))) if ms else 0))
    return f"{ms:.{min(digits, 4)}f} ms"


def format_count(count: float) -> str:
    """12_345_678 -> "12.3M"."""
    for scale, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= scale:
            digits = f"{count / scale:.3g}"
            return f"{digits if 'e' not in digits else round(count / scale)}{suffix}"
    return f"{count:.3g}"


def format_bytes(size: float) -> str:
    """262144 -> "256KB"."""
    for scale, suffix in ((1024**3, "GB"), (1024**2, "MB"), (1024, "KB")):
        if abs(size) >= scale:
            return f"{size / scale:.4g}{suffix}"
    return f"{size:.0f}B"


def format_duration(seconds: float) -> str:
    """3700 -> "1 h 02 min", 75 -> "1 min 15 s", 4.2 -> "4 s"."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"
