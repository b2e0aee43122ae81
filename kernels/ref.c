/* ref.c -- the reference tier: what each entry of the table means, in plain scalar C.
 *
 * Sums run in double and are rounded once; the file is compiled without contraction. It is written
 * to be read and compared with, not to be fast. */
#include <math.h>

#include "internal.h"

/* f16: sign, 5 bits of exponent (bias 15), 10 of fraction. Signalling NaN becomes quiet, as the
 * conversion instructions do it. */
static float f16_to_f32(uint16_t x) {
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    const uint32_t exponent = x >> 10 & 0x1fu;
    const uint32_t fraction = x & 0x3ffu;
    if (exponent == 0x1f) {
        const uint32_t quiet = fraction ? 0x400000u : 0;
        return bits_float(sign | 0x7f800000u | quiet | fraction << 13);
    }
    if (exponent == 0) {
        const float magnitude = (float)fraction * 0x1p-24f;
        return bits_float(sign | float_bits(magnitude));
    }
    return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

/* To nearest even. From 65520 on the nearest is infinity; below 2^-14 the spacing is 2^-24, so
 * adding 2^-1 in float rounds at that place and leaves the answer in the low bits of the sum. */
static uint16_t f32_to_f16(float x) {
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

static uint16_t load_u16(const void *row, size_t i) {
    uint16_t x;
    memcpy(&x, (const unsigned char *)row + 2 * i, sizeof x);
    return x;
}

static void store_u16(void *row, size_t i, uint16_t x) {
    memcpy((unsigned char *)row + 2 * i, &x, sizeof x);
}

static float element(RowType type, const void *row, size_t i) {
    float x;
    switch (type) {
    case ROW_BF16:
        return bf16_to_f32(load_u16(row, i));
    case ROW_F16:
        return f16_to_f32(load_u16(row, i));
    default:
        memcpy(&x, (const unsigned char *)row + 4 * i, sizeof x);
        return x;
    }
}

static void decode_f32(size_t n, const void *row, float *out) {
    if (n) memcpy(out, row, n * sizeof *out);
}

static void encode_f32(size_t n, const float *in, void *row) {
    if (n) memcpy(row, in, n * sizeof *in);
}

static void decode_bf16(size_t n, const void *row, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = bf16_to_f32(load_u16(row, i));
}

static void encode_bf16(size_t n, const float *in, void *row) {
    for (size_t i = 0; i < n; i++) store_u16(row, i, f32_to_bf16(in[i]));
}

static void decode_f16(size_t n, const void *row, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = f16_to_f32(load_u16(row, i));
}

static void encode_f16(size_t n, const float *in, void *row) {
    for (size_t i = 0; i < n; i++) store_u16(row, i, f32_to_f16(in[i]));
}

static void scores(RowType type, size_t m, size_t n, size_t d, const float *q, size_t ld_q,
                   const void *k, size_t k_stride, float *s, size_t ld_s) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            const unsigned char *row = (const unsigned char *)k + j * k_stride;
            double sum = 0;
            for (size_t e = 0; e < d; e++) sum += (double)q[i * ld_q + e] * element(type, row, e);
            s[i * ld_s + j] = (float)sum;
        }
    }
}

static void values(RowType type, size_t m, size_t n, size_t d, const float *p, size_t ld_p,
                   const void *v, size_t v_stride, float *o, size_t ld_o) {
    for (size_t i = 0; i < m; i++) {
        for (size_t e = 0; e < d; e++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++) {
                const unsigned char *row = (const unsigned char *)v + j * v_stride;
                sum += (double)p[i * ld_p + j] * element(type, row, e);
            }
            o[i * ld_o + e] = (float)(o[i * ld_o + e] + sum);
        }
    }
}

/* The table holds a function a type. */
#define TYPED(name, type)                                                                          \
    static void scores_##name(size_t m, size_t n, size_t d, const float *q, size_t ld_q,           \
                              const void *k, size_t k_stride, float *s, size_t ld_s) {             \
        scores(type, m, n, d, q, ld_q, k, k_stride, s, ld_s);                                      \
    }                                                                                              \
    static void values_##name(size_t m, size_t n, size_t d, const float *p, size_t ld_p,           \
                              const void *v, size_t v_stride, float *o, size_t ld_o) {             \
        values(type, m, n, d, p, ld_p, v, v_stride, o, ld_o);                                      \
    }
TYPED(f32, ROW_F32)
TYPED(bf16, ROW_BF16)
TYPED(f16, ROW_F16)
#undef TYPED

static float softmax_step(size_t n, float scale, float *s, float *max, float *sum) {
    float new_max = *max;
    for (size_t j = 0; j < n; j++) {
        const float scaled = scale * s[j];
        if (scaled > new_max) new_max = scaled;
    }
    if (new_max == -INFINITY) return softmax_masked(n, s, sum);

    double total = 0;
    for (size_t j = 0; j < n; j++) {
        s[j] = (float)exp((double)scale * s[j] - new_max);
        total += s[j];
    }
    const double factor = exp((double)*max - new_max);
    *sum = (float)(factor * *sum + total);
    *max = new_max;
    return (float)factor;
}

static void scale_by(size_t n, float a, float *x) {
    for (size_t i = 0; i < n; i++) x[i] *= a;
}

static void rmsnorm(size_t n, float eps, const float *x, const float *weight, float *y) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
    const double factor = 1 / sqrt(squares / (double)(n ? n : 1) + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] * factor * weight[i]);
}

/* Two flops a round on each of 8 chains. */
static float fma_rounds(size_t rounds, double *flops) {
    float chain[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    for (size_t r = 0; r < rounds; r++)
        for (size_t c = 0; c < 8; c++) chain[c] = chain[c] * 0.999f + 0.001f;
    float sum = 0;
    for (size_t c = 0; c < 8; c++) sum += chain[c];
    *flops = 16.0 * (double)rounds;
    return sum;
}

void kernels_fill_ref(Kernels *kernels) {
    *kernels = (Kernels){
        .decode = { decode_f32, decode_bf16, decode_f16 },
        .encode = { encode_f32, encode_bf16, encode_f16 },
        .scores = { scores_f32, scores_bf16, scores_f16 },
        .values = { values_f32, values_bf16, values_f16 },
        .softmax_step = softmax_step,
        .scale = scale_by,
        .rmsnorm = rmsnorm,
        .fma_rounds = fma_rounds,
    };
}
