"""Files that cannot be: one line that says what in them is at fault."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from nas_edge.errors import MeasurementError
from nas_edge.runtimes.onnx_runtime import OnnxRuntime


def model(nodes, shape=(1, 3, 8, 8), opset=17, ir=8, name="x"):
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir).SerializeToString()


RELU = [helper.make_node("Relu", ["x"], ["y"], name="first")]
WRONG = {
    "unknown operator": (
        model([helper.make_node("Frobnicate", ["x"], ["y"], name="weird")]),
        "node 'weird': there is no operator 'Frobnicate'",
    ),
    "another domain": (
        model([helper.make_node("Frobnicate", ["x"], ["y"], name="weird", domain="my.ops")]),
        "node 'weird': there is no operator 'Frobnicate' of domain 'my.ops'",
    ),
    "opset": (model(RELU, opset=99), "its opset 99 is newer than"),
    "IR version": (model(RELU, ir=99), "its IR version 99 is newer than"),
    "truncated": (model(RELU)[:40], "no ONNX file, or a"),
    "empty": (b"", "no ONNX file, or an empty one"),
    "another file": (bytes(range(256)), "no ONNX file, or a truncated one"),
    "dynamic": (model(RELU, (1, 3, "h", "w")), "input 'x' is 1 x 3 x h x w: fix the sizes other than the batch first"),
    "contradictory": (model([helper.make_node("Relu", ["nothing"], ["y"], name="last")]), "nothing"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_at_fault_is_told_in_one_line(kind):
    data, why = WRONG[kind]
    with pytest.raises(MeasurementError) as caught:
        OnnxRuntime().prepare(data, "fp32", 1)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)


def test_names_are_not_commands(tmp_path):
    name = "x$(touch owned); rm -rf ~ '\"\n"
    data = model([helper.make_node("Relu", [name], ["y"])], name=name)
    session = OnnxRuntime().prepare(data, "fp32", 1)
    assert (session.time(1) > 0).all()
