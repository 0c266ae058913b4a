"""Harmonic-NAS's look-up tables of NVIDIA Jetson boards: `lut_ofa_{imdb,memes,mnist}_{tx2,agx}.json`.

A table maps "MBConvLayer-input:1_24_112_112-in_ch:24-out_ch:32-mid_ch:144-expand:6-kernel:7-stride:2-use_se:0" to
`{"lat": ms, "enrg": mJ}`, both as strings; likewise ConvLayer and LinearLayer. `mid_ch:0` means that nothing expands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nas_edge.errors import FormatError, TableError
from nas_edge.files import read_json
from nas_edge.latency.table import BlockEntry, LatencyTable, Source, TableHeader
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import Activation, BlockSpec, Kind

REVISION = "1f664ee5"
REPOSITORY = "https://github.com/Mohamed-Imed-Eddine/Harmonic-NAS"
_BOARDS = {"tx2": ("jetson-tx2", "NVIDIA Jetson TX2"), "agx": ("jetson-agx-xavier", "NVIDIA Jetson AGX Xavier")}

# The keys do not name activations. In Once-for-All's MobileNetV3, whose blocks these are, the first two stages are
# ReLU and later ones h-swish; output widths tell the stage (those of w1.0 and w1.2 do not collide; mnist has stage 1).
_RELU_WIDTHS = frozenset({16, 24, 32, 40, 48})


def import_harmonicnas(paths: Iterable[Path], board: str) -> LatencyTable:
    """Convert the tables of one board.

    Args:
        paths: its JSON files (any of the three tasks).
        board: "tx2" or "agx".

    Raises:
        FormatError: a file is not such a table (file and key named). TableError: two files disagree on a block.
        ValueError: another board.

    """
    if board not in _BOARDS:
        raise ValueError(f"board must be one of {', '.join(_BOARDS)}, not {board!r}")
    target, device = _BOARDS[board]
    blocks: dict[BlockSpec, BlockEntry] = {}
    names = []
    for path in sorted(paths):
        data = read_json(path)
        if not isinstance(data, dict) or not data:
            raise FormatError(f"{path}: is not a look-up table of Harmonic-NAS")
        names.append(path.name)
        for key, value in data.items():
            block, entry = _entry(path, key, value)
            if blocks.setdefault(block, entry) != entry:
                raise TableError(f"{path}: {key!r} has another figure in one of the other files")
    source = Source(
        "Harmonic-NAS (Mohamed Imed Eddine Ghebriout and others)", REPOSITORY, REVISION, "none stated",
        f"all latencies and energies, from evaluate/backbone_eval/efficiency/: {', '.join(names)}",
    )  # fmt: skip
    header = TableHeader(
        target=target,
        runtime="harmonicnas",
        statistic="mean",
        origin=Origin(OriginKind.PUBLISHED, source=f"Harmonic-NAS @ {REVISION}, {device}"),
        device={"name": device, "class": "gpu"},
        sources=(source,),
        notes=(
            "The source states neither runtime nor clocks nor statistic; the values look like eager PyTorch with one "
            "synchronised run a block, not like TensorRT: expect an exported engine to be faster.",
            "Launch-bound: a block takes about as long at any kernel size until its work exceeds its launches.",
            "Activations and shortcuts are not in the source's keys; they follow Once-for-All's MobileNetV3.",
            "The linear layer from 1536 to 1000 has the same digits for TX2 and AGX Xavier: one is a copy.",
        ),
    )
    return LatencyTable(header, blocks)


def _entry(path: Path, key: str, value: Any) -> tuple[BlockSpec, BlockEntry]:
    try:
        layer, *parts = key.split("-")
        fields = dict(part.split(":", 1) for part in parts)
        figures = value if isinstance(value, Mapping) else {}
        entry = BlockEntry(float(figures["lat"]), energy_mj=float(figures["enrg"]), origin=OriginKind.PUBLISHED)
        return _block(layer, fields), entry
    except (KeyError, ValueError, TableError) as error:
        raise FormatError(f"{path}: {key!r} is not an entry of Harmonic-NAS ({error})") from None


def _block(layer: str, fields: Mapping[str, str]) -> BlockSpec:
    inputs, outputs = int(fields["in_ch"]), int(fields["out_ch"])
    if layer == "LinearLayer":
        return BlockSpec(Kind.LINEAR, 1, 1, inputs, inputs, outputs)
    _, _, height, width = (int(side) for side in fields["input"].split("_"))
    kernel, stride, se = int(fields["kernel"]), int(fields["stride"]), fields["use_se"] == "1"
    if layer == "ConvLayer":
        kind = Kind.HEAD if kernel == 1 else Kind.STEM
        return BlockSpec(
            kind, height, width, inputs, inputs, outputs, kernel, stride,
            activation=Activation.H_SWISH, norm=fields["use_bn"] == "1",
        )  # fmt: skip
    if layer != "MBConvLayer":
        raise ValueError(f"unknown layer {layer!r}")
    mid = int(fields["mid_ch"]) or inputs
    activation = Activation.RELU if outputs in _RELU_WIDTHS else Activation.H_SWISH
    return BlockSpec(
        Kind.INVERTED_RESIDUAL, height, width, inputs, mid, outputs, kernel, stride, mid,
        activation=activation, se=se, residual=stride == 1 and inputs == outputs,
    )  # fmt: skip
