"""`net.h` and `net.c`: the network as one function that calls a kernel for each layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_edge.mcu.codegen.naming import comment, float_literal, layer_names
from nas_edge.mcu.codegen.template import fill
from nas_edge.mcu.codegen.weights_file import has_parameters, weights_blob
from nas_edge.mcu.graph import Int8Graph, Int8Layer, Tensor
from nas_edge.memory import IMAGE, Layer, LayerKind, MemoryPlan

_CALLS = {
    LayerKind.CONV: "nas_conv(&{name}_window, {x}, {weights}, &{name}_to, {y}, {scratch});",
    LayerKind.DEPTHWISE: "nas_depthwise{size}(&{name}_window, {x}, {weights}, &{name}_to, {y}, {scratch});",
    LayerKind.POINTWISE: "nas_pointwise({pixels}, {channels}, {outputs}, {x}, {weights}, &{name}_to, {y}, {scratch});",
    LayerKind.LINEAR: "nas_linear({channels}, {outputs}, {x}, {weights}, &{name}_to, {y}, {scratch});",
    LayerKind.ADD: "nas_add({count}, {x}, {other}, &{name}_sum, {y});",
    LayerKind.POOL: "nas_average_pool({pixels}, {channels}, {x}, &{name}_to, {y});",
}
_LOGITS = "nas_linear_logits({channels}, {outputs}, {x}, {weights}, &{name}_to, {y}, {scratch});"
_DEPTHWISE_SIZES = (3, 5, 7)  # that have a function of their own: a program carries those it calls
_WINDOWED = (LayerKind.CONV, LayerKind.DEPTHWISE)


def net_header(graph: Int8Graph, plan: MemoryPlan, origin: str, image_of_pixels: bool) -> str:
    """`net.h`: what the user's program needs to know."""
    taken, given = graph.input, graph.output
    return fill(
        "net.h",
        title=comment(graph.name),
        origin=origin,
        input_shape=_shape(taken),
        output_shape=_shape(given),
        input_macros=_tensor_macros("INPUT", taken),
        output_meaning=_output_meaning(given),
        output_type=f"{given.dtype}_t",
        outputs=given.height * given.width * given.channels,
        output_macros=_tensor_macros("OUTPUT", given),
        arena_bytes=plan.arena_bytes,
        layers=len(graph.layers),
        image=fill("image.h") if image_of_pixels else "",
    )


def net_source(graph: Int8Graph, plan: MemoryPlan, origin: str) -> str:
    """`net.c`."""
    names = layer_names(graph)
    descriptors, calls = [], []
    for i, (name, item) in enumerate(zip(names, graph.layers, strict=True)):
        descriptors += _descriptors(name, item, graph.tensor(item.layer.inputs[0]))
        calls += ["", f"    /* {comment(item.name)}: {_meaning(item.layer)} */", f"    NET_LAYER_HOOK({i});"]
        calls += [f"    {line}" for line in _wrapped(_call(i, name, graph, plan))]
    return fill(
        "net.c",
        title=comment(graph.name),
        origin=origin,
        descriptors="\n".join(descriptors),
        checksum=f"0x{_checksum(graph):08x}",
        input_at=plan.tensors[0],
        calls="\n".join(calls),
    )


def _tensor_macros(which: str, tensor: Tensor) -> str:
    zero = f"({tensor.zero_point})" if tensor.zero_point < 0 else str(tensor.zero_point)
    values = {
        "HEIGHT": tensor.height,
        "WIDTH": tensor.width,
        "CHANNELS": tensor.channels,
        "BYTES": tensor.bytes,
        "SCALE": float_literal(tensor.scale),
        "ZERO_POINT": zero,
    }
    return "\n".join(f"#define NET_{which}_{name} {value}" for name, value in values.items())


def _output_meaning(tensor: Tensor) -> str:
    if tensor.dtype == "int32":
        return "The output: a logit for each class, real value = NET_OUTPUT_SCALE * code; the greatest is the answer."
    return "The output: codes; real value = NET_OUTPUT_SCALE * (code - NET_OUTPUT_ZERO_POINT)."


def _shape(tensor: Tensor) -> str:
    return f"{tensor.height} x {tensor.width} x {tensor.channels}"


