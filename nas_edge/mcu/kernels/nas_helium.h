/* What the Helium backends share. */
#ifndef NAS_HELIUM_H
#define NAS_HELIUM_H

#include "nas_internal.h"

/* 0, step, 2 step, 3 step. */
NAS_INLINE uint32x4_t nas_offsets(uint32_t step)
{
    return vmulq_n_u32(vidupq_n_u32(0, 1), step);
}

/* What of a nas_requantise concerns all outputs, in registers. */
typedef struct {
    int32x4_t low, high;
    int32_t left, zero;
} nas_bounds;

NAS_INLINE nas_bounds nas_load_bounds(const nas_requantise *to)
{
    const nas_bounds bounds = {vdupq_n_s32(to->low), vdupq_n_s32(to->high), to->left, to->zero};
    return bounds;
}

/* Codes, as int32, of four accumulators: VRMULH rounds as SMMLAR does. */
NAS_INLINE int32x4_t nas_codes(int32x4_t accumulators, int32x4_t multipliers, const nas_bounds *bounds)
{
    const int32x4_t values = vrmulhq_s32(vqshlq_r_s32(accumulators, bounds->left), multipliers);
    return vminq_s32(vmaxq_s32(vaddq_n_s32(values, bounds->zero), bounds->low), bounds->high);
}

#endif
