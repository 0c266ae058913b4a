"""What runs a network: ONNX in, run and timed on a device. Runtimes are loaded when asked for by name."""

from nas_edge.runtimes.base import Runtime, Session
from nas_edge.runtimes.registry import get_runtime, register_runtime, runtime_names

__all__ = ["Runtime", "Session", "get_runtime", "register_runtime", "runtime_names"]
