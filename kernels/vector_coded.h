/* vector_coded.h -- the two products of attention over coded rows where they lie (every type but
 * f32, bf16 and f16), for few query rows: many have the rows decoded once (tile.h).
 *
 * Bound by decoding and, where that keeps up, by memory. A group of 32 codes becomes VECS registers
 * that serve all query rows of a block; the scale of the group multiplies the product with them,
 * one multiply-add a group and query row. Scores keep a sum a query row, whose four at a time are
 * added up across lanes together; values keep VECS sums a query row, of a stripe of 32 columns. */
#ifndef KVLAB_VECTOR_CODED_H
#define KVLAB_VECTOR_CODED_H

#include "vector_rows.h"

/* Sums of a block of scores, and query rows whose sums of values leave room for the codes. */
enum { SCORE_SUMS = 4, VALUE_ROWS = REGISTERS / 2 / VECS };

/* Adds the products of the group from e on, of which n count, to the sums of a token. */
INLINE void add_group(RowType type, const RowFormat *format, size_t rows, size_t n, const float *q,
                      size_t ld_q, const unsigned char *row, size_t e, vec *sums) {
    vec codes[VECS];
    const vec scale = n == GROUP ? load_group(type, format, row, e, codes)
                                 : load_part_of_group(type, format, row, e, n, codes);
    UNROLL for (size_t i = 0; i < rows; i++) {
        const float *x = q + i * ld_q + e;
        vec sum = vec_mul(floats_at(x, n, 0), codes[0]);
        UNROLL for (size_t c = 1; c < VECS; c++) sum =
            vec_fma(floats_at(x, n, c * WIDTH), codes[c], sum);
        sums[i] = vec_fma(sum, scale, sums[i]);
    }
}

/* Of the values behind the coded ones the WIDTH from e on, or those before d. */
INLINE void add_rope(const RowFormat *format, size_t rows, size_t d, const float *q, size_t ld_q,
                     const unsigned char *row, size_t e, vec *sums) {
    const unsigned char *p = row + rope_value_at(format, e);
    const vec key = e + WIDTH <= d ? vec_load_bf16(p) : load_tail(ROW_BF16, p, d - e);
    UNROLL for (size_t i = 0; i < rows; i++) sums[i] =
        vec_fma(floats_at(q + i * ld_q, d, e), key, sums[i]);
}

/* Sums of a block, [tokens][rows] = SCORE_SUMS of them: the tokens go side by side, so that their
 * sums wait for each other as little as may be. */
INLINE void dot_coded(RowType type, const RowFormat *format, size_t rows, size_t d, const float *q,
                      size_t ld_q, const unsigned char *const *row, vec *sums) {
    const size_t tokens = SCORE_SUMS / rows, coded = d < format->coded ? d : format->coded;
    size_t e = 0;
    UNROLL for (size_t i = 0; i < SCORE_SUMS; i++) sums[i] = vec_zero();
    for (; e + GROUP <= coded; e += GROUP) {
        UNROLL for (size_t t = 0; t < tokens; t++)
            add_group(type, format, rows, GROUP, q, ld_q, row[t], e, sums + t * rows);
    }
    for (size_t t = 0; t < tokens && e < coded; t++)
        add_group(type, format, rows, coded % GROUP, q, ld_q, row[t], e, sums + t * rows);
    for (e = coded; e < d; e += WIDTH) {
        UNROLL for (size_t t = 0; t < tokens; t++)
            add_rope(format, rows, d, q, ld_q, row[t], e, sums + t * rows);
    }
}

