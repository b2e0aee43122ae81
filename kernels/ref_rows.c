/* ref_rows.c -- the reference tier, continued: how rows are encoded, in plain scalar C, a type
 * after the other. What codec.h says is here as code; the other tiers give the same bytes. */
#include <math.h>

#include "internal.h"
#include "rows.h"

/* The greatest magnitude; NaN where a value is not finite. */
static float magnitude_of(size_t n, const float *in) {
    float greatest = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(in[i])) return NAN;
        greatest = fmaxf(greatest, fabsf(in[i]));
    }
    return greatest;
}

static void encode_f32(const RowFormat *format, const float *in, void *row) {
    if (format->n) memcpy(row, in, format->n * sizeof *in);
}

static void encode_bf16(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->n; i++) store_u16(bytes + 2 * i, f32_to_bf16(in[i]));
}

static void encode_f16(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->n; i++) store_u16(bytes + 2 * i, f32_to_f16(in[i]));
}

/* Values behind the coded ones. */
static void encode_rope(const RowFormat *format, const float *in, unsigned char *row) {
    for (size_t i = format->coded; i < format->n; i++)
        store_u16(row + rope_value_at(format, i), f32_to_bf16(in[i]));
}

/* ---- fp8 ---- */

/* 0 where the scale is 0, or NaN, which makes NaN of everything. */
static void fp8_values(size_t n, float scale, const float *in, unsigned char *out) {
    for (size_t i = 0; i < n; i++) out[i] = scale > 0 ? f32_to_e4m3(in[i] / scale) : 0;
}

static void encode_fp8(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    const float scale = format->latent ? 1 : magnitude_of(format->coded, in) / 448;
    if (!format->latent) store_f32(bytes, scale);
    fp8_values(format->coded, scale, in, bytes + fp8_begin(format));
    encode_rope(format, in, bytes);
}

static void encode_fp8_ds_mla(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->coded; i += DS_TILE) {
        const float scale = ds_scale(magnitude_of(DS_TILE, in + i));
        store_f32(bytes + ds_scale_at(format, i), scale);
        fp8_values(DS_TILE, scale, in + i, bytes + i);
    }
    encode_rope(format, in, bytes);
}

/* ---- whole numbers ---- */

static float clamped(float x, float low, float high) {
    return fminf(fmaxf(x, low), high);
}

static void int8_values(size_t n, float scale, const float *in, unsigned char *out) {
    for (size_t i = 0; i < n; i++) {
        const float q = scale > 0 ? clamped(roundf(in[i] / scale), -127, 127) : 0;
        out[i] = (unsigned char)(int8_t)q;
    }
}

static void encode_int8(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    const float scale = magnitude_of(format->coded, in) / 127;
    store_f32(bytes, scale);
    int8_values(format->coded, scale, in, bytes + ROW_SCALE_BYTES);
    encode_rope(format, in, bytes);
}

static void encode_q8_0(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row;
    for (size_t i = 0; i < format->coded; i += GROUP, group += Q8_0_BYTES) {
        const float scale = magnitude_of(GROUP, in + i) / 127;
        store_u16(group, f16_scale(scale));
        int8_values(GROUP, scale, in + i, group + 2);
    }
    encode_rope(format, in, row);
}

static void store_half_bytes(const float *q, unsigned char *out) {
    for (size_t i = 0; i < GROUP / 2; i++)
        out[i] = (unsigned char)((unsigned)q[i] | (unsigned)q[i + GROUP / 2] << 4);
}

static void encode_q4_0(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row;
    for (size_t i = 0; i < format->coded; i += GROUP, group += Q4_0_BYTES) {
        const float *x = in + i;
        float extreme = 0, q[GROUP];
        for (size_t j = 0; j < GROUP; j++)
            if (fabsf(x[j]) > fabsf(extreme)) extreme = x[j];
        const float scale = isnan(magnitude_of(GROUP, x)) ? NAN : extreme / -8;
        for (size_t j = 0; j < GROUP; j++)
            q[j] = scale < 0 || scale > 0 ? clamped(floorf(x[j] / scale + 8.5f), 0, 15) : 8;
        store_u16(group, f16_scale(scale));
        store_half_bytes(q, group + 2);
    }
    encode_rope(format, in, row);
}

