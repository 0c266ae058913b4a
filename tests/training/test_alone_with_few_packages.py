"""`python -m nas_edge.training` where nothing but torch, numpy, safetensors and pyyaml can be imported."""

from __future__ import annotations

import csv
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_edge.pipeline.running.directory import held
from nas_edge.training.__main__ import main

ROOT = Path(__file__).resolve().parent.parent.parent
# What a wheel of torch 2.11 to 2.13 brings or asks for by itself.
OF_TORCH = {
    "torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock",
    "typing_extensions",
}  # fmt: skip
GIVEN = {"numpy", "safetensors", "yaml", "_yaml", "nas_edge"} | OF_TORCH
BLOCKED = """
import importlib.machinery, sys
sys.path.insert(0, {root!r})
allowed = {allowed!r} | set(sys.stdlib_module_names)
class Only(importlib.machinery.PathFinder):  # all else is as if it were not installed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        known = name.split(".")[0] in allowed or name.startswith("_sysconfigdata")
        return super().find_spec(name, path, target) if known else None
own = (importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter)
sys.meta_path[:] = [*own, Only]
from nas_edge.training.__main__ import main
code = main()
foreign = sorted({{name.split(".")[0] for name in sys.modules}} & {watched!r})
assert not foreign, foreign
sys.exit(code)
"""
WATCHED = {"PIL", "onnx", "onnxruntime", "pydantic", "scipy", "typer", "rich", "matplotlib"}
SPACE = """
name: s
format: 1
stem: {channels: 8}
first: {channels: 8, stride: 1}
stages: [{channels: 8, stride: 2, kernels: [3, 5], expands: [2, 3], depths: [1, 2, 3]}]
tail: {expand_channels: 8}
resolutions: [16]
"""


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A few noisy records in CIFAR-10's binary form."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar"
    folder.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (40, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(40) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def trained(tmp_path: Path, cifar: Path, *more: str) -> Path:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "recipe.yaml").write_text("batch_size: 32\nmixup: 0.1\nepochs: 1\n")
    code = BLOCKED.format(root=str(ROOT), allowed=GIVEN, watched=WATCHED)
    out = tmp_path / "bundle"
    arguments = ["--data", str(cifar), "--space", str(tmp_path / "space.yaml"), "--out", str(out)]
    arguments += ["--recipe", str(tmp_path / "recipe.yaml"), *more]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch 1, loss" in done.stderr
    finishing = done.stderr.splitlines()[-1].partition("nas-edge train ")[2]
    given = dict(zip(*[iter(shlex.split(finishing))] * 2, strict=True))
    assert given == dict(zip(*[iter(arguments)] * 2, strict=True))
    return out / "work"


def test_arrays_need_no_other_package_and_leave_what_nas_edge_train_goes_on_from(tmp_path: Path, cifar: Path) -> None:
    work = trained(tmp_path, cifar)
    assert {path.name for path in work.iterdir()} >= {"checkpoint.safetensors", "history.csv", "beginning.json"}
    (row,) = csv.DictReader((work / "history.csv").open())
    assert all(0 <= float(row[name]) <= 1 for name in ("smallest", "middle", "largest"))  # also without ONNX Runtime
    (events,) = work.glob("*tfevents*")
    assert b"largest" in events.read_bytes()


def test_phases_whose_teacher_is_the_largest_network_need_none_either(tmp_path: Path, cifar: Path) -> None:
    phases = "phases: [{name: whole, epochs: 1, learning_rate: 0.01}, "
    phases += "{name: rest, epochs: 1, learning_rate: 0.01, kernels: null, depths: null, expands: null}]\n"
    more = tmp_path / "phases.yaml"
    more.write_text(f"batch_size: 32\n{phases}")
    work = trained(tmp_path, cifar, "--recipe", str(more))
    assert (work / "2-rest" / "checkpoint.safetensors").exists()


def test_a_file_of_weights_and_a_bundle_to_begin_with_are_options(tmp_path: Path, cifar: Path) -> None:
    code = "from nas_edge.training.__main__ import main; main(['--help'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    assert "--init" in told
    assert "--teacher" in told
    code = BLOCKED.format(root=str(ROOT), allowed=GIVEN, watched=WATCHED)
    arguments = ["--data", str(cifar), "--space", "lite0", "--out", str(tmp_path / "out"), "--init", "nothing"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown pretrained start 'nothing'" in done.stderr


def arguments(tmp_path: Path, cifar: Path, *more: str) -> list[str]:
    (tmp_path / "space.yaml").write_text(SPACE)
    given = ["--data", str(cifar), "--space", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "bundle")]
    return [*given, "--epochs", "1", *more]


@pytest.mark.parametrize(
    ("recipe", "more", "told"),
    [
        ("", (), "a recipe is a mapping"),
        ("epochs: ten\n", ("--seed", "0"), "epochs must be a whole number"),
        ("mixup: 0.1\n", ("--epochs", "0"), "epochs >= 1"),
        ("mixpu: 0.1\n", (), "recipe.yaml:1: unknown key 'mixpu'; did you mean 'mixup'"),
        ("seed: 3\n", ("--seed", "1"), "its seed is 3, and 1 is asked for"),
        ("phases: [{name: a, epochs: 2, learning_rate: 0.1}]\n", (), "beside phases epochs would change nothing"),
    ],
)
def test_a_mistake_in_what_is_asked_is_one_line(
    tmp_path: Path, cifar: Path, capsys: pytest.CaptureFixture[str], recipe: str, more: tuple[str, ...], told: str
) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert main(arguments(tmp_path, cifar, "--recipe", str(tmp_path / "recipe.yaml"), *more)) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_few_images_and_a_directory_in_use_or_of_other_images_or_finished(
    tmp_path: Path, cifar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in cifar.iterdir():  # 60 training images for batches of 64
        path.write_bytes(path.read_bytes()[: 15 * 3073])
    few = arguments(tmp_path, cifar)
    assert main(few) == 0
    with held(tmp_path / "bundle" / "work"):
        assert main(few) == 2
    assert "another nas-edge is at work there" in capsys.readouterr().err
    assert main([*few, "--seed", "1"]) == 2  # other images to search with
    assert "was begun with something else (images." in capsys.readouterr().err
    (tmp_path / "bundle" / "bundle.yaml").write_text("format: 1\n")
    assert main(few) == 2
    assert "holds a finished bundle" in capsys.readouterr().err
