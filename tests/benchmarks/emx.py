"""emx-onnx-cgen, an independent ONNX-to-C generator, as firmware for the same emulated boards.

It comes from PyPI (Apache-2.0) and is best installed by itself: `python -m venv emx; emx/bin/pip install
emx-onnx-cgen==1.4.0`. The program is found on the PATH or by $EMX_ONNX_CGEN.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import onnx

HEADER = """\
#include <stdint.h>
#define NET_INPUT_BYTES {taken}
#define NET_OUTPUT_BYTES {given}
#define NET_OUTPUTS {outputs}
#define NET_ARENA_BYTES 4
#define NET_LAYERS 1
typedef float net_output_t;
int net_init(void);
int8_t *net_input(void);
int net_run(const int8_t *input, net_output_t *output);
"""
# The generated file is included as a system header, which silences warnings: they are no concern of ours.
SOURCE = """\
#include "net.h"
#include "model.inc"
static float image[NET_INPUT_BYTES / 4];
int net_init(void) { return 0; }
int8_t *net_input(void) { return (int8_t *)(void *)image; }
int net_run(const int8_t *input, net_output_t *output)
{
    NET_LAYER_HOOK(0);
    model((const void *)input, (void *)output);
    NET_LAYER_HOOK(NET_LAYERS);
    return 0;
}
"""


def find_emx() -> str | None:
    """The program, if it is installed."""
    return os.environ.get("EMX_ONNX_CGEN") or shutil.which("emx-onnx-cgen")


def write_emx_program(program: str, model: onnx.ModelProto, folder: Path) -> Path:
    """Its C for a model with one float32 image and float32 logits, all tensors on the stack and weights in flash."""
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))
    command = [
        program,
        "compile",
        "--model-name",
        "model",
        "--large-weight-threshold",
        "0",
        "--large-temp-threshold",
        "0",
    ]
    done = subprocess.run(
        [*command, "model.onnx", "model.c"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    text = (folder / "model.c").read_text(encoding="utf-8")
    (folder / "model.c").unlink()
    (folder / "model.inc").write_text("#pragma GCC system_header\n" + text, encoding="utf-8")
    taken, given = (_floats(value) for value in (model.graph.input[0], model.graph.output[0]))
    (folder / "net.h").write_text(HEADER.format(taken=4 * taken, given=4 * given, outputs=given), encoding="utf-8")
    (folder / "net.c").write_text(SOURCE, encoding="utf-8")
    return folder


def _floats(value: onnx.ValueInfoProto) -> int:
    total = 1
    for dim in value.type.tensor_type.shape.dim:
        total *= dim.dim_value
    return total
