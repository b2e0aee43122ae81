/* floats.h -- small floating-point formats, one value at a time: their bits to a float and back,
 * rounded to nearest even. */
#ifndef KVLAB_FLOATS_H
#define KVLAB_FLOATS_H

#include <stdint.h>
#include <string.h>

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

/* Adding 0x7fff and the bit that will be last carries exactly when rounding goes up. NaN would
 * carry into infinity or lose its bits, so it is made quiet and cut. */
static inline uint16_t f32_to_bf16(float x) {
    const uint32_t bits = float_bits(x);
    const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const uint32_t quiet = bits | 0x400000u;
    const uint32_t chosen = (bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded;
    return (uint16_t)(chosen >> 16);
}

/* f16: sign, 5 bits of exponent (bias 15), 10 of fraction. Exponent and fraction moved to their
 * place and multiplied by 2^112 give the value, denormals included; infinity and NaN need their
 * exponent filled up, NaN its quiet bit, as the conversion instructions set it. */
static inline float f16_to_f32(uint16_t x) {
    const uint32_t magnitude = x & 0x7fffu;
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    const uint32_t finite = float_bits(bits_float(magnitude << 13) * 0x1p112f);
    const uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0;
    const uint32_t special = magnitude << 13 | 0x7f800000u | quiet;
    return bits_float(sign | (magnitude >= 0x7c00u ? special : finite));
}

/* From 65520 on the nearest is infinity; below 2^-14 the spacing is 2^-24, so adding 2^-1 in float
 * rounds at that place and leaves the answer in the low bits of the sum. */
static inline uint16_t f32_to_f16(float x) {
    const uint32_t bits = float_bits(x);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        const float shifted = bits_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (float_bits(shifted) - float_bits(0.5f)));
    }
    const uint32_t rebiased = magnitude - (112u << 23);
    return (uint16_t)(sign | (rebiased + 0xfffu + (rebiased >> 13 & 1u)) >> 13);
}

/* e4m3fn: sign, 4 bits of exponent (bias 7), 3 of fraction; no infinity, and of the patterns with a
 * full exponent only the last is NaN. Moved to the place of f16's bits it is 2^8 too small. */
static inline float e4m3_to_f32(uint8_t x) {
    const uint32_t magnitude = x & 0x7fu;
    const uint32_t sign = (uint32_t)(x & 0x80u) << 24;
    const float finite = bits_float(magnitude << 20) * 0x1p120f;
    return bits_float(sign | (magnitude == 0x7fu ? 0x7fc00000u : float_bits(finite)));
}

/* Saturating: what is greater than 448 becomes 448, infinity too. Below 2^-6 the spacing is 2^-9,
 * which is the place that adding 2^14 in float rounds at. */
static inline uint8_t f32_to_e4m3(float x) {
    const uint32_t bits = float_bits(x);
    const uint32_t sign = bits >> 24 & 0x80u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint8_t)(sign | 0x7fu);
    if (magnitude >= 0x43e00000u) return (uint8_t)(sign | 0x7eu);
    if (magnitude < 0x3c800000u) {
        const float shifted = bits_float(magnitude) + 0x1p14f;
        return (uint8_t)(sign | (float_bits(shifted) - float_bits(0x1p14f)));
    }
    const uint32_t rebiased = magnitude - (120u << 23);
    return (uint8_t)(sign | (rebiased + 0x7ffffu + (rebiased >> 20 & 1u)) >> 20);
}

/* e5m2 is the upper byte of f16. */
static inline float e5m2_to_f32(uint8_t x) {
    return f16_to_f32((uint16_t)(x << 8));
}

/* Saturating, but infinity stays. Below 2^-14 the spacing is 2^-16, the place that adding 2^7 in
 * float rounds at. */
static inline uint8_t f32_to_e5m2(float x) {
    const uint32_t bits = float_bits(x);
    const uint32_t sign = bits >> 24 & 0x80u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint8_t)(sign | 0x7fu);
    if (magnitude == 0x7f800000u) return (uint8_t)(sign | 0x7cu);
    if (magnitude >= 0x47600000u) return (uint8_t)(sign | 0x7bu);
    if (magnitude < 0x38800000u) {
        const float shifted = bits_float(magnitude) + 0x1p7f;
        return (uint8_t)(sign | (float_bits(shifted) - float_bits(0x1p7f)));
    }
    const uint32_t rebiased = magnitude - (112u << 23);
    return (uint8_t)(sign | (rebiased + 0xfffffu + (rebiased >> 21 & 1u)) >> 21);
}

/* e8m0: a power of two, 2^(x - 127); 255 is NaN. */
static inline float e8m0_to_f32(uint8_t x) {
    return bits_float(x == 255 ? 0x7fc00000u : x ? (uint32_t)x << 23 : 0x400000u);
}

/* e2m1: sign, two bits of exponent, one of fraction, as twice its value. */
static inline int e2m1_doubled(int code) {
    static const signed char doubled[16] = {
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12
    };
    return doubled[code & 15];
}

#endif
