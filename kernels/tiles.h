/* tiles.h -- the vector algorithms of the table, written once over a small vocabulary.
 *
 * A tier file defines the vocabulary of vector.h for its registers, and for stored rows that of
 * vector_rows.h and vector_codes.h, then includes this header, then fills the table.
 *
 * Register blocks. `scores` keeps rows x tokens accumulators, each a vector of partial sums along
 * d; a key vector is loaded and converted once for the rows. `values` keeps rows x vectors of
 * outputs over all n tokens; a value vector is loaded and converted once for the rows. The chosen
 * shapes fill the registers with accumulators and need fewer loads than multiply-adds. */
#ifndef KVLAB_TILES_H
#define KVLAB_TILES_H

#include <math.h>

#include "internal.h"
#include "vector.h"
#include "vector_codes.h"
#include "vector_rows.h"

/* ---- scores ---- */

INLINE void scores_block(RowType type, size_t rows, size_t tokens, size_t d, const float *q,
                         size_t ld_q, const unsigned char *k, size_t k_stride, float *s,
                         size_t ld_s) {
    const size_t bytes = element_bytes(type);
    vec sums[BLOCK_MAX], keys[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < rows * tokens; c++) sums[c] = vec_zero();
    size_t e = 0;
    for (; e + WIDTH <= d; e += WIDTH) {
        UNROLL for (size_t j = 0; j < tokens; j++) keys[j] =
            load_element(type, k + j * k_stride + e * bytes);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec x = vec_held(vec_load(q + i * ld_q + e));
            UNROLL for (size_t j = 0; j < tokens; j++) sums[i * tokens + j] =
                vec_fma(x, keys[j], sums[i * tokens + j]);
        }
    }
    if (e < d) {
        UNROLL for (size_t j = 0; j < tokens; j++) keys[j] =
            load_tail(type, k + j * k_stride + e * bytes, d - e);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec x = vec_load_part(q + i * ld_q + e, d - e);
            UNROLL for (size_t j = 0; j < tokens; j++) sums[i * tokens + j] =
                vec_fma(x, keys[j], sums[i * tokens + j]);
        }
    }
    float total[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < rows * tokens; c += 4) {
        const size_t last = rows * tokens - 1;
        vec_sum4(sums[c], sums[c + 1 < last ? c + 1 : last], sums[c + 2 < last ? c + 2 : last],
                 sums[c + 3 < last ? c + 3 : last], total + c);
    }
    UNROLL for (size_t i = 0; i < rows; i++) {
        UNROLL for (size_t j = 0; j < tokens; j++) s[i * ld_s + j] = total[i * tokens + j];
    }
}

/* As many whole groups of `rows` query rows as m holds, each over all tokens: the group stays in
 * the first cache while the keys pass. Gives the query rows done. */
INLINE size_t scores_rows(RowType type, size_t rows, size_t tokens, size_t m, size_t n, size_t d,
                          const float *q, size_t ld_q, const unsigned char *k, size_t k_stride,
                          float *s, size_t ld_s) {
    size_t i = 0;
    for (; i + rows <= m; i += rows) {
        const float *x = q + i * ld_q;
        float *out = s + i * ld_s;
        size_t j = 0;
        for (; j + tokens <= n; j += tokens)
            scores_block(type, rows, tokens, d, x, ld_q, k + j * k_stride, k_stride, out + j, ld_s);
        for (; j < n; j++)
            scores_block(type, rows, 1, d, x, ld_q, k + j * k_stride, k_stride, out + j, ld_s);
    }
    return i;
}

INLINE void scores(RowType type, size_t m, size_t n, size_t d, const float *q, size_t ld_q,
                   const void *k, size_t k_stride, float *s, size_t ld_s) {
    size_t i = 0;
#define ROWS(rows, tokens)                                                                         \
    i += scores_rows(type, rows, tokens, m - i, n, d, q + i * ld_q, ld_q, k, k_stride,             \
                     s + i * ld_s, ld_s)
    BLOCKS(ROWS);
#undef ROWS
}

/* ---- values ---- */

