/* Sums of tensors and means over pixels: a small part of any network's time, so that plain C does on all cores. */
#include "nas_internal.h"

void nas_add(int32_t count, const int8_t *a, const int8_t *b, const nas_addition *addition, int8_t *y)
{
    const int32_t a_multiplier = addition->a_multiplier, b_multiplier = addition->b_multiplier;
    const int32_t offset = addition->offset, shift = addition->shift;
    if (addition->low == -128 && addition->high == 127) {
        for (int32_t i = 0; i < count; i++)
            y[i] = (int8_t)nas_saturated((a[i] * a_multiplier + b[i] * b_multiplier + offset) >> shift);
    } else {
        for (int32_t i = 0; i < count; i++) {
            int32_t value = (a[i] * a_multiplier + b[i] * b_multiplier + offset) >> shift;
            y[i] = (int8_t)nas_clamp(value, addition->low, addition->high);
        }
    }
}

void nas_average_pool(int32_t pixels, int32_t channels, const int8_t *x, const nas_requantise *to, int8_t *y)
{
    const int32_t bias = to->bias[0], multiplier = to->multiplier[0];
    int32_t channel = 0;
    for (; channel + 4 <= channels; channel += 4) { /* a word at a time */
        int32_t s0 = bias, s1 = bias, s2 = bias, s3 = bias;
        const int8_t *from = x + channel;
        for (int32_t pixel = 0; pixel < pixels; pixel++, from += channels) {
            s0 += from[0];
            s1 += from[1];
            s2 += from[2];
            s3 += from[3];
        }
        y[channel] = nas_code(s0, multiplier, to);
        y[channel + 1] = nas_code(s1, multiplier, to);
        y[channel + 2] = nas_code(s2, multiplier, to);
        y[channel + 3] = nas_code(s3, multiplier, to);
    }
    for (; channel < channels; channel++) {
        int32_t sum = bias;
        for (int32_t pixel = 0; pixel < pixels; pixel++)
            sum += x[pixel * channels + channel];
        y[channel] = nas_code(sum, multiplier, to);
    }
}
