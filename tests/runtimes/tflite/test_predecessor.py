"""tflite-runtime 2.14, which older boards have: our files run there, through the agent, in its own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_edge.devices import LocalDevice
from nas_edge.runtimes.agent import AgentRuntime
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_quantise import quantise
from nas_edge.spaces.onnx_ranges import observe

pytest.importorskip("ai_edge_litert")

pytestmark = pytest.mark.slow

PACKAGES = ("tflite-runtime==2.14.0", "numpy<2")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with tflite-runtime and an older numpy."""
    if sys.version_info[:2] > (3, 11):
        pytest.skip("tflite-runtime 2.14 has no wheel for this Python")
    folder = tmp_path_factory.mktemp("tflite-runtime")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    program = folder / "bin" / "python"
    done = subprocess.run(
        [str(program), "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"tflite-runtime cannot be installed here: {done.stderr.strip()[-200:]}")
    return program


@pytest.fixture
def agent(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    device = LocalDevice()
    runtime = AgentRuntime(device, "litert", python=str(python))
    yield runtime
    runtime.close()
    device.close()


@pytest.mark.parametrize("name", ["lite0", "mcu", "ofa-mbv3-w1.0"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_files_run_there_and_agree_with_onnx_runtime(agent, name: str, precision: str) -> None:
    assert agent.version() == "2.14.0"
    space = SearchSpace.named(name)
    rng = np.random.default_rng(0)
    for arch in (space.smallest(), space.sample(1, rng)[0]):
        model = build_onnx(space.lower(arch, 6), seed=1)
        side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        images = rng.standard_normal((6, 1, 3, side, side), np.float32)
        plain = OnnxRuntime().prepare(model.SerializeToString(), "fp32", 1)
        wanted = np.concatenate([plain.run({"image": image})["logits"] for image in images])
        allowed = 1e-4 * max(1.0, float(np.abs(wanted).max()))
        if precision == "int8":
            model = quantise(model, observe(model, images))
            quantised = OnnxRuntime().prepare(model.SerializeToString(), "int8", 1)
            exact, wanted = wanted, np.concatenate([quantised.run({"image": image})["logits"] for image in images])
            allowed = float(np.abs(wanted - exact).max())  # what quantising itself does: kernels differ by less
        session = agent.prepare(model.SerializeToString(), precision, 1)
        found = np.concatenate([session.run({"image": image})["logits"] for image in images])
        assert np.abs(found - wanted).max() <= allowed


def test_any_batch_goes_through_there_too(agent) -> None:
    space = SearchSpace.named("mcu")
    model = build_onnx(space.lower(space.smallest(), 6), batch=None).SerializeToString()
    session = agent.prepare(model, "fp32", 1)
    side = session.inputs["image"][2]
    assert session.run({"image": np.ones((3, 3, side, side))})["logits"].shape == (3, 6)
    assert (session.time(3) > 0).all()
