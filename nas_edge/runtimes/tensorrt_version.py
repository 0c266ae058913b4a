"""Versions of TensorRT, as its `trtexec` tells them, and what follows from them for its command lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nas_edge.errors import DeviceError

_BANNER = re.compile(r"\[TensorRT v(\d{4,7})\]")
OLDEST, NEWEST = 8, 11


@dataclass(frozen=True, order=True)
class TensorRtVersion:
    """A version; ordered."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def precision_flags(self) -> bool:
        """Whether precision is allowed by flags (`--fp16`, `--int8`); from 11 on the graph's types alone decide."""
        return self.major < 11

    @property
    def skips_inference(self) -> bool:
        """Whether a build without a run is `--skipInference`; it was `--buildOnly` before 8.6."""
        return (self.major, self.minor) >= (8, 6)

    @property
    def verbosity_flag(self) -> str:
        """What makes layers carry their details."""
        return "--profilingVerbosity=detailed" if (self.major, self.minor) >= (8, 4) else "--nvtxMode=verbose"


def parse_version(output: str) -> TensorRtVersion:
    """From the banner that every run of `trtexec` begins with: "[TensorRT v8502]" is 8.5.2, "v100300" is 10.3.0.

    Raises:
        DeviceError: no banner, or a version that nas-edge does not know how to talk to.

    """
    found = _BANNER.search(output)
    if found is None:
        said = (output.strip().splitlines() or ["nothing"])[0][:120]
        raise DeviceError(f"trtexec does not say its version; it said: {said}")
    digits = found[1]
    number, base = int(digits), 1000 if len(digits) == 4 else 10000
    version = TensorRtVersion(number // base, number % base // 100, number % 100)
    if not OLDEST <= version.major <= NEWEST:
        raise DeviceError(
            f"TensorRT {version} is there; nas-edge talks to versions {OLDEST} to {NEWEST}: install one of these"
        )
    return version
