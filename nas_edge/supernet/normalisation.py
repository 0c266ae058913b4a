"""How images were normalised for weights that come as a file, which a state dict does not tell.

timm trains most networks with ImageNet's mean and deviation; those converted from TensorFlow and its own newer recipes
("ra4") want -1 to 1, those of Alibaba's MIIL 0 to 1. Asked in this order: the user, `config.json` beside the file (as
Hugging Face's hub has it), the file's name where it is one of timm's, the family, which is an assumption. What was
found, and how, is for the user to read. Geometry is not taken over: how pictures become squares is the images' affair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from nas_edge.errors import FormatError, UnknownNameError
from nas_edge.files import read_json

RGB = tuple[float, float, float]

CONFIG = "config.json"
OPTION = "--init-normalisation"
_KNOWN: dict[str, tuple[RGB, RGB, str]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "by ImageNet's mean and deviation"),
    "half": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "to -1 to 1"),
    "none": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0), "to 0 to 1"),
}
# What timm's names begin with, and those of its releases (`mobilenetv3_large_100_ra-f55367f5.pth`): the first that
# fits. Of `mobilenetv3_large_100` there are weights of three kinds, so that this alone says nothing.
_NAMED = (
    ("tf_mobilenetv3_*", "half"),
    ("tf_efficientnet_lite*", "half"),
    ("mobilenetv3_large_100*miil*", "none"),
    ("mobilenetv3_large_*[._]ra4_*", "half"),
    ("mobilenetv3_large_100[._]ra[_-]*", "imagenet"),
    ("mobilenetv3_small_*", "imagenet"),
    ("mobilenetv3_rw*", "imagenet"),
    ("efficientnet_lite[0-4]*", "imagenet"),
    ("mobilenetv2_*", "imagenet"),
    ("mnasnet_*", "imagenet"),
    ("spnasnet_*", "imagenet"),
)
_FAMILIES = {"EfficientNet-Lite": "half"}  # Google's own; all others are trained in PyTorch as a rule


@dataclass(frozen=True)
class Normalisation:
    """x -> (x - mean) / std for each channel (red, green, blue), in units of 0..255.

    Attributes:
        mean, std: see above.
        how: for a person: what it comes to.
        why: for a person: who said so.
        sure: whether the file itself, its publisher or the user says so.
    """

    mean: RGB
    std: RGB
    how: str
    why: str
    sure: bool

    def describe(self) -> str:
        """One line: "images are normalised to -1 to 1, ..."."""
        other = "" if self.sure else f"; if not: {OPTION} {', '.join(_KNOWN)}"
        return f"images are normalised {self.how}, {self.why}{other}"


def known_normalisation(name: str, why: str, sure: bool = True) -> Normalisation:
    """The one of a name: imagenet, half or none. Raises UnknownNameError."""
    if name not in _KNOWN:
        raise UnknownNameError("normalisation", name, _KNOWN, f"({OPTION})")
    return Normalisation(*_KNOWN[name], why, sure)


def normalisation_of(file: Path, family: str, asked: str | None = None) -> Normalisation:
    """The normalisation of a file of weights.

    Args:
        file: as the user calls it; its name and its neighbour `config.json` are read.
        family: of the network, see `timm_weights.family_of`.
        asked: what the user says: imagenet, half or none.

    Raises:
        UnknownNameError: `asked` is something else. FormatError: `config.json` is damaged.
    """
    if asked is not None:
        return known_normalisation(asked, "as asked")
    pattern = next(((pattern, name) for pattern, name in _NAMED if fnmatchcase(file.name, pattern)), None)
    if (described := _beside(file, timms=pattern is not None)) is not None:
        return described
    if pattern is not None:
        return known_normalisation(pattern[1], f"as for timm's {file.name.partition('.')[0]}", sure=False)
    return known_normalisation(_FAMILIES.get(family, "imagenet"), f"assumed for {family}", sure=False)


def _beside(file: Path, timms: bool) -> Normalisation | None:
    """What `config.json` says, None where there is none, or one of something else."""
    path = file.parent / CONFIG
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config, dict) or (timms and not file.name.startswith(str(config.get("architecture", "")))):
        return None
    described = config.get("pretrained_cfg", config)
    if not isinstance(described, dict) or not {"mean", "std"} <= described.keys():
        return None
    mean, std = (_in_bytes(described[key], f"{path}: {key!r}", positive=key == "std") for key in ("mean", "std"))
    how = next((how for *values, how in _KNOWN.values() if values == [mean, std]), f"by mean {mean} and std {std}")
    return Normalisation(mean, std, how, f"as {path} says", sure=True)


def _in_bytes(values: Any, what: str, positive: bool) -> RGB:
    """Three numbers in units of 0..1 in those of 0..255. Raises FormatError."""
    fits = isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)
    if not fits or not all(math.isfinite(v) and (v > 0 or not positive) for v in values):
        raise FormatError(f"{what} {values!r} is not of three numbers; say with {OPTION} what holds instead")
    red, green, blue = (round(255 * float(value), 4) for value in values)
    return red, green, blue
