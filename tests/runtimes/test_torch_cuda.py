"""torch on a CUDA GPU. Where there is none, its graphs are run on the CPU, and the contract is skipped."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from nas_edge.errors import DeviceError, MeasurementError
from nas_edge.runtimes.onnx_runtime import OnnxRuntime
from nas_edge.runtimes.torch_cuda import TorchCuda
from nas_edge.runtimes.torch_graph import TorchGraph
from nas_edge.spaces import SearchSpace
from nas_edge.spaces.onnx_blocks import build_onnx
from nas_edge.spaces.onnx_half import half

from .contract import BLOCK, RuntimeContract

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: torch-cuda is UNTESTED here")


@needs_gpu
class TestTorchCuda(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return TorchCuda()


@needs_gpu
class TestTorchCudaInHalf(RuntimeContract):
    precision, tolerance = "fp16", 0.005

    @pytest.fixture
    def runtime(self):
        return TorchCuda()

    def model(self, *args, **options):
        return half(build_onnx(*args, **options)).SerializeToString()


@pytest.mark.parametrize("name", ["lite0", "mbv3-32"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_its_graphs_compute_what_onnx_runtime_computes(name, precision):
    space = SearchSpace.named(name)
    model = build_onnx(space.lower(space.smallest(), 10), seed=1)
    x = np.random.default_rng(0).standard_normal([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])
    wanted = OnnxRuntime().prepare(model.SerializeToString(), "fp32", 1).run({"image": x})["logits"]
    chosen = half(model) if precision == "fp16" else model
    found = TorchGraph(chosen, "cpu")({"image": torch.from_numpy(x).float()})["logits"].numpy()
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < {"fp32": 1e-4, "fp16": 0.02}[precision] * np.abs(wanted).max()


def test_an_operator_that_it_has_not_is_named_with_its_node():
    model = build_onnx((BLOCK,))
    model.graph.node.append(helper.make_node("Softmax", ["output"], ["odds"], name="last"))
    with pytest.raises(MeasurementError, match="node 'last': runtime 'torch-cuda' has no operator Softmax"):
        TorchGraph(model, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_said():
    with pytest.raises(DeviceError, match="has no CUDA GPU"):
        TorchCuda().prepare(build_onnx((BLOCK,)).SerializeToString(), "fp32", 1)
    assert onnx.__version__
