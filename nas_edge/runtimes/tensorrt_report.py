"""What `trtexec` writes, as values: run times, layers, outputs, the summary and the errors on its terminal.

All that is read here comes from another machine: what cannot be is a DeviceError of one line, never a traceback.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import DeviceError
from nas_edge.runtimes.layers import LayerTime

_MS = r"([0-9.eE+-]+) ms"
_SUMMARY = re.compile(r"(GPU Compute Time|Latency|H2D Latency|D2H Latency|Enqueue Time): (min = .*)")
_FIGURE = re.compile(rf"(min|max|mean|median|percentile\((\d+(?:\.\d+)?)%\)) = {_MS}")
_THROUGHPUT = re.compile(r"Throughput: ([0-9.eE+-]+) qps")
_BUILT = re.compile(r"Engine built in ([0-9.]+) sec")
_ERROR = re.compile(r"^(?:\[[^\]]*\] )?\[E\] (.*)$", re.MULTILINE)
_NODE = re.compile(r"While parsing node number \d+ \[([^\]\s]+)(?: -> \"([^\"]*)\")?")


@dataclass(frozen=True)
class TimedRun:
    """One timed run, ms.

    Attributes:
        compute_ms: on the GPU alone: what tables and budgets are about.
        latency_ms: from the first byte copied there to the last copied back.
        h2d_ms, d2h_ms: of the copies.
        start_ms: when computing began, since the first run.

    """

    compute_ms: float
    latency_ms: float
    h2d_ms: float
    d2h_ms: float
    start_ms: float


@dataclass(frozen=True)
class Percentiles:
    """One line of the summary, ms; `percentiles` by number (90, 95, 99: versions print one to three of them)."""

    least: float
    greatest: float
    mean: float
    median: float
    percentiles: dict[float, float]


@dataclass(frozen=True)
class Summary:
    """What is on the terminal.

    Attributes:
        figures: by what they are about: "GPU Compute Time", "Latency", "H2D Latency", "D2H Latency", "Enqueue Time".
        throughput: runs a second; None where it is not said.
        unstable: it says that compute time varied too much (clocks that are not locked, another program).

    """

    figures: dict[str, Percentiles]
    throughput: float | None
    unstable: bool


@dataclass(frozen=True)
class LayerInfo:
    """Layers of an engine, in order.

    Attributes:
        kinds: kind by name, "" where the version lists names alone.
        tensors: inputs and outputs of the network ("Bindings", from 11 on "I/O Tensors").

    """

    kinds: dict[str, str]
    tensors: tuple[str, ...]


def parse_times(text: str) -> tuple[TimedRun, ...]:
    """`--exportTimes`. Raises DeviceError."""
    runs = []
    for entry in _list(text, "--exportTimes"):
        try:
            compute, latency, h2d, d2h, start = (
                _finite(entry[key]) for key in ("computeMs", "latencyMs", "h2dMs", "d2hMs", "startComputeMs")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DeviceError(f"trtexec: --exportTimes holds an entry that is no run time ({error!r})") from error
        if compute <= 0 or latency < compute * 0.999 or h2d < 0 or d2h < 0:
            raise DeviceError(
                f"trtexec: --exportTimes holds times that cannot be (compute {compute:g} ms, latency {latency:g} ms)"
            )
        runs.append(TimedRun(compute, latency, h2d, d2h, start))
    return tuple(runs)


def parse_summary(text: str) -> Summary:
    """The end of standard output."""
    figures = {}
    for name, rest in _SUMMARY.findall(text):
        found: dict[str, float] = {}
        tail: dict[float, float] = {}
        for key, percentile, value in _FIGURE.findall(rest):
            if percentile:
                tail[float(percentile)] = float(value)
            else:
                found[key] = float(value)
        if {"min", "max", "mean", "median"} <= set(found):
            figures[name] = Percentiles(found["min"], found["max"], found["mean"], found["median"], tail)
    throughput = _THROUGHPUT.search(text)
    return Summary(figures, float(throughput[1]) if throughput else None, "compute time is unstable" in text)


def parse_build_s(text: str) -> float | None:
    """How long a build took, as it says itself."""
    found = _BUILT.search(text)
    return float(found[1]) if found else None


def parse_layers(text: str) -> LayerInfo:
    """`--exportLayerInfo`: layers as strings, or as objects where details were asked for. Raises DeviceError."""
    data = _json(text, "--exportLayerInfo")
    if not isinstance(data, dict) or not isinstance(data.get("Layers"), list):
        raise DeviceError("trtexec: --exportLayerInfo has no list of layers")
    kinds = {_name(entry): _kind(entry) for entry in data["Layers"]}
    tensors = data.get("Bindings", data.get("I/O Tensors", []))
    if not isinstance(tensors, list):
        raise DeviceError("trtexec: --exportLayerInfo has no list of inputs and outputs")
    return LayerInfo(kinds, tuple(_name(entry) for entry in tensors))


def parse_profile(text: str, layers: LayerInfo | None = None) -> tuple[LayerTime, ...]:
    """`--exportProfile`: a count of runs, then the layers; kinds are those of `layers`. Raises DeviceError."""
    entries = _list(text, "--exportProfile")
    kinds = layers.kinds if layers else {}
    found = []
    try:
        counts = [int(entry["count"]) for entry in entries if "count" in entry]
        for entry in entries:
            if "name" in entry:
                name = str(entry["name"])
                found.append(LayerTime(name, kinds.get(name, ""), _finite(entry["averageMs"])))
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"trtexec: --exportProfile holds an entry that is no layer ({error!r})") from error
    if not found or not counts or counts[0] < 1:
        raise DeviceError("trtexec: --exportProfile tells of no runs, or of no layers")
    return tuple(found)


def parse_outputs(text: str) -> dict[str, NDArray[np.float32]]:
    """`--exportOutput`: float32 arrays by name. Raises DeviceError."""
    found = {}
    try:
        for entry in _list(text, "--exportOutput"):
            shape = tuple(int(size) for size in str(entry["dimensions"]).split("x"))
            values = np.array([float(value) for value in entry["values"]], np.float32)
            found[str(entry["name"])] = values.reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"trtexec: --exportOutput holds an entry that is no tensor ({error!r})") from error
    return found


def parse_failure(output: str) -> str:
    """Why it failed, in one line: the node that its parser stumbled over, if it names one, and its first error."""
    errors = [" ".join(line.split()) for line in _ERROR.findall(output)]
    node = _NODE.search(output)
    reason = next((line for line in errors if "parsing node" not in line.lower()), errors[0] if errors else "")
    reason = reason.removeprefix("[TRT] ")[:240] or "it does not say why"
    if node is None:
        return reason
    return f"operator {node[1]}" + (f" (node with output {node[2]!r})" if node[2] else "") + f": {reason}"


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DeviceError(f"trtexec: {what} wrote what is no JSON ({error})") from error


def _list(text: str, what: str) -> list[dict[str, Any]]:
    data = _json(text, what)
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise DeviceError(f"trtexec: {what} wrote no list of entries")
    return data


def _finite(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{value!r} is no time")
    return number


def _name(entry: Any) -> str:
    return str(entry.get("Name", entry.get("name", ""))) if isinstance(entry, dict) else str(entry)


def _kind(entry: Any) -> str:
    return str(entry.get("LayerType", "")) if isinstance(entry, dict) else ""