def _meaning(layer: Layer) -> str:
    window = f" {layer.kernel_height} x {layer.kernel_width}" if layer.kind in _WINDOWED else ""
    stride = f" stride {layer.stride}" if layer.stride > 1 else ""
    before = f"{layer.height} x {layer.width} x {layer.in_channels}"
    after = f"{layer.out_height} x {layer.out_width} x {layer.out_channels}"
    return f"{layer.kind}{window}{stride}, {before} to {after}"


def _descriptors(name: str, item: Int8Layer, source: Tensor) -> list[str]:
    """Constants of a layer, each with the names of its fields."""
    layer, lines = item.layer, []
    if layer.kind in _WINDOWED:
        fields = {
            "in_height": layer.height,
            "in_width": layer.width,
            "in_channels": layer.in_channels,
            "kernel_height": layer.kernel_height,
            "kernel_width": layer.kernel_width,
            "stride": layer.stride,
            "pad_top": layer.pads[0],
            "pad_left": layer.pads[1],
            "out_height": layer.out_height,
            "out_width": layer.out_width,
            "out_channels": layer.out_channels,
            "in_zero": source.zero_point,
        }
        lines += _constant("nas_window", f"{name}_window", fields)
    if item.requantise is not None:
        to = item.requantise
        given = {"bias": f"net_weights.{name}.bias", "multiplier": f"net_weights.{name}.multiplier"}
        lines += _constant(
            "nas_requantise", f"{name}_to", given | {"left": to.left, "zero": to.zero, "low": to.low, "high": to.high}
        )
    if item.addition is not None:
        total = item.addition
        fields = {
            "a_multiplier": total.a_multiplier,
            "b_multiplier": total.b_multiplier,
            "offset": total.offset,
            "shift": total.shift,
            "low": total.low,
            "high": total.high,
        }
        lines += _constant("nas_addition", f"{name}_sum", fields)
    return lines


def _constant(kind: str, name: str, fields: dict[str, int] | dict[str, int | str]) -> list[str]:
    words = [f".{key} = {value}," for key, value in fields.items()]
    words[-1] = words[-1].rstrip(",")
    return [f"static const {kind} {name} = {{", *_filled(words, "    "), "};"]


def _call(i: int, name: str, graph: Int8Graph, plan: MemoryPlan) -> str:
    item = graph.layers[i]
    layer = item.layer
    last = i + 1 == len(graph.layers)
    form = _LOGITS if item.output.dtype == "int32" else _CALLS[layer.kind]
    others = [_place(tensor, plan) for tensor in layer.inputs]
    square = layer.kernel_height == layer.kernel_width and layer.kernel_height in _DEPTHWISE_SIZES
    return form.format(
        name=name,
        size=f"_{layer.kernel_height}x{layer.kernel_width}" if square else "",
        x=others[0],
        other=others[-1],
        y="output" if last else _place(i, plan),
        scratch="NULL" if plan.scratch[i] is None else f"AT({plan.scratch[i]})",
        weights=f"net_weights.{name}.weights" if has_parameters(item) else "",
        pixels=layer.height * layer.width,
        channels=layer.in_channels,
        outputs=layer.out_channels,
        count=layer.out_bytes,
    )


def _place(tensor: int, plan: MemoryPlan) -> str:
    return "input" if tensor == IMAGE else f"AT({plan.tensors[tensor + 1]})"


def _wrapped(call: str) -> list[str]:
    """A call on lines of at most 100 characters, its arguments below each other."""
    head, _, rest = call.partition("(")
    words = rest.split(", ")
    lines = _filled([f"{word}," for word in words[:-1]] + words[-1:], " " * (len(head) + 1))
    return [f"{head}({lines[0].lstrip()}", *lines[1:]]


def _filled(words: Sequence[str], indent: str) -> list[str]:
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) > 96 and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{word} "
    return [*lines, line.rstrip()]


def _checksum(graph: Int8Graph) -> int:
    """What net_init computes, over the same bytes."""
    total = 1
    for word in np.frombuffer(weights_blob(graph), "<u4").tolist():
        total = ((total << 1 | total >> 31) & 0xFFFFFFFF) ^ word
    return total
