/* portable.c -- plain C that any compiler turns into vectors: loops over neighbours, marked with
 * `omp simd`, and rows decoded piece by piece into a small buffer that stays in the first cache.
 *
 * A stored row is decoded once for all query rows that look at it. */
#include <math.h>

#include "internal.h"
#include "portable_exp.h"
#include "portable_rows.h"

/* Elements of a row decoded at a time: 2 KiB of floats. */
enum { PIECE = 512 };

static void encode_bf16(const RowFormat *format, const float *in, void *row) {
    unsigned char *bytes = row;
    const size_t n = format->n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint16_t x = f32_to_bf16(in[i]);
        memcpy(bytes + 2 * i, &x, sizeof x);
    }
}

static float dot(size_t n, const float *x, const float *y) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* Four query rows against one stored row: each of its elements is loaded once for the four. */
static void dot4(size_t n, const float *x, size_t ld_x, const float *y, float *out, size_t ld_out) {
    float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
#pragma omp simd reduction(+ : sum0, sum1, sum2, sum3)
    for (size_t i = 0; i < n; i++) {
        sum0 += x[i] * y[i];
        sum1 += x[ld_x + i] * y[i];
        sum2 += x[2 * ld_x + i] * y[i];
        sum3 += x[3 * ld_x + i] * y[i];
    }
    out[0] += sum0;
    out[ld_out] += sum1;
    out[2 * ld_out] += sum2;
    out[3 * ld_out] += sum3;
}

static inline void scores(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                          const float *q, size_t ld_q, const void *k, size_t k_stride, float *s,
                          size_t ld_s) {
    float key[PIECE];
    for (size_t j = 0; j < n; j++) {
        const unsigned char *row = (const unsigned char *)k + j * k_stride;
        for (size_t i = 0; i < m; i++) s[i * ld_s + j] = 0;
        for (size_t from = 0; from < d; from += PIECE) {
            const size_t width = d - from < PIECE ? d - from : PIECE;
            read_row(type, format, row, from, width, key);
            size_t i = 0;
            for (; i + 4 <= m; i += 4)
                dot4(width, q + i * ld_q + from, ld_q, key, s + i * ld_s + j, ld_s);
            for (; i < m; i++) s[i * ld_s + j] += dot(width, q + i * ld_q + from, key);
        }
    }
}

/* Stored rows taken together: an output element is loaded and stored once for the four. */
enum { TOGETHER = 4 };

static void add_weighted(size_t n, const float *p, float rows[TOGETHER][PIECE], float *o) {
    const float p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3];
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        o[i] += (p0 * rows[0][i] + p1 * rows[1][i]) + (p2 * rows[2][i] + p3 * rows[3][i]);
}

static inline void values(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                          const float *p, size_t ld_p, const void *v, size_t v_stride, float *o,
                          size_t ld_o) {
    float rows[TOGETHER][PIECE];
    for (size_t from = 0; from < d; from += PIECE) {
        const size_t width = d - from < PIECE ? d - from : PIECE;
        for (size_t j = 0; j < n; j += TOGETHER) {
            const size_t count = n - j < TOGETHER ? n - j : TOGETHER;
            for (size_t t = 0; t < TOGETHER; t++) {
                if (t < count)
                    read_row(type, format, (const unsigned char *)v + (j + t) * v_stride, from,
                             width, rows[t]);
                else
                    memset(rows[t], 0, width * sizeof *rows[t]);
            }
            for (size_t i = 0; i < m; i++) {
                float weights[TOGETHER] = { 0 };
                for (size_t t = 0; t < count; t++) weights[t] = p[i * ld_p + j + t];
                add_weighted(width, weights, rows, o + i * ld_o + from);
            }
        }
    }
}

/* The table holds a function a type; each gets its own copy of the loops, without the switch. */
#define TYPED(name, type)                                                                          \
    static void decode_##name(const RowFormat *format, size_t n, const void *row, float *out) {    \
        read_row(type, format, row, 0, n, out);                                                    \
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

/* The greatest of scale*s[j] and `least`, NaN passed over: eight running maxima side by side, since
 * not every compiler makes vectors of one. */
static float scaled_max(size_t n, float scale, const float *s, float least) {
    enum { LANES = 8 };
    float lanes[LANES];
    for (size_t lane = 0; lane < LANES; lane++) lanes[lane] = least;
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            const float scaled = scale * s[j + lane];
            lanes[lane] = scaled > lanes[lane] ? scaled : lanes[lane];
        }
    }
    for (; j < n; j++) lanes[0] = scale * s[j] > lanes[0] ? scale * s[j] : lanes[0];
    for (size_t lane = 1; lane < LANES; lane++)
        lanes[0] = lanes[lane] > lanes[0] ? lanes[lane] : lanes[0];
    return lanes[0];
}

static float softmax_step(size_t n, float scale, float *s, float *max, float *sum) {
    const float new_max = scaled_max(n, scale, s, *max);
    if (new_max == -INFINITY) return softmax_masked(n, s, sum);

    float total = 0;
#pragma omp simd reduction(+ : total)
    for (size_t j = 0; j < n; j++) {
        s[j] = exp_small(scale * s[j] - new_max);
        total += s[j];
    }
    const float factor = exp_small(*max - new_max);
    *sum = factor * *sum + total;
    *max = new_max;
    return factor;
}

static void scale_by(size_t n, float a, float *x) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[i] *= a;
}

static void rmsnorm(size_t n, float eps, const float *x, const float *weight, float *y) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (size_t i = 0; i < n; i++) squares += x[i] * x[i];
    const float factor = 1 / sqrtf(squares / (float)(n ? n : 1) + eps);
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = x[i] * factor * weight[i];
}

static float fma_rounds(size_t rounds, double *flops) {
    enum { CHAINS = 32 };
    float chain[CHAINS];
    for (size_t c = 0; c < CHAINS; c++) chain[c] = (float)c + 0.5f;
    for (size_t r = 0; r < rounds; r++) {
#pragma omp simd
        for (size_t c = 0; c < CHAINS; c++) chain[c] = chain[c] * 0.999f + 0.001f;
    }
    *flops = 2.0 * CHAINS * (double)rounds;
    float sum = 0;
    for (size_t c = 0; c < CHAINS; c++) sum += chain[c];
    return sum;
}

void kernels_fill_portable(Kernels *kernels) {
#define TYPED(name, type)                                                                          \
    kernels->decode[type] = decode_##name;                                                         \
    kernels->scores[type] = scores_##name;                                                         \
    kernels->values[type] = values_##name;
    ROW_TYPES(TYPED)
#undef TYPED
    kernels->encode[ROW_BF16] = encode_bf16;
    for (int type = 0; type < ROW_TYPE_COUNT; type++) kernels->tile[type] = &tile_portable;
    kernels->softmax_step = softmax_step;
    kernels->scale = scale_by;
    kernels->rmsnorm = rmsnorm;
    kernels->fma_rounds = fma_rounds;
}
