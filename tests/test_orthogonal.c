/* test_orthogonal.c -- structured orthogonal matrices are orthogonal at every size, and the weight
 * factors made from them have the spectrum asked for. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "blas.h"
#include "factor.h"
#include "orthogonal.h"
#include "random.h"

enum { LANES = ORTHOGONAL_LANES, SIZES = 9 };
static const size_t SIZE[SIZES] = { 1, 2, 3, 5, 17, 64, 100, 128, 577 };

static float *floats(size_t n) {
    float *x = calloc(n, sizeof *x);
    cr_assert_not_null(x);
    return x;
}

Test(orthogonal, inner_products_of_all_lanes_are_kept) {
    for (size_t s = 0; s < SIZES; s++) {
        const size_t n = SIZE[s];
        Error err;
        Orthogonal q;
        cr_assert_eq(orthogonal_new(&q, n, 3, s, &err), OK);
        float *x = floats(n * LANES), *y = floats(n * LANES), *work = floats(n * LANES);
        for (size_t i = 0; i < n * LANES; i++) x[i] = y[i] = (float)random_normal(1, s, i);
        orthogonal_apply(&q, y, work);
        for (size_t a = 0; a < LANES; a++)
            for (size_t b = 0; b <= a; b++) {
                double before = 0, after = 0;
                for (size_t i = 0; i < n; i++) {
                    before += (double)x[i * LANES + a] * x[i * LANES + b];
                    after += (double)y[i * LANES + a] * y[i * LANES + b];
                }
                cr_assert_float_eq(before, after, 1e-5 * (double)n, "n=%zu lanes %zu %zu", n, a, b);
            }
        free(x), free(y), free(work);
        orthogonal_free(&q);
    }
}

Test(orthogonal, a_unit_vector_is_spread_over_all_entries) {
    Error err;
    Orthogonal q;
    cr_assert_eq(orthogonal_new(&q, 577, 3, 1, &err), OK);
    float *x = floats(577 * LANES), *work = floats(577 * LANES);
    for (size_t lane = 0; lane < LANES; lane++) x[lane * LANES + lane] = 1;
    orthogonal_apply(&q, x, work);
    for (size_t lane = 0; lane < LANES; lane++) {
        /* 3/n for normal entries, 1 for a unit vector */
        double fourth = 0;
        for (size_t i = 0; i < 577; i++) fourth += pow(x[i * LANES + lane], 4);
        cr_assert_lt(fourth, 6.0 / 577, "lane %zu: %f", lane, fourth * 577);
    }
    free(x), free(work);
    orthogonal_free(&q);
}

Test(orthogonal, streams_give_different_matrices) {
    Error err;
    Orthogonal a, b;
    cr_assert_eq(orthogonal_new(&a, 64, 3, 1, &err), OK);
    cr_assert_eq(orthogonal_new(&b, 64, 3, 2, &err), OK);
    size_t same = 0;
    for (size_t i = 0; i < 2 * 64; i++) same += a.order[i] == b.order[i];
    cr_assert_lt(same, 16);
    orthogonal_free(&a);
    orthogonal_free(&b);
}

/* Tall, wide, square and odd shapes, as rows of a larger matrix too. */
Test(factor, singular_values_are_the_power_law) {
    static const size_t shape[][2] = { { 48, 48 }, { 37, 101 }, { 101, 37 }, { 64, 20 }, { 1, 5 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        const size_t n = shape[s][0], cols = shape[s][1], rank = n < cols ? n : cols;
        float *w = floats(n * cols);
        Rows rows = rows_dense(w, n, cols);
        Error err;
        cr_assert_eq(factor_fill(&rows, &(Factor){ .seed = 1, .stream = s, .decay = 0.5 }, &err),
                     OK);
        double *a = calloc(n * cols, sizeof *a), *values = calloc(rank, sizeof *values);
        double *vt = calloc(rank * cols, sizeof *vt);
        for (size_t i = 0; i < n * cols; i++) a[i] = w[i];
        cr_assert_eq(blas_svd(n, cols, a, values, vt), 0);
        for (size_t i = 0; i < rank; i++)
            cr_assert_float_eq(values[i], pow((double)(i + 1), -0.5), 2e-6, "%zux%zu %zu: %f", n,
                               cols, i, values[i]);
        free(w), free(a), free(values), free(vt);
    }
}

Test(factor, rows_of_a_block_leave_the_others_alone) {
    enum { HEADS = 3, KEY = 4, VALUE = 2, COLS = 8 };
    float *w = floats(HEADS * (KEY + VALUE) * COLS), *dense = floats(HEADS * KEY * COLS);
    const Rows keys = {
        .w = w, .count = HEADS * KEY, .cols = COLS, .block = KEY, .stride = KEY + VALUE
    };
    const Rows alone = rows_dense(dense, HEADS * KEY, COLS);
    const Factor factor = { .seed = 1, .stream = 2, .decay = 0.3 };
    Error err;
    cr_assert_eq(factor_fill(&keys, &factor, &err), OK);
    cr_assert_eq(factor_fill(&alone, &factor, &err), OK);
    for (size_t head = 0; head < HEADS; head++)
        for (size_t row = 0; row < KEY + VALUE; row++)
            for (size_t j = 0; j < COLS; j++) {
                const float is = w[(head * (KEY + VALUE) + row) * COLS + j];
                cr_assert_eq(is, row < KEY ? dense[(head * KEY + row) * COLS + j] : 0);
            }
    free(w), free(dense);
}

Test(factor, products_equal_sums_written_out) {
    enum { N = 37, COLS = 29, TOKENS = 7 };
    float *w = floats(N * COLS), *x = floats(TOKENS * COLS), *out = floats(TOKENS * 40);
    for (size_t i = 0; i < N * COLS; i++) w[i] = (float)(random_bits(1, 1, i) % 17) - 8;
    for (size_t i = 0; i < TOKENS * COLS; i++) x[i] = (float)(random_bits(1, 2, i) % 17) - 8;
    const Rows rows = rows_dense(w, N, COLS);
    rows_product(&rows, 2, N - 2, TOKENS, x, out, 40);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < N - 2; i++) {
            float sum = 0;
            for (size_t j = 0; j < COLS; j++) sum += x[t * COLS + j] * w[(i + 2) * COLS + j];
            cr_assert_eq(out[t * 40 + i], sum, "token %zu row %zu", t, i);
        }
    free(w), free(x), free(out);
}
