"""Once-for-All's tables (Cai et al., ICLR 2020): `<resolution>_lookup_table.yaml`, and the same as JSON (DynamicOFA).

    expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0:
      {count: 54, mean: 4.81, std: 0.09}

`expand` is the number of middle channels; mean and std are milliseconds. Conv is the stem, Conv_1 the final expansion,
Conv_2 the feature mix, Logits the classifier; h-swish in all of them, as in MobileNetV3. A network's latency is the
plain sum. Blocks that two resolutions share (Conv_2, Logits, the last stage) stand in both files, with slightly
different figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nas_edge.latency.importers.base import NORMAL_IQR, ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry, read_entries
from nas_edge.latency.importers.keys import Expand, KeyReader, convolution, inverted_residual, linear, pooling
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec

NOTES = ("A spread is 1.349 standard deviations of the source over its mean: the interquartile range of a normal law.",)


@register_table_format
class OnceForAll:
    """`--format ofa`."""

    name = "ofa"
    summary = "Once-for-All YAML or JSON: expand = middle channels, mean and std in ms"
    options: tuple[str, ...] = ()

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`."""
        header = header_for(request, paths, self.name, "mean", NOTES)
        return table_of(iterate(paths, _read), paths, request, header)


def _read(path: Path) -> Iterator[Reading]:
    for entry in read_entries(path):
        if "var" in entry.figures:
            raise entry.fail("has 'var' where this format has 'std'; is this a file of --format proxylessnas?")
        mean, std = entry.positive("mean"), entry.spread("std")
        spread = None if std is None else NORMAL_IQR * std / mean
        figure = BlockEntry(mean, spread=spread, count=entry.count(), origin=OriginKind.PUBLISHED)
        yield Reading(_block(entry), figure, entry)


def _block(entry: Entry) -> BlockSpec:
    key, swish = KeyReader(entry), Activation.H_SWISH
    if key.layer == "expanded_conv":
        block = inverted_residual(key, Expand.CHANNELS, lambda inputs, ratio: inputs * ratio, None, None)
    elif key.layer == "Conv":
        block = convolution(key, swish, kernel=3, stride=2)
    elif key.layer == "Conv_1":
        block = convolution(key, swish, kernel=1, stride=1)
    elif key.layer == "Conv_2":
        block = convolution(key, swish, kernel=1, stride=1, norm=False)
    elif key.layer == "AvgPool2D":
        block = pooling(key)
    elif key.layer == "Logits":
        block = linear(key, on_map=False)
    else:
        raise entry.fail("is no layer of Once-for-All (Conv, expanded_conv, Conv_1, AvgPool2D, Conv_2, Logits)")
    key.done()
    return block
