/* Reads images of NET_INPUT_BYTES codes from stdin until it ends, and writes NET_OUTPUT_BYTES for each to stdout. */
#include <stdio.h>

#include "net.h"

int main(void)
{
    net_output_t output[NET_OUTPUTS];
    if (net_init() != 0) {
        fputs("net_init failed: the weights are damaged\n", stderr);
        return 1;
    }
    for (;;) {
        size_t got = fread(net_input(), 1, NET_INPUT_BYTES, stdin);
        if (got != NET_INPUT_BYTES)
            return got != 0;
        if (net_run(net_input(), output) != 0 || fwrite(output, 1, NET_OUTPUT_BYTES, stdout) != NET_OUTPUT_BYTES)
            return 1;
    }
}
