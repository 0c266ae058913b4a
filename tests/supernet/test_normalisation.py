"""How images are normalised for a file of weights: what its neighbour, its name and its family say, in this order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_edge.errors import FormatError, UnknownNameError
from nas_edge.supernet.normalisation import normalisation_of
from tests.supernet.timm_record import RECORD, configurations

IMAGENET, HALF, NONE = (123.675, 116.28, 103.53), (127.5,) * 3, (0.0,) * 3
CONFIGURATIONS = json.loads(RECORD.read_text(encoding="utf-8"))["configurations"]


def config(architecture: str = "mobilenetv3_small_100", **pretrained: object) -> str:
    """As Hugging Face's hub has it beside `model.safetensors`."""
    return json.dumps({"architecture": architecture, "num_classes": 1000, "pretrained_cfg": pretrained})


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_timms_names_have_the_normalisation_that_timm_gives_them(name: str) -> None:
    known = CONFIGURATIONS[name]
    expected = [tuple(255 * value for value in known[key]) for key in ("mean", "std")]
    found = normalisation_of(Path(f"{name}.safetensors"), "network")
    assert [found.mean, found.std] == [pytest.approx(values) for values in expected]
    released = normalisation_of(Path(known["file"]), "network")  # of some the name says nothing
    assert "assumed" in released.why or released.mean == found.mean


def test_timms_weights_of_one_network_differ_and_a_bare_name_is_no_more_than_an_assumption() -> None:
    kinds = {CONFIGURATIONS[name]["mean"][0] for name in CONFIGURATIONS if name.startswith("mobilenetv3_large_100.")}
    assert kinds == {0.0, 0.485, 0.5}
    found = normalisation_of(Path("mobilenetv3_large_100.pth"), "MobileNetV3-Large")
    assert found.mean == IMAGENET
    assert found.describe() == (
        "images are normalised by ImageNet's mean and deviation, assumed for MobileNetV3-Large;"
        " if not: --init-normalisation imagenet, half, none"
    )


@pytest.mark.parametrize(
    ("name", "family", "mean"),
    [
        ("best.pth", "EfficientNet-Lite", HALF),
        ("best.pth", "MobileNetV2", IMAGENET),
        ("best.pth", "MobileNetV3-Small", IMAGENET),
        ("tf_mobilenetv3_small_100-37f49e2b.pth", "MobileNetV3-Small", HALF),
        ("mobilenetv3_large_100_1k_miil_78_0-66471c13.pth", "MobileNetV3-Large", NONE),
    ],
)
def test_a_file_is_normalised_as_its_name_or_else_its_family(name: str, family: str, mean: object) -> None:
    found = normalisation_of(Path(name), family)
    assert found.mean == mean
    assert not found.sure
    assert "--init-normalisation" in found.describe()


def test_a_configuration_beside_the_file_decides_and_nothing_is_assumed(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    (tmp_path / "config.json").write_text(config(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], crop_pct=0.95))
    found = normalisation_of(file, "MobileNetV3-Small")
    assert (found.mean, found.std) == (HALF, HALF)
    assert found.describe() == f"images are normalised to -1 to 1, as {tmp_path / 'config.json'} says"
    (tmp_path / "config.json").write_text(config(mean=[0.1, 0.2, 0.3], std=[0.2, 0.2, 0.2]))
    found = normalisation_of(file, "MobileNetV3-Small")
    assert (found.mean, found.std) == ((25.5, 51.0, 76.5), (51.0,) * 3)
    assert "by mean (25.5, 51.0, 76.5) and std (51.0, 51.0, 51.0)" in found.describe()


def test_a_configuration_of_another_network_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config(mean=[0, 0, 0], std=[1, 1, 1]))
    assert normalisation_of(tmp_path / "mobilenetv3_small_100.pth", "MobileNetV3-Small").mean == NONE
    assert normalisation_of(tmp_path / "tf_efficientnet_lite0.pth", "EfficientNet-Lite").mean == HALF
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert normalisation_of(tmp_path / "best.pth", "EfficientNet-Lite").mean == HALF


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json:1: is not JSON"),
        (config(mean=[0.5], std=[0.5, 0.5, 0.5]), r"config\.json: 'mean' \[0\.5\] is not of three numbers; say with"),
        (config(mean=[0.5] * 3, std=[0.5, 0.5, 0]), r"'std' \[0\.5, 0\.5, 0\] is not of three numbers"),
        (config(mean=["a"] * 3, std=[0.5] * 3), r"'mean' \['a', 'a', 'a'\] is not of three numbers"),
    ],
)
def test_a_damaged_configuration_is_told_and_the_user_may_overrule_it(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(FormatError, match=message):
        normalisation_of(tmp_path / "model.safetensors", "MobileNetV2")
    found = normalisation_of(tmp_path / "model.safetensors", "MobileNetV2", asked="none")
    assert (found.mean, found.std) == (NONE, (255.0,) * 3)
    assert found.describe() == "images are normalised to 0 to 1, as asked"


def test_an_unknown_normalisation_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'imagnet'; did you mean imagenet.*"):
        normalisation_of(Path("best.pth"), "MobileNetV2", asked="imagnet")


def test_the_recorded_configurations_are_timms() -> None:
    pytest.importorskip("timm", reason="needs timm (and torchvision)", exc_type=ImportError)
    assert configurations() == CONFIGURATIONS
