/* The weights of a layer as the backends of nas_matmul.c see them. */
#ifndef NAS_MATMUL_ROWS_H
#define NAS_MATMUL_ROWS_H

#include "nas_internal.h"

typedef struct {
    int32_t depth;         /* products for each output */
    int32_t outputs;       /* rows */
    const int8_t *weights; /* [ceil(outputs / 2)][depth rounded up to 4][2] */
    const nas_requantise *to;
} nas_rows;

/* Codes of two neighbouring outputs of one pixel; `second` is false for the last of an odd number. */
NAS_INLINE void nas_store_pair(const nas_rows *rows, int32_t output, int32_t first, int32_t second, int8_t *y)
{
    y[output] = nas_code(first, rows->to->multiplier[output], rows->to);
    if (output + 1 < rows->outputs)
        y[output + 1] = nas_code(second, rows->to->multiplier[output + 1], rows->to);
}

#endif
