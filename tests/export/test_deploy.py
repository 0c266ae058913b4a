"""The deploy folder: complete, told of honestly, and runnable without nas-edge."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from nas_edge.data import Preprocess, load_dataset
from nas_edge.data.preprocess import Resize
from nas_edge.errors import ConfigError, ExportError
from nas_edge.export import deploy_example
from nas_edge.export.deploy import Figure, ModelCard, write_deploy
from nas_edge.export.onnx_file import build_model
from nas_edge.export.parity import check_parity

from .nets import lively, noise

CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")


def card() -> ModelCard:
    return ModelCard(
        title="Sorts waste",
        arch={"r": 48, "d": [1], "ks": [3], "e": [3]},
        space="tiny",
        figures=(Figure("accuracy", "88.2 % | 84.7..91.0 %", "measured on 431 test images"),),
        data="TrashNet, MIT",
        sources=("EfficientNet-Lite0 weights, Apache-2.0",),
        warnings=("White background only.",),
    )


@pytest.fixture(scope="module")
def built(tiny_template, tiny_space):
    net = lively(tiny_template, tiny_space.largest(), classes=6)
    model = build_model(net, classes=CLASSES)
    return net, model, check_parity(net, model, noise(3, net.resolution), Preprocess())


def deploy(folder: Path, built, preprocess: Preprocess, classes=CLASSES) -> tuple[Path, ...]:
    net, model, parity = built
    return write_deploy(
        folder, model, classes=classes, preprocess=preprocess, side=net.resolution, parity=parity, card=card()
    )


def test_the_folder_holds_all_that_a_device_needs(built, tmp_path):
    files = deploy(tmp_path / "out", built, Preprocess())
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    settings = json.loads((tmp_path / "out/preprocess.json").read_text())
    assert settings["side"] == 48
    assert Preprocess.from_dict(
        {k: v for k, v in settings.items() if k not in ("side", "input", "output", "precision")}
    )
    assert (tmp_path / "out/labels.txt").read_text().splitlines() == list(CLASSES)
    text = (tmp_path / "out/model_card.md").read_text()
    assert hashlib.sha256(built[1]).hexdigest() in text
    assert "measured on 431 test images" in text
    assert "88.2 % \\| 84.7" in text
    assert "White background only." in text
    assert "on 3 images" in text


def test_the_example_runs_elsewhere_without_nas_edge(built, tmp_path):
    folder = tmp_path / "elsewhere"
    deploy(folder, built, Preprocess(Resize.CROP, 0.9))
    split = load_dataset("trashnet").search
    photo = tmp_path / "photo.png"
    split.open(7).save(photo)
    (tmp_path / "nas_edge").mkdir()
    (tmp_path / "nas_edge/__init__.py").write_text("raise RuntimeError('not needed')")
    run = subprocess.run(
        [sys.executable, str(folder / "example.py"), str(photo)], capture_output=True, text=True, check=True,
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(built[1])
    pixels = Preprocess(Resize.CROP, 0.9).resize(Image.open(photo), 48)
    logits = session.run(None, {"image": Preprocess().normalise(pixels[None])})[0][0]
    assert run.stdout.startswith(f"{photo}: {CLASSES[int(logits.argmax())]} ")


def test_the_example_prepares_pictures_as_training_does(built, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    pictures = {
        "rgb.png": Image.fromarray(pixels),
        "grey16.png": Image.fromarray(np.linspace(0, 65535, 3500, dtype=np.uint16).reshape(50, 70)),
        "alpha.png": Image.fromarray(rng.integers(0, 256, (50, 70, 4), dtype=np.uint8), "RGBA"),
        "palette.png": Image.fromarray(pixels).convert("P"),
        "turned.jpg": Image.fromarray(pixels),
    }
    for preprocess in (Preprocess(), Preprocess(Resize.CROP, 0.8, (1, 2, 3), (4, 5, 6))):
        settings = preprocess.to_dict() | {"side": 48}
        for name, picture in pictures.items():
            picture.save(tmp_path / name, **({"exif": exif} if name == "turned.jpg" else {}))
            wanted = preprocess.normalise(preprocess.resize(Image.open(tmp_path / name), 48)[None])
            assert np.array_equal(deploy_example.read_image(str(tmp_path / name), settings), wanted), name


def test_the_example_imports_no_room_of_nas_edge():
    assert "nas_edge" not in Path(deploy_example.__file__).read_text()
    assert importlib.util.find_spec("nas_edge.export.deploy_example") is not None


def test_writing_again_replaces_what_is_there(built, tmp_path):
    deploy(tmp_path, built, Preprocess())
    shutil.copy(tmp_path / "model.onnx", tmp_path / "mine.onnx")
    deploy(tmp_path, built, Preprocess(Resize.CROP))
    assert json.loads((tmp_path / "preprocess.json").read_text())["resize"] == "crop"
    assert (tmp_path / "mine.onnx").exists()


def test_a_class_name_with_a_line_break_is_refused_before_anything_is_written(built, tmp_path):
    with pytest.raises(ExportError, match="does not fit on a line"):
        deploy(tmp_path / "out", built, Preprocess(), ("a\nb", *CLASSES[1:]))
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be_is_told(built, tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ConfigError, match="a file is in the way"):
        deploy(tmp_path / "out", built, Preprocess())
