"""One network as readable C: a library for any microcontroller and for the host."""

from nas_edge.mcu.codegen.host import HostBuild, build_for_host
from nas_edge.mcu.codegen.image_file import Pixels
from nas_edge.mcu.codegen.library import generate, plan_graph, write_library

__all__ = ["HostBuild", "Pixels", "build_for_host", "generate", "plan_graph", "write_library"]
