"""Weights in timm's naming as a `Source`: MobileNetV3, MobileNetV2 and EfficientNet-Lite of any width and depth.

| timm | here |
| --- | --- |
| `conv_stem`, `bn1` | stem |
| `blocks.0.0.{conv_dw,bn1,conv_pw,bn2}` | the first block, which does not expand |
| `blocks.0.0.se.{conv_reduce,conv_expand}` (MobileNetV3-Small) | its squeeze-and-excitation |
| `blocks.<s>.<b>.{conv_pw,bn1,conv_dw,bn2,conv_pwl,bn3}` | block b of stage s, s from 1 |
| `blocks.<s>.<b>.se.{conv_reduce,conv_expand}` | its squeeze-and-excitation: after the depthwise activation, as ours |
| `blocks.6.0.{conv,bn1}` (MobileNetV3-Small: `blocks.5.0`) | head before the pooling |
| `conv_head` (MobileNetV3) | head after the pooling, the feature mix; its bias has no place here: left out |
| `conv_head`, `bn2` (EfficientNet-Lite, MobileNetV2) | head before the pooling |
| `classifier` | left out: a new one begins |

A state dict tells neither strides (they follow from which of the families it is) nor activations, padding and epsilon
of norms. Weights compute what they did where the space has those as well: `mobilenetv3_large_*` with `ofa-mbv3-*` and
`mobilenetv3_small_*` with `mbv3-small` (h-swish, symmetric padding, 1e-5), `tf_efficientnet_lite*` with `lite0` (ReLU6,
TensorFlow's padding, 1e-3). In these spaces a good start, but not the same function, are `tf_mobilenetv3_*`,
`efficientnet_lite*` and `mobilenetv2_*` (padded the other way) and `mobilenetv3_rw` (other gates). MobileNetV3's
`minimal` variants (ReLU, no gates) need a space of their own: `ofa-mbv3-*` and `mbv3-small` refuse them.
Kernels, depths, ratios and widths need not be the space's: see `supernet.inherit`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from nas_edge.errors import FormatError
from nas_edge.supernet.source import Block, Gate, Layer, Norm, Source

_LITE_STRIDES = (2, 1, 2, 2, 2, 1, 2, 1)
_MOBILENETV3_STRIDES = {5: (2, 1, 2, 2, 2, 1, 2), 4: (2, 2, 2, 2, 1, 2)}  # by stages: Large, Small
_LITE_KERNELS = (3, 5, 3, 5, 5, 3)
_WHAT = "a MobileNetV3, MobileNetV2 or EfficientNet-Lite in timm's naming"


def read_timm(state: Mapping[str, Tensor], where: str) -> Source:
    """The network that a state dict of timm describes.

    Args:
        state: by timm's names (see above), whole; half precision is taken as well.
        where: names the file in errors.

    Raises:
        FormatError: a tensor is missing, unknown or of another shape: which one.
    """
    reader = _Reader(state, where)
    numbers = reader.stages()
    mobile = f"blocks.{len(numbers) - 1}.0.conv.weight" in state
    stages = len(numbers) - (2 if mobile else 1)
    strides = _MOBILENETV3_STRIDES.get(stages, ()) if mobile else _LITE_STRIDES
    if len(strides) != stages + 2:
        raise FormatError(f"{where}: has {stages} stages after its first block; {_WHAT} is expected")
    stem = reader.layer("conv_stem", "bn1", 3, kernel=3)
    if numbers[0] != 1:
        raise FormatError(f"{where}: has 'blocks.0.1', a second block before the stages; {_WHAT} is expected")
    first = reader.first(stem.channels, strides[1], gated=mobile)
    channels, blocks = first.project.channels, []
    for stage in range(1, stages + 1):
        found = []
        for number in range(numbers[stage]):
            block = reader.block(f"blocks.{stage}.{number}", channels, 1 if number else strides[stage + 1], mobile)
            found.append(block)
            channels = block.project.channels
        blocks.append(tuple(found))
    if mobile:
        last = f"blocks.{stages + 1}.0"
        expand = reader.layer(f"{last}.conv", f"{last}.bn1", channels, kernel=1)
        heads: tuple[Layer, ...] = (expand, Layer(reader.take("conv_head.weight", (None, expand.channels, 1, 1)), None))
        reader.leave("conv_head.bias")
    else:
        heads = (reader.layer("conv_head", "bn2", channels, kernel=1),)
    reader.leave("classifier.")
    reader.finish()
    return Source(where, strides, stem, first, tuple(blocks), heads, ordered=False, left_out=tuple(reader.left_out))


def family_of(source: Source) -> str:
    """Which family a network read by `read_timm` is of: EfficientNet-Lite and MobileNetV2 differ in kernels alone."""
    if len(source.heads) > 1:
        return f"MobileNetV3-{'Large' if len(source.stages) == max(_MOBILENETV3_STRIDES) else 'Small'}"
    kernels = [{block.depthwise.weight.shape[-1] for block in blocks} for blocks in source.stages]
    if all(sizes == {3} for sizes in kernels):
        return "MobileNetV2"
    alike = all(sizes == {size} for sizes, size in zip(kernels, _LITE_KERNELS, strict=True))
    return "EfficientNet-Lite" if alike else "a relative of MobileNetV2"  # MNASNet-B1, Single-Path NAS


class _Reader:
    """Takes tensors out of a state dict, and knows in the end what nobody asked for."""

    def __init__(self, state: Mapping[str, Tensor], where: str) -> None:
        self.state = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
        self.where = where
        self.left_out: list[str] = []

    def stages(self) -> list[int]:
        """Blocks of each stage that the names speak of. Raises FormatError where they are no such names."""
        counts: dict[int, int] = {}
        for key in self.state:
            if found := re.match(r"blocks\.(\d+)\.(\d+)\.", key):
                stage, block = int(found[1]), int(found[2])
                counts[stage] = max(counts.get(stage, 0), block + 1)
        if "conv_stem.weight" not in self.state or sorted(counts) != list(range(len(counts))) or not counts:
            first = next(iter(self.state), "")
            raise FormatError(
                f"{self.where}: has {first!r} and lacks 'conv_stem.weight' or blocks; {_WHAT} is expected"
            )
        return [counts[stage] for stage in range(len(counts))]

    def take(self, key: str, shape: tuple[int | None, ...]) -> Tensor:
        """One tensor as float32, no longer in the state. Raises FormatError: missing, or of another shape."""
        if key not in self.state:
            raise FormatError(f"{self.where}: lacks {key!r}; {_WHAT} is expected, whole")
        tensor = self.state.pop(key)
        fits = len(shape) == tensor.ndim and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
        if not fits or not tensor.is_floating_point():
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise FormatError(f"{self.where}: {key!r} has shape {tuple(tensor.shape)}, expected ({expected})")
        return tensor.float()

    def layer(self, conv: str, norm: str, inputs: int, outputs: int | None = None, kernel: int | None = None) -> Layer:
        """A convolution and its norm; `inputs` are those of one group. Raises FormatError."""
        weight = self.take(f"{conv}.weight", (outputs, inputs, kernel, kernel))
        if weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
            raise FormatError(
                f"{self.where}: '{conv}.weight' has shape {tuple(weight.shape)}; kernels are square and odd"
            )
        values = [
            self.take(f"{norm}.{name}", (len(weight),)) for name in ("weight", "bias", "running_mean", "running_var")
        ]
        return Layer(weight, Norm(*values))

    def first(self, inputs: int, stride: int, gated: bool) -> Block:
        """The block that does not expand."""
        name = "blocks.0.0"
        depthwise = self.layer(f"{name}.conv_dw", f"{name}.bn1", 1, outputs=inputs)
        project = self.layer(f"{name}.conv_pw", f"{name}.bn2", inputs, kernel=1)
        gate = self.gate(f"{name}.se", inputs) if gated else None
        return Block(None, depthwise, project, gate, stride == 1 and inputs == project.channels)

    def block(self, name: str, inputs: int, stride: int, gated: bool) -> Block:
        """An inverted residual that expands; `gated` where squeeze-and-excitation is of the kind that ours is."""
        expand = self.layer(f"{name}.conv_pw", f"{name}.bn1", inputs, kernel=1)
        middle = expand.channels
        depthwise = self.layer(f"{name}.conv_dw", f"{name}.bn2", 1, outputs=middle)
        project = self.layer(f"{name}.conv_pwl", f"{name}.bn3", middle, kernel=1)
        gate = self.gate(f"{name}.se", middle) if gated else None
        return Block(expand, depthwise, project, gate, stride == 1 and inputs == project.channels)

    def gate(self, name: str, middle: int) -> Gate | None:
        """Squeeze-and-excitation, None where there is none."""
        if f"{name}.conv_reduce.weight" not in self.state:
            return None
        reduce = self.take(f"{name}.conv_reduce.weight", (None, middle, 1, 1))
        squeezed = len(reduce)
        return Gate(
            reduce,
            self.take(f"{name}.conv_reduce.bias", (squeezed,)),
            self.take(f"{name}.conv_expand.weight", (middle, squeezed, 1, 1)),
            self.take(f"{name}.conv_expand.bias", (middle,)),
        )

    def leave(self, *prefixes: str) -> None:
        """Note that some tensors are not taken."""
        for key in [key for key in self.state if key.startswith(prefixes)]:
            del self.state[key]
            self.left_out.append(key)

    def finish(self) -> None:
        """Raise FormatError where something is left that nobody asked for."""
        for key in self.state:
            raise FormatError(f"{self.where}: has {key!r}, which is not of {_WHAT}")
