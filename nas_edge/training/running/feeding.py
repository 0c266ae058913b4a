"""Training pictures where the network is: all of them in a GPU's memory where they fit, else fetched ahead."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHARE = 0.5  # of a GPU's free memory that pictures may take: the rest is for activations


class Feed:
    """Batches of pictures by number.

    On a CPU they are read where they lie. On a GPU they are all kept there where they fit; else the next batch is
    copied to page-locked memory and on to the GPU while the present one is worked on.

    Args:
        pictures: uint8 [n, s, s, 3].
        device: of the network.
        kept: whether they are all kept on the device; None where they fit.
    """

    def __init__(self, pictures: NDArray[np.uint8], device: torch.device, kept: bool | None = None) -> None:
        self.pictures, self.device = pictures, device
        self._all: Tensor | None = None
        self._ahead: ThreadPoolExecutor | None = None
        self._coming: dict[bytes, Future[Tensor]] = {}
        if kept if kept is not None else fits(pictures.nbytes, device):
            self._all = torch.from_numpy(np.array(pictures)).to(device)
        elif device.type != "cpu" or kept is False:
            self._ahead = ThreadPoolExecutor(1, "pictures")

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Begin to fetch what will be taken next, where pictures are fetched."""
        if self._ahead is not None and len(indices):
            self._coming[indices.tobytes()] = self._ahead.submit(self._fetch, indices)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8] | Tensor:
        """Pictures, uint8 [n, s, s, 3]: an array on a CPU, a tensor elsewhere."""
        if self._all is not None:
            return self._all[torch.from_numpy(indices).to(self.device)]
        if self._ahead is None:
            return self.pictures[indices]
        coming = self._coming.pop(indices.tobytes(), None)
        if coming is None:  # the first batch, or one after a return to an earlier state
            return self._fetch(indices)
        return coming.result()

    def close(self) -> None:
        """Fetch nothing more."""
        if self._ahead is not None:
            self._ahead.shutdown(cancel_futures=True)

    def _fetch(self, indices: NDArray[np.int64]) -> Tensor:
        batch = torch.from_numpy(self.pictures[indices])
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)


def fits(size_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes of pictures fit into a GPU beside what training needs; never on a CPU: they lie there."""
    return device.type == "cuda" and size_bytes <= _SHARE * torch.cuda.mem_get_info(device)[0]
