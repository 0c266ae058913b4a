"""ncnn's benchmark: whole networks on a hundred boards (github.com/Tencent/ncnn, benchmark/README.md, BSD-3).

    ### Raspberry Pi 5 Broadcom BCM2712, Cortex-A76 (ARMv8) (2.4GHz x 4)
    num_threads = 1
    gpu_device = -1
            mobilenet_v2  min =   16.21  max =   16.79  avg =   16.38

A file is that README, or what `benchncnn` printed, which has no heading. There are no blocks in it: what comes out is a
table without rows, whose header holds a `NetworkPrior`. The options are `device` (the beginning of a heading) and `gpu`
(-1: the CPU; 0: its first GPU, by Vulkan).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas_edge.errors import ConfigError, FormatError, TableError
from nas_edge.files import read_text
from nas_edge.latency.importers.base import ImportRequest, header_for
from nas_edge.latency.importers.ncnn_networks import NETWORKS
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.prior import fit_network_prior
from nas_edge.latency.table import LatencyTable
from nas_edge.origin import Origin, OriginKind

_NAMED = 4  # devices in a message

_SETTING = re.compile(r"(num_threads|gpu_device) = (-?\d+)")
_RESULT = re.compile(r"\s*(\S+)\s+min =\s*(\d+(?:\.\d+)?)\s+max =\s*\d+(?:\.\d+)?\s+avg =\s*\d+(?:\.\d+)?\s*$")


@register_table_format
class NcnnBenchmark:
    """`--format ncnn`."""

    name = "ncnn"
    summary = "ncnn's benchmark/README.md: whole networks, from which a prior is made (--option device=..., gpu=...)"
    options: tuple[str, ...] = ("device", "gpu")

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`.

        Raises:
            ConfigError: the device that is named is none or several, or did not run so.

        """
        if len(paths) != 1:
            raise ConfigError(f"--format ncnn reads one file, not {len(paths)}")
        begins, gpu = request.options.get("device", ""), request.options.get("gpu", "-1")
        device, measured = _rows(paths[0], begins, request.threads, gpu)
        networks = {name: (NETWORKS[name], ms) for name, ms in measured.items()}
        kind = request.device_class or ("mobile-cpu" if gpu == "-1" else "gpu")
        prior = fit_network_prior(networks, kind)
        header = header_for(
            replace(request, device=request.device or device, device_class=kind), paths, self.name, "least"
        )
        factor = math.exp(1.2816 * prior.log_error)
        notes = (
            f"A prior of launches and MACs, fitted to {len(networks)} whole networks that ncnn ran on "
            f"{'the CPU' if gpu == '-1' else 'the GPU, by Vulkan'}; no block was measured. "
            f"Wrong by up to a factor of {factor:.1f} in 9 of 10 cases, before anything else is doubted.",
        )
        origin = Origin(OriginKind.MODELLED, source=f"prior fitted to whole networks of {header.origin.source}")
        return LatencyTable(replace(header, origin=origin, prior=prior.to_json(), notes=(*notes, *header.notes)), {})


def _rows(path: Path, begins: str, threads: int, gpu: str) -> tuple[str, Mapping[str, float]]:
    """The device's full name, and the least milliseconds of each network that is known by its blocks."""
    devices: dict[str, dict[str, float]] = {}
    conditions: set[str] = set()
    twice = ""
    for line, row in _runs(path):
        if not row.device.startswith(begins):
            continue
        conditions.add(f"{row.threads} threads with gpu {row.gpu}")
        if (row.threads, row.gpu) != (str(threads), gpu) or row.network not in NETWORKS:
            continue
        found = devices.setdefault(row.device, {})
        if row.network in found:
            twice = twice or f"{path}:{line}: {row.network} of {row.device or 'this device'} is there twice"
        if not row.least_ms > 0:
            raise TableError(f"{path}:{line}: min = {row.least_ms} is not a positive figure")
        found[row.network] = row.least_ms
    if len(devices) > 1:
        named = [*map(repr, list(devices)[:_NAMED]), *([f"{len(devices) - _NAMED} more"] * (len(devices) > _NAMED))]
        raise ConfigError(
            f"{path}: {begins!r} begins the names of {' and '.join(named)}; say more of it by --option device=NAME"
        )
    if not devices:
        have = f"only {', '.join(sorted(conditions))}" if conditions else "no such device"
        raise ConfigError(f"{path}: nothing of {begins!r} with {threads} threads and gpu {gpu}; there is {have}")
    if twice:
        raise TableError(twice)
    return next(iter(devices.items()))


@dataclass(frozen=True)
class _Run:
    """One printed line with what was printed above it."""

    device: str
    threads: str
    gpu: str
    network: str
    least_ms: float


def _runs(path: Path) -> Iterator[tuple[int, _Run]]:
    unsaid = {"num_threads": "?", "gpu_device": "-1"}  # before it could use a GPU it printed no gpu_device
    device, settings, seen = "", dict(unsaid), 0
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if text.startswith("### "):
            device, settings = text[4:].strip(), dict(unsaid)
        elif setting := _SETTING.fullmatch(text.strip()):
            settings[setting[1]] = setting[2]
        elif result := _RESULT.match(text):
            seen += 1
            yield line, _Run(device, settings["num_threads"], settings["gpu_device"], result[1], float(result[2]))
        elif " min =" in text and device:
            raise FormatError(f"{path}:{line}: is no line of ncnn's benchmark; is the file truncated?")
    if not seen:
        raise FormatError(f"{path}: holds no lines of ncnn's benchmark")
