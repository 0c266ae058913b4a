/* Cortex-M4, M7, M33: pairs of 16-bit products by SMLAD, two outputs of four pixels at a time.
 *
 * Pixels are widened to 16 bits once for all outputs, four side by side: columns[depth / 2][pixel][2]. A word of
 * weights holds two outputs of two inputs; SXTB16 of it and of its rotation give the pair of each. So a word of
 * weights and four of pixels, loaded by three instructions, feed eight SMLAD: sixteen products.
 */
#include "nas_matmul_rows.h"

/* Four codes as two pairs of int16. */
NAS_INLINE void nas_widen(int32_t codes, int32_t *low, int32_t *high)
{
    int32_t even, odd;
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(codes));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(codes));
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(*low) : "r"(even), "r"(odd));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(*high) : "r"(odd), "r"(even));
}

/* The last one to three codes of a patch, zeros after them. */
NAS_INLINE int32_t nas_last_word(const int8_t *from, int32_t count)
{
    uint32_t word = 0;
    for (int32_t i = 0; i < count; i++)
        word |= (uint32_t)(uint8_t)from[i] << (8 * i);
    return (int32_t)word;
}

/* columns[depth / 2][spacing][2], of which this writes one pixel. */
static void widen_pixel(const int8_t *from, int32_t depth, int32_t spacing, int32_t *columns)
{
    for (; depth >= 4; depth -= 4, from += 4, columns += 2 * spacing)
        nas_widen(nas_word(from), columns, columns + spacing);
    if (depth > 0)
        nas_widen(nas_last_word(from, depth), columns, columns + spacing);
}

static void widen_four(const int8_t *x0, const int8_t *x1, const int8_t *x2, const int8_t *x3, int32_t depth,
                       int32_t *columns)
{
    for (; depth >= 4; depth -= 4, columns += 8) {
        nas_widen(nas_word(x0), columns, columns + 4);
        nas_widen(nas_word(x1), columns + 1, columns + 5);
        nas_widen(nas_word(x2), columns + 2, columns + 6);
        nas_widen(nas_word(x3), columns + 3, columns + 7);
        x0 += 4;
        x1 += 4;
        x2 += 4;
        x3 += 4;
    }
    if (depth > 0) {
        nas_widen(nas_last_word(x0, depth), columns, columns + 4);
        nas_widen(nas_last_word(x1, depth), columns + 1, columns + 5);
        nas_widen(nas_last_word(x2, depth), columns + 2, columns + 6);
        nas_widen(nas_last_word(x3, depth), columns + 3, columns + 7);
    }
}

/* Products of two inputs, two outputs, four pixels. The word of weights takes the place of its second half. */
#define NAS_EIGHT_SMLAD                                                                                               \
    "ldr    %[w1], [%[weights]], #4\n\t"                                                                              \
    "ldrd   %[x0], %[x1], [%[columns]], #8\n\t"                                                                       \
    "sxtb16 %[w0], %[w1]\n\t"                                                                                         \
    "sxtb16 %[w1], %[w1], ror #8\n\t"                                                                                 \
    "smlad  %[a0], %[w0], %[x0], %[a0]\n\t"                                                                           \
    "smlad  %[b0], %[w1], %[x0], %[b0]\n\t"                                                                           \
    "smlad  %[a1], %[w0], %[x1], %[a1]\n\t"                                                                           \
    "smlad  %[b1], %[w1], %[x1], %[b1]\n\t"                                                                           \
    "ldrd   %[x0], %[x1], [%[columns]], #8\n\t"                                                                       \
    "smlad  %[a2], %[w0], %[x0], %[a2]\n\t"                                                                           \
    "smlad  %[b2], %[w1], %[x0], %[b2]\n\t"                                                                           \
    "smlad  %[a3], %[w0], %[x1], %[a3]\n\t"                                                                           \
    "smlad  %[b3], %[w1], %[x1], %[b3]\n\t"

/* Two outputs of four pixels, from `weights` up to `end`, eight inputs a turn; the first turn is half a one where the
 * number of fours is odd. Accumulators, operands and two pointers fill all fourteen registers, so that the end is
 * compared with from the stack: written by hand because gcc keeps accumulators there instead. */
NAS_INLINE void nas_tile(const int8_t *weights, const int8_t *end, const int32_t *columns, int32_t first,
                         int32_t second, int32_t a[4], int32_t b[4])
{
    int32_t a0 = first, a1 = first, a2 = first, a3 = first, b0 = second, b1 = second, b2 = second, b3 = second;
    int32_t w0 = (end - weights) & 8, w1, x0, x1;
    __asm__ volatile("cmp    %[w0], #0\n\t"
                     "bne    2f\n"
                     "1:\n\t" NAS_EIGHT_SMLAD NAS_EIGHT_SMLAD "2:\n\t" NAS_EIGHT_SMLAD NAS_EIGHT_SMLAD
                     "ldr    %[w0], %[end]\n\t"
                     "cmp    %[weights], %[w0]\n\t"
                     "bne    1b"
                     : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [b0] "+r"(b0), [b1] "+r"(b1),
                       [b2] "+r"(b2), [b3] "+r"(b3), [weights] "+r"(weights), [columns] "+r"(columns), [w0] "+r"(w0),
                       [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1)
                     : [end] "m"(end)
                     : "cc", "memory");
    a[0] = a0;
    a[1] = a1;
    a[2] = a2;
    a[3] = a3;
    b[0] = b0;
    b[1] = b1;
    b[2] = b2;
    b[3] = b3;
}

