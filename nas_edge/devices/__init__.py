"""Where code runs: files, commands, locks, and what the machine is. Devices know nothing of networks.

Remote devices (`devices.ssh`, `devices.adb`) are imported when they are needed.
"""

from nas_edge.devices.base import CommandResult, Device, Process
from nas_edge.devices.fingerprint import DeviceFingerprint, cpu_slug
from nas_edge.devices.local import LocalDevice
from nas_edge.devices.state import DeviceState

__all__ = ["CommandResult", "Device", "DeviceFingerprint", "DeviceState", "LocalDevice", "Process", "cpu_slug"]
