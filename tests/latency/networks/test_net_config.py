"""net.config files of other projects become the blocks that they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas_edge.errors import ArchitectureError
from nas_edge.latency.networks import is_net_config, read_net_config
from nas_edge.spaces import BlockSpec, Kind, SearchSpace


def config_of(blocks: tuple[BlockSpec, ...]) -> dict[str, Any]:
    """A network as Once-for-All writes it."""
    first, *middle = blocks
    bodies = [b for b in middle if b.kind is Kind.INVERTED_RESIDUAL]
    heads = [b for b in middle if b.kind is Kind.HEAD]

    def convolution(block: BlockSpec) -> dict[str, Any]:
        return {
            "name": "ConvLayer", "kernel_size": block.kernel, "stride": block.stride, "in_channels": block.in_channels,
            "out_channels": block.out_channels, "use_bn": block.norm, "act_func": str(block.activation),
        }  # fmt: skip

    def residual(block: BlockSpec) -> dict[str, Any]:
        layer = {
            "name": "MBInvertedConvLayer", "in_channels": block.in_channels, "out_channels": block.out_channels,
            "kernel_size": block.kernel, "stride": block.stride, "expand_ratio": 6, "mid_channels": block.mid_channels,
            "act_func": str(block.activation), "use_se": block.se,
        }  # fmt: skip
        shortcut = {"name": "IdentityLayer"} if block.residual else None
        return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer, "shortcut": shortcut}

    linear = {"name": "LinearLayer", "in_features": blocks[-1].in_channels, "out_features": blocks[-1].out_channels}
    return {
        "name": "MobileNetV3", "first_conv": convolution(first), "blocks": [residual(b) for b in bodies],
        "final_expand_layer": convolution(heads[0]),
        "feature_mix_layer": convolution(heads[1]) if len(heads) > 1 else None,
        "classifier": linear, "resolution": first.height,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ofa-mbv3-w1.0", "mbv3-32"])
def test_a_network_comes_back_as_the_blocks_that_it_was_written_from(name: str) -> None:
    space = SearchSpace.named(name)
    for row in (space.smallest(), space.largest()):
        blocks = space.lower(row, 10)
        assert read_net_config(json.loads(json.dumps(config_of(blocks)))) == blocks


def test_another_resolution_changes_every_size() -> None:
    space = SearchSpace.named("ofa-mbv3-w1.0")
    wider = SearchSpace(space.template.with_resolutions((224, 260)))
    small, large = (wider.lower(wider.restrict([r]).smallest(), 10) for r in (224, 260))
    assert read_net_config(config_of(small), 260) == large


def test_middle_channels_that_are_not_given_follow_from_the_ratio() -> None:
    config = config_of(SearchSpace.named("ofa-mbv3-w1.0").lower(SearchSpace.named("ofa-mbv3-w1.0").smallest(), 10))
    layer = config["blocks"][1]["mobile_inverted_conv"]
    layer["mid_channels"], layer["expand_ratio"] = None, 3.5
    assert read_net_config(config)[2].mid_channels == round(layer["in_channels"] * 3.5)


def test_the_published_proxyless_networks_are_read_whole(shared_dir: Path) -> None:
    nets = json.loads((shared_dir / "data/latency/proxylessnas_pixel1/proxyless_nets.json").read_text())
    # Multiply-adds of the paper's networks in millions (Cai et al., 2019, and its repository): 320, 439, 465.
    for net, macs in zip(nets, (320, 439, 465), strict=False):
        assert is_net_config(net)
        blocks = read_net_config(net)
        assert sum(b.macs for b in blocks) / 1e6 == pytest.approx(macs, rel=0.02)
        assert blocks[-1] == BlockSpec(Kind.LINEAR, 1, 1, blocks[-2].out_channels, blocks[-2].out_channels, 1000)


def broken(change: str) -> dict[str, Any]:
    config = config_of(SearchSpace.named("ofa-mbv3-w1.0").lower(SearchSpace.named("ofa-mbv3-w1.0").smallest(), 10))
    layer = config["blocks"][1]["mobile_inverted_conv"]
    if change == "no resolution":
        del config["resolution"]
    elif change == "channels":
        layer["in_channels"] += 8
    elif change == "activation":
        layer["act_func"] = "tanh"
    elif change == "kernel":
        layer["kernel_size"] = "3"
    elif change == "huge":
        layer["out_channels"] = 10**9
    elif change == "shortcut":
        config["blocks"][1]["shortcut"] = {"name": "IdentityLayer"}
    elif change == "layer":
        layer["name"] = "LSTM"
    elif change == "list":
        config["blocks"][1] = []
    elif change == "ratio":
        layer["mid_channels"], layer["expand_ratio"] = None, -1
    return config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no resolution", "--resolution"), ("channels", r"blocks\[1\]: in_channels"), ("activation", "tanh"),
        ("kernel", "kernel_size = '3'"), ("huge", "out_channels"), ("shortcut", "a shortcut needs"),
        ("layer", "LSTM"), ("list", "is not a mapping"), ("ratio", "expand_ratio"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_layer(change: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        read_net_config(broken(change))
