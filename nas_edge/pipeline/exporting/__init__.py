"""From a run to a checked file in a folder that the device can use."""