/* `rows` query rows against all tokens. A last block of fewer tokens repeats its first. */
INLINE void coded_score_rows(RowType type, const RowFormat *format, size_t rows, size_t n, size_t d,
                             const float *q, size_t ld_q, const unsigned char *k, size_t k_stride,
                             float *s, size_t ld_s) {
    const size_t together = SCORE_SUMS / rows;
    vec sums[SCORE_SUMS];
    float totals[SCORE_SUMS];
    for (size_t j = 0; j < n; j += together) {
        const size_t tokens = n - j < together ? n - j : together;
        const unsigned char *row[SCORE_SUMS];
        UNROLL for (size_t t = 0; t < together; t++) row[t] =
            k + (j + (t < tokens ? t : 0)) * k_stride;
        dot_coded(type, format, rows, d, q, ld_q, row, sums);
        vec_sum4(sums[0], sums[1], sums[2], sums[3], totals);
        for (size_t t = 0; t < tokens; t++)
            for (size_t i = 0; i < rows; i++) s[i * ld_s + j + t] = totals[t * rows + i];
    }
}

INLINE void coded_scores(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                         const float *q, size_t ld_q, const void *k, size_t k_stride, float *s,
                         size_t ld_s) {
    size_t i = 0;
#define ROWS(rows)                                                                                 \
    for (; i + (rows) <= m; i += (rows))                                                           \
    coded_score_rows(type, format, rows, n, d, q + i * ld_q, ld_q, k, k_stride, s + i * ld_s, ld_s)
    ROWS(4);
    ROWS(2);
    ROWS(1);
#undef ROWS
}

/* ---- values ---- */

/* The stripe of 32 columns from e on, of which `width` count. */
INLINE void coded_stripe(RowType type, const RowFormat *format, size_t rows, size_t width, size_t n,
                         const float *p, size_t ld_p, const unsigned char *v, size_t v_stride,
                         size_t e, float *o, size_t ld_o) {
    vec sums[VALUE_ROWS * VECS], codes[VECS];
    UNROLL for (size_t i = 0; i < rows * VECS; i++) sums[i] = vec_zero();
    for (size_t j = 0; j < n; j++) {
        const unsigned char *row = v + j * v_stride;
        const vec scale = width == GROUP ? load_group(type, format, row, e, codes)
                                         : load_part_of_group(type, format, row, e, width, codes);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec weight = vec_mul(vec_all(p[i * ld_p + j]), scale);
            UNROLL for (size_t c = 0; c < VECS; c++) sums[i * VECS + c] =
                vec_fma(weight, codes[c], sums[i * VECS + c]);
        }
    }
    UNROLL for (size_t i = 0; i < rows; i++) {
        float *out = o + i * ld_o + e;
        UNROLL for (size_t c = 0; c < VECS; c++) {
            const vec sum = vec_add(floats_at(out, width, c * WIDTH), sums[i * VECS + c]);
            store_floats_at(out, width, c * WIDTH, sum);
        }
    }
}

INLINE void coded_value_rows(RowType type, const RowFormat *format, size_t rows, size_t n,
                             size_t coded, const float *p, size_t ld_p, const unsigned char *v,
                             size_t v_stride, float *o, size_t ld_o) {
    size_t e = 0;
    for (; e + GROUP <= coded; e += GROUP)
        coded_stripe(type, format, rows, GROUP, n, p, ld_p, v, v_stride, e, o, ld_o);
    if (e < coded)
        coded_stripe(type, format, rows, coded % GROUP, n, p, ld_p, v, v_stride, e, o, ld_o);
}

INLINE void coded_values(RowType type, const RowFormat *format, size_t m, size_t n, size_t d,
                         const float *p, size_t ld_p, const void *v, size_t v_stride, float *o,
                         size_t ld_o) {
    const size_t coded = d < format->coded ? d : format->coded;
    size_t i = 0;
#define ROWS(rows)                                                                                 \
    for (; i + (rows) <= m; i += (rows))                                                           \
    coded_value_rows(type, format, rows, n, coded, p + i * ld_p, ld_p, v, v_stride, o + i * ld_o,  \
                     ld_o)
    ROWS(VALUE_ROWS);
    ROWS(1);
#undef ROWS
    if (d > coded)
        values(ROW_BF16, m, n, d - coded, p, ld_p, (const unsigned char *)v + format->rope_at,
               v_stride, o + coded, ld_o);
}

#endif
