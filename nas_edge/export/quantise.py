"""An exported file in int8: ranges from calibration images, and what a lower precision costs in accuracy, in pairs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import DataError, ExportError
from nas_edge.export.parity import BATCH, Answering, opened
from nas_edge.progress import Progress, silent
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm, Ranges, quantise
from nas_edge.spaces.onnx_ranges import observe

LOUD_DROP = 0.01
"""Accuracy that may be lost without raising one's voice."""

UNLABELLED = -1
_Z95 = 1.959964


@dataclass(frozen=True)
class QuantisationReport:
    """A file of lower precision against the float32 one it was made from, on the same images.

    Attributes:
        images: how many were answered by both.
        agreement: share with the same answer, 0..1.
        labelled: images whose labels were looked at.
        before, after: accuracy of the float32 and of the other file on these, 0..1; None without labels.
        interval: 95 % interval of after - before, images paired (Bonett and Price, 2012).
        p_value: exact McNemar test that both are equally accurate.
        calibration_images: that the ranges were observed on; 0 where there are none.
        weight_bits: 8, or 7 for CPUs whose sums would overflow; 16 in half precision.
        on: which images, in words.
        precision: "int8" or "fp16".
        runtime: what ran the file.
        kept_float: layers that compute in float32 all the same.

    """

    images: int
    agreement: float
    labelled: int
    before: float | None
    after: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    calibration_images: int
    weight_bits: int
    on: str
    precision: str = "int8"
    runtime: str = ""
    kept_float: tuple[str, ...] = ()

    @property
    def drop(self) -> float | None:
        """Accuracy lost, 0..1; negative where some was gained."""
        return None if self.before is None or self.after is None else self.before - self.after

    @property
    def loud(self) -> bool:
        """Whether more was lost than a point."""
        return self.drop is not None and self.drop > LOUD_DROP

    def describe(self) -> str:
        """One line for a person."""
        text = f"{self.precision} against float32 on {self.images} images ({self.on}): "
        text += f"same answer for {self.agreement:.2%}"
        if self.before is not None and self.after is not None and self.interval is not None:
            low, high = self.interval
            text += (
                f"; accuracy {self.before:.1%} before, {self.after:.1%} after on {self.labelled} images "
                f"({100 * (self.after - self.before):+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
            )
        return text

    def warning(self) -> str:
        """What must be said aloud, "" where nothing must."""
        if not self.loud:
            return ""
        assert self.drop is not None
        mend = "--keep-float 4, or 'nas-edge finetune --qat' and export again" if self.precision == "int8" else "fp32"
        lost = f"{self.precision} LOSES {100 * self.drop:.1f} POINTS of accuracy, more than {100 * LOUD_DROP:g}"
        return f"{lost}: try {mend}"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "images": self.images,
            "on": self.on,
            "top1_agreement": self.agreement,
            "labelled": self.labelled,
            "accuracy_before": self.before,
            "accuracy_after": self.after,
            "difference_interval95": None if self.interval is None else list(self.interval),
            "mcnemar_p": self.p_value,
            "calibration_images": self.calibration_images,
            "weight_bits": self.weight_bits,
            "precision": self.precision,
            "runtime": self.runtime,
            "kept_float": list(self.kept_float),
            "loud": self.loud,
        }


def observed_ranges(
    model: bytes, images: NDArray[np.uint8], preprocess: Preprocess, progress: Progress = silent
) -> Ranges:
    """Ranges of an exported float32 file's activations.

    Args:
        model: from `build_model`.
        images: uint8 [n, side, side, 3] of the training split, resized.
        preprocess: scales them.
        progress: told how far it is.

    Raises:
        DataError: no images. ExportError: the model cannot be quantised.

    """
    import onnx

    given = onnx.load_from_string(model)
    batch = given.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 8

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images) - len(images) % batch, batch):
            yield preprocess.normalise(images[start : start + batch])
            progress(start + batch, len(images), "observing the ranges of activations")

    return observe(given, batches())


def quantised_file(
    model: bytes,
    images: NDArray[np.uint8],
    preprocess: Preprocess,
    form: QdqForm = CANONICAL,
    progress: Progress = silent,
    *,
    ranges: Ranges | None = None,
    keep_float: Collection[str] = (),
) -> bytes:
    """The int8 form of an exported float32 file, checked by the ONNX checker.

    Args:
        model: from `build_model`.
        images: uint8 [n, side, side, 3] of the training split, resized.
        preprocess: scales them.
        form: what the runtime wants.
        progress: told how far it is.
        ranges: those of `observed_ranges`, where they are known already.
        keep_float: names of layers that stay in float32.

    Raises:
        DataError: no images. ExportError: the model cannot be quantised.

    """
    import onnx

    given = onnx.load_from_string(model)
    found = observed_ranges(model, images, preprocess, progress) if ranges is None else ranges
    result = quantise(given, found, form, keep_float=keep_float)
    try:
        onnx.checker.check_model(result, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX checker objects: {str(error).splitlines()[0]}") from error
    data: bytes = result.SerializeToString(deterministic=True)
    return data


def compare_precisions(
    before: bytes | Answering,
    after: bytes | Answering,
    images: NDArray[np.uint8],
    preprocess: Preprocess,
    labels: NDArray[np.int64],
    *,
    calibration_images: int,
    on: str,
    weight_bits: int = 8,
    precision: str = "int8",
    kept_float: tuple[str, ...] = (),
    progress: Progress = silent,
) -> QuantisationReport:
    """Answers of a float32 file and of its form in a lower precision, image by image.

    Args:
        before: the float32 file.
        after: its form in the other precision.
        images: uint8 [n, side, side, 3], resized.
        preprocess: scales them.
        labels: int64 [n], `UNLABELLED` where the label is not to be looked at.
        calibration_images: that the ranges were observed on, for the report.
        on: which images, in words, for the report.
        weight_bits: of the other form, for the report.
        precision: of the other form.
        kept_float: its layers in float32.
        progress: told how far it is.

    Raises:
        DataError: no images. ExportError: a file does not load, or does not fit the images.

    """
    if not len(images):
        raise DataError("comparing precisions needs at least one image")
    sessions = [opened(before), opened(after)]
    answers: list[list[NDArray[np.int64]]] = [[], []]
    for start in range(0, len(images), BATCH):
        batch = preprocess.normalise(images[start : start + BATCH])
        for session, found in zip(sessions, answers, strict=True):
            found.append(session.logits(batch).argmax(axis=1))
        progress(min(start + BATCH, len(images)), len(images), f"comparing {precision} with float32")
    plain, int8 = (np.concatenate(found) for found in answers)
    known = labels != UNLABELLED
    right = [(found[known] == labels[known]) for found in (plain, int8)]
    some = bool(known.any())
    lost, gained = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return QuantisationReport(
        images=len(images),
        agreement=float((plain == int8).mean()),
        labelled=int(known.sum()),
        before=float(right[0].mean()) if some else None,
        after=float(right[1].mean()) if some else None,
        interval=paired_interval(gained, lost, int(known.sum())) if some else None,
        p_value=mcnemar(gained, lost) if some else None,
        calibration_images=calibration_images,
        weight_bits=weight_bits,
        on=on,
        precision=precision,
        runtime=sessions[1].runtime,
        kept_float=kept_float,
    )


def paired_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """95 % interval of a difference of paired shares (Bonett and Price, 2012: Wald's, one added to each discordance).

    Args:
        gained: images that only the second got right.
        lost: images that only the first got right.
        n: all images.

    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = _Z95 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value that discordant images fall either way alike (McNemar, 1947)."""
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    return float(min(1.0, 2 * tail))
