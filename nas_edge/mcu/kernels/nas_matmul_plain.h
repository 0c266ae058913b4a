/* C99 for any core: two outputs of two pixels at a time, all in registers. */
#include "nas_matmul_rows.h"

/* Codes [pixels][outputs] from patches that are `stride` bytes apart; `y` may lie over them. */
static void nas_multiply(const nas_rows *rows, int32_t pixels, const int8_t *x, int32_t stride, int8_t *y,
                         void *scratch)
{
    const int32_t depth = rows->depth, step = 2 * NAS_ROUND_UP(depth, 4);
    if (nas_overlapping(x, pixels * stride, y, pixels * rows->outputs)) {
        for (int32_t pixel = 0; pixel < pixels; pixel++)
            nas_copy((int8_t *)scratch + pixel * depth, x + pixel * stride, depth);
        x = (const int8_t *)scratch;
        stride = depth;
    }
    for (int32_t pixel = 0; pixel < pixels; pixel += 2, x += 2 * stride, y += 2 * rows->outputs) {
        const int32_t both = pixel + 1 < pixels;
        const int8_t *const next = both ? x + stride : x;
        const int8_t *weights = rows->weights;
        for (int32_t output = 0; output < rows->outputs; output += 2, weights += step) {
            const int32_t first = rows->to->bias[output], second = rows->to->bias[output + 1];
            int32_t a0 = first, a1 = second, b0 = first, b1 = second;
            for (int32_t i = 0; i < depth; i++) {
                const int32_t w0 = weights[2 * i], w1 = weights[2 * i + 1];
                a0 += x[i] * w0;
                a1 += x[i] * w1;
                b0 += next[i] * w0;
                b1 += next[i] * w1;
            }
            nas_store_pair(rows, output, a0, a1, y);
            if (both)
                nas_store_pair(rows, output, b0, b1, y + rows->outputs);
        }
    }
}

/* Scaled accumulators of one pixel. */
static void nas_logits(const nas_rows *rows, const int8_t *x, int32_t *y, void *scratch)
{
    const int8_t *weights = rows->weights;
    (void)scratch;
    for (int32_t output = 0; output < rows->outputs; output++) {
        int32_t sum = rows->to->bias[output];
        const int8_t *row = weights + output / 2 * 2 * NAS_ROUND_UP(rows->depth, 4) + output % 2;
        for (int32_t i = 0; i < rows->depth; i++)
            sum += x[i] * row[2 * i];
        y[output] = nas_scaled(nas_shifted(sum, rows->to->left), rows->to->multiplier[output], 0);
    }
}
