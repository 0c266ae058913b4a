"""Small tensors between the processes of a run on one machine, within microseconds.

What batch norms ask of each other is a few hundred numbers, some hundred times a step. A collective operation of gloo,
torch's library for CPUs, takes about a millisecond for that, most of it for waking threads: as long as the layers
between. Here each two processes share a socket, and wait for each other awake for a moment.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from nas_edge.errors import TrainingError

Gather = Callable[[Tensor], Tensor]


class ProcessLost(TrainingError):
    """Another process of the run has ended before its time."""


_AWAKE_S = 2e-3  # how long another process is waited for before this one sleeps
_TOKEN_BYTES = 16
_CONNECT_S = 60.0


def collective(own: Tensor) -> Tensor:
    """What every process has, [count, ...] of equal tensors [...], by torch.distributed: on any devices."""
    of_all = own.new_empty((dist.get_world_size(), *own.shape))
    dist.all_gather(list(of_all.unbind()), own)
    return of_all


def quickest_gather(rank: int, count: int) -> Gather:
    """What brings small tensors together fastest: sockets where all processes are CPUs of one machine.

    All processes must call it at the same time. Raises TrainingError where a socket cannot be had.
    """
    local = os.environ.get("LOCAL_WORLD_SIZE") == str(count)
    return Sockets(rank, count).gather if local and dist.get_backend() == "gloo" else collective


class Sockets:
    """One connection to each other process, opened when made; all processes make theirs at the same time.

    Args:
        rank: number of this process.
        count: of all.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(_CONNECT_S)
                ports, token = _introduced(server.getsockname()[1], rank)
                self.peers = {other: _called(ports[other], rank, token) for other in range(rank)}
                while len(self.peers) < count - 1:
                    self.peers |= _answered(server, token)
        except OSError as error:
            raise TrainingError(f"the processes of the run cannot connect to each other ({error})") from error
        for peer in self.peers.values():
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.settimeout(None)

    def gather(self, own: Tensor) -> Tensor:
        """What every process has, [count, ...] of equal float32 tensors [...]. Raises ProcessLost."""
        if own.device.type != "cpu":
            return collective(own)
        sent = own.detach().contiguous().numpy()
        of_all = np.empty((len(self.peers) + 1, *sent.shape), np.float32)
        of_all[self.rank] = sent
        try:
            for peer in self.peers.values():
                peer.sendall(sent.data)
            for other, peer in self.peers.items():
                _receive(peer, memoryview(of_all[other].reshape(-1)).cast("B"))
        except OSError as error:
            raise ProcessLost(f"another process of the run has ended ({error})") from error
        return torch.from_numpy(of_all)


def _introduced(port: int, rank: int) -> tuple[list[int], bytes]:
    """Ports of all processes, and the first one's token, by which strangers are told."""
    token = secrets.token_bytes(_TOKEN_BYTES)
    own = torch.tensor([port, *token], dtype=torch.int64)
    of_all = collective(own).tolist()
    return [int(row[0]) for row in of_all], bytes(of_all[0][1:])


def _called(port: int, rank: int, token: bytes) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_S)
    peer.sendall(token + rank.to_bytes(4, "big"))
    return peer


def _answered(server: socket.socket, token: bytes) -> dict[int, socket.socket]:
    """Who called; nobody where it was a stranger."""
    peer, _ = server.accept()
    peer.settimeout(_CONNECT_S)
    said = bytearray(len(token) + 4)
    _receive(peer, memoryview(said))
    if not secrets.compare_digest(bytes(said[: len(token)]), token):
        peer.close()
        return {}
    return {int.from_bytes(said[len(token) :], "big"): peer}


def _receive(peer: socket.socket, into: memoryview) -> None:
    """Fill `into`. Raises OSError where the other end is closed."""
    asleep = time.monotonic() + _AWAKE_S
    while into:
        ready, _, _ = select.select([peer], [], [], 0.0 if time.monotonic() < asleep else None)
        if not ready:
            continue
        count = peer.recv_into(into)
        if not count:
            raise OSError("its end of the connection is closed")
        into = into[count:]
