"""ONNX Runtime as a runtime, and the registry."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import UnknownNameError
from nas_edge.pipeline.seeded import seeded_block
from nas_edge.runtimes import get_runtime, register_runtime, runtime_names
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.spaces import Precision
from nas_edge.spaces.onnx_blocks import build_onnx

from .contract import BLOCK, RuntimeContract


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    def test_several_threads_compute_the_same(self, runtime):
        session = runtime.prepare(build_onnx((BLOCK,)).SerializeToString(), "fp32", 2)
        assert (session.time(3) > 0).all()
        session.close()


class TestOnnxRuntimeInInt8(RuntimeContract):
    precision, tolerance = "int8", 0.05

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    def test_a_block_of_a_network_takes_and_gives_codes(self, runtime):
        spec = replace(BLOCK, precision=Precision.INT8)
        session = runtime.prepare(seeded_block(spec), "int8", 1)
        assert dict(session.inputs) == {"input": (1, 12, 12, 16)}
        assert (session.time(3) > 0).all()
        assert session.run({"input": np.zeros((1, 12, 12, 16))})["output"].dtype == np.uint8
        session.close()


def test_telemetry_is_off_before_the_library_is_loaded():
    OnnxRuntime().version()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_an_unknown_runtime_is_told_with_near_names():
    with pytest.raises(UnknownNameError, match="unknown runtime 'onnxrutime'; did you mean onnxruntime"):
        get_runtime("onnxrutime")


def test_a_runtime_can_be_registered(monkeypatch):
    monkeypatch.setattr("nas_edge.runtimes.registry._REGISTERED", {})

    @register_runtime("another")
    class Another(OnnxRuntime):
        pass

    assert "another" in runtime_names()
    assert isinstance(get_runtime("another"), Another)


def test_asking_for_names_loads_no_runtime():
    code = "import sys, nas_edge.runtimes as r; r.runtime_names(); print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
