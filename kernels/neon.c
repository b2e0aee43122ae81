/* neon.c -- the NEON tier of 64-bit Arm, where it is always there: four floats a register, 32
 * registers. The vocabulary of vector.h and vector_rows.h in NEON. */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vec;

enum { WIDTH = 4, REGISTERS = 32 };

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
enum { TILE_TOKENS = 96 };

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
        block(1, 8);                                                                               \
    } while (0)

static inline vec vec_zero(void) {
    return vdupq_n_f32(0);
}
static inline vec vec_all(float x) {
    return vdupq_n_f32(x);
}
static inline vec vec_add(vec a, vec b) {
    return vaddq_f32(a, b);
}
static inline vec vec_mul(vec a, vec b) {
    return vmulq_f32(a, b);
}
static inline vec vec_div(vec a, vec b) {
    return vdivq_f32(a, b);
}
static inline vec vec_max(vec a, vec b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline vec vec_min(vec a, vec b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline vec vec_abs(vec a) {
    return vabsq_f32(a);
}
static inline vec vec_trunc(vec a) {
    return vrndq_f32(a);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}

/* Bytes have no alignment to ask for. */
static inline vec vec_load(const void *p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
}
static inline void vec_store(float *p, vec a) {
    vst1q_f32(p, a);
}
static inline vec vec_held(vec a) {
    __asm__("" : "+w"(a));
    return a;
}

static inline vec vec_load_part(const void *p, size_t n) {
    float lanes[WIDTH] = { 0 };
    memcpy(lanes, p, n * sizeof *lanes);
    return vld1q_f32(lanes);
}

static inline void vec_store_part(float *p, size_t n, vec a) {
    float lanes[WIDTH];
    vst1q_f32(lanes, a);
    memcpy(p, lanes, n * sizeof *lanes);
}

static inline void vec_sum4(vec a, vec b, vec c, vec d, float *out) {
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}
static inline float vec_sum(vec a) {
    return vaddvq_f32(a);
}
static inline float vec_greatest(vec a) {
    return vmaxnmvq_f32(a);
}

/* ---- 16 bits ---- */

static inline uint16x4_t load_halves(const void *p) {
    return vreinterpret_u16_u8(vld1_u8(p));
}
static inline void store_halves(void *p, uint16x4_t a) {
    vst1_u8(p, vreinterpret_u8_u16(a));
}

static inline vec vec_load_bf16(const void *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(load_halves(p), 16));
}

static inline uint32x4_t bf16_pairs(const void *p) {
    return vreinterpretq_u32_u8(vld1q_u8(p));
}
static inline vec vec_even_bf16(const void *p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(bf16_pairs(p), 16));
}
static inline vec vec_odd_bf16(const void *p) {
    return vreinterpretq_f32_u32(vandq_u32(bf16_pairs(p), vdupq_n_u32(0xffff0000u)));
}
static inline vec vec_odd_bf16_lean(const void *p) {
    return vec_odd_bf16(p);
}
static inline void vec_zip(vec *even, vec *odd) {
    const vec low = vzip1q_f32(*even, *odd);
    *odd = vzip2q_f32(*even, *odd);
    *even = low;
}

/* To nearest even, as f32_to_bf16 of floats.h. */
static inline void vec_store_bf16(void *p, vec a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a);
    const uint32x4_t last = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(last, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    store_halves(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16));
}

static inline vec vec_load_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(p)));
}

static inline void vec_store_f16(void *p, vec a) {
    store_halves(p, vreinterpret_u16_f16(vcvt_f16_f32(a)));
}

static inline vec vec_all_f16(const void *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
}

/* ---- 8 and 4 bits ---- */

/* Sixteen whole numbers. */
static inline void bytes_to_floats(int8x16_t bytes, vec *a) {
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
    a[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    a[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    a[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    a[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

static inline void vec_load32_int8(const void *p, vec *a) {
    const uint8_t *bytes = p;
    bytes_to_floats(vreinterpretq_s8_u8(vld1q_u8(bytes)), a);
    bytes_to_floats(vreinterpretq_s8_u8(vld1q_u8(bytes + 16)), a + 4);
}

static inline void vec_load32_halves(const void *p, vec *a) {
    const uint8x16_t bytes = vld1q_u8(p);
    bytes_to_floats(vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))), a);
    bytes_to_floats(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)), a + 4);
}

static inline void vec_load32_e2m1(const void *p, size_t half, vec *a) {
    static const int8_t doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    const int8x16_t table = vld1q_s8(doubled);
    const uint8x16_t bytes = vld1q_u8(p);
    const int8x16_t low = vqtbl1q_s8(table, vandq_u8(bytes, vdupq_n_u8(15)));
    const int8x16_t high = vqtbl1q_s8(table, vshrq_n_u8(bytes, 4));
    const int8x16_t first = vcombine_s8(vget_low_s8(low), vget_low_s8(high));
    const int8x16_t second = vcombine_s8(vget_high_s8(low), vget_high_s8(high));
    bytes_to_floats(half == 16 ? low : first, a);
    bytes_to_floats(half == 16 ? high : second, a + 4);
}