/* Adds a block's results, whole vectors or one that is cut, to the output. */
INLINE void values_block(RowType type, size_t rows, size_t vectors, size_t cut, size_t n,
                         const float *p, size_t ld_p, const unsigned char *v, size_t v_stride,
                         float *o, size_t ld_o) {
    const size_t bytes = element_bytes(type);
    vec sums[BLOCK_MAX], row[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < rows * vectors; c++) sums[c] = vec_zero();
    for (size_t j = 0; j < n; j++) {
        UNROLL for (size_t c = 0; c < vectors; c++) row[c] =
            cut ? load_tail(type, v, cut) : load_element(type, v + c * WIDTH * bytes);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec weight = vec_all(p[i * ld_p + j]);
            UNROLL for (size_t c = 0; c < vectors; c++) sums[i * vectors + c] =
                vec_fma(weight, row[c], sums[i * vectors + c]);
        }
        v += v_stride;
    }
    UNROLL for (size_t i = 0; i < rows; i++) {
        UNROLL for (size_t c = 0; c < vectors; c++) {
            float *out = o + i * ld_o + c * WIDTH;
            const vec sum = sums[i * vectors + c];
            if (cut)
                vec_store_part(out, cut, vec_add(vec_load_part(out, cut), sum));
            else
                vec_store(out, vec_add(vec_load(out), sum));
        }
    }
}

/* As many whole groups of `rows` query rows as m holds: a stripe of the values stays in the first
 * cache while the groups pass. Gives the query rows done. */
INLINE size_t values_rows(RowType type, size_t rows, size_t vectors, size_t m, size_t n, size_t d,
                          const float *p, size_t ld_p, const unsigned char *v, size_t v_stride,
                          float *o, size_t ld_o) {
    const size_t bytes = element_bytes(type);
    const size_t groups = m / rows;
    size_t e = 0;
    for (; e + vectors * WIDTH <= d; e += vectors * WIDTH)
        for (size_t g = 0; g < groups; g++)
            values_block(type, rows, vectors, 0, n, p + g * rows * ld_p, ld_p, v + e * bytes,
                         v_stride, o + g * rows * ld_o + e, ld_o);
    for (; e + WIDTH <= d; e += WIDTH)
        for (size_t g = 0; g < groups; g++)
            values_block(type, rows, 1, 0, n, p + g * rows * ld_p, ld_p, v + e * bytes, v_stride,
                         o + g * rows * ld_o + e, ld_o);
    if (e < d)
        for (size_t g = 0; g < groups; g++)
            values_block(type, rows, 1, d - e, n, p + g * rows * ld_p, ld_p, v + e * bytes,
                         v_stride, o + g * rows * ld_o + e, ld_o);
    return groups * rows;
}

INLINE void values(RowType type, size_t m, size_t n, size_t d, const float *p, size_t ld_p,
                   const void *v, size_t v_stride, float *o, size_t ld_o) {
    size_t i = 0;
#define ROWS(rows, vectors)                                                                        \
    i += values_rows(type, rows, vectors, m - i, n, d, p + i * ld_p, ld_p, v, v_stride,            \
                     o + i * ld_o, ld_o)
    BLOCKS(ROWS);
#undef ROWS
}

#include "vector_coded.h"

/* ---- softmax and rows of floats ---- */

/* Lanes behind the end of a row, as scores that weigh nothing. */
INLINE vec load_scores_tail(const float *s, size_t n) {
    float padded[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) padded[i] = i < n ? s[i] : -INFINITY;
    return vec_load(padded);
}

static float softmax_step(size_t n, float scale, float *s, float *max, float *sum) {
    const vec factor_of_scores = vec_all(scale);
    const size_t whole = n - n % WIDTH;
    vec greatest = vec_all(*max);
    for (size_t j = 0; j < whole; j += WIDTH)
        greatest = vec_max(vec_mul(factor_of_scores, vec_load(s + j)), greatest);
    const vec tail = load_scores_tail(s + whole, n - whole);
    greatest = vec_max(vec_mul(factor_of_scores, tail), greatest);
    const float new_max = vec_greatest(greatest);
    if (new_max == -INFINITY) return softmax_masked(n, s, sum);

    const vec offset = vec_all(-new_max);
    vec total = vec_zero();
    for (size_t j = 0; j < whole; j += WIDTH) {
        const vec weight = vec_exp(vec_fma(factor_of_scores, vec_load(s + j), offset));
        vec_store(s + j, weight);
        total = vec_add(total, weight);
    }
    if (whole < n) {
        const vec weight = vec_exp(vec_fma(factor_of_scores, tail, offset));
        vec_store_part(s + whole, n - whole, weight);
        total = vec_add(total, weight);
    }
    const float factor = *max == new_max ? 1.0f : expf(*max - new_max);
    *sum = factor * *sum + vec_sum(total);
    *max = new_max;
    return factor;
}

