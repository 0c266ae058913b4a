"""`python -m nas_edge.training` where nothing but torch, numpy, safetensors and pyyaml can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
stages: [{channels: 8, stride: 2, kernels: [3, 5]}]
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
    (tmp_path / "recipe.yaml").write_text("batch_size: 32\nmixup: 0.1\n")
    code = BLOCKED.format(root=str(ROOT), allowed=GIVEN, watched=WATCHED)
    out = tmp_path / "bundle"
    arguments = ["--data", str(cifar), "--space", str(tmp_path / "space.yaml"), "--out", str(out)]
    arguments += ["--recipe", str(tmp_path / "recipe.yaml"), "--epochs", "1", *more]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch 1, loss" in done.stderr
    return out / "work"


def test_arrays_need_no_other_package_and_leave_what_nas_edge_train_goes_on_from(tmp_path: Path, cifar: Path) -> None:
    work = trained(tmp_path, cifar)
    assert {path.name for path in work.iterdir()} >= {"checkpoint.safetensors", "history.csv"}


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
