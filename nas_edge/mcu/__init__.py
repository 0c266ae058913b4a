"""Networks on microcontrollers: the int8 graph, kernels and generated C, firmware, and the emulator that counts it."""
