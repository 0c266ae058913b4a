"""A MobileNetV3-like network as several projects write it in torch, exported by torch's own exporter."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from nas_edge.spaces import Activation, BlockSpec, Kind

STYLES = ("native", "once-for-all", "silu")
_SIDE = 96
# in, mid, out, kernel, stride, squeeze, swish
_BODIES = (
    (16, 16, 16, 3, 1, False, False), (16, 64, 24, 3, 2, False, False), (24, 72, 24, 3, 1, False, False),
    (24, 96, 40, 5, 2, True, False), (40, 160, 40, 5, 1, True, True), (40, 240, 80, 7, 2, False, True),
)  # fmt: skip


def net_blocks() -> tuple[BlockSpec, ...]:
    """What the exported network consists of."""
    swish = Activation.H_SWISH
    blocks = [BlockSpec(Kind.STEM, _SIDE, _SIDE, 3, 3, 16, 3, 2, activation=swish)]
    side = _SIDE // 2
    for inputs, mid, out, kernel, stride, squeeze, swishes in _BODIES:
        blocks.append(
            BlockSpec(
                Kind.INVERTED_RESIDUAL, side, side, inputs, mid, out, kernel, stride, mid,
                activation=swish if swishes else Activation.RELU, se=squeeze,
                residual=stride == 1 and inputs == out,
            )
        )  # fmt: skip
        side = -(-side // stride)
    return (
        *blocks,
        BlockSpec(Kind.HEAD, side, side, 80, 80, 480, activation=swish),
        BlockSpec(Kind.POOLING, side, side, 480, 480, 480, groups=480),
        BlockSpec(Kind.HEAD, 1, 1, 480, 480, 640, activation=swish),
        BlockSpec(Kind.LINEAR, 1, 1, 640, 640, 10),
    )


def export_net(path: Path, style: str, opset: int) -> Path:
    """Write it, by the exporter that needs no onnxscript."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            net = _net(torch, style).eval()
            image = torch.zeros(1, 3, _SIDE, _SIDE)
            torch.onnx.export(net, (image,), str(path), opset_version=opset, dynamo=False)
        finally:
            logging.disable(logging.NOTSET)
    return path


def _net(torch: Any, style: str) -> Any:
    nn = torch.nn

    class HardSwish(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x * nn.functional.relu6(x + 3.0) / 6.0

    class HardSigmoid(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return nn.functional.relu6(x + 3.0) / 6.0

    class Squeeze(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.reduce = nn.Conv2d(channels, channels // 4, 1)
            self.expand = nn.Conv2d(channels // 4, channels, 1)
            self.gate = {"native": nn.Hardsigmoid(), "once-for-all": HardSigmoid(), "silu": nn.Sigmoid()}[style]

        def forward(self, x: Any) -> Any:
            if style == "once-for-all":
                mean = x.mean(3, keepdim=True).mean(2, keepdim=True)
            elif style == "silu":
                mean = x.mean((2, 3), keepdim=True)
            else:
                mean = nn.functional.adaptive_avg_pool2d(x, 1)
            return x * self.gate(self.expand(nn.functional.relu(self.reduce(mean))))

    def swish() -> Any:
        return {"native": nn.Hardswish(), "once-for-all": HardSwish(), "silu": nn.SiLU()}[style]

    class Body(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, i: int, mid: int, out: int, k: int, stride: int, squeeze: bool, swishes: bool) -> None:
            super().__init__()
            act = swish if swishes else nn.ReLU
            layers = [nn.Conv2d(i, mid, 1, bias=False), nn.BatchNorm2d(mid), act()] if mid != i else []
            layers += [nn.Conv2d(mid, mid, k, stride, k // 2, groups=mid, bias=False), nn.BatchNorm2d(mid), act()]
            layers += [Squeeze(mid)] if squeeze else []
            layers += [nn.Conv2d(mid, out, 1, bias=False), nn.BatchNorm2d(out)]
            self.layers = nn.Sequential(*layers)
            self.residual = stride == 1 and i == out

        def forward(self, x: Any) -> Any:
            return x + self.layers(x) if self.residual else self.layers(x)

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), swish()]
            head = [nn.Conv2d(80, 480, 1, bias=False), nn.BatchNorm2d(480), swish()]
            self.features = nn.Sequential(*stem, *(Body(*body) for body in _BODIES), *head)
            self.classifier = nn.Sequential(nn.Linear(480, 640), swish(), nn.Dropout(0.2), nn.Linear(640, 10))

        def forward(self, x: Any) -> Any:
            x = self.features(x)
            return self.classifier(
                x.mean((2, 3)) if style == "silu" else nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
            )

    return Net()
