"""Training pictures where the network is: all of them in a GPU's memory where they fit, else fetched ahead."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHARE = 0.5  # of a GPU's free memory that pictures may take: the rest is for activations
_CHUNK_BYTES = 2**26  # copied to a device at once


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
        self._thread: ThreadPoolExecutor | None = None
        self._next: NDArray[np.int64] | None = None
        self._ahead: tuple[NDArray[np.int64], Future[Tensor]] | None = None
        if kept if kept is not None else fits(pictures.nbytes, device):
            self._all = moved(pictures, device)
        elif device.type != "cpu" or kept is False:
            # A thread that has not chosen a GPU would take page-locked memory by way of the first one.
            chosen = (torch.cuda.set_device, (device,)) if device.type == "cuda" else (None, ())
            self._thread = ThreadPoolExecutor(1, "pictures", *chosen)

    def expect(self, indices: NDArray[np.int64]) -> None:
        """Tell what will be taken after the next batch: where pictures are fetched, that begins with `take`."""
        self._next = indices if len(indices) else None

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8] | Tensor:
        """Pictures, uint8 [n, s, s, 3]: an array on a CPU, a tensor elsewhere."""
        if self._all is not None:
            return self._all[torch.from_numpy(indices).to(self.device)]
        if self._thread is None:
            return self.pictures[indices]
        ahead, self._ahead = self._ahead, None
        # It is another for the first batch, and after a return to an earlier state: what was fetched then is let go.
        expected = ahead is not None and np.array_equal(ahead[0], indices)
        batch = ahead[1].result() if ahead is not None and expected else self._fetch(indices)
        if self._next is not None:
            self._ahead, self._next = (self._next, self._thread.submit(self._fetch, self._next)), None
        return batch

    def close(self) -> None:
        """Fetch nothing more, and let go of what is on the device."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._all, self._ahead, self._next = None, None, None

    def _fetch(self, indices: NDArray[np.int64]) -> Tensor:
        batch = torch.from_numpy(self.pictures[indices])
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)


def moved(pictures: NDArray[np.uint8], device: torch.device) -> Tensor:
    """All pictures on a device, uint8 [n, s, s, 3]; of those in a file only a part at a time is in memory besides."""
    whole = torch.empty(pictures.shape, dtype=torch.uint8, device=device)
    step = max(1, _CHUNK_BYTES // max(1, pictures[:1].nbytes))
    for start in range(0, len(pictures), step):
        whole[start : start + step].copy_(torch.from_numpy(np.array(pictures[start : start + step])))
    return whole


def fits(size_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes of pictures fit into a GPU beside what training needs; never on a CPU: they lie there."""
    if device.type != "cuda":
        return False
    torch.cuda.empty_cache()  # what torch holds of an earlier run, and no tensor is in, is free as well
    return size_bytes <= _SHARE * torch.cuda.mem_get_info(device)[0]