static inline void halves_to_floats(uint16x8_t halves, vec *a) {
    const float16x8_t f16 = vreinterpretq_f16_u16(halves);
    a[0] = vcvt_f32_f16(vget_low_f16(f16));
    a[1] = vcvt_high_f32_f16(f16);
}

/* Eight e4m3 as f16 of 2^-8 of their value: the sign goes from bit 7 to bit 15, the rest to the
 * exponent and fraction beside it; only NaN, all ones, carries into bit 14 when 1 is added, which
 * fills f16's exponent up. */
static inline uint16x8_t e4m3_to_f16(uint8x8_t bytes) {
    const int16x8_t wide = vshll_n_s8(vreinterpret_s8_u8(bytes), 7);
    const uint16x8_t half = vbicq_u16(vreinterpretq_u16_s16(wide), vdupq_n_u16(0x4000));
    const uint16x8_t carried = vaddq_u16(half, vdupq_n_u16(0x80));
    return vorrq_u16(half, vandq_u16(carried, vdupq_n_u16(0x4000)));
}

static inline void vec_load32_e4m3(const void *p, vec *a) {
    const uint8_t *bytes = p;
    for (size_t i = 0; i < 4; i++) halves_to_floats(e4m3_to_f16(vld1_u8(bytes + 8 * i)), a + 2 * i);
}

static inline void vec_load32_e5m2(const void *p, vec *a) {
    const uint8_t *bytes = p;
    for (size_t i = 0; i < 4; i++)
        halves_to_floats(vshll_n_u8(vld1_u8(bytes + 8 * i), 8), a + 2 * i);
}

/* The low bytes of four whole numbers. */
static inline void store_low_bytes(void *p, uint32x4_t a) {
    const uint16x4_t words = vmovn_u32(a);
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    memcpy(p, &four, sizeof four);
}

static inline vec vec_load_bits(const void *p, unsigned shift, unsigned mask) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const uint16x8_t halves = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    const uint32x4_t down = vshlq_u32(vmovl_u16(vget_low_u16(halves)), vdupq_n_s32(-(int)shift));
    return vcvtq_f32_u32(vandq_u32(down, vdupq_n_u32(mask)));
}

/* The table as 64 bytes, of which each lane picks four neighbours. */
static inline vec vec_lookup(unsigned bits, const float *table, vec index) {
    (void)bits;
    const uint8x16x4_t bytes = vld1q_u8_x4((const uint8_t *)table);
    const uint32x4_t first = vdupq_n_u32(0x03020100);
    const uint32x4_t picked = vmlaq_n_u32(first, vcvtq_u32_f32(index), 0x04040404);
    return vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u32(picked)));
}

static inline void vec_store_int8(void *p, vec a) {
    store_low_bytes(p, vreinterpretq_u32_s32(vcvtq_s32_f32(a)));
}

/* As f32_to_e4m3 of floats.h. */
static inline void vec_store_e4m3(void *p, vec a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a);
    const vec size = vec_min(vdupq_n_f32(448), vabsq_f32(a));
    const uint32x4_t capped = vreinterpretq_u32_f32(size);
    const uint32x4_t last = vandq_u32(vshrq_n_u32(capped, 20), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(last, vdupq_n_u32(0x7ffffu - (120u << 23)));
    const uint32x4_t normal = vshrq_n_u32(vaddq_u32(capped, up), 20);
    const vec magic = vdupq_n_f32(0x1p14f);
    const uint32x4_t subnormal =
        vsubq_u32(vreinterpretq_u32_f32(vaddq_f32(size, magic)), vreinterpretq_u32_f32(magic));
    uint32x4_t code = vbslq_u32(vcltq_f32(size, vdupq_n_f32(0x1p-6f)), subnormal, normal);
    code = vbslq_u32(vceqq_f32(a, a), code, vdupq_n_u32(0x7f));
    const uint32x4_t sign = vandq_u32(vshrq_n_u32(bits, 24), vdupq_n_u32(0x80));
    store_low_bytes(p, vorrq_u32(code, sign));
}

/* ---- softmax ---- */

static inline vec vec_power(vec a) {
    const uint32x4_t biased = vaddq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(127));
    return vreinterpretq_f32_u32(vshlq_n_u32(biased, 23));
}

static inline vec vec_unless_below(vec x, vec limit, vec y) {
    return vbslq_f32(vcltq_f32(x, limit), vdupq_n_f32(0), y);
}

static inline vec vec_where_less(vec a, vec b, vec x, vec y) {
    return vbslq_f32(vcltq_f32(a, b), x, y);
}

#include "tiles.h"

void kernels_fill_neon(Kernels *kernels) {
    fill(kernels);
}
