/* Cortex-M4, M7, M33: pairs of neighbours in a row by SMLAD, two outputs at a time from the same words.
 *
 * Of a row x0 x1 x2 x3 ... and weights w0 w1 w2 the outputs at 0 and 1 are
 *     (x0, x1)(w0, w1) + x2 w2    and    x1 w0 + (x2, x3)(w1, w2):
 * the words (x0, x1) and (x2, x3) serve both, and the weights are kept as the pairs (w0, w1) and (w1, w2), whose
 * halves are the single ones. Larger kernels go on in the same way. With stride 2 only the first form is needed.
 *
 * The rows of 3 x 3 kernels are written by hand: their weights, pointers and sums just fill the fourteen registers,
 * and gcc keeps some of them in memory.
 */

#define NAS_LARGEST_KERNEL 7

typedef int32_t __attribute__((may_alias)) nas_two; /* two int16 of a row, aligned */

/* What the loops by hand read from memory. */
typedef struct {
    int32_t multiplier, zero; /* by one LDRD */
    int32_t bias, step;
} nas_constants;

typedef struct {
    nas_constants constants;
    int32_t even[NAS_LARGEST_KERNEL][NAS_LARGEST_KERNEL / 2]; /* (w0, w1), (w2, w3) ... of each row */
    int32_t odd[NAS_LARGEST_KERNEL][NAS_LARGEST_KERNEL / 2];  /* (w1, w2), (w3, w4) ... */
} nas_taps;

