"""RAM that the C of emx-onnx-cgen takes: the compiler's own account of its frames, and variables.

Models go to it as QOperator, made by ONNX Runtime's own quantiser: of QDQ it computes in float32 and takes more.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from nas_edge.mcu.toolchain import ARM_GCC, run_tool


def emx_ram_bytes(program: str, model: onnx.ModelProto, flags: tuple[str, ...], folder: Path) -> int:
    """Stack and variables on a core; the input, which is the caller's, is left out.

    Args:
        program: emx-onnx-cgen.
        model: float32, of `onnx_blocks`, batch 1.
        flags: of the compiler, for the core.
        folder: to work in.

    """
    quantised = _as_q_operator(model, folder)
    source, obj = folder / "emx.c", folder / "emx.o"
    command = [program, "compile", "--large-temp-threshold", "0", "--large-weight-threshold", "0", quantised, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout
    compiled = run_tool(ARM_GCC, [*flags, "-O3", "-fstack-usage", "-c", source, "-o", obj])
    assert compiled.returncode == 0, compiled.stderr
    frames = [int(line.split("\t")[1]) for line in source.with_suffix(".su").read_text().splitlines()]
    _, sizes = run_tool("arm-none-eabi-size", [obj]).stdout.splitlines()
    return max(frames) + sum(map(int, sizes.split()[1:3]))


def _as_q_operator(model: onnx.ModelProto, folder: Path) -> Path:
    """The model in ONNX Runtime's QOperator form, with the shapes that emx asks for."""
    from onnx import TensorProto, helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = model.graph.input[0].name
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self._left: Iterator[dict[str, np.ndarray]] = iter(
                [{name: rng.standard_normal(shape, np.float32)} for _ in range(4)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    plain, quantised = folder / "plain.onnx", folder / "quantised.onnx"
    onnx.save(model, plain)
    quantize_static(
        plain, quantised, Images(), quant_format=QuantFormat.QOperator, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)}
    result = onnx.load(quantised)
    for node in result.graph.node:
        for output in node.output:
            found = shapes.get(output.removesuffix("_quantized"))
            if output.endswith("_quantized") and found is not None:
                sizes = [d.dim_value for d in found]
                result.graph.value_info.append(helper.make_tensor_value_info(output, TensorProto.UINT8, sizes))
    onnx.save(result, quantised)
    return quantised
