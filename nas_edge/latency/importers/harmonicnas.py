"""Harmonic-NAS's look-up tables of NVIDIA Jetson boards: `lut_ofa_{imdb,memes,mnist}_{tx2,agx}.json`.

A table maps "MBConvLayer-input:1_24_112_112-in_ch:24-out_ch:32-mid_ch:144-expand:6-kernel:7-stride:2-use_se:0" to
`{"lat": ms, "enrg": mJ}`, both as strings; likewise ConvLayer and LinearLayer. `mid_ch:0` means that nothing expands.
The keys name neither activations nor shortcuts: these follow Once-for-All's MobileNetV3, whose blocks they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nas_edge.latency.importers.base import ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry, read_entries
from nas_edge.latency.importers.keys import KeyReader
from nas_edge.latency.importers.nsganetv2 import RELU_WIDTHS
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec, Kind

_NOTES = (
    "The source states neither runtime nor clocks nor statistic; the values look like eager PyTorch with one "
    "synchronised run a block, not like TensorRT: expect an exported engine to be faster.",
    "Launch-bound: a block takes about as long at any kernel size until its work exceeds its launches.",
    "Activations and shortcuts are not in the source's keys; they follow Once-for-All's MobileNetV3.",
)


@register_table_format
class HarmonicNas:
    """`--format harmonicnas`."""

    name = "harmonicnas"
    summary = "Harmonic-NAS JSON of Jetson boards: lat in ms, enrg in mJ"
    options: tuple[str, ...] = ()

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`."""
        return table_of(iterate(paths, _read), paths, request, header_for(request, paths, self.name, "mean", _NOTES))


def _read(path: Path) -> Iterator[Reading]:
    for entry in read_entries(path):
        figure = BlockEntry(
            entry.positive("lat"), energy_mj=entry.positive("enrg"), origin=OriginKind.PUBLISHED
        )  # fmt: skip
        yield Reading(_block(entry), figure, entry)


def _block(entry: Entry) -> BlockSpec:
    key = KeyReader(entry)
    if key.layer == "LinearLayer":
        inputs, outputs = key.number("in_ch"), key.number("out_ch")
        key.skip("input")
        key.done()
        return BlockSpec(Kind.LINEAR, 1, 1, inputs, inputs, outputs)
    height, width = key.map_size("input")
    inputs, outputs = key.number("in_ch"), key.number("out_ch")
    kernel, stride, se = key.number("kernel"), key.number("stride"), key.flag("use_se")
    if key.layer == "ConvLayer":
        block = BlockSpec(
            Kind.HEAD if kernel == 1 else Kind.STEM, height, width, inputs, inputs, outputs, kernel, stride,
            activation=Activation.H_SWISH, norm=key.flag("use_bn"),
        )  # fmt: skip
    elif key.layer == "MBConvLayer":
        mid = key.count("mid_ch") or inputs
        key.skip("expand")  # the ratio that mid_ch was rounded from
        block = BlockSpec(
            Kind.INVERTED_RESIDUAL, height, width, inputs, mid, outputs, kernel, stride, mid,
            activation=Activation.RELU if outputs in RELU_WIDTHS else Activation.H_SWISH,
            se=se, residual=stride == 1 and inputs == outputs,
        )  # fmt: skip
    else:
        raise entry.fail("is no layer of Harmonic-NAS (ConvLayer, MBConvLayer, LinearLayer)")
    key.done()
    return block
