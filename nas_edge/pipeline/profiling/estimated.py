"""Profile of an Ethos-U: what Arm's compiler estimates for a network. Nothing is measured, and nothing is so called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError
from nas_edge.files import write_json
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.targets import Target
from nas_edge.pipeline.report import Success
from nas_edge.progress import Progress, silent
from nas_edge.units import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from nas_edge.pipeline.running.directory import Run
    from nas_edge.runtimes.vela import VelaEstimate

PROFILE = "profile.json"
UNKNOWN = "no published figures to hold it against: how far it is off is not known"


@dataclass(frozen=True)
class EstimatedReport(Success):
    """What Vela says of one network.

    Attributes:
        subject: the run or the file.
        target: that was asked for.
        estimate: Vela's figures.
        artefact: what was compiled, in words.
        origin: modelled, by which version for which system.

    """

    subject: Path
    target: str
    estimate: VelaEstimate
    artefact: str
    origin: Origin

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        found = self.estimate
        return {
            "subject": str(self.subject),
            "target": self.target,
            "artefact": self.artefact,
            "latency_ms": {"modelled": found.ms, "interval": None, "interval_note": UNKNOWN},
            "cycles": {"total": found.cycles, "npu": found.npu_cycles, "clock_hz": found.clock_hz},
            "memory_bytes": {"sram": found.sram_bytes, "dram": found.dram_bytes, "flash": found.flash_bytes},
            "operators": {"npu": found.npu_operators, "cpu": found.cpu_operators},
            "precision": "int8",
            "origin": self.origin.to_json(),
        }

    def lines(self) -> list[str]:
        """For a person."""
        found = self.estimate
        memory = [("SRAM", found.sram_bytes), ("DRAM", found.dram_bytes), ("flash", found.flash_bytes)]
        lines = [
            f"MODELLED   {format_ms(found.ms)}, {format_count(found.cycles)} cycles at {found.clock_hz / 1e6:g} MHz; "
            f"{UNKNOWN}",
            f"memory     {', '.join(f'{format_bytes(size)} of {name}' for name, size in memory if size)}",
            f"operators  {found.npu_operators} on the accelerator, {found.cpu_operators} left to the CPU",
            f"with       Vela {found.version}, int8, {self.artefact}",
            f"origin     {self.origin.describe()}",
        ]
        if found.cpu_operators:
            lines.append("note       Vela counts no time for what is left to the CPU")
        return lines


def estimate_flow(
    subject: Path, target: Target, run: Run | None, model: bytes, artefact: str, progress: Progress = silent
) -> EstimatedReport:
    """Have a network compiled for a target's Ethos-U.

    Args:
        subject: directory of a run, or a file.
        target: with an `accelerator`.
        run: that the network is of, None for a file; it keeps the result as `profile.json`.
        model: an int8 model, ONNX or `.tflite`.
        artefact: what that is, in words.
        progress: told how far it is.

    Raises:
        ConfigError: the target names no accelerator, or the network is not of int8. ExportError: Vela refuses it.
        MissingExtraError: Vela or LiteRT is not installed.

    """
    if run is not None and run.precision != "int8":
        raise ConfigError(
            f"{subject}: is a network in {run.precision}; Ethos-U runs int8: export it, nas-edge export {subject} "
            f"--format tflite --precision int8, and profile the file"
        )
    progress(0, 1, f"compiling for {target.name}")
    found = estimate_on(target, model)
    report = EstimatedReport(subject, target.name, found, artefact, origin_of(target, found))
    if run is not None:
        write_json(subject / PROFILE, {"format": 1, **report.to_json()})
    return report


def estimate_on(target: Target, model: bytes) -> VelaEstimate:
    """Vela's figures for an int8 model, ONNX or `.tflite`. Raises as `estimate_flow`."""
    from nas_edge.runtimes.litert import artefact
    from nas_edge.runtimes.vela import Accelerator, estimate

    if target.accelerator is None:
        raise ConfigError(f"{target.path}: runtime {target.runtime!r} needs 'accelerator:' (config, system, memory)")
    return estimate(artefact(model, "int8").data, Accelerator(**target.accelerator.model_dump()))


def origin_of(target: Target, estimate: VelaEstimate) -> Origin:
    """Of such figures."""
    assert target.accelerator is not None
    about = target.accelerator
    source = f"ethos-u-vela {estimate.version} for {about.config}, {about.system}, {about.memory}"
    return Origin(OriginKind.MODELLED, source=source)
