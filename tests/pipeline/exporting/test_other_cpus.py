"""An int8 file is judged on any machine as the device that it is for computes it: here on an emulated CPU."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_edge.pipeline.bundle import load_bundle
from nas_edge.pipeline.networks import bundle_calibration, bundle_preprocess, deployed_model, subnet_of_bundle
from nas_edge.spaces.onnx_quantise import CANONICAL

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
_ANSWERED = """
import numpy as np, onnxruntime
from nas_edge.spaces.onnx_session import answering_session
model, images = open("model.onnx", "rb").read(), np.load("images.npy")
for name, session in {"exact": answering_session(model), "plain": onnxruntime.InferenceSession(model)}.items():
    taken = session.get_inputs()[0].name
    np.save(f"WHERE-{name}.npy", np.concatenate([session.run(None, {taken: image[None]})[0] for image in images]))
"""


def test_8_bits_answer_to_the_bit_as_here_on_a_cpu_on_which_they_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not QEMU or platform.machine() != "x86_64":
        pytest.skip("needs an x86-64 machine and qemu-x86_64-static (Debian: qemu-user-static)")
    monkeypatch.chdir(tmp_path)
    bundle = load_bundle("fashion-mnist")
    net, preprocess = subnet_of_bundle(bundle, bundle.space.smallest()), bundle_preprocess(bundle)
    Path("model.onnx").write_bytes(deployed_model(net, bundle, "int8", CANONICAL))
    np.save("images.npy", preprocess.normalise(bundle_calibration(bundle).images(preprocess, net.resolution)[:32]))
    for where, emulated in (("here", []), ("there", [QEMU, "-cpu", "Haswell"])):
        code = _ANSWERED.replace("WHERE", where)
        subprocess.run([*emulated, sys.executable, "-c", code], check=True, timeout=300)
    np.testing.assert_array_equal(np.load("there-exact.npy"), np.load("here-exact.npy"))
    assert np.abs(np.load("there-plain.npy") - np.load("here-exact.npy")).max() > 0.1
