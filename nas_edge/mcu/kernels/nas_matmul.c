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
    const int32_t channels = window->in_channels, width = window->in_width, kernel = window->kernel_width;
    const int32_t top = row * window->stride - window->pad_top, left = column * window->stride - window->pad_left;
    const int32_t bottom = top + window->kernel_height, right = left + kernel;
    if (top >= 0 && left >= 0 && bottom <= window->in_height && right <= width) { /* nothing of it is padding */
        const int8_t *from = x + (top * width + left) * channels;
        for (int32_t y = top; y < bottom; y++, from += width * channels, patch += kernel * channels)
            nas_copy(patch, from, kernel * channels);
        return;
    }
    const int32_t before = left < 0 ? (right < 0 ? kernel : -left) : 0;
    const int32_t after = right > width ? (left > width ? kernel : right - width) : 0;
    for (int32_t y = top; y < bottom; y++) {
        const int32_t outside = y < 0 || y >= window->in_height;
        const int32_t fill = outside ? kernel : before, run = outside ? 0 : kernel - before - after;
        nas_fill(patch, window->in_zero, fill * channels);
        patch += fill * channels;
        if (run > 0)
            nas_copy(patch, x + (y * width + left + before) * channels, run * channels);
        patch += run * channels;
        if (!outside) {
            nas_fill(patch, window->in_zero, after * channels);
            patch += after * channels;
        }
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
