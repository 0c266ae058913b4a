"""The inverted-residual template: stem, stages, tail, widths, padding and resolutions as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nas_edge.errors import ConfigError, SpaceError, UnknownKeyError
from nas_edge.spaces.blocks import Activation, Padding, make_divisible

_LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Stem:
    """First convolution: `kernel` x `kernel`, norm, activation."""

    channels: int
    kernel: int = 3
    stride: int = 2
    activation: Activation = Activation.RELU6


@dataclass(frozen=True)
class Stage:
    """Consecutive blocks of one width; the first has the stride, the others keep the size.

    Attributes:
        channels: output channels (times the width multiplier).
        stride: of its first block.
        depths: choices for the number of blocks; the first d are kept.
        kernels, expands: choices of each block.
        activation, se: of each block.
        residual: shortcut where a block keeps its shape.

    """

    channels: int
    stride: int
    depths: tuple[int, ...] = (1,)
    kernels: tuple[int, ...] = (3,)
    expands: tuple[int, ...] = (1,)
    activation: Activation = Activation.RELU6
    se: bool = False
    residual: bool = True

    @property
    def slots(self) -> int:
        """Blocks at full depth."""
        return max(self.depths)


@dataclass(frozen=True)
class Tail:
    """What follows the stages.

    Attributes:
        expand_channels: 1x1 convolution before the pooling.
        mix_channels: 1x1 convolution after the pooling, 0 for none (MobileNetV3's feature mix: no norm, no bias).
        activation: of both.
        dropout: before the classifier, in training.

    """

    expand_channels: int
    mix_channels: int = 0
    activation: Activation = Activation.RELU6
    dropout: float = 0.1


@dataclass(frozen=True)
class Template:
    """An inverted-residual search space as data.

    Attributes:
        name: of the preset or of the user's file.
        stem, first, stages, tail: the network; `first` is the fixed block after the stem.
        resolutions: input sides in pixels, ascending.
        widths: width multipliers, ascending; (1.0,) for a fixed width. They do not touch the classifier.
        padding: of all convolutions.
        bn_eps, bn_momentum: of all batch norms (torch's convention).
        named_after: "final_expand" or "feature_mix": what Once-for-All calls the tail's first convolution.

    """

    name: str
    stem: Stem
    first: Stage
    stages: tuple[Stage, ...]
    tail: Tail
    resolutions: tuple[int, ...]
    widths: tuple[float, ...] = (1.0,)
    padding: Padding = Padding.SYMMETRIC
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    named_after: str = "final_expand"

    def __post_init__(self) -> None:
        for what, values in [("resolutions", self.resolutions), ("widths", self.widths)]:
            _check_ascending(f"{self.name}: {what}", values)
        if self.resolutions[-1] > _LARGEST_SIDE:  # a slip of the keyboard would fill the disk with enlarged images
            raise SpaceError(f"{self.name}: resolutions are at most {_LARGEST_SIDE} px, not {self.resolutions[-1]}")
        for number, stage in enumerate(self.stages, 1):
            for what in ("depths", "kernels", "expands"):
                _check_ascending(f"{self.name}: stage {number}: {what}", getattr(stage, what))
            if any(k % 2 == 0 or not 1 <= k <= 7 for k in stage.kernels):
                raise SpaceError(f"{self.name}: stage {number}: kernels must be odd, 1 to 7, not {stage.kernels}")
        if len(self.first.depths) * len(self.first.kernels) * len(self.first.expands) != 1 or self.first.depths[0] != 1:
            raise SpaceError(f"{self.name}: the first block is fixed: one depth, one kernel, one expand ratio")

    def scaled(self, channels: int, width: float) -> int:
        """A channel count under a width multiplier."""
        return channels if width == 1.0 else make_divisible(channels * width)

    def with_resolutions(self, resolutions: tuple[int, ...]) -> Template:
        """The same space over other input sizes."""
        return replace(self, resolutions=tuple(sorted(set(resolutions))))

    def to_dict(self) -> dict[str, Any]:
        """As plain data: the content of a bundle's `space.yaml`."""
        plain: dict[str, Any] = _plain({"format": 1, **asdict(self)})
        return plain

    @classmethod
    def from_dict(cls, data: Any, where: str = "space") -> Template:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: not a mapping, an unknown (UnknownKeyError) or missing key, a newer format.
            SpaceError: contradictory.

        """
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a space is a mapping with the keys name, stem, first, stages, tail ...")
        _check_keys(where, data, cls, (), also=("format",))
        for part, kind in (("stem", Stem), ("first", Stage), ("tail", Tail)):
            _check_keys(where, data.get(part), kind, (part,))
        for number, stage in enumerate(data["stages"] if isinstance(data.get("stages"), list) else ()):
            _check_keys(where, stage, Stage, ("stages", number))
        data = dict(data)
        if data.pop("format", None) != 1:
            raise ConfigError(f"{where}: 'format: 1' is expected; a newer file needs a newer nas-edge")
        try:
            stages = tuple(_stage(stage) for stage in data.pop("stages"))
            return cls(
                stem=Stem(**_activated(data.pop("stem"))),
                first=_stage(data.pop("first")),
                stages=stages,
                tail=Tail(**_activated(data.pop("tail"))),
                resolutions=tuple(int(r) for r in data.pop("resolutions")),
                widths=tuple(float(w) for w in data.pop("widths", (1.0,))),
                padding=Padding(data.pop("padding", "symmetric")),
                **data,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where}: does not describe a space ({error})") from error


def _check_keys(
    where: str, data: Any, kind: type[Any], path: tuple[str | int, ...], also: tuple[str, ...] = ()
) -> None:
    known = {*(f.name for f in fields(kind)), *also}
    for key in data if isinstance(data, dict) else ():
        if key not in known:
            raise UnknownKeyError(where, (*path, key), known)


def _check_ascending(what: str, values: tuple[float, ...]) -> None:
    if not values or list(values) != sorted(set(values)) or values[0] <= 0:
        raise SpaceError(f"{what}: must be positive and ascending, not {values}")


def _activated(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "activation": Activation(data["activation"])} if "activation" in data else data


def _stage(data: dict[str, Any]) -> Stage:
    lists: dict[str, Any] = {k: tuple(int(v) for v in data[k]) for k in ("depths", "kernels", "expands") if k in data}
    return Stage(**(_activated(data) | lists))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
