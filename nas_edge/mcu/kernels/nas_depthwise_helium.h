/* Cortex-M55 and M85: four neighbouring outputs of a row at a time, each weight times four neighbouring inputs. */
#include "nas_helium.h"

#define NAS_LARGEST_KERNEL 7

/* Nine weights stay in registers or on the stack; more would take a kilobyte of stack and are read again each time. */
typedef struct {
    int32_t of[9];
} nas_taps;

NAS_INLINE void nas_load_taps(const nas_channel *channel, int32_t kernel, nas_taps *taps)
{
    for (int32_t i = 0; kernel == 3 && i < 9; i++)
        taps->of[i] = channel->weights[i];
}

/* Every `channels`-th code. */
NAS_INLINE void nas_gather_row(const int8_t *x, int32_t channels, int32_t count, int16_t *row)
{
    const uint32x4_t offsets = nas_offsets((uint32_t)channels);
    for (; count > 0; count -= 4, x += 4 * channels, row += 4) {
        const mve_pred16_t inside = vctp32q((uint32_t)count);
        vstrhq_p_s32(row, vldrbq_gather_offset_z_s32(x, offsets, inside), inside);
    }
}

/* One row of outputs from `kernel` rows of inputs. */
NAS_INLINE void nas_plane_row(const nas_channel *channel, const nas_taps *taps, int32_t kernel, int32_t stride,
                              int16_t *const *rows, int8_t *y)
{
    const int32_t width = channel->out_width, step = channel->step;
    const uint32x4_t places = nas_offsets((uint32_t)step), apart = nas_offsets((uint32_t)stride);
    const int32x4_t multipliers = vdupq_n_s32(channel->multiplier);
    const nas_bounds bounds = nas_load_bounds(channel->to);
    for (int32_t column = 0; column < width; column += 4, y += 4 * step) {
        const mve_pred16_t inside = vctp32q((uint32_t)(width - column));
        int32x4_t sums = vdupq_n_s32(channel->bias);
        for (int32_t i = 0; i < kernel; i++) {
            const int16_t *const from = rows[i] + column * stride;
            for (int32_t j = 0; j < kernel; j++) {
                const int32x4_t seen = stride == 1 ? vldrhq_z_s32(from + j, inside)
                                                   : vldrhq_gather_shifted_offset_z_s32(from + j, apart, inside);
                const int32_t place = i * kernel + j;
                sums = vmlaq_n_s32(sums, seen, kernel == 3 ? taps->of[place] : channel->weights[place]);
            }
        }
        vstrbq_scatter_offset_p_s32(y, places, nas_codes(sums, multipliers, &bounds), inside);
    }
}
