"""Why a runtime does not load an ONNX file: asked when it has refused one, and answered in the file's own terms."""

from __future__ import annotations

import re

_NOISE = re.compile(
    r"^(?:\[ONNXRuntimeError\] : \d+ : \w+ : )?(?:/\S+:\d+ )?(?:[\w:<>&*, ]+\([^)]*\)[^.]*? (?=[A-Z]))?"
)


def why_not(onnx_model: bytes, said: str) -> str:
    """One line: what in the file is at fault, else what the runtime said, without its own source files' names."""
    import onnx

    try:
        model = onnx.load_from_string(onnx_model)
    except Exception:  # protobuf's own, which has no name in onnx
        return "it is no ONNX file, or a truncated one"
    if not model.graph.node or not model.opset_import:
        return "it is no ONNX file, or an empty one"
    newest = onnx.defs.onnx_opset_version()
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets.get("ai.onnx", 0) > newest:
        return f"its opset {opsets['ai.onnx']} is newer than {newest}, the newest that is known here; write it in that"
    if model.ir_version > onnx.IR_VERSION:
        return f"its IR version {model.ir_version} is newer than {onnx.IR_VERSION}, the newest that is known here"
    for node in model.graph.node:
        domain = node.domain or "ai.onnx"
        own = domain == "ai.onnx"
        if (own and not onnx.defs.has(node.op_type)) or domain not in opsets:
            where = "" if own else f" of domain {domain!r}"
            return f"node {node.name or node.output[0]!r}: there is no operator {node.op_type!r}{where}"
    line = (said.strip().splitlines() or ["it does not say why"])[0]
    return _NOISE.sub("", line)[:300] or line[:300]
