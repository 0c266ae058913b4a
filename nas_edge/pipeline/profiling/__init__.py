"""A network on its target: timed, counted in an emulator, on a serial line, or estimated."""
