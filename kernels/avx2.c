/* avx2.c -- the AVX2 tier: eight floats a register, FMA, F16C. The vocabulary of tiles.h in AVX2.
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef __m256 vec;

enum { WIDTH = 8, REGISTERS = 16 };

/* Register blocks, rows x columns, of 16 registers: twelve accumulators where there are rows
 * enough, two to three loaded vectors, one broadcast. */
#define BLOCKS(block)                                                                              \
    do {                                                                                           \
        block(6, 2);                                                                               \
        block(4, 3);                                                                               \
        block(2, 6);                                                                               \
        block(1, 4);                                                                               \
    } while (0)

/* Panels of query rows, vectors x tokens, widest first; a tile of both caches (tile.h). */
#define PANELS(panel)                                                                              \
    do {                                                                                           \
        panel(2, 6);                                                                               \
        panel(1, 12);                                                                              \
    } while (0)
enum { TILE_TOKENS = 96 };

/* Blocks of tile_few.h: rows x tokens, and rows x steps of two registers. */
#define FEW_SCORES(block)                                                                          \
    do {                                                                                           \
        block(4, 3);                                                                               \
        block(2, 4);                                                                               \
        block(1, 8);                                                                               \
    } while (0)
#define FEW_VALUES(block)                                                                          \
    do {                                                                                           \
        block(4, 1);                                                                               \
        block(2, 2);                                                                               \
        block(1, 4);                                                                               \
    } while (0)

static inline vec vec_zero(void) {
    return _mm256_setzero_ps();
}
static inline vec vec_all(float x) {
    return _mm256_set1_ps(x);
}
static inline vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
static inline vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
static inline vec vec_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec vec_load(const void *p) {
    return _mm256_loadu_ps(p);
}
static inline void vec_store(float *p, vec a) {
    _mm256_storeu_ps(p, a);
}
static inline vec vec_held(vec a) {
    __asm__("" : "+x"(a));
    return a;
}

/* All ones in the first n lanes: a window into a row of ones followed by zeros. */
static inline __m256i first_lanes(size_t n) {
    static const int32_t window[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const void *)(window + 8 - n));
}

static inline vec vec_load_part(const void *p, size_t n) {
    return _mm256_maskload_ps(p, first_lanes(n));
}

static inline void vec_store_part(float *p, size_t n, vec a) {
    _mm256_maskstore_ps(p, first_lanes(n), a);
}

static inline void vec_sum4(vec a, vec b, vec c, vec d, float *out) {
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
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
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline vec vec_load_bf16(const void *p) {
    const __m256i halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(halves, 16));
}

static inline vec vec_even_bf16(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p), 16));
}
static inline vec vec_odd_bf16(const void *p) {
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p), high));
}
static inline vec vec_odd_bf16_lean(const void *p) {
    static const uint32_t high[8]
        __attribute__((aligned(32))) = { 0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
                                         0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000 };
    vec a = _mm256_loadu_ps(p);
    __asm__("vandps %1, %0, %0" : "+x"(a) : "m"(*(const __m256 *)(const void *)high));
    return a;
}
static inline void vec_zip(vec *even, vec *odd) {
    const vec low = _mm256_unpacklo_ps(*even, *odd), high = _mm256_unpackhi_ps(*even, *odd);
    *even = _mm256_permute2f128_ps(low, high, 0x20);
    *odd = _mm256_permute2f128_ps(low, high, 0x31);
}

/* To nearest even, as f32_to_bf16 of internal.h. */
static inline void vec_store_bf16(void *p, vec a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_add_epi32(bits, up);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    _mm_storeu_si128(
        p, _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
}

static inline vec vec_load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

static inline void vec_store_f16(void *p, vec a) {
    _mm_storeu_si128(p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vec vec_all_f16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)half));
}

static inline void vec_load32_int8(const void *p, vec *a) {
    const char *bytes = p;
    for (size_t i = 0; i < 4; i++)
        a[i] = _mm256_cvtepi32_ps(
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(bytes + 8 * i))));
}

static inline void vec_load32_halves(const void *p, vec *a) {
    const char *bytes = p;
    for (size_t i = 0; i < 2; i++) {
        const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(bytes + 8 * i)));
        a[i] = _mm256_cvtepi32_ps(_mm256_and_si256(wide, _mm256_set1_epi32(15)));
        a[2 + i] = _mm256_cvtepi32_ps(_mm256_srli_epi32(wide, 4));
    }
}

