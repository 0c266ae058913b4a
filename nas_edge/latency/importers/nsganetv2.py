"""NSGANetV2's table of Once-for-All blocks (Lu et al., ECCV 2020): `i7-8700K_lut.yaml`.

    MBConv-input:100x100x16-output:50x50x24-expand:3-kernel:5-stride:2-idskip:0-se:0: {mean: 0.7363, var: 7.4e-08}

`expand` is the ratio, the spread a variance, mean in milliseconds. The keys name no activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nas_edge.latency.importers.base import ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry, read_entries
from nas_edge.latency.importers.keys import Expand, KeyReader, convolution, inverted_residual, linear
from nas_edge.latency.importers.ofa import NOTES
from nas_edge.latency.importers.proxylessnas import variance_figure
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import LatencyTable
from nas_edge.spaces import Activation, BlockSpec, make_divisible

# Once-for-All's MobileNetV3 is ReLU in the first block and stages 1 and 2, h-swish in the later ones. The widths of
# w1.0 and w1.2 do not collide, so a block's output tells its stage.
RELU_WIDTHS = frozenset({16, 24, 32, 40, 48})
SWISH_WIDTHS = frozenset({80, 96, 112, 136, 160, 192})


@register_table_format
class NsgaNetV2:
    """`--format nsganetv2`."""

    name = "nsganetv2"
    summary = "NSGANetV2 YAML: expand = ratio, mean in ms and var; blocks of Once-for-All's MobileNetV3"
    options: tuple[str, ...] = ()

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`."""
        notes = (*NOTES, "Activations are not in the source's keys; they follow Once-for-All's MobileNetV3.")
        header = header_for(request, paths, self.name, "mean", notes)
        return table_of(iterate(paths, _read), paths, request, header)


def _read(path: Path) -> Iterator[Reading]:
    for entry in read_entries(path):
        yield Reading(_block(entry), variance_figure(entry, "ofa"), entry)


def _block(entry: Entry) -> BlockSpec:
    key, swish = KeyReader(entry), Activation.H_SWISH
    if key.layer == "MBConv":
        block = inverted_residual(
            key, Expand.RATIO, lambda inputs, ratio: inputs if ratio == 1 else make_divisible(inputs * ratio),
            _activation(entry), se=None,
        )  # fmt: skip
    elif key.layer == "first_conv":
        block = convolution(key, swish, kernel=3, stride=2)
    elif key.layer == "final_expand_layer":
        block = convolution(key, swish, kernel=1, stride=1)
    elif key.layer == "feature_mix_layer":
        block = convolution(key, swish, kernel=1, stride=1, norm=False)
    elif key.layer == "classifier":
        block = linear(key, on_map=False)
    else:
        raise entry.fail(
            "is no layer of NSGANetV2 (first_conv, MBConv, final_expand_layer, feature_mix_layer, classifier)"
        )
    key.done()
    return block


def _activation(entry: Entry) -> Activation:
    width = KeyReader(entry).shape("output").channels
    if width not in RELU_WIDTHS | SWISH_WIDTHS:
        raise entry.fail(
            f"names no activation, and {width} channels are no stage of Once-for-All's MobileNetV3; "
            "write the table as CSV (--format csv), which has a column for it"
        )
    return Activation.RELU if width in RELU_WIDTHS else Activation.H_SWISH