/* Values are rounded against the scale and the least value as they are stored. */
static void encode_int4(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row;
    for (size_t i = 0; i < format->coded; i += GROUP, group += INT4_BYTES) {
        const float *x = in + i;
        float min = x[0], max = x[0], q[GROUP];
        for (size_t j = 0; j < GROUP; j++) min = fminf(min, x[j]), max = fmaxf(max, x[j]);
        const IntScale s = int_scale(isfinite(magnitude_of(GROUP, x)), min, max, 15);
        for (size_t j = 0; j < GROUP; j++)
            q[j] = s.step > 0 ? clamped(roundf((x[j] - s.least) / s.step), 0, 15) : 0;
        store_u16(group, s.step_bits);
        store_u16(group + 2, s.least_bits);
        store_half_bytes(q, group + 4);
    }
    encode_rope(format, in, row);
}

/* ---- casts and small floats ---- */

static void encode_fp8_e5m2(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->coded; i++) bytes[i] = f32_to_e5m2(in[i]);
    encode_rope(format, in, bytes);
}

/* The code of e2m1 nearest to x, the even one of two: the spacing is 1/2 below 2, 1 below 4, 2
 * above, and codes count on from 4 at 2 and from 6 at 4. */
static unsigned e2m1(float x) {
    const float size = fminf(fabsf(x), 6);
    const float code = size < 2   ? rintf(2 * size)
                       : size < 4 ? 2 + rintf(size)
                                  : 4 + rintf(size / 2);
    return (unsigned)code | (signbit(x) ? 8u : 0u);
}

/* n values in n/2 bytes; 0 where the scale is 0 or NaN. */
static void e2m1_values(size_t n, float scale, const float *in, unsigned char *out) {
    for (size_t i = 0; i < n / 2; i++) {
        const unsigned low = scale > 0 ? e2m1(in[i] / scale) : 0;
        const unsigned high = scale > 0 ? e2m1(in[i + n / 2] / scale) : 0;
        out[i] = (unsigned char)(low | high << 4);
    }
}

/* Exponents count from 127; below 2^-125 the scale stays at its least. */
static void encode_mxfp4(const RowFormat *format, const float *in, void *row) {
    unsigned char *group = row;
    for (size_t i = 0; i < format->coded; i += GROUP, group += MXFP4_BYTES) {
        const float greatest = magnitude_of(GROUP, in + i);
        const int exponent = greatest > 0 ? ilogbf(greatest) - 2 + 127 : 0;
        group[0] = (unsigned char)(isnan(greatest) ? 255 : exponent > 0 ? exponent : 0);
        e2m1_values(GROUP, e8m0_to_f32(group[0]), in + i, group + 1);
    }
    encode_rope(format, in, row);
}

static void encode_nvfp4(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    for (size_t i = 0; i < format->coded; i += NVFP4_SCALED) {
        const uint8_t scale = f32_to_e4m3(magnitude_of(NVFP4_SCALED, in + i) / 6);
        bytes[nvfp4_scale_at(i)] = scale;
        e2m1_values(NVFP4_SCALED, e4m3_to_f32(scale), in + i, bytes + nvfp4_codes_at(i));
    }
    encode_rope(format, in, bytes);
}

void kernels_fill_ref_rows(Kernels *kernels) {
    kernels->encode[ROW_F32] = encode_f32;
    kernels->encode[ROW_BF16] = encode_bf16;
    kernels->encode[ROW_F16] = encode_f16;
    kernels->encode[ROW_FP8] = encode_fp8;
    kernels->encode[ROW_INT8] = encode_int8;
    kernels->encode[ROW_INT4] = encode_int4;
    kernels->encode[ROW_Q8_0] = encode_q8_0;
    kernels->encode[ROW_Q4_0] = encode_q4_0;
    kernels->encode[ROW_FP8_DS_MLA] = encode_fp8_ds_mla;
    kernels->encode[ROW_FP8_E5M2] = encode_fp8_e5m2;
    kernels->encode[ROW_MXFP4] = encode_mxfp4;
    kernels->encode[ROW_NVFP4] = encode_nvfp4;
}
