/* C99 for any core: the sums as they are written. */

#define NAS_LARGEST_KERNEL 7

typedef const int8_t *nas_taps;

NAS_INLINE void nas_load_taps(const nas_channel *channel, int32_t kernel, nas_taps *taps)
{
    (void)kernel;
    *taps = channel->weights;
}

NAS_INLINE void nas_gather_row(const int8_t *x, int32_t channels, int32_t count, int16_t *row)
{
    for (int32_t i = 0; i < count; i++, x += channels)
        row[i] = *x;
}

/* One row of outputs from `kernel` rows of inputs. */
NAS_INLINE void nas_plane_row(const nas_channel *channel, const nas_taps *taps, int32_t kernel, int32_t stride,
                              int16_t *const *rows, int8_t *y)
{
    for (int32_t column = 0; column < channel->out_width; column++, y += channel->step) {
        int32_t sum = channel->bias;
        for (int32_t i = 0; i < kernel; i++) {
            for (int32_t j = 0; j < kernel; j++)
                sum += rows[i][column * stride + j] * (*taps)[i * kernel + j];
        }
        *y = nas_code(sum, channel->multiplier, channel->to);
    }
}
