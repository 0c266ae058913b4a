/* What the kernels share: the choice of a backend, loads of any alignment, requantisation. */
#ifndef NAS_INTERNAL_H
#define NAS_INTERNAL_H

#include <stdint.h>
#include <string.h>

#include "nas_kernels.h"

#if !defined(NAS_PLAIN) && defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define NAS_HELIUM 1
#include <arm_mve.h>
#elif !defined(NAS_PLAIN) && defined(__ARM_FEATURE_DSP)
#define NAS_DSP 1
#include <arm_acle.h>
#endif

/* Right shifts of negative numbers are arithmetic in every compiler that this is for; the tests would show another. */
#define NAS_INLINE static inline __attribute__((always_inline, unused))

/* A word from anywhere: one LDR on Cortex-M3 and up, byte by byte where the core wants it so. */
NAS_INLINE int32_t nas_word(const void *from)
{
    int32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

NAS_INLINE void nas_put_word(void *to, int32_t word)
{
    memcpy(to, &word, sizeof word);
}

NAS_INLINE void nas_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 8; count -= 8, from += 8, to += 8) {
        int32_t first = nas_word(from), second = nas_word(from + 4);
        nas_put_word(to, first);
        nas_put_word(to + 4, second);
    }
    for (; count > 0; count--)
        *to++ = *from++;
}

NAS_INLINE void nas_fill(int8_t *to, int32_t code, int32_t count)
{
    for (; count > 0; count--)
        *to++ = (int8_t)code;
}

/* zero + round(accumulator * multiplier / 2^32), half up: one SMMLAR where there is one. */
NAS_INLINE int32_t nas_scaled(int32_t accumulator, int32_t multiplier, int32_t zero)
{
#if defined(NAS_DSP) || defined(NAS_HELIUM)
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(accumulator), "r"(multiplier), "r"(zero));
    return result;
#else
    return zero + (int32_t)(((int64_t)accumulator * multiplier + ((int64_t)1 << 31)) >> 32);
#endif
}

NAS_INLINE int32_t nas_clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

NAS_INLINE int32_t nas_saturated(int32_t value)
{
#if defined(NAS_DSP)
    return __ssat(value, 8);
#else
    return nas_clamp(value, -128, 127);
#endif
}

/* accumulator << left, saturated. */
NAS_INLINE int32_t nas_shifted(int32_t accumulator, int32_t left)
{
    if (left == 0)
        return accumulator;
    const int32_t most = INT32_MAX >> left;
    return (int32_t)((uint32_t)nas_clamp(accumulator, -most - 1, most) << left);
}

/* Neither a left shift nor bounds other than those of int8: how nearly all layers are. */
NAS_INLINE int nas_is_simple(const nas_requantise *to)
{
    return to->left == 0 && to->low == -128 && to->high == 127;
}

NAS_INLINE int8_t nas_code(int32_t accumulator, int32_t multiplier, const nas_requantise *to)
{
    if (nas_is_simple(to))
        return (int8_t)nas_saturated(nas_scaled(accumulator, multiplier, to->zero));
    return (int8_t)nas_clamp(nas_scaled(nas_shifted(accumulator, to->left), multiplier, to->zero), to->low, to->high);
}

#endif
