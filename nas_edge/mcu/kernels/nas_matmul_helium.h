/* Cortex-M55 and M85: sixteen products by VMLADAVA, two outputs of two pixels at a time.
 *
 * VLD2 takes the weights of two outputs apart. Sums wait on the stack until there are enough of them to make codes
 * four at a time.
 */
#include "nas_helium.h"
#include "nas_matmul_rows.h"

#define NAS_WAITING 16 /* sums of a pixel */

/* Outputs `output` and the next of two pixels: a[0], a[1] of the first, b[0], b[1] of the second. */
NAS_INLINE void nas_tile(const int8_t *weights, int32_t depth, const int8_t *x, const int8_t *next,
                         const int32_t *bias, int32_t *a, int32_t *b)
{
    int32_t a0 = bias[0], a1 = bias[1], b0 = a0, b1 = a1;
    for (; depth >= 16; depth -= 16, weights += 32, x += 16, next += 16) {
        const int8x16x2_t rows = vld2q_s8(weights);
        const int8x16_t first = vldrbq_s8(x), second = vldrbq_s8(next);
        a0 = vmladavaq_s8(a0, rows.val[0], first);
        a1 = vmladavaq_s8(a1, rows.val[1], first);
        b0 = vmladavaq_s8(b0, rows.val[0], second);
        b1 = vmladavaq_s8(b1, rows.val[1], second);
    }
    if (depth > 0) { /* weights beyond the end meet zeros */
        const mve_pred16_t inside = vctp8q((uint32_t)depth);
        const int8x16x2_t rows = vld2q_s8(weights);
        const int8x16_t first = vldrbq_z_s8(x, inside), second = vldrbq_z_s8(next, inside);
        a0 = vmladavaq_s8(a0, rows.val[0], first);
        a1 = vmladavaq_s8(a1, rows.val[1], first);
        b0 = vmladavaq_s8(b0, rows.val[0], second);
        b1 = vmladavaq_s8(b1, rows.val[1], second);
    }
    a[0] = a0;
    a[1] = a1;
    b[0] = b0;
    b[1] = b1;
}

/* Codes of `count` sums of each of two pixels. */
NAS_INLINE void nas_finish(const int32_t *multipliers, const nas_bounds *bounds, int32_t count,
                           int32_t (*sums)[NAS_WAITING], int8_t *y, int8_t *next)
{
    for (int32_t i = 0; i < count; i += 4, y += 4, next += 4) {
        const mve_pred16_t inside = vctp32q((uint32_t)(count - i));
        const int32x4_t factors = vldrwq_s32(multipliers + i);
        vstrbq_p_s32(next, nas_codes(vldrwq_s32(&sums[1][i]), factors, bounds), inside);
        vstrbq_p_s32(y, nas_codes(vldrwq_s32(&sums[0][i]), factors, bounds), inside);
    }
}

/* Codes [pixels][outputs] from patches that are `stride` bytes apart; `y` may lie over them. */
static void nas_multiply(const nas_rows *rows, int32_t pixels, const int8_t *x, int32_t stride, int8_t *y,
                         void *scratch)
{
    const int32_t depth = rows->depth, step = 2 * NAS_ROUND_UP(depth, 4), outputs = rows->outputs;
    const int32_t *const biases = rows->to->bias, *const multipliers = rows->to->multiplier;
    const nas_bounds bounds = nas_load_bounds(rows->to);
    int32_t sums[2][NAS_WAITING];
    if (nas_overlapping(x, pixels * stride, y, pixels * rows->outputs)) {
        for (int32_t pixel = 0; pixel < pixels; pixel++)
            nas_copy((int8_t *)scratch + pixel * depth, x + pixel * stride, depth);
        x = (const int8_t *)scratch;
        stride = depth;
    }
    for (int32_t pixel = 0; pixel < pixels; pixel += 2, x += 2 * stride, y += 2 * outputs) {
        const int32_t other = pixel + 1 < pixels; /* else the same pixel twice, written to the same place */
        const int8_t *const next = x + other * stride;
        const int8_t *weights = rows->weights;
        for (int32_t output = 0; output < outputs; output += NAS_WAITING) {
            const int32_t count = outputs - output < NAS_WAITING ? outputs - output : NAS_WAITING;
            for (int32_t i = 0; i < count; i += 2, weights += step)
                nas_tile(weights, depth, x, next, biases + output + i, &sums[0][i], &sums[1][i]);
            nas_finish(multipliers + output, &bounds, count, sums, y + output, y + other * outputs + output);
        }
    }
}

/* Scaled accumulators of one pixel. */
static void nas_logits(const nas_rows *rows, const int8_t *x, int32_t *y, void *scratch)
{
    const int32_t depth = rows->depth, step = 2 * NAS_ROUND_UP(depth, 4);
    const nas_requantise *const to = rows->to;
    (void)scratch;
    for (int32_t output = 0; output < rows->outputs; output += 2) {
        int32_t sums[2], same[2];
        nas_tile(rows->weights + output / 2 * step, depth, x, x, to->bias + output, sums, same);
        for (int32_t i = 0; i < 2 && output + i < rows->outputs; i++)
            y[output + i] = nas_scaled(nas_shifted(sums[i], to->left), to->multiplier[output + i], 0);
    }
}