static inline vec vec_load_bits(const void *p, unsigned shift, unsigned mask) {
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
    const __m256i down = _mm256_srli_epi32(bytes, (int)shift);
    return _mm256_cvtepi32_ps(_mm256_and_si256(down, _mm256_set1_epi32((int)mask)));
}

/* Bit 3 of the index chooses between the halves of the table. */
static inline vec vec_lookup(unsigned bits, const float *table, vec index) {
    const __m256i i = _mm256_cvttps_epi32(index);
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i);
    if (bits <= 3) return low;
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}

/* The low bytes of eight whole numbers. */
static inline void store_low_bytes(void *p, __m256i a) {
    const __m256i last = _mm256_set1_epi32(0xff);
    const __m256i bytes = _mm256_and_si256(a, last);
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    _mm_storel_epi64(p, _mm_packus_epi16(words, words));
}

static inline void vec_store_int8(void *p, vec a) {
    store_low_bytes(p, _mm256_cvttps_epi32(a));
}

/* Sixteen e4m3 as f16 of 2^-8 of their value: the sign goes from bit 7 to bit 15, the rest to the
 * exponent and fraction beside it; only NaN, all ones, carries into bit 14 when 1 is added, which
 * fills f16's exponent up. */
static inline __m256i e4m3_to_f16(__m128i a) {
    const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(a), 7);
    const __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16((short)0xbfff));
    const __m256i carried = _mm256_add_epi16(half, _mm256_set1_epi16(0x80));
    return _mm256_or_si256(half, _mm256_and_si256(carried, _mm256_set1_epi16(0x4000)));
}

static inline void vec_load32_e4m3(const void *p, vec *a) {
    const __m128i *bytes = p;
    for (size_t i = 0; i < 2; i++) {
        const __m256i halves = e4m3_to_f16(_mm_loadu_si128(bytes + i));
        a[2 * i] = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
        a[2 * i + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
    }
}

static inline void vec_load32_e5m2(const void *p, vec *a) {
    const char *bytes = p;
    for (size_t i = 0; i < 4; i++) {
        const __m128i halves =
            _mm_unpacklo_epi8(_mm_setzero_si128(), _mm_loadl_epi64((const void *)(bytes + 8 * i)));
        a[i] = _mm256_cvtph_ps(halves);
    }
}

/* Sixteen bytes of a table of whole numbers. */
static inline void bytes_to_floats(__m128i bytes, vec *a) {
    a[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    a[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
}

static inline void vec_load32_e2m1(const void *p, size_t half, vec *a) {
    const __m128i codes = _mm_loadu_si128(p), last = _mm_set1_epi8(15);
    const __m128i doubled = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    const __m128i low = _mm_shuffle_epi8(doubled, _mm_and_si128(codes, last));
    const __m128i high = _mm_shuffle_epi8(doubled, _mm_and_si128(_mm_srli_epi16(codes, 4), last));
    bytes_to_floats(half == 16 ? low : _mm_unpacklo_epi64(low, high), a);
    bytes_to_floats(half == 16 ? high : _mm_unpackhi_epi64(low, high), a + 2);
}

/* As f32_to_e4m3 of floats.h. */
static inline void vec_store_e4m3(void *p, vec a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
    const __m256 size = _mm256_min_ps(_mm256_set1_ps(448), _mm256_castsi256_ps(magnitude));
    const __m256i capped = _mm256_castps_si256(size);
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(capped, 20), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(last, _mm256_set1_epi32(0x7ffff - (120 << 23)));
    const __m256i normal = _mm256_srli_epi32(_mm256_add_epi32(capped, up), 20);
    const __m256 magic = _mm256_set1_ps(0x1p14f);
    const __m256i subnormal = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(size, magic)),
                                               _mm256_castps_si256(magic));
    const __m256 small = _mm256_cmp_ps(size, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    __m256i code = _mm256_blendv_epi8(normal, subnormal, _mm256_castps_si256(small));
    code = _mm256_blendv_epi8(code, _mm256_set1_epi32(0x7f), nan);
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 24), _mm256_set1_epi32(0x80));
    store_low_bytes(p, _mm256_or_si256(code, sign));
}

static inline vec vec_abs(vec a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vec vec_min(vec a, vec b) {
    return _mm256_min_ps(a, b);
}
static inline vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}
static inline vec vec_trunc(vec a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}

static inline vec vec_power(vec a) {
    const __m256i biased = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

static inline vec vec_unless_below(vec x, vec limit, vec y) {
    return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_NLT_UQ), y);
}

static inline vec vec_where_less(vec a, vec b, vec x, vec y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

#include "tiles.h"

void kernels_fill_avx2(Kernels *kernels) {
    fill(kernels);
}
