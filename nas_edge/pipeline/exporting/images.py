"""The images that an export needs: to observe ranges on, and to prove on that the file computes what it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_edge.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nas_edge.data import Preprocess
    from nas_edge.pipeline.bundle import Bundle

_SPLITS = ("search", "test")
_MOST_IMAGES = 2000  # of each split: more would only take longer


@dataclass(frozen=True)
class ProofImages:
    """What files are compared on.

    Attributes:
        images: uint8 [n, side, side, 3].
        labels: int64 [n], `UNLABELLED` where they stay unread.
        on: which these are, in words.

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    on: str


def proof_images(bundle: Bundle, data: str | None, preprocess: Preprocess, side: int) -> ProofImages:
    """Images not trained on: those of `data`, else the bundle's; where they are gone, its own calibration images.

    Raises:
        DataError: `data` cannot be read, or has other classes; or there are no images at all.

    """
    import numpy as np

    from nas_edge.export.quantise import UNLABELLED
    from nas_edge.pipeline.networks import bundle_calibration, bundle_dataset

    try:
        dataset = bundle_dataset(bundle, data)
    except DataError:  # moved, or never on this machine: a bundle is enough to export from
        if data is not None:
            raise
        own = bundle_calibration(bundle)
        return ProofImages(own.images(preprocess, side), np.asarray(own.labels), "images it was trained on")
    splits = [dataset.splits[name] for name in _SPLITS]
    splits = [split.subset(range(min(len(split), _MOST_IMAGES))) for split in splits]
    whose = "" if data is None else f" of {data}"
    return ProofImages(
        np.concatenate([split.images(preprocess, side) for split in splits]),
        np.concatenate([np.asarray(splits[0].labels), np.full(len(splits[1]), UNLABELLED)]),
        f"search and test split{whose}; labels of the search split",
    )


def calibration_images(
    bundle: Bundle, data: str | None, calibration: str | None, preprocess: Preprocess, side: int
) -> NDArray[np.uint8]:
    """Images that ranges are observed on, uint8 [n, side, side, 3].

    Args:
        bundle: whose own are taken.
        data: where its data set lies, if it ships none.
        calibration: a name, folder or CSV, to take instead.
        preprocess: resizes them.
        side: to that many pixels.

    Raises:
        DataError, FormatError: there are none, or they cannot be read.

    """
    from nas_edge.data import load_dataset
    from nas_edge.data.calibration import choose_calibration
    from nas_edge.pipeline.networks import bundle_calibration

    if calibration is None:
        return bundle_calibration(bundle, data).images(preprocess, side)
    return choose_calibration(load_dataset(calibration).train, 0).images(preprocess, side)