NAS_INLINE int32_t nas_pair(int32_t low, int32_t high)
{
    int32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

NAS_INLINE void nas_load_taps(const nas_channel *channel, int32_t kernel, nas_taps *taps)
{
    const int8_t *weights = channel->weights;
    const nas_constants constants = {channel->multiplier, channel->zero, channel->bias, channel->step};
    taps->constants = constants;
    for (int32_t i = 0; i < kernel; i++, weights += kernel) {
        for (int32_t j = 0; j < kernel / 2; j++) {
            taps->even[i][j] = nas_pair(weights[2 * j], weights[2 * j + 1]);
            taps->odd[i][j] = nas_pair(weights[2 * j + 1], weights[2 * j + 2]);
        }
    }
}

/* Every `channels`-th code, two a word. */
NAS_INLINE void nas_gather_row(const int8_t *x, int32_t channels, int32_t count, int16_t *row)
{
    for (; count >= 4; count -= 4, row += 4) {
        const int32_t first = nas_pair(x[0], x[channels]);
        x += 2 * channels;
        nas_put_word(row, first);
        nas_put_word(row + 2, nas_pair(x[0], x[channels]));
        x += 2 * channels;
    }
    for (; count > 0; count--, x += channels)
        *row++ = *x;
}

/* Pairs of outputs from `y` up to `end`. A function of its own has all registers. */
static __attribute__((noinline)) void pairs_3x3(const nas_taps *taps, int16_t *const *rows, int8_t *y,
                                                const int8_t *end)
{
    const int16_t *row0 = rows[0], *row1 = rows[1], *row2 = rows[2];
    const nas_constants in = taps->constants; /* on the stack, where no register is needed to find it */
    int32_t a, b, x0, x1;
    __asm__ volatile("1:\n\t"
                     "ldr    %[b], %[bias]\n\t"
                     "ldrd   %[x0], %[x1], [%[row0]], #4\n\t"
                     "smlad  %[a], %[x0], %[e0], %[b]\n\t"
                     "smlatb %[b], %[x0], %[e0], %[b]\n\t"
                     "smlabt %[a], %[x1], %[o0], %[a]\n\t"
                     "smlad  %[b], %[x1], %[o0], %[b]\n\t"
                     "ldrd   %[x0], %[x1], [%[row1]], #4\n\t"
                     "smlad  %[a], %[x0], %[e1], %[a]\n\t"
                     "smlatb %[b], %[x0], %[e1], %[b]\n\t"
                     "smlabt %[a], %[x1], %[o1], %[a]\n\t"
                     "smlad  %[b], %[x1], %[o1], %[b]\n\t"
                     "ldrd   %[x0], %[x1], [%[row2]], #4\n\t"
                     "smlad  %[a], %[x0], %[e2], %[a]\n\t"
                     "smlatb %[b], %[x0], %[e2], %[b]\n\t"
                     "smlabt %[a], %[x1], %[o2], %[a]\n\t"
                     "smlad  %[b], %[x1], %[o2], %[b]\n\t"
                     "ldrd   %[x0], %[x1], %[scale]\n\t"
                     "smmlar %[a], %[a], %[x0], %[x1]\n\t"
                     "smmlar %[b], %[b], %[x0], %[x1]\n\t"
                     "ldr    %[x0], %[step]\n\t"
                     "ssat   %[a], #8, %[a]\n\t"
                     "ssat   %[b], #8, %[b]\n\t"
                     "ldr    %[x1], %[end]\n\t"
                     "strb   %[a], [%[y]]\n\t"
                     "strb   %[b], [%[y], %[x0]]\n\t"
                     "add    %[y], %[y], %[x0], lsl #1\n\t"
                     "cmp    %[y], %[x1]\n\t"
                     "bne    1b"
                     : [a] "=&r"(a), [b] "=&r"(b), [x0] "=&r"(x0), [x1] "=&r"(x1), [row0] "+r"(row0),
                       [row1] "+r"(row1), [row2] "+r"(row2), [y] "+r"(y)
                     : [e0] "r"(taps->even[0][0]), [e1] "r"(taps->even[1][0]), [e2] "r"(taps->even[2][0]),
                       [o0] "r"(taps->odd[0][0]), [o1] "r"(taps->odd[1][0]), [o2] "r"(taps->odd[2][0]),
                       [scale] "m"(in.multiplier), [bias] "m"(in.bias), [step] "m"(in.step), [end] "m"(end),
                       "m"(in.zero)
                     : "cc", "memory");
}

/* Outputs of stride 2 from `y` up to `end`. */
static __attribute__((noinline)) void singles_3x3(const nas_taps *taps, int16_t *const *rows, int8_t *y,
                                                const int8_t *end)
{
    const int16_t *row0 = rows[0], *row1 = rows[1], *row2 = rows[2];
    const nas_constants in = taps->constants;
    int32_t a, x0, x1;
    __asm__ volatile("1:\n\t"
                     "ldr    %[a], %[bias]\n\t"
                     "ldrd   %[x0], %[x1], [%[row0]], #4\n\t"
                     "smlad  %[a], %[x0], %[e0], %[a]\n\t"
                     "smlabt %[a], %[x1], %[o0], %[a]\n\t"
                     "ldrd   %[x0], %[x1], [%[row1]], #4\n\t"
                     "smlad  %[a], %[x0], %[e1], %[a]\n\t"
                     "smlabt %[a], %[x1], %[o1], %[a]\n\t"
                     "ldrd   %[x0], %[x1], [%[row2]], #4\n\t"
                     "smlad  %[a], %[x0], %[e2], %[a]\n\t"
                     "smlabt %[a], %[x1], %[o2], %[a]\n\t"
                     "ldrd   %[x0], %[x1], %[scale]\n\t"
                     "smmlar %[a], %[a], %[x0], %[x1]\n\t"
                     "ldr    %[x0], %[step]\n\t"
                     "ssat   %[a], #8, %[a]\n\t"
                     "ldr    %[x1], %[end]\n\t"
                     "strb   %[a], [%[y]]\n\t"
                     "add    %[y], %[y], %[x0]\n\t"
                     "cmp    %[y], %[x1]\n\t"
                     "bne    1b"
                     : [a] "=&r"(a), [x0] "=&r"(x0), [x1] "=&r"(x1), [row0] "+r"(row0), [row1] "+r"(row1),
                       [row2] "+r"(row2), [y] "+r"(y)
                     : [e0] "r"(taps->even[0][0]), [e1] "r"(taps->even[1][0]), [e2] "r"(taps->even[2][0]),
                       [o0] "r"(taps->odd[0][0]), [o1] "r"(taps->odd[1][0]), [o2] "r"(taps->odd[2][0]),
                       [scale] "m"(in.multiplier), [bias] "m"(in.bias), [step] "m"(in.step), [end] "m"(end),
                       "m"(in.zero)
                     : "cc", "memory");
}

/* The sum at an even column. */
NAS_INLINE int32_t sum_even(const nas_taps *taps, int32_t bias, int32_t kernel, int16_t *const *rows, int32_t column)
{
    for (int32_t i = 0; i < kernel; i++) {
        const nas_two *const from = (const nas_two *)(const void *)(rows[i] + column);
        for (int32_t j = 0; j < kernel / 2; j++)
            bias = __smlad(from[j], taps->even[i][j], bias);
        bias = __smlabt(from[kernel / 2], taps->odd[i][kernel / 2 - 1], bias);
    }
    return bias;
}

/* The sums at an even column and the next. */
NAS_INLINE void sum_both(const nas_taps *taps, int32_t bias, int32_t kernel, int16_t *const *rows, int32_t column,
                         int32_t *first, int32_t *second)
{
    int32_t a = bias, b = bias;
    for (int32_t i = 0; i < kernel; i++) {
        const nas_two *const from = (const nas_two *)(const void *)(rows[i] + column);
        int32_t word = from[0];
        b = __smlatb(word, taps->even[i][0], b);
        for (int32_t j = 0; j < kernel / 2; j++) {
            a = __smlad(word, taps->even[i][j], a);
            word = from[j + 1];
            b = __smlad(word, taps->odd[i][j], b);
        }
        a = __smlabt(word, taps->odd[i][kernel / 2 - 1], a);
    }
    *first = a;
    *second = b;
}

NAS_INLINE int8_t nas_channel_code(const nas_channel *channel, int32_t sum)
{
    if (channel->simple)
        return (int8_t)nas_saturated(nas_scaled(sum, channel->multiplier, channel->zero));
    return nas_code(sum, channel->multiplier, channel->to);
}

/* One row of outputs from `kernel` rows of inputs, which may be read one beyond the last that counts. */
NAS_INLINE void nas_plane_row(const nas_channel *channel, const nas_taps *taps, int32_t kernel, int32_t stride,
                              int16_t *const *rows, int8_t *y)
{
    const int32_t width = channel->out_width, step = channel->step;
    const int32_t together = stride == 1 ? width & ~1 : kernel == 3 ? width : 0;
    int32_t column = 0;
    if (kernel == 3 && channel->simple && together > 0) {
        if (stride == 1)
            pairs_3x3(taps, rows, y, y + together * step);
        else
            singles_3x3(taps, rows, y, y + together * step);
        column = together;
        y += together * step;
    } else if (stride == 1) {
        for (; column < together; column += 2, y += 2 * step) {
            int32_t first, second;
            sum_both(taps, channel->bias, kernel, rows, column, &first, &second);
            y[0] = nas_channel_code(channel, first);
            y[step] = nas_channel_code(channel, second);
        }
    }
    for (; column < width; column++, y += step)
        *y = nas_channel_code(channel, sum_even(taps, channel->bias, kernel, rows, column * stride));
}
