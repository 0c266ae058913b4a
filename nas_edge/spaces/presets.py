"""The spaces that come with nas-edge.

Once-for-All's three (Cai et al., ICLR 2020) are as published. `lite0` is EfficientNet-Lite0 (Tan and Le, 2019;
Google's mobile variant: ReLU6, no squeeze-and-excitation, SAME padding) made elastic around its own widths and
depths; `mbv3-small` is MobileNetV3-Small (Howard et al., ICCV 2019) made elastic likewise. `mbv3-32` is for 32-pixel
images, `mcu` for 64 to 256 KB of SRAM, `mcu-tiny` for 28-pixel images in 8 to 64 KB: no squeeze-and-excitation, ReLU6,
channels in eights, as int8 C likes it.
"""

from __future__ import annotations

from nas_edge.errors import UnknownNameError
from nas_edge.spaces.blocks import Activation, Padding
from nas_edge.spaces.template import Stage, Stem, Tail, Template

_K357, _E346, _D234 = (3, 5, 7), (3, 4, 6), (2, 3, 4)


def _ofa_mbv3(name: str, widths: tuple[int, ...]) -> Template:
    stem, first, *stages, expand, mix = widths
    relu, swish = Activation.RELU, Activation.H_SWISH
    details = zip(
        stages, (2, 2, 2, 1, 2), (False, True, False, True, True), (relu, relu, swish, swish, swish), strict=True
    )
    return Template(
        name=name,
        stem=Stem(stem, activation=swish),
        first=Stage(first, 1, activation=relu),
        stages=tuple(Stage(c, s, _D234, _K357, _E346, act, se) for c, s, se, act in details),
        tail=Tail(expand, mix, swish),
        resolutions=tuple(range(128, 225, 4)),
    )


def _ofa_proxyless() -> Template:
    stages = [
        Stage(c, s, d, _K357, _E346)
        for c, s, d in [
            (32, 2, _D234),
            (56, 2, _D234),
            (104, 2, _D234),
            (128, 1, _D234),
            (248, 2, _D234),
            (416, 1, (1,)),
        ]
    ]
    return Template(
        name="ofa-proxyless-w1.3",
        stem=Stem(40),
        first=Stage(24, 1, residual=False),
        stages=tuple(stages),
        tail=Tail(1664),
        resolutions=tuple(range(128, 225, 4)),
        bn_eps=1e-3,
        named_after="feature_mix",
    )


def _lite0() -> Template:
    k, e = (3, 5), _E346
    stages = [
        Stage(c, s, tuple(range(1, d + 1)), k, e)
        for c, s, d in [(24, 2, 2), (40, 2, 2), (80, 2, 3), (112, 1, 3), (192, 2, 4), (320, 1, 1)]
    ]
    return Template(
        name="lite0",
        stem=Stem(32),
        first=Stage(16, 1),
        stages=tuple(stages),
        tail=Tail(1280, dropout=0.2),
        resolutions=(64, 80, 96, 112, 128, 144, 160),
        padding=Padding.SAME,
        bn_eps=1e-3,
        bn_momentum=0.01,
    )


def _mbv3_small() -> Template:
    relu, swish = Activation.RELU, Activation.H_SWISH
    details = [(24, 2, 2, False, relu), (40, 2, 3, True, swish), (48, 1, 2, True, swish), (96, 2, 3, True, swish)]
    return Template(
        name="mbv3-small",
        stem=Stem(16, activation=swish),
        first=Stage(16, 2, activation=relu, se=True),
        stages=tuple(Stage(c, s, tuple(range(1, d + 1)), (3, 5), _E346, act, se) for c, s, d, se, act in details),
        tail=Tail(576, 1024, swish),
        resolutions=(64, 80, 96, 112, 128, 144, 160, 192, 224),
    )


def _mbv3_32() -> Template:
    relu, swish = Activation.RELU, Activation.H_SWISH
    details = [
        (24, 1, False, relu),
        (32, 2, True, relu),
        (64, 2, False, swish),
        (96, 1, True, swish),
        (128, 2, True, swish),
    ]
    return Template(
        name="mbv3-32",
        stem=Stem(16, stride=1, activation=swish),
        first=Stage(16, 1, activation=relu),
        stages=tuple(Stage(c, s, (1, 2, 3), _K357, _E346, act, se) for c, s, se, act in details),
        tail=Tail(576, 768, swish),
        resolutions=(20, 24, 28, 32),
    )


def _mcu() -> Template:
    stages = [
        (16, 2, (1, 2), _K357),
        (24, 2, (1, 2, 3), _K357),
        (40, 2, (1, 2, 3), _K357),
        (48, 1, (1, 2), (3, 5)),
        (96, 2, (1, 2), (3, 5)),
    ]
    return Template(
        name="mcu",
        stem=Stem(16),
        first=Stage(8, 1),
        stages=tuple(Stage(c, s, d, k, _E346) for c, s, d, k in stages),
        tail=Tail(160),
        resolutions=(32, 48, 64, 80, 96),
        widths=(0.5, 0.75, 1.0, 1.5),
        padding=Padding.SAME,
        bn_eps=1e-3,
        bn_momentum=0.01,
    )


def _mcu_tiny() -> Template:
    stages = [(16, 1, (1, 2)), (24, 2, (1, 2)), (40, 2, (1, 2))]
    return Template(
        name="mcu-tiny",
        stem=Stem(8, stride=1),
        first=Stage(8, 2),
        stages=tuple(Stage(c, s, d, (3, 5), (2, 3, 4)) for c, s, d in stages),
        tail=Tail(96),
        resolutions=(16, 20, 24, 28),
        widths=(0.5, 0.75, 1.0, 1.5, 2.0),
        padding=Padding.SAME,
        bn_eps=1e-3,
        bn_momentum=0.01,
    )


_PRESETS: dict[str, Template] = {
    template.name: template
    for template in [
        _ofa_mbv3("ofa-mbv3-w1.0", (16, 16, 24, 40, 80, 112, 160, 960, 1280)),
        _ofa_mbv3("ofa-mbv3-w1.2", (24, 24, 32, 48, 96, 136, 192, 1152, 1536)),
        _ofa_proxyless(),
        _lite0(),
        _mbv3_small(),
        _mbv3_32(),
        _mcu(),
        _mcu_tiny(),
    ]
}


def preset_names() -> tuple[str, ...]:
    """Names of all presets."""
    return tuple(_PRESETS)


def preset(name: str) -> Template:
    """The preset of a name. Raises UnknownNameError with near names."""
    if name not in _PRESETS:
        raise UnknownNameError("space", name, _PRESETS)
    return _PRESETS[name]
