"""nn-Meter's kernel measurements (Zhang et al., MobiSys 2021), as its builder writes them: one CSV a kernel type.

    model_path,HW,CIN,COUT,KERNEL_SIZE,STRIDES,feature_0,feature_1,latency
    conv-bn-relu_AB12CD,112,3,32,3,2,10.8,0.0009,4.2

The kernel's type begins the model's name; latency is in milliseconds. What is taken: `conv-...` as stem (3x3 and more)
or head (1x1), `fc` as classifier, `global-avgpool` as pooling; all `published`. An inverted residual stands in no such
file: where its three kernels (1x1, depthwise, 1x1 without activation) do, their sum is taken, which is nn-Meter's own
rule, as `modelled`. All other kernels (se, hswish, add, concat ...) are left out; the header says how many.

nn-Meter's logs of whole networks (`,mobilenetv3large_579,71.4,1.57,2.12`) name networks without saying what they are:
nothing can be learnt of blocks from them, and they are refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_edge.errors import FormatError, TableError
from nas_edge.files import read_text
from nas_edge.latency.importers.base import ImportRequest, Reading, header_for, iterate, table_of
from nas_edge.latency.importers.entries import Entry
from nas_edge.latency.importers.plain_csv import csv_rows
from nas_edge.latency.importers.registry import register_table_format
from nas_edge.latency.table import BlockEntry, LatencyTable
from nas_edge.origin import OriginKind
from nas_edge.spaces import Activation, BlockSpec, Kind

_ACTIVATIONS = {
    "relu": Activation.RELU, "relu6": Activation.RELU6, "hswish": Activation.H_SWISH, "": Activation.NONE,
}  # fmt: skip
_TYPE = re.compile(r"(dwconv|conv)((?:-bn)?)(?:-(relu6|relu|hswish))?|(fc|global-avgpool|[a-z]+(?:-[a-z0-9]+)*)")
_MOST_COMPOSED = 5000


@dataclass(frozen=True)
class _Kernel:
    """One row: layer type, its normalisation and activation, side, channels, kernel, stride, ms, where."""

    layer: str
    norm: bool
    activation: Activation
    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    ms: float
    at: Entry


@register_table_format
class NnMeter:
    """`--format nnmeter`."""

    name = "nnmeter"
    summary = "nn-Meter's CSV of kernels: model_path,HW,CIN,COUT,KERNEL_SIZE,STRIDES,...,latency in ms"
    options: tuple[str, ...] = ()

    def import_table(self, paths: Sequence[Path], request: ImportRequest) -> LatencyTable:
        """See `TableFormat`."""
        kernels: list[_Kernel] = []
        left_out: Counter[str] = Counter()
        for path in paths:
            for kernel in _kernels(path, left_out):
                kernels.append(kernel)
        readings = [*_direct(kernels), *_composed(kernels)]
        composed = sum(reading.entry.origin is OriginKind.MODELLED for reading in readings)
        notes = ["Inverted residuals are sums of three kernels measured apart." if composed else ""]
        if left_out:
            named = ", ".join(f"{count} of {name}" for name, count in sorted(left_out.items()))
            notes.append(f"Kernels that are no block by themselves were left out: {named}.")
        header = header_for(request, paths, self.name, "mean", [note for note in notes if note])
        by_path: dict[Path, list[Reading]] = {path: [] for path in paths}
        for reading in readings:
            by_path[reading.at.path].append(reading)
        # Its sampler draws configurations at random, and draws some of them twice.
        return table_of(iterate(paths, lambda path: iter(by_path[path])), paths, request, header, repeats=True)


def _kernels(path: Path, left_out: Counter[str]) -> Iterator[_Kernel]:
    first_line = read_text(path).split("\n", 1)[0]
    if re.fullmatch(r",[^,]+,[-\d.eE+]+,[-\d.eE+]+,[-\d.eE+]+\s*", first_line):
        raise FormatError(
            f"{path}:1: is nn-Meter's log of whole networks, which does not say what its networks are; "
            "kernel tables (model_path,HW,CIN,...,latency) can be imported"
        )
    for line, row in csv_rows(path):
        for column in ("model_path", "latency"):
            if column not in row:
                raise FormatError(f"{path}:1: lacks the column {column!r} of nn-Meter's kernel tables")
        at = Entry(path, line, row["model_path"], {})
        found = _TYPE.fullmatch(row["model_path"].rsplit("/", 1)[-1].split("_", 1)[0])
        if found is None:
            raise at.fail("does not begin with a kernel's type, like conv-bn-relu_...")
        layer, norm, activation, other = found.groups()
        if other not in (None, "fc", "global-avgpool"):
            left_out[other] += 1
            continue
        ms = _number(row, "latency", at)
        yield _Kernel(
            layer or other, bool(norm), _ACTIVATIONS[activation or ""],
            _whole(row, "HW", at) if other != "fc" else 1, _whole(row, "CIN", at),
            _whole(row, "COUT", at) if row.get("COUT") else _whole(row, "CIN", at),
            *((_whole(row, "KERNEL_SIZE", at), _whole(row, "STRIDES", at)) if layer else (1, 1)), ms, at,
        )  # fmt: skip


def _direct(kernels: Iterable[_Kernel]) -> Iterator[Reading]:
    for k in kernels:
        if k.layer == "conv" and k.activation is not Activation.NONE:
            kind = Kind.HEAD if k.kernel == 1 and k.stride == 1 else Kind.STEM
            block = BlockSpec(
                kind, k.side, k.side, k.inputs, k.inputs, k.outputs, k.kernel, k.stride, activation=k.activation,
                norm=k.norm,
            )  # fmt: skip
        elif k.layer == "fc":
            block = BlockSpec(Kind.LINEAR, 1, 1, k.inputs, k.inputs, k.outputs)
        elif k.layer == "global-avgpool":
            block = BlockSpec(Kind.POOLING, k.side, k.side, k.inputs, k.inputs, k.inputs, groups=k.inputs)
        else:
            continue
        yield Reading(block, BlockEntry(k.ms, origin=OriginKind.PUBLISHED), k.at)


def _composed(kernels: Sequence[_Kernel]) -> Iterator[Reading]:
    """Inverted residuals whose three kernels were all measured; shortcuts and squeezes are no part of them."""
    expand: dict[tuple[int, int, Activation], list[_Kernel]] = {}
    project: dict[tuple[int, int], list[_Kernel]] = {}
    for k in kernels:
        if k.layer == "conv" and k.kernel == k.stride == 1:
            if k.activation is Activation.NONE:
                project.setdefault((k.side, k.inputs), []).append(k)
            else:
                expand.setdefault((k.side, k.outputs, k.activation), []).append(k)
    made: set[BlockSpec] = set()
    for d in (k for k in kernels if k.layer == "dwconv"):
        out_side = -(-d.side // d.stride)
        for e in expand.get((d.side, d.inputs, d.activation), ()):
            for p in project.get((out_side, d.inputs), ()):
                if e.inputs >= d.inputs or (d.stride == 1 and e.inputs == p.outputs):
                    continue  # a bottleneck, or a block whose shortcut was not timed
                block = BlockSpec(
                    Kind.INVERTED_RESIDUAL, d.side, d.side, e.inputs, d.inputs, p.outputs, d.kernel, d.stride,
                    d.inputs, activation=d.activation,
                )  # fmt: skip
                if block not in made and len(made) < _MOST_COMPOSED:
                    made.add(block)
                    yield Reading(block, BlockEntry(e.ms + d.ms + p.ms, origin=OriginKind.MODELLED), d.at)


def _number(row: Mapping[str, str], name: str, at: Entry) -> float:
    try:
        value = float(row[name])
    except ValueError:
        raise at.fail(f"{name} = {row[name]!r} is not a number of milliseconds without a unit") from None
    if not (math.isfinite(value) and value > 0):
        raise at.fail(f"{name} = {row[name]} is not a positive, finite figure")
    return value


def _whole(row: Mapping[str, str], name: str, at: Entry) -> int:
    text = row.get(name, "")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**16):
        raise TableError(f"{at.path}:{at.line}: {at.key!r}: {name} = {text!r} is not a whole number above 0")
    return int(text)
