"""nas-edge: the most accurate network that measurably meets a budget on a device."""

__version__ = "0.1.0"
