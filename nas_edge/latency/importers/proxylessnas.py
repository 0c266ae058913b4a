"""ProxylessNAS's tables (Cai et al., ICLR 2019): `mobile_trim.yaml`.

    expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0:
      {count: 164, mean: 6.24, var: 0.07}

`expand` is the ratio, the spread a variance, mean in milliseconds; no squeeze-and-excitation, ReLU6. Conv is the stem,
Conv_1 the last convolution, and Logits all that follows it: pooling and classifier in one figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas_edge.latency.importers.base import NORMAL_IQR, ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry, read_entries
from nas_edge.latency.importers.keys import Expand, KeyReader, convolution, inverted_residual, linear
from nas_edge.latency.importers.ofa import NOTES
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec

_POOLED = "The classifier's figure holds the global pooling as well, which has no row of its own."


@register_table_format
class ProxylessNas:
    """`--format proxylessnas`."""

    name = "proxylessnas"
    summary = "ProxylessNAS YAML: expand = ratio, mean in ms and var"
    options: tuple[str, ...] = ()

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`."""
        header = header_for(request, paths, self.name, "mean", (*NOTES, _POOLED))
        return table_of(iterate(paths, _read), paths, request, header)


def _read(path: Path) -> Iterator[Reading]:
    for entry in read_entries(path):
        yield Reading(_block(entry), variance_figure(entry, "ofa"), entry)


def variance_figure(entry: Entry, other: str) -> BlockEntry:
    """The figure of an entry with mean and var. Raises TableError, naming the `other` format where there is a std."""
    if "std" in entry.figures:
        raise entry.fail(f"has 'std' where this format has 'var'; is this a file of --format {other}?")
    mean, var = entry.positive("mean"), entry.spread("var")
    spread = None if var is None else NORMAL_IQR * math.sqrt(var) / mean
    return BlockEntry(mean, spread=spread, count=entry.count(), origin=OriginKind.PUBLISHED)


def _block(entry: Entry) -> BlockSpec:
    key, relu6 = KeyReader(entry), Activation.RELU6
    if key.layer == "expanded_conv":
        block = inverted_residual(key, Expand.RATIO, lambda inputs, ratio: inputs * ratio, relu6, se=False)
    elif key.layer == "Conv":
        block = convolution(key, relu6, kernel=3, stride=2)
    elif key.layer == "Conv_1":
        block = convolution(key, relu6, kernel=1, stride=1)
    elif key.layer == "Logits":
        block = linear(key, on_map=True)
    else:
        raise entry.fail("is no layer of ProxylessNAS (Conv, expanded_conv, Conv_1, Logits)")
    key.done()
    return block
