#include "net.h"

/* Three instructions a turn. */
#define TURNS(n)                                                                                                       \
    __asm__ volatile("mov r0, %0\n\t"                                                                                  \
                     "mov r1, #0\n\t"                                                                                  \
                     "1: add r1, r1, r0\n\t"                                                                           \
                     "subs r0, r0, #1\n\t"                                                                             \
                     "bne 1b" ::"i"(n)                                                                                 \
                     : "r0", "r1", "cc")

int net_init(void)
{
    return 0;
}

int8_t *net_input(void)
{
    static int8_t codes[NET_INPUT_BYTES];
    return codes;
}

int net_run(const int8_t *input, net_output_t *output)
{
    NET_LAYER_HOOK(0);
    TURNS(1000);
    NET_LAYER_HOOK(1);
    TURNS(3000);
    NET_LAYER_HOOK(NET_LAYERS);
    for (int i = 0; i < NET_OUTPUT_BYTES; i++)
        output[i] = input[i];
    return 0;
}
