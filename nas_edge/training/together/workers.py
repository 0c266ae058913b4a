"""Several processes that train one network together (torch.distributed, started by torchrun).

Every process draws the same architectures and holds the same weights; each looks at its part of every batch, and
gradients are averaged. Batch norms see the whole batch (`supernet.synced_norm`), so that the gradients are those of one
process with the same batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from nas_edge.training.running.device import present_device


@dataclass(frozen=True)
class Workers:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: its number; 0 writes files and speaks.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def present(cls) -> Workers:
        """Those of the process group, or this process alone."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def speaks(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def part(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The share of a batch that falls to this process; shares are equal where `count` divides the batch."""
        return indices[self.rank :: self.count]

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients over all processes, in place; all must have used the same parameters."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def share(self, net: nn.Module) -> None:
        """Give the weights and buffers that process 0 has to all, in place."""
        if self.count > 1:
            for tensor in net.state_dict().values():
                dist.broadcast(tensor, 0)

    def mean(self, *values: float) -> tuple[float, ...]:
        """Means of figures over all processes."""
        if self.count == 1:
            return values
        figures = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(figures)
        return tuple((figures / self.count).tolist())

    def first(self, value: float) -> float:
        """The figure that process 0 has."""
        if self.count == 1:
            return value
        figure = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(figure, 0)
        return float(figure)

    @contextmanager
    def file(self, path: Path) -> Iterator[Path | None]:
        """Where this process finds a file of process 0, which may be on another machine; None where there is none.

        All processes must ask at the same time.
        """
        size = int(self.first(path.stat().st_size if self.speaks and path.exists() else -1))
        if size < 0 or self.count == 1:
            yield path if size >= 0 else None
            return
        content = np.fromfile(path, np.uint8) if self.speaks else np.empty(size, np.uint8)
        dist.broadcast(torch.from_numpy(content), 0)
        if self.speaks:
            yield path
            return
        with TemporaryDirectory() as directory:
            copy = Path(directory) / path.name
            copy.write_bytes(content.data)
            yield copy

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def joined_workers() -> Iterator[Workers]:
    """Join the processes that torchrun started (its environment says so), or work alone."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Workers()
        return
    device = present_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers.present()
    finally:
        dist.destroy_process_group()
