"""What tests of firmware share: the mark of those that need QEMU and the ARM compiler, and a small program."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.mcu.toolchain import ARM_GCC, HOST_GCC, QEMU, missing_tools

MISSING = missing_tools(ARM_GCC, QEMU, HOST_GCC)

needs_emulator = [
    pytest.mark.emulator,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"{', '.join(MISSING)} not installed: apt-get install --no-install-recommends qemu-system-arm "
        "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ),
]

HEADER = """
#include <stdint.h>
#define NET_INPUT_BYTES 64
#define NET_OUTPUT_BYTES 4
#define NET_OUTPUTS 4
#define NET_ARENA_BYTES 64
#define NET_LAYERS 3
typedef int8_t net_output_t;
int net_init(void);
int8_t *net_input(void);
int net_run(const int8_t *input, net_output_t *output);
"""

SOURCE = """
#include "net.h"
static int8_t arena[NET_ARENA_BYTES];
int net_init(void) { return 0; }
int8_t *net_input(void) { return arena; }
static __attribute__((noinline)) int work(const int8_t *x, int n)
{
    int sum = 0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < NET_INPUT_BYTES; i++)
            sum += x[i] * (volatile int){k + 1};
    return sum;
}
int net_run(const int8_t *input, net_output_t *output)
{
    NET_LAYER_HOOK(0);
    output[0] = (int8_t)work(input, 100);
    NET_LAYER_HOOK(1);
    output[1] = (int8_t)work(input, 10);
    NET_LAYER_HOOK(2);
    output[2] = (int8_t)work(input, 1);
    BODY
    NET_LAYER_HOOK(NET_LAYERS);
    output[3] = input[0];
    return 0;
}
"""


def write_program(directory: Path, body: str = "", before: str = "") -> Path:
    """A "network" of three layers that take 100, 10 and 1 turns; `body` is run in the last one."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "net.h").write_text(HEADER)
    (directory / "net.c").write_text(before + SOURCE.replace("BODY", body))
    return directory
