/* avx512.c -- the AVX-512 tier (F, BW, DQ, VL): sixteen floats a register, masks, 32 registers. The
 * vocabulary of avx512.h, and here that of vector_rows.h. */
#include "avx512.h"

#include <string.h>

static inline vec vec_load_bf16(const void *p) {
    const __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
}

static inline vec vec_even_bf16(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vec vec_odd_bf16(const void *p) {
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
}
static inline vec vec_odd_bf16_lean(const void *p) {
    return vec_odd_bf16(p);
}
static inline void vec_zip(vec *even, vec *odd) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const vec low = _mm512_permutex2var_ps(*even, first, *odd);
    *odd = _mm512_permutex2var_ps(*even, last, *odd);
    *even = low;
}

/* To nearest even, as f32_to_bf16 of internal.h. */
static inline void vec_store_bf16(void *p, vec a) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_add_epi32(bits, up);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    const __m512i high = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(high));
}

static inline vec vec_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline void vec_store_f16(void *p, vec a) {
    _mm256_storeu_si256(p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vec vec_all_f16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)half));
}

static inline void vec_load32_int8(const void *p, vec *a) {
    const __m128i *bytes = p;
    for (size_t i = 0; i < 2; i++)
        a[i] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes + i)));
}

static inline void vec_load32_halves(const void *p, vec *a) {
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(p));
    a[0] = _mm512_cvtepi32_ps(_mm512_and_si512(wide, _mm512_set1_epi32(15)));
    a[1] = _mm512_cvtepi32_ps(_mm512_srli_epi32(wide, 4));
}

static inline vec vec_load_bits(const void *p, unsigned shift, unsigned mask) {
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(p));
    const __m512i down = _mm512_srli_epi32(bytes, shift);
    return _mm512_cvtepi32_ps(_mm512_and_si512(down, _mm512_set1_epi32((int)mask)));
}

static inline vec vec_lookup(unsigned bits, const float *table, vec index) {
    (void)bits;
    return _mm512_permutexvar_ps(_mm512_cvttps_epi32(index), _mm512_loadu_ps(table));
}

static inline void vec_store_int8(void *p, vec a) {
    _mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a)));
}

/* e4m3 as f16 of 2^-8 of their value: the sign goes from bit 7 to bit 15, the rest to the exponent
 * and fraction beside it; only NaN, all ones, carries into bit 14 when 1 is added, which fills
 * f16's exponent up. */
static inline void vec_load32_e4m3(const void *p, vec *a) {
    const __m512i wide = _mm512_slli_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256(p)), 7);
    const __m512i half = _mm512_and_si512(wide, _mm512_set1_epi16((short)0xbfff));
    const __m512i carried = _mm512_add_epi16(half, _mm512_set1_epi16(0x80));
    const __m512i halves =
        _mm512_or_si512(half, _mm512_and_si512(carried, _mm512_set1_epi16(0x4000)));
    a[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    a[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
}

static inline void vec_load32_e5m2(const void *p, vec *a) {
    const __m128i *bytes = p;
    for (size_t i = 0; i < 2; i++) {
        const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes + i));
        a[i] = _mm512_cvtph_ps(_mm256_slli_epi16(wide, 8));
    }
}

static inline void vec_load32_e2m1(const void *p, size_t half, vec *a) {
    const __m128i codes = _mm_loadu_si128(p), last = _mm_set1_epi8(15);
    const __m128i doubled = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    const __m128i low = _mm_shuffle_epi8(doubled, _mm_and_si128(codes, last));
    const __m128i high = _mm_shuffle_epi8(doubled, _mm_and_si128(_mm_srli_epi16(codes, 4), last));
    const __m128i first = half == 16 ? low : _mm_unpacklo_epi64(low, high);
    const __m128i second = half == 16 ? high : _mm_unpackhi_epi64(low, high);
    a[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(first));
    a[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(second));
}

/* As f32_to_e4m3 of floats.h. */
static inline void vec_store_e4m3(void *p, vec a) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
    const __m512 size = _mm512_min_ps(_mm512_set1_ps(448), _mm512_castsi512_ps(magnitude));
    const __m512i capped = _mm512_castps_si512(size);
    const __m512i last = _mm512_and_si512(_mm512_srli_epi32(capped, 20), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(last, _mm512_set1_epi32(0x7ffff - (120 << 23)));
    const __m512i normal = _mm512_srli_epi32(_mm512_add_epi32(capped, up), 20);
    const __m512 magic = _mm512_set1_ps(0x1p14f);
    const __m512i subnormal = _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(size, magic)),
                                               _mm512_castps_si512(magic));
    const __mmask16 small = _mm512_cmp_ps_mask(size, _mm512_set1_ps(0x1p-6f), _CMP_LT_OQ);
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    __m512i code = _mm512_mask_mov_epi32(normal, small, subnormal);
    code = _mm512_mask_mov_epi32(code, nan, _mm512_set1_epi32(0x7f));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 24), _mm512_set1_epi32(0x80));
    _mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_or_si512(code, sign)));
}

static inline vec vec_abs(vec a) {
    return _mm512_abs_ps(a);
}
static inline vec vec_min(vec a, vec b) {
    return _mm512_min_ps(a, b);
}
static inline vec vec_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}
static inline vec vec_trunc(vec a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

enum { TILE_TOKENS = 96 };
#include "tiles.h"

void kernels_fill_avx512(Kernels *kernels) {
    fill(kernels);
}
