"""`nas-edge profile`: which way a target takes: timed, counted in an emulator, on a serial line, or estimated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError
from nas_edge.pipeline.devices.targets import ETHOS_U, Target, load_target, target_names
from nas_edge.pipeline.profiling.timed import ProfileReport, model_of_file, model_of_run, profile_flow
from nas_edge.pipeline.running.directory import load_run
from nas_edge.progress import Progress, silent

if TYPE_CHECKING:
    from nas_edge.pipeline.profiling.counted_report import CountedReport
    from nas_edge.pipeline.profiling.estimated import EstimatedReport
    from nas_edge.pipeline.profiling.serial_line import SerialReport


def profile_command(
    subject: Path,
    target: str | None = None,
    *,
    host: str | None = None,
    serial: str | None = None,
    runtime: str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> ProfileReport | CountedReport | SerialReport | EstimatedReport:
    """Measure a network as its target is: see `profile_flow`, `count_flow`, `serial_flow` and `estimate_flow`.

    Args:
        subject: directory of a run, or a file.
        target: by default the run's, else local.
        host: of a device over ssh.
        serial: of a device over adb; the port of a microcontroller's serial line.
        runtime: instead of the target's.
        progress: told how far it is.
        options: of `profile_flow`, for targets that have a clock.

    Raises: as these do; ConfigError for options that a microcontroller does not have.

    """
    small = _without_a_clock(subject, target, runtime)
    if small is None:
        return profile_flow(subject, target, host=host, serial=serial, runtime=runtime, progress=progress, **options)
    if host:
        raise ConfigError("--host is a device over ssh; a microcontroller is at a port: --serial /dev/ttyACM0")
    run = None if subject.is_file() else load_run(subject)
    model, artefact = model_of_run(run, small.runtime) if run else model_of_file(subject)
    if small.runtime == ETHOS_U:
        from nas_edge.pipeline.profiling.estimated import estimate_flow

        return estimate_flow(subject, small, run, model, artefact, progress)
    port = serial or (small.device.address if small.device.kind == "serial" else "")
    if port:
        from nas_edge.pipeline.profiling.serial_line import serial_flow

        return serial_flow(subject, small, model, port, small.flash, progress)
    from nas_edge.pipeline.profiling.counted import count_flow

    return count_flow(subject, small, run, model, artefact, progress)


def _without_a_clock(subject: Path, target: str | None, runtime: str | None) -> Target | None:
    """The target where it is a microcontroller or an accelerator beside one; None for all others, and where
    `profile_flow` says what is wrong.
    """
    if target is None:
        if subject.is_file() or not subject.is_dir():
            return None
        target = load_run(subject).target
        if target not in target_names():
            return None
    found = load_target(target)
    clockless = found.microcontroller or found.runtime == ETHOS_U
    return found if clockless and runtime in (None, found.runtime) else None
