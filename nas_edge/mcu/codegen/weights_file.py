"""`net_weights.h` and `weights.c`: every parameter of a network, packed as the kernels read it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nas_edge.mcu.codegen.naming import array_lines, comment, layer_names
from nas_edge.mcu.codegen.template import fill
from nas_edge.mcu.graph import Int8Graph, Int8Layer
from nas_edge.mcu.packing import packed_biases, packed_multipliers, packed_weights
from nas_edge.memory import READAHEAD_BYTES


def has_parameters(item: Int8Layer) -> bool:
    """Whether a layer has a member in `net_weights`."""
    return item.requantise is not None


def weights_header(graph: Int8Graph, origin: str) -> str:
    """`net_weights.h`: one struct, a member for each layer; its size is what the parameters take of the flash."""
    lines = []
    for name, item in zip(layer_names(graph), graph.layers, strict=True):
        if has_parameters(item):
            entries, weights = len(packed_biases(item)), len(packed_weights(item))
            lines += ["    struct {", f"        int32_t bias[{entries}];", f"        int32_t multiplier[{entries}];"]
            lines += [f"        int8_t weights[{weights}];"] if weights else []
            lines += [f"    }} {name};"]
    return fill(
        "net_weights.h", title=comment(graph.name), origin=origin, members="\n".join(lines), readahead=READAHEAD_BYTES
    )


def weights_source(graph: Int8Graph, origin: str) -> str:
    """`weights.c`: the numbers."""
    lines = []
    for name, item in zip(layer_names(graph), graph.layers, strict=True):
        if has_parameters(item):
            arrays: dict[str, NDArray[Any]] = {"bias": packed_biases(item), "multiplier": packed_multipliers(item)}
            arrays |= {} if item.weights is None else {"weights": packed_weights(item)}
            lines.append(f"    .{name} = {{")
            for field, values in arrays.items():
                lines += [f"        .{field} = {{", *array_lines(values.tolist(), " " * 12), "        },"]
            lines.append("    },")
    return fill("weights.c", title=comment(graph.name), origin=origin, members="\n".join(lines))


def weights_blob(graph: Int8Graph) -> bytes:
    """`net_weights` as a little-endian machine holds it."""
    parts = []
    for item in graph.layers:
        if has_parameters(item):
            parts += [packed_biases(item).astype("<i4").tobytes(), packed_multipliers(item).astype("<i4").tobytes()]
            weights = packed_weights(item).tobytes()
            parts += [weights, bytes(-len(weights) % 4)]  # as C pads a struct that holds an int32
    return b"".join(parts) + bytes(READAHEAD_BYTES)
