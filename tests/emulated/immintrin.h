/* immintrin.h -- AVX-512 for machines without it: SIMDe under the names of the instructions, and
 * those it has not, written out lane by lane.
 *
 * Found before the compiler's own header when kernels/avx512.c is built for the tests, which then
 * run that file wherever they run. */
#ifndef KVLAB_EMULATED_IMMINTRIN_H
#define KVLAB_EMULATED_IMMINTRIN_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "floats.h"

typedef simde__mmask16 __mmask16;

enum { EMULATED_LANES = 16 };

/* Touches the lanes of the mask alone, as the instructions do. */
static inline __m512 emulated_masked_load(__mmask16 mask, const void *p) {
    float lanes[EMULATED_LANES] = { 0 };
    for (size_t i = 0; i < EMULATED_LANES; i++)
        if (mask >> i & 1) memcpy(lanes + i, (const char *)p + 4 * i, 4);
    return _mm512_loadu_ps(lanes);
}

static inline void emulated_masked_store(void *p, __mmask16 mask, __m512 a) {
    float lanes[EMULATED_LANES];
    _mm512_storeu_ps(lanes, a);
    for (size_t i = 0; i < EMULATED_LANES; i++)
        if (mask >> i & 1) memcpy((char *)p + 4 * i, lanes + i, 4);
}

static inline __m256 emulated_half(__m512 a, int half) {
    float lanes[EMULATED_LANES];
    _mm512_storeu_ps(lanes, a);
    return _mm256_loadu_ps(lanes + 8 * half);
}

static inline __m512i emulated_widen(__m256i a) {
    uint16_t narrow[EMULATED_LANES];
    uint32_t wide[EMULATED_LANES];
    memcpy(narrow, &a, sizeof narrow);
    for (size_t i = 0; i < EMULATED_LANES; i++) wide[i] = narrow[i];
    return _mm512_loadu_si512(wide);
}

static inline __m256i emulated_narrow(__m512i a) {
    uint32_t wide[EMULATED_LANES];
    uint16_t narrow[EMULATED_LANES];
    memcpy(wide, &a, sizeof wide);
    for (size_t i = 0; i < EMULATED_LANES; i++) narrow[i] = (uint16_t)wide[i];
    __m256i out;
    memcpy(&out, narrow, sizeof out);
    return out;
}

static inline __m512i emulated_from_bytes(__m128i a, int is_signed) {
    int8_t narrow[EMULATED_LANES];
    int32_t wide[EMULATED_LANES];
    memcpy(narrow, &a, sizeof narrow);
    for (size_t i = 0; i < EMULATED_LANES; i++)
        wide[i] = is_signed ? narrow[i] : (int32_t)(uint8_t)narrow[i];
    return _mm512_loadu_si512(wide);
}

static inline __m128i emulated_to_bytes(__m512i a) {
    uint32_t wide[EMULATED_LANES];
    uint8_t narrow[EMULATED_LANES];
    memcpy(wide, &a, sizeof wide);
    for (size_t i = 0; i < EMULATED_LANES; i++) narrow[i] = (uint8_t)wide[i];
    __m128i out;
    memcpy(&out, narrow, sizeof out);
    return out;
}

static inline __m512 emulated_to_floats(__m512i a) {
    int32_t whole[EMULATED_LANES];
    float lanes[EMULATED_LANES];
    memcpy(whole, &a, sizeof whole);
    for (size_t i = 0; i < EMULATED_LANES; i++) lanes[i] = (float)whole[i];
    return _mm512_loadu_ps(lanes);
}

/* SIMDe rounds otherwise than it is told. */
static inline __m512 emulated_roundscale(__m512 a, int rounding) {
    float lanes[EMULATED_LANES];
    _mm512_storeu_ps(lanes, a);
    for (size_t i = 0; i < EMULATED_LANES; i++)
        lanes[i] = rounding & 3 ? truncf(lanes[i]) : rintf(lanes[i]);
    return _mm512_loadu_ps(lanes);
}

static inline __m512i emulated_truncated(__m512 a) {
    float lanes[EMULATED_LANES];
    int32_t whole[EMULATED_LANES];
    _mm512_storeu_ps(lanes, a);
    for (size_t i = 0; i < EMULATED_LANES; i++) whole[i] = (int32_t)lanes[i];
    return _mm512_loadu_si512(whole);
}