/* Codes of four pixels, an even number of outputs, the simple requantisation: nearly all there is to do. */
static void four_pixels(const nas_rows *rows, int8_t *y, const int32_t *columns)
{
    const int32_t step = 2 * NAS_ROUND_UP(rows->depth, 4), outputs = rows->outputs, zero = rows->to->zero;
    const int32_t *bias = rows->to->bias, *multiplier = rows->to->multiplier;
    const int8_t *weights = rows->weights, *const end = weights + outputs / 2 * step;
    for (; weights != end; weights += step, bias += 2, multiplier += 2, y += 2) {
        int32_t a[4], b[4];
        nas_tile(weights, weights + step, columns, bias[0], bias[1], a, b);
        const int32_t m0 = multiplier[0], m1 = multiplier[1];
        int8_t *place = y;
        for (int32_t i = 0; i < 4; i++, place += outputs) {
            place[0] = (int8_t)nas_saturated(nas_scaled(a[i], m0, zero));
            place[1] = (int8_t)nas_saturated(nas_scaled(b[i], m1, zero));
        }
    }
}

/* Codes of two to four pixels, any number of outputs and any requantisation. */
static void some_pixels(const nas_rows *rows, int32_t pixels, int8_t *y, const int32_t *columns)
{
    const int32_t step = 2 * NAS_ROUND_UP(rows->depth, 4), outputs = rows->outputs;
    const int8_t *weights = rows->weights;
    for (int32_t output = 0; output < outputs; output += 2, weights += step) {
        const int32_t *const bias = rows->to->bias + output;
        int32_t a[4], b[4];
        nas_tile(weights, weights + step, columns, bias[0], bias[1], a, b);
        for (int32_t i = 0; i < pixels; i++)
            nas_store_pair(rows, output, a[i], b[i], y + i * outputs);
    }
}

/* Outputs `output` and the next of one pixel. */
NAS_INLINE void nas_dot(const nas_rows *rows, int32_t output, const int32_t *column, int32_t *first, int32_t *second)
{
    const int32_t step = 2 * NAS_ROUND_UP(rows->depth, 4);
    const int8_t *weights = rows->weights + output / 2 * step, *const end = weights + step;
    int32_t a = rows->to->bias[output], b = rows->to->bias[output + 1];
    for (; weights != end; weights += 8, column += 2) {
        const int32_t w0 = nas_word(weights), w1 = nas_word(weights + 4);
        int32_t even, odd;
        __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(w0));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(w0));
        a = __smlad(even, column[0], a);
        b = __smlad(odd, column[0], b);
        __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(w1));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(w1));
        a = __smlad(even, column[1], a);
        b = __smlad(odd, column[1], b);
    }
    *first = a;
    *second = b;
}

/* Codes [pixels][outputs] from patches that are `stride` bytes apart; `y` may lie over them. */
static void nas_multiply(const nas_rows *rows, int32_t pixels, const int8_t *x, int32_t stride, int8_t *y,
                         void *scratch)
{
    int32_t *const columns = (int32_t *)scratch;
    if (pixels == 1) {
        widen_pixel(x, rows->depth, 1, columns);
        for (int32_t output = 0; output < rows->outputs; output += 2) {
            int32_t first, second;
            nas_dot(rows, output, columns, &first, &second);
            nas_store_pair(rows, output, first, second, y);
        }
        return;
    }
    /* Pixels that are not there are computed from ones that are, and not stored. */
    widen_four(x, x + stride, x + (pixels > 2 ? 2 : 0) * stride, x + (pixels > 3 ? 3 : 0) * stride, rows->depth,
               columns);
    if (pixels == 4 && rows->outputs % 2 == 0 && nas_is_simple(rows->to))
        four_pixels(rows, y, columns);
    else
        some_pixels(rows, pixels, y, columns);
}

/* Scaled accumulators of one pixel. */
static void nas_logits(const nas_rows *rows, const int8_t *x, int32_t *y, void *scratch)
{
    const nas_requantise *const to = rows->to;
    int32_t *const column = (int32_t *)scratch;
    widen_pixel(x, rows->depth, 1, column);
    for (int32_t output = 0; output < rows->outputs; output += 2) {
        int32_t sums[2];
        nas_dot(rows, output, column, &sums[0], &sums[1]);
        for (int32_t i = 0; i < 2 && output + i < rows->outputs; i++)
            y[output + i] = nas_scaled(nas_shifted(sums[i], to->left), to->multiplier[output + i], 0);
    }
}
