/* rows.h -- inside kernels/ only: where the values of a stored row lie (drawn in codec.h), and the
 * value at one place, by its definition. */
#ifndef KVLAB_ROWS_H
#define KVLAB_ROWS_H

#include <math.h>

#include "codec.h"
#include "floats.h"

enum {
    GROUP = 32,      /* values of int4, q8_0 and q4_0 that share a scale */
    INT4_BYTES = 20, /* of a group */
    Q8_0_BYTES = 34,
    Q4_0_BYTES = 18,
    MXFP4_BYTES = 17,
    NVFP4_GROUP = 64, /* of 4 scales */
    NVFP4_BYTES = 36,
    NVFP4_SCALED = 16,  /* values of a scale */
    DS_TILE = 128,      /* values of fp8_ds_mla that share a scale */
    ROW_SCALE_BYTES = 4 /* before the values of int8 and fp8 */
};

/* typed(name, type) for every type. */
#define ROW_TYPES(typed)                                                                           \
    typed(f32, ROW_F32) typed(bf16, ROW_BF16) typed(f16, ROW_F16) typed(fp8, ROW_FP8)              \
        typed(int8, ROW_INT8) typed(int4, ROW_INT4) typed(q8_0, ROW_Q8_0) typed(q4_0, ROW_Q4_0)    \
            typed(fp8_ds_mla, ROW_FP8_DS_MLA) typed(fp8_e5m2, ROW_FP8_E5M2)                        \
                typed(mxfp4, ROW_MXFP4) typed(nvfp4, ROW_NVFP4)

static inline float load_f32(const unsigned char *p) {
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void store_f32(unsigned char *p, float x) {
    memcpy(p, &x, sizeof x);
}

static inline uint16_t load_u16(const unsigned char *p) {
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void store_u16(unsigned char *p, uint16_t x) {
    memcpy(p, &x, sizeof x);
}

/* ---- scales ---- */

/* Bits of an f16 scale; NaN where it is too large for one. */
static inline uint16_t f16_scale(float scale) {
    const uint16_t bits = f32_to_f16(scale);
    return (bits & 0x7c00) == 0x7c00 ? 0x7e00 : bits;
}

/* Of a tile of fp8_ds_mla: the least power of two that is not less than greatest/448 and 1e-4. What
 * is behind the first bit of a float's fraction carries into its exponent, and is cut. */
static inline float ds_scale(float greatest) {
    const float least = greatest / 448 < 1e-4f ? 1e-4f : greatest / 448;
    return isnan(greatest) ? greatest : bits_float((float_bits(least) + 0x7fffffu) & 0x7f800000u);
}

/* Step and least value of a group of int4, as floats and as they are stored. */
typedef struct {
    float step, least;
    uint16_t step_bits, least_bits;
} IntScale;

/* From least and greatest of its values, for codes up to `most`; NaN for one that is not finite.
 * Adding 0 makes one of both zeros. */
static inline IntScale int_scale(bool finite, float min, float max, float most) {
    IntScale s = { .least_bits = f32_to_f16(min + 0.0f) };
    s.least = f16_to_f32(s.least_bits);
    finite = finite && !isinf(s.least);
    if (!finite) s.least_bits = 0;
    s.step_bits = f16_scale(finite ? (max - min) / most : NAN);
    s.step = f16_to_f32(s.step_bits);
    return s;
}

/* ---- places ---- */

/* The scale of the tile of fp8_ds_mla that value i lies in. */
static inline size_t ds_scale_at(const RowFormat *format, size_t i) {
    return format->coded + i / DS_TILE * sizeof(float);
}

/* Value i of those in bf16 behind the coded ones. */
static inline size_t rope_value_at(const RowFormat *format, size_t i) {
    return format->rope_at + 2 * (i - format->coded);
}

/* Where the values of an fp8 row begin: a latent has no scale before them. */
static inline size_t fp8_begin(const RowFormat *format) {
    return format->latent ? 0 : ROW_SCALE_BYTES;
}

/* Value i of the 2n that n bytes hold in their halves. */
static inline int half_byte(const unsigned char *bytes, size_t n, size_t i) {
    return i < n ? bytes[i] & 15 : bytes[i - n] >> 4;
}

/* Of nvfp4: the scale of value i, and the 8 bytes that it lies in with those of the same scale. */
static inline size_t nvfp4_scale_at(size_t i) {
    return i / NVFP4_GROUP * NVFP4_BYTES + i % NVFP4_GROUP / NVFP4_SCALED;
}
static inline size_t nvfp4_codes_at(size_t i) {
    const size_t scales = NVFP4_GROUP / NVFP4_SCALED, scaled = i % NVFP4_GROUP / NVFP4_SCALED;
    return i / NVFP4_GROUP * NVFP4_BYTES + scales + scaled * (NVFP4_SCALED / 2);
}

/* Value i of a row. `type` is format->type, apart so that loops may have it constant. */
static inline float row_value(RowType type, const RowFormat *format, const unsigned char *row,
                              size_t i) {
    const size_t group = i / GROUP, in_group = i % GROUP;
    const unsigned char *p;
    if (type > ROW_F16 && i >= format->coded)
        return bf16_to_f32(load_u16(row + rope_value_at(format, i)));
    switch (type) {
    case ROW_BF16:
        return bf16_to_f32(load_u16(row + 2 * i));
    case ROW_F16:
        return f16_to_f32(load_u16(row + 2 * i));
    case ROW_FP8:
        return (format->latent ? 1 : load_f32(row)) * e4m3_to_f32(row[fp8_begin(format) + i]);
    case ROW_INT8:
        return load_f32(row) * (float)(int8_t)row[ROW_SCALE_BYTES + i];
    case ROW_INT4:
        p = row + group * INT4_BYTES;
        return f16_to_f32(load_u16(p)) * (float)half_byte(p + 4, GROUP / 2, in_group) +
               f16_to_f32(load_u16(p + 2));
    case ROW_Q8_0:
        p = row + group * Q8_0_BYTES;
        return f16_to_f32(load_u16(p)) * (float)(int8_t)p[2 + in_group];
    case ROW_Q4_0:
        p = row + group * Q4_0_BYTES;
        return f16_to_f32(load_u16(p)) * (float)(half_byte(p + 2, GROUP / 2, in_group) - 8);
    case ROW_FP8_DS_MLA:
        return load_f32(row + ds_scale_at(format, i)) * e4m3_to_f32(row[i]);
    case ROW_FP8_E5M2:
        return e5m2_to_f32(row[i]);
    case ROW_MXFP4:
        p = row + group * MXFP4_BYTES;
        return e8m0_to_f32(*p) / 2 * (float)e2m1_doubled(half_byte(p + 1, GROUP / 2, in_group));
    case ROW_NVFP4:
        return e4m3_to_f32(row[nvfp4_scale_at(i)]) / 2 *
               (float)e2m1_doubled(
                   half_byte(row + nvfp4_codes_at(i), NVFP4_SCALED / 2, i % NVFP4_SCALED));
    default:
        return load_f32(row + 4 * i);
    }
}

#endif
