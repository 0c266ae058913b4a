/* Depthwise convolution, one channel after another.
 *
 * A channel's input rows are widened to 16 bits, padding included, into a ring of as many rows as the kernel is high:
 * in a plane of one channel neighbours in a row are neighbours in memory, which is what pairs (SMLAD) and vectors
 * need. Outputs of a row are written when all inputs above and in it have been copied, so that y may be x.
 * The backend's `nas_taps` and `nas_plane_row` do the arithmetic.
 */
#include "nas_internal.h"

/* One channel's numbers, by value: what is behind pointers would have to be read again after every output. */
typedef struct {
    const int8_t *weights; /* [kernel * kernel] */
    int32_t bias, multiplier, zero;
    int32_t simple;    /* of its requantisation */
    int32_t out_width; /* outputs in a row */
    int32_t step;      /* from one output to the next */
    const nas_requantise *to;
} nas_channel;

#if defined(NAS_HELIUM)
#include "nas_depthwise_helium.h"
#elif defined(NAS_DSP)
#include "nas_depthwise_dsp.h"
#else
#include "nas_depthwise_plain.h"
#endif

NAS_INLINE void fill_row(int16_t *row, int32_t code, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        row[i] = (int16_t)code;
}

/* Input row `y` of a channel behind the left padding. What lies outside is padding. */
NAS_INLINE void load_row(const nas_window *window, const int8_t *x, int32_t y, int32_t count, int16_t *row)
{
    row += window->pad_left;
    if (y < 0 || y >= window->in_height)
        fill_row(row, window->in_zero, count);
    else
        nas_gather_row(x + y * window->in_width * window->in_channels, window->in_channels, count, row);
}

NAS_INLINE void one_channel(const nas_window *window, const nas_channel *channel, int32_t kernel, int32_t stride,
                            int32_t columns, const int8_t *x, int8_t *y, int16_t *ring)
{
    const int32_t inside = columns - window->pad_left;
    const int32_t count = window->in_width < inside ? window->in_width : inside;
    const int32_t row_step = channel->out_width * channel->step;
    int16_t *rows[NAS_LARGEST_KERNEL];
    nas_taps taps;
    int32_t next = -window->pad_top; /* the input row to come */
    nas_load_taps(channel, kernel, &taps);
    for (int32_t i = 0; i < kernel; i++) {
        rows[i] = ring + i * columns;
        load_row(window, x, next++, count, rows[i]);
    }
    for (int32_t left = window->out_height;; y += row_step) {
        nas_plane_row(channel, &taps, kernel, stride, rows, y);
        if (--left == 0)
            return;
        for (int32_t i = 0; i < stride; i++) { /* the oldest row becomes the newest */
            int16_t *const oldest = rows[0];
            for (int32_t j = 0; j + 1 < kernel; j++)
                rows[j] = rows[j + 1];
            rows[kernel - 1] = oldest;
            load_row(window, x, next++, count, oldest);
        }
    }
}

NAS_INLINE void all_channels(const nas_window *window, int32_t kernel, int32_t stride, const int8_t *x,
                             const int8_t *weights, const nas_requantise *to, int8_t *y, int16_t *ring)
{
    const nas_window seen = *window;
    const int32_t columns = NAS_ROUND_UP((seen.out_width - 1) * stride + kernel, 2);
    const int32_t simple = nas_is_simple(to), zero = to->zero;
    fill_row(ring, seen.in_zero, kernel * columns); /* padding at the sides stays for all channels */
    for (int32_t i = 0; i < seen.out_channels; i++, weights += kernel * kernel) {
        const nas_channel channel = {weights, to->bias[i],    to->multiplier[i],  zero,
                                     simple,  seen.out_width, seen.out_channels, to};
        one_channel(&seen, &channel, kernel, stride, columns, x + i, y + i, ring);
    }
}

/* Kernel and stride are constants for the compiler. One function a kernel: a linker drops those that nobody calls. */
#define NAS_DEPTHWISE(size, name)                                                                                     \
    void name(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to, int8_t *y,  \
              void *scratch)                                                                                          \
    {                                                                                                                 \
        if (window->stride == 1)                                                                                      \
            all_channels(window, size, 1, x, weights, to, y, (int16_t *)scratch);                                     \
        else                                                                                                          \
            all_channels(window, size, 2, x, weights, to, y, (int16_t *)scratch);                                     \
    }

NAS_DEPTHWISE(3, nas_depthwise_3x3)
NAS_DEPTHWISE(5, nas_depthwise_5x5)
NAS_DEPTHWISE(7, nas_depthwise_7x7)

void nas_depthwise(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                   int8_t *y, void *scratch)
{
    if (window->kernel_height == 3)
        nas_depthwise_3x3(window, x, weights, to, y, scratch);
    else if (window->kernel_height == 5)
        nas_depthwise_5x5(window, x, weights, to, y, scratch);
    else
        nas_depthwise_7x7(window, x, weights, to, y, scratch);
}
