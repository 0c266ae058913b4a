"""Int8 arithmetic that overflows is noticed: imitated here, and by ONNX Runtime itself on an emulated CPU."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nas_edge.errors import MeasurementError
from nas_edge.runtimes.saturation import local_form, saturates, weight_bits


def with_pmaddubsw(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """The one layer of the self-test's model: products added up in pairs in 16 bits, then exactly."""
    return _layer(model, inputs, lambda pairs: np.clip(pairs, -(2**15), 2**15 - 1))


def exactly(model: bytes, inputs: np.ndarray) -> np.ndarray:
    return _layer(model, inputs, lambda pairs: pairs)


def _layer(model: bytes, inputs: np.ndarray, add) -> np.ndarray:
    held = {i.name: numpy_helper.to_array(i) for i in onnx.load_from_string(model).graph.initializer}
    layer = "linear" if "b00.linear.weight.code" in held else "conv"
    weight = held[f"b00.{layer}.weight.code"].reshape(64, 64).astype(np.int64)
    rows = np.moveaxis(inputs, 1, -1).reshape(-1, 64)
    codes = np.clip(np.rint(rows / held["input.scale"]) + held["input.zero"], 0, 255).astype(np.int64)
    products = codes[:, None] * weight[None]
    sums = add(products[:, :, 0::2] + products[:, :, 1::2]).sum(axis=2)
    return (sums * held["input.scale"] * held[f"b00.{layer}.weight.scale"]).astype(np.float32)


def test_sums_of_16_bits_are_noticed() -> None:
    assert saturates(with_pmaddubsw)


def test_exact_sums_are_not_suspected() -> None:
    assert not saturates(exactly)


def test_this_machine_gets_8_bits_where_it_has_vnni() -> None:
    info = Path("/proc/cpuinfo")
    if not info.exists() or "vnni" not in info.read_text():
        pytest.skip("this CPU does not say that it has VNNI")
    assert weight_bits() == 8
    assert local_form().weight_bits == 8


def test_a_runtime_that_gives_nonsense_is_told() -> None:
    with pytest.raises(MeasurementError, match="no finite result"):
        saturates(lambda model, inputs: np.full((1, 64), np.nan, np.float32))


QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
_ASKED = """
import json
from nas_edge.runtimes.saturation import saturates, weight_bits
from nas_edge.spaces.onnx_session import answering_session
answers = lambda model, inputs: answering_session(model).run(None, {"input": inputs})[0]
print(json.dumps({"bits": weight_bits(), "answers overflow": saturates(answers)}))
"""


def test_a_cpu_without_vnni_gets_7_bits_and_answers_there_are_exact_all_the_same() -> None:
    if not QEMU or platform.machine() != "x86_64":
        pytest.skip("needs an x86-64 machine and qemu-x86_64-static (Debian: qemu-user-static)")
    done = subprocess.run(
        [QEMU, "-cpu", "Haswell", sys.executable, "-c", _ASKED], capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout) == {"bits": 7, "answers overflow": False}
