/* int8 kernels for one image: activations [height][width][channels], a real value is scale * (code - zero).
 *
 * Every kernel ends with the same requantisation, exact and rounded once, half up:
 *
 *     y = clamp((((accumulator << left) * multiplier + 2^31) >> 32) + zero, low, high)
 *
 * Accumulators start at `bias`, into which the input's zero point is folded: bias - in_zero * (sum of the weights).
 * So a product is code * weight, and padding holds in_zero. The backends (plain C99, Arm's DSP extension, Helium)
 * are chosen by the compiler's target macros and give the same bits; NAS_PLAIN forces the plain one.
 *
 * Weights are packed once for all backends:
 *     convolution, pointwise, linear: [ceil(outputs / 2)][depth][2], depth = kernel height * width * in_channels
 *         rounded up to a multiple of 4, zeros where nothing is; NAS_WEIGHT_READAHEAD bytes after them are readable;
 *     depthwise: [channels][kernel * kernel].
 * Biases and multipliers have a multiple of 4 entries (what is beyond the last output is not used). Weights and
 * scratch are aligned to 4 bytes, activations need no alignment.
 *
 * In place: nas_add (y may be a or b), nas_depthwise (y may be x if the output is neither higher nor wider than the
 * input). nas_pointwise and nas_conv read four pixels' worth of input before they write these four, in the order of
 * pixels: y may lie over x wherever nothing is overwritten that later fours read. So y may be x in nas_pointwise if
 * out_channels <= in_channels, and x may be the end of y if there are more. Scratch holds nothing between calls.
 */
#ifndef NAS_KERNELS_H
#define NAS_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NAS_WEIGHT_READAHEAD 32

/* How accumulators become codes. */
typedef struct {
    const int32_t *bias;       /* [outputs] */
    const int32_t *multiplier; /* [outputs], positive: scale * 2^(32 - left) */
    int32_t left;              /* saturating left shift of accumulators, 0 but for scales of 0.5 and more */
    int32_t zero;              /* zero point of the output */
    int32_t low, high;         /* bounds of the activation, within -128 and 127 */
} nas_requantise;

/* What a window sees. Padding at the right and bottom follows from the sizes. */
typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t kernel_height, kernel_width, stride;
    int32_t pad_top, pad_left;
    int32_t out_height, out_width, out_channels;
    int32_t in_zero; /* what padding holds */
} nas_window;

/* y = clamp((a * a_multiplier + b * b_multiplier + offset) >> shift, low, high); offset holds zero points and a half. */
typedef struct {
    int32_t a_multiplier, b_multiplier, offset, shift;
    int32_t low, high;
} nas_addition;

/* Bytes of scratch. */
#define NAS_ROUND_UP(value, multiple) (((value) + (multiple) - 1) / (multiple) * (multiple))
#define NAS_CONV_SCRATCH(kernel_height, kernel_width, in_channels) \
    (12 * NAS_ROUND_UP((kernel_height) * (kernel_width) * (in_channels), 4))
#define NAS_POINTWISE_SCRATCH(in_channels) (8 * NAS_ROUND_UP(in_channels, 4))
#define NAS_LINEAR_SCRATCH(in_channels) (2 * NAS_ROUND_UP(in_channels, 4))
#define NAS_DEPTHWISE_SCRATCH(kernel, stride, out_width) \
    (2 * (kernel) * NAS_ROUND_UP(((out_width) - 1) * (stride) + (kernel), 2))

/* Convolution over all channels, any kernel and stride. */
void nas_conv(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to, int8_t *y,
              void *scratch);

/* 1 x 1 convolution of stride 1. */
void nas_pointwise(int32_t pixels, int32_t in_channels, int32_t out_channels, const int8_t *x, const int8_t *weights,
                   const nas_requantise *to, int8_t *y, void *scratch);

/* Each channel alone (out_channels == in_channels), kernel 3 x 3, 5 x 5 or 7 x 7, stride 1 or 2. A program that calls
 * those of the sizes it has, rather than nas_depthwise, carries no others. */
void nas_depthwise(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                   int8_t *y, void *scratch);
void nas_depthwise_3x3(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                       int8_t *y, void *scratch);
void nas_depthwise_5x5(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                       int8_t *y, void *scratch);
void nas_depthwise_7x7(const nas_window *window, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                       int8_t *y, void *scratch);

/* Fully connected. */
void nas_linear(int32_t inputs, int32_t outputs, const int8_t *x, const int8_t *weights, const nas_requantise *to,
                int8_t *y, void *scratch);

/* Fully connected, logits kept as int32 of one scale: zero, low and high are not used. */
void nas_linear_logits(int32_t inputs, int32_t outputs, const int8_t *x, const int8_t *weights,
                       const nas_requantise *to, int32_t *y, void *scratch);

/* Sum of two tensors of `count` codes. */
void nas_add(int32_t count, const int8_t *a, const int8_t *b, const nas_addition *addition, int8_t *y);

/* Mean of each channel over all pixels; bias and multiplier have one entry each. */
void nas_average_pool(int32_t pixels, int32_t channels, const int8_t *x, const nas_requantise *to, int8_t *y);

#ifdef __cplusplus
}
#endif

#endif