/* The conversions of f16 are those of floats.h. */
static inline __m512 emulated_from_f16(__m256i a) {
    float lanes[EMULATED_LANES];
    uint16_t halves[EMULATED_LANES];
    memcpy(halves, &a, sizeof halves);
    for (size_t i = 0; i < EMULATED_LANES; i++) lanes[i] = f16_to_f32(halves[i]);
    return _mm512_loadu_ps(lanes);
}

static inline __m256i emulated_to_f16(__m512 a) {
    float lanes[EMULATED_LANES];
    uint16_t halves[EMULATED_LANES];
    __m256i out;
    _mm512_storeu_ps(lanes, a);
    for (size_t i = 0; i < EMULATED_LANES; i++) halves[i] = f32_to_f16(lanes[i]);
    memcpy(&out, halves, sizeof out);
    return out;
}

/* To nearest even, as the instructions do it. */
static inline __m512i emulated_whole(__m512 a) {
    float lanes[EMULATED_LANES];
    int32_t whole[EMULATED_LANES];
    _mm512_storeu_ps(lanes, a);
    for (size_t i = 0; i < EMULATED_LANES; i++) whole[i] = (int32_t)rintf(lanes[i]);
    return _mm512_loadu_si512(whole);
}

/* Registers of bf16, where SIMDe has a structure. */
typedef __m512i emulated_m512bh;

static inline emulated_m512bh emulated_to_bf16(__m512 high, __m512 low) {
    float lanes[2 * EMULATED_LANES];
    uint16_t halves[2 * EMULATED_LANES];
    _mm512_storeu_ps(lanes, low);
    _mm512_storeu_ps(lanes + EMULATED_LANES, high);
    for (size_t i = 0; i < 2 * EMULATED_LANES; i++) halves[i] = f32_to_bf16(lanes[i]);
    return _mm512_loadu_si512(halves);
}

static inline __m512 emulated_dpbf16(__m512 sum, emulated_m512bh a, emulated_m512bh b) {
    float lanes[EMULATED_LANES];
    uint16_t x[2 * EMULATED_LANES], y[2 * EMULATED_LANES];
    _mm512_storeu_ps(lanes, sum);
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (size_t i = 0; i < 2 * EMULATED_LANES; i++)
        lanes[i / 2] = fmaf(bf16_to_f32(x[i]), bf16_to_f32(y[i]), lanes[i / 2]);
    return _mm512_loadu_ps(lanes);
}

static inline __m512i emulated_dpbusd(__m512i sum, __m512i a, __m512i b) {
    int32_t lanes[EMULATED_LANES];
    uint8_t x[4 * EMULATED_LANES];
    int8_t y[4 * EMULATED_LANES];
    memcpy(lanes, &sum, sizeof lanes);
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (size_t i = 0; i < 4 * EMULATED_LANES; i++) lanes[i / 4] += x[i] * y[i];
    return _mm512_loadu_si512(lanes);
}

#define __m512bh emulated_m512bh
#undef _mm512_dpbusd_epi32
#undef _mm512_dpbf16_ps
#define _mm512_dpbusd_epi32(sum, a, b)    emulated_dpbusd(sum, a, b)
#define _mm512_dpbf16_ps(sum, a, b)       emulated_dpbf16(sum, a, b)
#define _mm512_cvtne2ps_pbh(high, low)    emulated_to_bf16(high, low)
#define _mm512_cvtps_epi32(a)             emulated_whole(a)
#define _mm512_maskz_loadu_ps(mask, p)    emulated_masked_load(mask, p)
#define _mm512_mask_storeu_ps(p, mask, a) emulated_masked_store(p, mask, a)
#define _mm512_extractf32x8_ps(a, half)   emulated_half(a, half)
#define _mm512_cvtepu16_epi32(a)          emulated_widen(a)
#define _mm512_cvtepi32_epi16(a)          emulated_narrow(a)
#define _mm512_cvtph_ps(a)                emulated_from_f16(a)
#define _mm512_cvtepi8_epi32(a)           emulated_from_bytes(a, 1)
#define _mm512_cvtepu8_epi32(a)           emulated_from_bytes(a, 0)
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, rounding) emulated_roundscale(a, rounding)
#define _mm512_cvtepi32_epi8(a)           emulated_to_bytes(a)
#define _mm512_cvtepi32_ps(a)             emulated_to_floats(a)
#define _mm512_cvttps_epi32(a)            emulated_truncated(a)
#define _mm512_cvtps_ph(a, rounding)      emulated_to_f16(a)

#ifndef _MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_TO_NEAREST_INT 0
#endif
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC 8
#endif

#endif
