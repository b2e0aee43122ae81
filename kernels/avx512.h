/* avx512.h -- the vocabulary of vector.h in AVX-512: F, BW, DQ and VL. For the files of these tiers
 * alone. */
#ifndef KVLAB_AVX512_H
#define KVLAB_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 vec;

enum { WIDTH = 16, REGISTERS = 32 };

/* Register blocks, rows x columns, of 32 registers: up to 24 accumulators, the loaded vectors of a
 * column each, one of a row. */
#define BLOCKS(block)                                                                              \
    do {                                                                                           \
        block(6, 4);                                                                               \
        block(4, 6);                                                                               \
        block(2, 8);                                                                               \
        block(1, 8);                                                                               \
    } while (0)

/* Panels of query rows, vectors x tokens, widest first; a tile of both caches (tile.h). */
#define PANELS(panel)                                                                              \
    do {                                                                                           \
        panel(4, 6);                                                                               \
        panel(2, 12);                                                                              \
        panel(1, 12);                                                                              \
    } while (0)

/* Blocks of tile_few.h: rows x tokens, and rows x steps of two registers. */
#define FEW_SCORES(block)                                                                          \
    do {                                                                                           \
        block(4, 6);                                                                               \
        block(2, 8);                                                                               \
        block(1, 8);                                                                               \
    } while (0)
#define FEW_VALUES(block)                                                                          \
    do {                                                                                           \
        block(4, 2);                                                                               \
        block(2, 4);                                                                               \
        block(1, 4);                                                                               \
    } while (0)

static inline vec vec_zero(void) {
    return _mm512_setzero_ps();
}
static inline vec vec_all(float x) {
    return _mm512_set1_ps(x);
}
static inline vec vec_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
static inline vec vec_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
static inline vec vec_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec vec_load(const void *p) {
    return _mm512_loadu_ps(p);
}
static inline void vec_store(float *p, vec a) {
    _mm512_storeu_ps(p, a);
}
static inline vec vec_held(vec a) { /* two loads a cycle are enough for one multiply-add */
    return a;
}

static inline __mmask16 first_lanes(size_t n) {
    return (__mmask16)((1u << n) - 1u);
}

static inline vec vec_load_part(const void *p, size_t n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}

static inline void vec_store_part(float *p, size_t n, vec a) {
    _mm512_mask_storeu_ps(p, first_lanes(n), a);
}

/* The two halves of a register. */
static inline __m256 low_half(vec a) {
    return _mm512_castps512_ps256(a);
}
static inline __m256 high_half(vec a) {
    return _mm512_extractf32x8_ps(a, 1);
}
static inline __m256 folded(vec a) {
    return _mm256_add_ps(low_half(a), high_half(a));
}

static inline void vec_sum4(vec a, vec b, vec c, vec d, float *out) {
    const __m256 a8 = folded(a), b8 = folded(b), c8 = folded(c), d8 = folded(d);
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a8, b8), _mm256_unpackhi_ps(a8, b8));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c8, d8), _mm256_unpackhi_ps(c8, d8));
    const __m256 low = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0));
    const __m256 high = _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2));
    const __m256 sum = _mm256_add_ps(low, high);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1)));
}

static inline float vec_sum(vec a) {
    float out[4];
    vec_sum4(a, a, a, a, out);
    return out[0];
}

static inline float vec_greatest(vec a) {
    const __m256 eight = _mm256_max_ps(low_half(a), high_half(a));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline vec vec_power(vec a) {
    const __m512i biased = _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

static inline vec vec_unless_below(vec x, vec limit, vec y) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), y);
}

static inline vec vec_where_less(vec a, vec b, vec x, vec y) {
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
}

/* e^x for weights that are rounded to 8 bits or fewer: within 5e-5, and 0 below ln(FLT_MIN). */
static inline vec vec_exp_coarse(vec x) {
    const vec limit = _mm512_set1_ps(-87.336544f), log2e = _mm512_set1_ps(1.44269504f);
    const vec power = _mm512_mul_ps(_mm512_max_ps(limit, x), log2e);
    const vec k = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vec r = _mm512_sub_ps(power, k);
    vec y = _mm512_set1_ps(0.0096181291f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.0555041087f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.2402265070f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.6931471806f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1));
    return vec_unless_below(x, limit, _mm512_scalef_ps(y, k));
}

#endif
