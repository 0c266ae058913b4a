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

/* Whether codes of a group of pixels would be written over its own patches before all of them are computed. */
NAS_INLINE int nas_overlapping(const int8_t *x, int32_t read, const int8_t *y, int32_t written)
{
    return (uintptr_t)x < (uintptr_t)y + (uint32_t)written && (uintptr_t)y < (uintptr_t)x + (uint32_t)read;
}

#endif
