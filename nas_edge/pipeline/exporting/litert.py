"""What else is to be known of an int8 `.tflite` file: ONNX Runtime's answers, an arena, an estimate for an Ethos-U."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import NasEdgeError
from nas_edge.files import write_bytes
from nas_edge.pipeline.devices.targets import ETHOS_U, Target, load_target, target_names
from nas_edge.units import format_bytes, format_ms

if TYPE_CHECKING:
    from nas_edge.data import Preprocess
    from nas_edge.export.parity import Answering

COMPILED = "model_vela.tflite"


def agreement_note(
    canonical: bytes, file: Answering, images: NDArray[np.uint8], preprocess: Preprocess
) -> tuple[str, ...]:
    """How often the file answers as ONNX Runtime does on the int8 model that it was made from.

    Args:
        canonical: the int8 ONNX model.
        file: the file, loaded.
        images: uint8 [n, side, side, 3], resized.
        preprocess: scales them.

    """
    from nas_edge.export.quantise import UNLABELLED, compare_precisions

    labels = np.full(len(images), UNLABELLED)
    found = compare_precisions(canonical, file, images, preprocess, labels, calibration_images=0, on="")
    return (f"same answer as ONNX Runtime's int8 form for {found.agreement:.2%} of {found.images} images",)


def device_notes(file: bytes, side: int, target: str, named: bool, directory: Path) -> tuple[str, ...]:
    """What the file takes on a small device; for an Ethos-U the compiled file is written beside it.

    Args:
        file: int8.
        side: of the images.
        target: the run's, or the one that was named.
        named: whether it was named: what fails is then an error, and else a note.
        directory: of the export.

    Raises:
        NasEdgeError: a named device cannot be had.

    """
    if target not in target_names() and not named:
        return ()
    found = load_target(target)
    try:
        if found.runtime == ETHOS_U:
            return _compiled(file, found, directory)
        return _arena(file, side) if found.microcontroller else ()
    except NasEdgeError as error:
        if named:
            raise
        return (str(error),)


def _compiled(file: bytes, target: Target, directory: Path) -> tuple[str, ...]:
    from nas_edge.pipeline.profiling.estimated import UNKNOWN, estimate_on, origin_of

    found = estimate_on(target, file)
    write_bytes(directory / COMPILED, found.compiled)
    left = f", {found.cpu_operators} operators left to the CPU" if found.cpu_operators else ""
    return (
        f"{COMPILED} is for {target.name}: {format_ms(found.ms)}, {format_bytes(found.sram_bytes)} of SRAM{left} "
        f"({origin_of(target, found).describe()}); {UNKNOWN}",
    )


def _arena(file: bytes, side: int) -> tuple[str, ...]:
    from nas_edge.runtimes.tflite.micro import run_micro

    run = run_micro(file, np.zeros((1, side, side, 3), np.int8))
    return (
        f"TensorFlow Lite Micro runs it in an arena of {format_bytes(run.arena_bytes)}, {format_bytes(run.head_bytes)} "
        "of it for activations; the rest has pointers of 64 bits here, and is smaller on a microcontroller",
    )
