/* @title@: @origin@. */
#include "net.h"

#include <stddef.h>
#include <string.h>

#include "nas_kernels.h"
#include "net_weights.h"

/* Called at each layer's begin with its number, and with NET_LAYERS after the last. */
#ifndef NET_LAYER_HOOK
#define NET_LAYER_HOOK(layer) ((void)0)
#endif

/* The memory that the arena lies in: -DNET_ARENA_SECTION='__attribute__((section(".dtcm")))' */
#ifndef NET_ARENA_SECTION
#define NET_ARENA_SECTION
#endif

static NET_ARENA_SECTION union {
    int32_t aligned;
    int8_t bytes[NET_ARENA_BYTES];
} arena;

#define AT(offset) ((void *)(arena.bytes + (offset)))

@descriptors@

int net_init(void)
{
    const uint8_t *at = (const uint8_t *)&net_weights;
    uint32_t sum = 1, word;
    for (size_t i = 0; i < sizeof net_weights; i += sizeof word) {
        memcpy(&word, at + i, sizeof word);
        sum = (sum << 1 | sum >> 31) ^ word;
    }
    return sum == @checksum@u ? 0 : -1;
}

int8_t *net_input(void)
{
    return AT(@input_at@);
}

int net_run(const int8_t *input, net_output_t *output)
{
    if (input == NULL || output == NULL)
        return -1;
@calls@

    NET_LAYER_HOOK(NET_LAYERS);
    return 0;
}
