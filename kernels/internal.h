/* internal.h -- inside kernels/ only: what each tier file gives to kernel.c, and the little that
 * all of them share. */
#ifndef KVLAB_INTERNAL_H
#define KVLAB_INTERNAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"

/* Every entry, in plain C with sums in double: the definition the other tiers are held to. */
void kernels_fill_ref(Kernels *kernels);

/* Plain C that compilers turn into the vectors of any machine. */
void kernels_fill_portable(Kernels *kernels);

/* AVX2 with FMA and F16C. */
void kernels_fill_avx2(Kernels *kernels);

/* AVX-512 F, BW, DQ and VL. */
void kernels_fill_avx512(Kernels *kernels);

/* The bits of a float and the float of some bits. */
static inline uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float bf16_to_f32(uint16_t x) {
    return bits_float((uint32_t)x << 16);
}

/* To nearest even: adding 0x7fff and the bit that will be last carries exactly when rounding goes
 * up. NaN would carry into infinity or lose its bits, so it is made quiet and cut. */
static inline uint16_t f32_to_bf16(float x) {
    const uint32_t bits = float_bits(x);
    const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const uint32_t quiet = bits | 0x400000u;
    const uint32_t chosen = (bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded;
    return (uint16_t)(chosen >> 16);
}

/* A step of the online softmax in which no score was above -INFINITY: weights 0, or NaN where the
 * score was NaN, so that a NaN is seen in the output and not taken for a masked row. */
static inline float softmax_masked(size_t n, float *s, float *sum) {
    for (size_t j = 0; j < n; j++) {
        s[j] = isnan(s[j]) ? s[j] : 0.0f;
        *sum += s[j];
    }
    return 1.0f;
}

#endif