static void scale_by(size_t n, float a, float *x) {
    const vec factor = vec_all(a);
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) vec_store(x + i, vec_mul(factor, vec_load(x + i)));
    if (i < n) vec_store_part(x + i, n - i, vec_mul(factor, vec_load_part(x + i, n - i)));
}

static void rmsnorm(size_t n, float eps, const float *x, const float *weight, float *y) {
    vec squares = vec_zero();
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) squares = vec_fma(vec_load(x + i), vec_load(x + i), squares);
    if (i < n) {
        const vec tail = vec_load_part(x + i, n - i);
        squares = vec_fma(tail, tail, squares);
    }
    const vec factor = vec_all(1 / sqrtf(vec_sum(squares) / (float)(n ? n : 1) + eps));
    for (i = 0; i + WIDTH <= n; i += WIDTH)
        vec_store(y + i, vec_mul(vec_mul(vec_load(x + i), factor), vec_load(weight + i)));
    if (i < n) {
        const vec tail = vec_mul(vec_load_part(x + i, n - i), factor);
        vec_store_part(y + i, n - i, vec_mul(tail, vec_load_part(weight + i, n - i)));
    }
}

static float fma_rounds(size_t rounds, double *flops) {
    /* Two units times the latency, and some. None begins at 1, where a round changes nothing and
     * compilers leave it out. */
    enum { CHAINS = 12 };
    const vec factor = vec_all(0.999f), term = vec_all(0.001f);
    vec chain[CHAINS];
    UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] = vec_all((float)c + 0.5f);
    for (size_t r = 0; r < rounds; r++) {
        UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] = vec_fma(chain[c], factor, term);
    }
    vec sum = vec_zero();
    UNROLL for (size_t c = 0; c < CHAINS; c++) sum = vec_add(sum, chain[c]);
    *flops = 2.0 * CHAINS * WIDTH * (double)rounds;
    return vec_sum(sum);
}

#include "tile_f32.h"
#include "tile_few.h"

/* ---- the table ---- */

#define TYPED(name, type)                                                                          \
    static void decode_##name(const RowFormat *format, size_t n, const void *row, float *out) {    \
        decode_row(type, format, n, row, out);                                                     \
    }                                                                                              \
    static void scores_##name(const RowFormat *format, size_t m, size_t n, size_t d,               \
                              const float *q, size_t ld_q, const void *k, size_t k_stride,         \
                              float *s, size_t ld_s) {                                             \
        if (is_plain(type))                                                                        \
            scores(type, m, n, d, q, ld_q, k, k_stride, s, ld_s);                                  \
        else                                                                                       \
            coded_scores(type, format, m, n, d, q, ld_q, k, k_stride, s, ld_s);                    \
    }                                                                                              \
    static void values_##name(const RowFormat *format, size_t m, size_t n, size_t d,               \
                              const float *p, size_t ld_p, const void *v, size_t v_stride,         \
                              float *o, size_t ld_o) {                                             \
        if (is_plain(type))                                                                        \
            values(type, m, n, d, p, ld_p, v, v_stride, o, ld_o);                                  \
        else                                                                                       \
            coded_values(type, format, m, n, d, p, ld_p, v, v_stride, o, ld_o);                    \
    }
ROW_TYPES(TYPED)
#undef TYPED

static void fill(Kernels *kernels) {
#define TYPED(name, type)                                                                          \
    kernels->decode[type] = decode_##name;                                                         \
    kernels->scores[type] = scores_##name;                                                         \
    kernels->values[type] = values_##name;
    ROW_TYPES(TYPED)
#undef TYPED
    for (int type = 0; type < ROW_TYPE_COUNT; type++) kernels->tile[type] = &tile_f32;
    kernels->few[ROW_F32] = &few_f32;
    kernels->few[ROW_BF16] = &few_bf16;
    kernels->few[ROW_F16] = &few_f16;
    fill_encoders(kernels);
    kernels->decode_steps = decode_steps;
    kernels->decode_table = decode_table;
    kernels->softmax_step = softmax_step;
    kernels->scale = scale_by;
    kernels->rmsnorm = rmsnorm;
    kernels->fma_rounds = fma_rounds;
}

#endif
