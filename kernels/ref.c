/* ref.c -- the reference tier: what each entry of the table means, in plain scalar C.
 *
 * Sums run in double and are rounded once; the file is compiled without contraction. It is written
 * to be read and compared with, not to be fast. */
#include <math.h>

#include "internal.h"
#include "rows.h"

static void scores(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                   const float *q, size_t ld_q, const void *k, size_t k_stride, float *s,
                   size_t ld_s) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            const unsigned char *row = (const unsigned char *)k + j * k_stride;
            double sum = 0;
            for (size_t e = 0; e < d; e++)
                sum += (double)q[i * ld_q + e] * row_value(type, format, row, e);
            s[i * ld_s + j] = (float)sum;
        }
    }
}

static void values(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                   const float *p, size_t ld_p, const void *v, size_t v_stride, float *o,
                   size_t ld_o) {
    for (size_t i = 0; i < m; i++) {
        for (size_t e = 0; e < d; e++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++) {
                const unsigned char *row = (const unsigned char *)v + j * v_stride;
                sum += (double)p[i * ld_p + j] * row_value(type, format, row, e);
            }
            o[i * ld_o + e] = (float)(o[i * ld_o + e] + sum);
        }
    }
}

/* The table holds a function a type. */
#define TYPED(name, type)                                                                          \
    static void decode_##name(const RowFormat *format, size_t n, const void *row, float *out) {    \
        for (size_t i = 0; i < n; i++) out[i] = row_value(type, format, row, i);                   \
    }                                                                                              \
    static void scores_##name(const RowFormat *format, size_t m, size_t n, size_t d,               \
                              const float *q, size_t ld_q, const void *k, size_t k_stride,         \
                              float *s, size_t ld_s) {                                             \
        scores(type, format, m, n, d, q, ld_q, k, k_stride, s, ld_s);                              \
    }                                                                                              \
    static void values_##name(const RowFormat *format, size_t m, size_t n, size_t d,               \
                              const float *p, size_t ld_p, const void *v, size_t v_stride,         \
                              float *o, size_t ld_o) {                                             \
        values(type, format, m, n, d, p, ld_p, v, v_stride, o, ld_o);                              \
    }
ROW_TYPES(TYPED)
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
    float chain[8] = { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f };
    for (size_t r = 0; r < rounds; r++)
        for (size_t c = 0; c < 8; c++) chain[c] = chain[c] * 0.999f + 0.001f;
    float sum = 0;
    for (size_t c = 0; c < 8; c++) sum += chain[c];
    *flops = 16.0 * (double)rounds;
    return sum;
}

void kernels_fill_ref(Kernels *kernels) {
    *kernels = (Kernels){
        .softmax_step = softmax_step,
        .scale = scale_by,
        .rmsnorm = rmsnorm,
        .fma_rounds = fma_rounds,
    };
#define TYPED(name, type)                                                                          \
    kernels->decode[type] = decode_##name;                                                         \
    kernels->scores[type] = scores_##name;                                                         \
    kernels->values[type] = values_##name;
    ROW_TYPES(TYPED)
#undef TYPED
    for (int type = 0; type < ROW_TYPE_COUNT; type++) kernels->tile[type] = &tile_ref;
    kernels_fill_ref_rows(kernels);
    kernels_fill_codes(kernels);
}
