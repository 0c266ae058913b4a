/* Pixels and classes of @title@: @origin@. */
#include "net.h"

/* The code of each pixel value@which@. */
static const int8_t codes[@tables@][256] = {
@codes@
};

void net_set_pixels(const uint8_t *pixels)
{
    int8_t *to = net_input();
    for (int32_t i = 0; i < NET_INPUT_BYTES; i++)
        to[i] = codes[@table@][pixels[i]];
}

const char *const net_labels[NET_OUTPUTS] = {
@labels@
};
