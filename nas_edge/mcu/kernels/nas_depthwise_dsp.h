/* Cortex-M4, M7, M33: pairs of neighbours in a row by SMLAD, two outputs at a time from the same words.
 *
 * Of a row x0 x1 x2 x3 ... and weights w0 w1 w2 the outputs at 0 and 1 are
 *     (x0, x1)(w0, w1) + x2 w2    and    x1 w0 + (x2, x3)(w1, w2):
 * the words (x0, x1) and (x2, x3) serve both, and the weights are kept as the pairs (w0, w1) and (w1, w2), whose
 * halves are the single ones. Larger kernels go on in the same way.
 */

#define NAS_LARGEST_KERNEL 7
#define NAS_PAIRS (NAS_LARGEST_KERNEL / 2)

typedef struct {
    int32_t even[NAS_LARGEST_KERNEL][NAS_PAIRS]; /* (w0, w1), (w2, w3) ... of each row */
    int32_t odd[NAS_LARGEST_KERNEL][NAS_PAIRS];  /* (w1, w2), (w3, w4) ... */
} nas_taps;

NAS_INLINE int32_t nas_pair(int32_t low, int32_t high)
{
    int32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

NAS_INLINE nas_taps nas_load_taps(const nas_channel *channel, int32_t kernel)
{
    nas_taps taps;
    const int8_t *weights = channel->weights;
    for (int32_t i = 0; i < kernel; i++, weights += kernel) {
        for (int32_t j = 0; j < kernel / 2; j++) {
            taps.even[i][j] = nas_pair(weights[2 * j], weights[2 * j + 1]);
            taps.odd[i][j] = nas_pair(weights[2 * j + 1], weights[2 * j + 2]);
        }
    }
    return taps;
}

/* Every `channels`-th code, two a word. */
NAS_INLINE void nas_gather_row(const int8_t *x, int32_t channels, int32_t count, int16_t *row)
{
    for (; count >= 2; count -= 2, x += 2 * channels, row += 2)
        nas_put_word(row, nas_pair(x[0], x[channels]));
    if (count > 0)
        *row = *x;
}

/* One row of outputs from `kernel` rows of inputs, which may be read one beyond the last that counts. */
NAS_INLINE void nas_plane_row(const nas_channel *channel, const nas_taps *taps, int32_t kernel, int32_t stride,
                              int16_t *const *rows, int8_t *y)
{
    const nas_requantise *const to = channel->to;
    const int32_t width = channel->window->out_width, step = channel->window->out_channels, pairs = kernel / 2;
    const int32_t simple = nas_is_simple(to), zero = to->zero, multiplier = channel->multiplier;
    if (stride == 1) {
        for (int32_t column = 0; column < width; column += 2, y += 2 * step) {
            int32_t first = channel->bias, second = channel->bias;
            for (int32_t i = 0; i < kernel; i++) {
                const int16_t *from = rows[i] + column;
                int32_t word = nas_word(from);
                second = __smlatb(word, taps->even[i][0], second);
                for (int32_t j = 0; j < pairs; j++) {
                    first = __smlad(word, taps->even[i][j], first);
                    word = nas_word(from + 2 * j + 2);
                    second = __smlad(word, taps->odd[i][j], second);
                }
                first = __smlabt(word, taps->odd[i][pairs - 1], first);
            }
            if (simple) {
                y[0] = (int8_t)nas_saturated(nas_scaled(first, multiplier, zero));
                if (column + 1 < width)
                    y[step] = (int8_t)nas_saturated(nas_scaled(second, multiplier, zero));
            } else {
                y[0] = nas_code(first, multiplier, to);
                if (column + 1 < width)
                    y[step] = nas_code(second, multiplier, to);
            }
        }
    } else {
        for (int32_t column = 0; column < width; column++, y += step) {
            int32_t sum = channel->bias;
            for (int32_t i = 0; i < kernel; i++) {
                const int16_t *from = rows[i] + column * stride;
                for (int32_t j = 0; j < pairs; j++)
                    sum = __smlad(nas_word(from + 2 * j), taps->even[i][j], sum);
                sum = __smlabt(from[kernel - 1], taps->odd[i][pairs - 1], sum);
            }
            *y = simple ? (int8_t)nas_saturated(nas_scaled(sum, multiplier, zero)) : nas_code(sum, multiplier, to);
        }
    }
}
