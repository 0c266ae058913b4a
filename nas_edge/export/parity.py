"""Does the exported file compute what the network computes? Asked on real images, before the file is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_edge.data.preprocess import Preprocess
from nas_edge.errors import DataError, ExportError, ParityError
from nas_edge.progress import Progress, silent
from nas_edge.spaces.onnx_session import answering_session
from nas_edge.supernet.static import StaticNet

TOLERANCE = 1e-4
BATCH = 32


class Answering(Protocol):
    """A file in the runtime that it was made for, or another that reads it.

    Attributes:
        runtime: name and version.

    """

    runtime: str

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, classes] for normalised images, float32 [n, 3, side, side]."""


@dataclass(frozen=True)
class ParityReport:
    """An exported file against the network it came from.

    Attributes:
        images: how many were compared.
        max_abs_difference: largest difference of any logit.
        max_abs_logit: largest logit of the network, for scale.
        top1_agreement: share of images with the same answer, 0..1.
        tolerance: what the largest difference may be.
        runtime: what ran the file, with its version.
        accuracy: share of right answers of the file, 0..1; None where no labels were given.

    """

    images: int
    max_abs_difference: float
    max_abs_logit: float
    top1_agreement: float
    tolerance: float
    runtime: str
    accuracy: float | None = None

    @property
    def passed(self) -> bool:
        """Within tolerance; a NaN is not."""
        return self.max_abs_difference <= self.tolerance

    def describe(self) -> str:
        """One line for a person."""
        return (
            f"{self.runtime} against torch on {self.images} images: largest difference {self.max_abs_difference:.1e} "
            f"(allowed {self.tolerance:.0e}, logits up to {self.max_abs_logit:.3g}), "
            f"same answer for {self.top1_agreement:.2%}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "images": self.images,
            "max_abs_difference": self.max_abs_difference,
            "max_abs_logit": self.max_abs_logit,
            "top1_agreement": self.top1_agreement,
            "tolerance": self.tolerance,
            "runtime": self.runtime,
            "accuracy": self.accuracy,
            "passed": self.passed,
        }


def check_parity(
    net: StaticNet,
    model: bytes | Answering,
    images: NDArray[np.uint8],
    preprocess: Preprocess,
    *,
    labels: NDArray[np.int64] | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
) -> ParityReport:
    """Run a network and its exported file on the same images.

    The images go through `Preprocess.normalise`, as in deployment. The network's mode is left as it was.

    Args:
        net: what was exported.
        model: the ONNX file, which ONNX Runtime runs, or any file in a runtime of its own.
        images: uint8 [n, side, side, 3], resized: `Split.images(preprocess, side)`.
        preprocess: scales them.
        labels: int64 [n], to have the file's accuracy as well.
        tolerance: largest difference of a logit that is let pass.
        progress: told how far it is.

    Raises:
        ParityError: a larger difference (or NaN). ExportError: ONNX Runtime does not load the file, or computes in
            other shapes. DataError: no images.

    """
    import torch

    if not len(images):
        raise DataError("parity needs at least one image")
    session = opened(model)
    was_training = net.training
    net.eval()
    wanted: list[NDArray[np.float32]] = []
    got: list[NDArray[np.float32]] = []
    try:
        for start in range(0, len(images), BATCH):
            batch = preprocess.normalise(images[start : start + BATCH])
            with torch.no_grad():
                wanted.append(net(torch.from_numpy(batch)).float().numpy())
            got.append(session.logits(batch))
            progress(min(start + BATCH, len(images)), len(images), "comparing the exported file with the network")
    finally:
        net.train(was_training)
    report = _compare(np.concatenate(wanted), np.concatenate(got), labels, tolerance, session.runtime)
    if not report.passed:
        raise ParityError(f"the exported file does not compute what the network computes: {report.describe()}")
    return report


def opened(model: bytes | Answering) -> Answering:
    """An ONNX file in ONNX Runtime; what answers already stays as it is. Raises ExportError as `FileSession`."""
    if isinstance(model, bytes):
        return FileSession(model)
    return model


def _compare(
    wanted: NDArray[np.float32],
    got: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    tolerance: float,
    runtime: str,
) -> ParityReport:
    if wanted.shape != got.shape:
        raise ExportError(f"the exported file gives the shape {got.shape}, the network {wanted.shape}")
    answers = got.argmax(axis=1)
    return ParityReport(
        images=len(wanted),
        max_abs_difference=float(np.abs(wanted.astype(np.float64) - got).max()),
        max_abs_logit=float(np.abs(wanted).max()),
        top1_agreement=float((answers == wanted.argmax(axis=1)).mean()),
        tolerance=tolerance,
        runtime=runtime,
        accuracy=None if labels is None else float((answers == labels).mean()),
    )


class FileSession:
    """The file in ONNX Runtime; images go through in the batch size that the file has."""

    def __init__(self, model: bytes) -> None:
        self._session = answering_session(model)
        import onnxruntime  # the session did it already, and told it not to report

        self._input = self._session.get_inputs()[0]
        self.runtime = f"onnxruntime {onnxruntime.__version__}"

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, classes]."""
        size = self._input.shape[0]
        if list(batch.shape[1:]) != list(self._input.shape[1:]):
            raise ExportError(f"images {list(batch.shape[1:])} do not fit the file's input {self._input.shape[1:]}")
        if not isinstance(size, int):
            return self._run(batch)
        # The last images of a fixed batch are filled up with the first ones.
        padded = np.concatenate([batch, np.repeat(batch[:1], -len(batch) % size, axis=0)])
        return np.concatenate([self._run(padded[i : i + size]) for i in range(0, len(padded), size)])[: len(batch)]

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(None, {self._input.name: batch})[0]
        return logits
