/* Convolution, pointwise and fully connected layers: rows of weights times patches of the input.
 *
 * The patches of four pixels at a time are laid out in scratch and used for all outputs: reading the weights once for
 * four pixels, and widening the pixels once for all outputs, is what makes the difference to a plain loop. The
 * backend's `nas_multiply` and `nas_logits` do the arithmetic; what is here decides only which bytes they see.
 */
#include "nas_internal.h"

#if defined(NAS_HELIUM)
#include "nas_matmul_helium.h"
#elif defined(NAS_DSP)
#include "nas_matmul_dsp.h"
#else
#include "nas_matmul_plain.h"
#endif

void nas_pointwise(int32_t pixels, int32_t in_channels, int32_t out_channels, const int8_t *x, const int8_t *weights,
                   const nas_requantise *to, int8_t *y, void *scratch)
{
    const nas_rows rows = {in_channels, out_channels, weights, to};
    for (; pixels > 0; pixels -= 4, x += 4 * in_channels, y += 4 * out_channels)
        nas_multiply(&rows, pixels < 4 ? pixels : 4, x, in_channels, y, scratch);
}

void nas_linear(int32_t inputs, int32_t outputs, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                int8_t *y, void *scratch)
{
    const nas_rows rows = {inputs, outputs, weights, to};
    nas_multiply(&rows, 1, x, inputs, y, scratch);
}

void nas_linear_logits(int32_t inputs, int32_t outputs, const int8_t *x, const int8_t *weights,
                       const nas_requantise *to, int32_t *y, void *scratch)
{
    const nas_rows rows = {inputs, outputs, weights, to};
    nas_logits(&rows, x, y, scratch);
}

/* The bytes under the window at output (row, column), kernel rows one after another. */
static void copy_patch(const nas_window *window, const int8_t *x, int32_t row, int32_t column, int8_t *patch)
{
    const int32_t channels = window->in_channels, width = window->in_width;
    const int32_t top = row * window->stride - window->pad_top, left = column * window->stride - window->pad_left;
    const int32_t before = left < 0 ? (-left < window->kernel_width ? -left : window->kernel_width) : 0;
    const int32_t over = left + window->kernel_width - width;
    const int32_t after = over > 0 ? (over < window->kernel_width - before ? over : window->kernel_width - before) : 0;
    const int32_t run = (window->kernel_width - before - after) * channels;
    const int8_t *from = x + (top * width + left + before) * channels;
    for (int32_t y = top; y < top + window->kernel_height; y++, from += width * channels) {
        if (y < 0 || y >= window->in_height) {
            nas_fill(patch, window->in_zero, window->kernel_width * channels);
            patch += window->kernel_width * channels;
            continue;
        }
        nas_fill(patch, window->in_zero, before * channels);
        patch += before * channels;
        nas_copy(patch, from, run);
        patch += run;
        nas_fill(patch, window->in_zero, after * channels);
        patch += after * channels;
    }
}

void nas_conv(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to, int8_t *y,
              void *scratch)
{
    const int32_t depth = window->kernel_height * window->kernel_width * window->in_channels;
    const int32_t stride = NAS_ROUND_UP(depth, 4);
    const nas_rows rows = {depth, window->out_channels, weights, to};
    int8_t *const patches = (int8_t *)scratch + 8 * stride; /* behind what nas_multiply uses */
    const int32_t pixels = window->out_height * window->out_width;
    int32_t row = 0, column = 0;
    for (int32_t pixel = 0; pixel < pixels; pixel += 4) {
        const int32_t count = pixels - pixel < 4 ? pixels - pixel : 4;
        for (int32_t i = 0; i < count; i++) {
            copy_patch(window, x, row, column, patches + i * stride);
            if (++column == window->out_width) {
                column = 0;
                row++;
            }
        }
        nas_multiply(&rows, count, patches, stride, y, scratch);
        y += count * window->out_channels;
    }
}
