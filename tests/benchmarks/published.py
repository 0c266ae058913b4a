"""Published measurements as the benchmarks of the latency model use them: tables, and whole networks as blocks."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.importers import ImportRequest, get_table_format
from nas_edge.spaces import Activation, BlockSpec, Kind, SearchSpace

Floats = NDArray[np.float64]
Times = dict[BlockSpec, float]
Network = tuple[BlockSpec, ...]

NOTE10_SIDES = (160, 176, 192, 208, 224)
# Keys of DynamicOFA's Jetson tables that hold a telephone's figures.
_FOREIGN = ("Conv", "AvgPool2D", "Logits")

# Stages of FBNet (Wu and others, 2019): channels, blocks, stride of the first; 16 channels at 112 pixels come in.
_FBNET = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
_FBNET_OPS = (
    (3, 1, False),
    (3, 1, True),
    (3, 3, False),
    (3, 6, False),
    (5, 1, False),
    (5, 1, True),
    (5, 3, False),
    (5, 6, False),
)


def block_times(name: str, paths: Iterable[Path], without: tuple[str, ...] = ()) -> Times:
    """Milliseconds of each block of a published table."""
    table = get_table_format(name).import_table(list(paths), ImportRequest("published", without=without))
    return {block: entry.ms for block, entry in table.blocks.items()}


def note10(data: Path, sides: Iterable[int] = NOTE10_SIDES) -> Times:
    """Samsung Note10 at some resolutions; blocks that several have at their mean."""
    return block_times("ofa", [data / f"ofa_note10/{side}_lookup_table.yaml" for side in sides])


def i7(data: Path) -> Times:
    """Intel i7-8700K; the file is kept compressed."""
    with tempfile.TemporaryDirectory() as directory:
        plain = Path(directory) / "i7-8700K_lut.yaml"
        plain.write_bytes(gzip.decompress((data / "nsganetv2_i7/i7-8700K_lut.yaml.gz").read_bytes()))
        return block_times("nsganetv2", [plain])


def dynamic_ofa(data: Path, board: str) -> Times:
    """DynamicOFA's "jetson" (a CPU) or "jetson_GPU" without the six foreign keys."""
    found: Times = {}
    for path in sorted((data / "dynamicofa_jetson" / board).glob("*.json")):
        side = int(path.name[:3]) // 2
        first = f"expanded_conv-input:{side}x{side}x24-output:{side}x{side}x24-expand:24-"
        for block, ms in block_times("ofa", [path], (*_FOREIGN, first)).items():
            found.setdefault(block, ms)
    return found


def random_part(times: Times, share: float, seed: int) -> tuple[Times, Times]:
    """A random share of a table, and the rest."""
    blocks = list(times)
    taken = set(np.random.default_rng(seed).choice(len(blocks), round(share * len(blocks)), replace=False).tolist())
    one = {block: times[block] for i, block in enumerate(blocks) if i in taken}
    return one, {block: ms for block, ms in times.items() if block not in one}


def gpu_networks(data: Path, count: int, seed: int = 0) -> tuple[SearchSpace, NDArray[np.int8], dict[str, Floats]]:
    """Random networks of Once-for-All that HELP measured on desktop GPUs: space, rows, ms by device and batch."""
    with gzip.open(data / "help_ofa/ofa_mbv3_5000_latency_desktopgpu.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    picked = [rows[i] for i in np.random.default_rng(seed).choice(len(rows), count, replace=False)]
    space = SearchSpace.named("ofa-mbv3-w1.0")
    archs = [
        space.from_json({"r": int(row["r"]), **{key: [int(v) for v in row[key].split()] for key in ("d", "ks", "e")}})
        for row in picked
    ]
    names = [name for name in rows[0] if name not in ("r", "d", "ks", "e")]
    return space, np.stack(archs), {name: np.array([float(row[name]) for row in picked]) for name in names}


def fbnet_networks(data: Path) -> tuple[list[Network], dict[str, Floats]]:
    """FBNet's networks that HELP gives, as blocks, and whole milliseconds that were measured on four telephones.

    A block spec has no grouped 1x1 convolutions: e1_g2 is written as a block without expansion and e1 as one with an
    expansion to one channel more, which have their multiply-adds.
    """
    with gzip.open(data / "help_fbnet/fbnet_5000_latency.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    layers = []
    inputs, side = 16, 112
    for channels, count, stride in _FBNET:
        for number in range(count):
            layers.append((inputs, side, channels, stride if number == 0 else 1))
            side, inputs = -(-side // layers[-1][3]), channels
    networks = []
    for row in rows:
        blocks = [_fbnet_block(int(op), *layer) for op, layer in zip(row["arch_ops"].split(), layers, strict=True)]
        networks.append(tuple(block for block in blocks if block is not None))
    phones = ("pixel2", "samsung_a50", "samsung_s7", "essential_ph_1")
    return networks, {phone: np.array([float(row[phone]) for row in rows]) for phone in phones}


def _fbnet_block(op: int, inputs: int, side: int, channels: int, stride: int) -> BlockSpec | None:
    if op == len(_FBNET_OPS):
        return None
    kernel, ratio, grouped = _FBNET_OPS[op]
    mid = inputs * ratio if ratio > 1 else inputs + (not grouped)
    return BlockSpec(
        Kind.INVERTED_RESIDUAL, side, side, inputs, mid, channels, kernel, stride, mid, activation=Activation.RELU,
        residual=stride == 1 and inputs == channels,
    )  # fmt: skip


def sums(networks: Iterable[Network], times: Mapping[BlockSpec, float]) -> Floats:
    """Plain sums of blocks, float64 [n]."""
    return np.array([sum(times[block] for block in network) for network in networks])
