"""The project's own plugin of QEMU that counts instructions: built, tried out, kept."""

from nas_edge.mcu.plugin.loading import PLUGIN_QEMU, plugin_library

__all__ = ["PLUGIN_QEMU", "plugin_library"]
