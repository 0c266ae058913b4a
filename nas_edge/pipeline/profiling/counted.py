"""Profile of a microcontroller: the network as firmware, counted in the emulator beside what was predicted for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas_edge.errors import ConfigError, NasEdgeError
from nas_edge.files import write_json
from nas_edge.origin import Origin, OriginKind
from nas_edge.pipeline.devices.microcontrollers import board_of
from nas_edge.pipeline.devices.targets import Target
from nas_edge.pipeline.profiling.counted_report import CountedReport
from nas_edge.progress import Progress, silent

if TYPE_CHECKING:
    from nas_edge.mcu.counted import CountedNetwork
    from nas_edge.pipeline.running.directory import Run

PROFILE = "profile.json"


def count_flow(
    subject: Path,
    target: Target,
    run: Run | None,
    model: bytes,
    artefact: str,
    progress: Progress = silent,
) -> CountedReport:
    """Count a network on a target's board, or on the emulated one that stands in for it.

    Args:
        subject: directory of a run, or a file.
        target: a microcontroller.
        run: that the network is of, None for a file; it keeps the result as `profile.json`.
        model: serialised ONNX, int8.
        artefact: what that is, in words.
        progress: told how far it is.

    Raises:
        ConfigError: the run is not of int8. ExportError: it does not fit, or has an operator without a kernel.
        DeviceError: QEMU or a compiler is missing. MeasurementError: the firmware faults, hangs or errs.

    """
    from nas_edge.mcu.counted import count_network
    from nas_edge.mcu.timing import core_timing

    if run is not None and run.precision != "int8":
        raise ConfigError(
            f"{subject}: is a network in {run.precision}; microcontrollers run int8: search with --target "
            f"{target.name}, or export it: nas-edge export RUN --precision int8, and profile the file"
        )
    board = board_of(target)
    progress(0, 2, f"building firmware for {board.name}")
    counted = count_network(model, board)
    progress(1, 2, "comparing outputs")
    report = CountedReport(
        subject=subject,
        target=target.name,
        counted=counted,
        predicted=None if run is None else predicted_instructions(run, target),
        timing=core_timing(board.core.name),
        agreement=_agreement(model, counted),
        artefact=artefact,
        origin=Origin(OriginKind.MEASURED_EMULATED, counted.run.emulator, time.strftime("%F")),
    )
    if run is not None:
        write_json(subject / PROFILE, {"format": 1, **report.to_json()})
    return report


def predicted_instructions(run: Run, target: Target) -> float | None:
    """What the target's table says of a run's network; None without one."""
    from nas_edge.latency import LatencyPredictor
    from nas_edge.pipeline.bundle import load_bundle
    from nas_edge.pipeline.tables.modelled import instruction_table

    try:
        found = instruction_table(target)
        if found is None:
            return None
        bundle = load_bundle(run.bundle)
        arch = bundle.space.from_json(dict(run.arch), str(run.path / "arch.json"))
        predictor = LatencyPredictor.of(found[0], bundle.space, bundle.num_classes)
        return float(predictor.point(arch[None])[0])
    except NasEdgeError:
        return None  # a count is worth showing without a table beside it


def _agreement(model: bytes, counted: CountedNetwork) -> tuple[int, int]:
    """On how many images ONNX Runtime gives the firmware's class, of how many."""
    from nas_edge.mcu import reference
    from nas_edge.mcu.counted import seeded_images
    from nas_edge.runtimes import get_runtime

    images = seeded_images(counted.graph)
    session = get_runtime("onnxruntime").prepare(model, "int8", 1)
    try:
        name = next(iter(session.inputs))
        logits = [next(iter(session.run({name: image[None]}).values())).reshape(-1) for image in images]
    finally:
        session.close()
    ours = reference.dequantise(counted.graph.output, counted.outputs).reshape(len(images), -1)
    same = sum(int(np.argmax(a) == np.argmax(b)) for a, b in zip(logits, ours, strict=True))
    return same, len(images)
