/* Laws of low rank, in double: the identities that relate errors to eigenvalues, the optimum and
 * its ways there, metrics, and the randomised subspace. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "lowrank.h"
#include "moments.h"
#include "random.h"
#include "whitened.h"

static const double EXACT = 1e-9;

/* x [rows, n] with singular directions at random and a power-law spectrum. */
static double *cloud(size_t rows, size_t n, size_t directions, double decay, uint64_t seed) {
    double *left = malloc(rows * directions * sizeof *left);
    double *right = malloc(directions * n * sizeof *right);
    double *x = calloc(rows * n, sizeof *x);
    for (size_t i = 0; i < rows * directions; i++)
        left[i] = random_normal(seed, 1, i) * pow((double)(i % directions + 1), -decay);
    for (size_t i = 0; i < directions * n; i++) right[i] = random_normal(seed, 2, i);
    blas_gemm_f64(0, 0, rows, n, directions, 1, left, directions, right, n, 0, x, n);
    free(left);
    free(right);
    return x;
}

/* a b^T, [m, n] from a [m, k] and b [n, k]. */
static double *product_t(size_t m, size_t n, size_t k, const double *a, const double *b) {
    double *c = calloc(m * n, sizeof *c);
    blas_gemm_f64(0, 1, m, n, k, 1, a, k, b, k, 0, c, n);
    return c;
}

static double squares(size_t n, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

static Moments moments_of(size_t rows, size_t n, const double *y) {
    Moments m;
    Error err;
    cr_assert_eq(moments_new(&m, n, &err), OK);
    moments_add_f64(&m, rows / 2, y, n); /* in two parts, as a stream */
    moments_add_f64(&m, rows - rows / 2, y + rows / 2 * n, n);
    moments_finish(&m);
    return m;
}

static Spectrum spectrum_of(size_t rows, size_t n, const double *y) {
    Moments m = moments_of(rows, n, y);
    Spectrum s;
    Error err;
    cr_assert_eq(spectrum_new(&s, n, m.sum, NULL, n, 1, &err), OK);
    moments_free(&m);
    return s;
}

/* The PCA of rank r over all of n. */
static Projection pca(const Spectrum *s, size_t rank) {
    Projection p;
    Error err;
    cr_assert_eq(projection_new(&p, s->n, rank, &err), OK);
    projection_place(&p, s, NULL, rank, 0, 0);
    return p;
}

/* |y - up down y|F^2, row by row. */
static double lost(size_t rows, size_t n, const double *y, const Projection *p) {
    double *rest = malloc(rows * n * sizeof *rest);
    double *c = product_t(rows, p->rank, n, y, p->down);
    memcpy(rest, y, rows * n * sizeof *rest);
    blas_gemm_f64(0, 1, rows, n, p->rank, -1, c, p->rank, p->up, p->rank, 1, rest, n);
    const double sum = squares(rows * n, rest);
    free(rest);
    free(c);
    return sum;
}

Test(lowrank, the_squared_error_is_the_tail_of_the_eigenvalues) { /* T1 */
    enum { ROWS = 300, N = 48 };
    double *y = cloud(ROWS, N, N, 0.7, 3);
    Spectrum s = spectrum_of(ROWS, N, y);
    const double whole = squares(ROWS * N, y);
    cr_assert_lt(fabs(s.trace - whole), EXACT * whole);
    for (size_t rank = 1; rank <= N; rank++) {
        Projection p = pca(&s, rank);
        cr_assert_lt(fabs(lost(ROWS, N, y, &p) - spectrum_tail(&s, rank)), EXACT * whole,
                     "rank %zu", rank);
        projection_free(&p);
    }
    spectrum_free(&s);
    free(y);
}

/* A layer output y = x w^T with correlated input. */
enum { TOKENS = 200, WIDE = 40, OUT = 24 };

Test(lowrank, whitened_weights_give_the_map_of_pca) { /* T2 */
    double *x = cloud(TOKENS, WIDE, WIDE, 0.8, 5), *w = cloud(OUT, WIDE, OUT, 0.3, 6);
    double *y = product_t(TOKENS, OUT, WIDE, x, w);
    Spectrum s = spectrum_of(TOKENS, OUT, y);
    const double whole = squares(TOKENS * OUT, y);
    for (size_t rank = 1; rank <= OUT; rank += 5) {
        Moments gram = moments_of(TOKENS, WIDE, x);
        double *up = malloc(OUT * rank * sizeof *up), *down = malloc(rank * WIDE * sizeof *down);
        Error err;
        cr_assert_eq(whitened_factors(OUT, WIDE, w, gram.sum, rank, up, down, &err), OK);
        /* Both maps of the weights, up down and E E^T w, on the same input. */
        Projection p = pca(&s, rank);
        double *c = product_t(TOKENS, rank, WIDE, x, down);
        double *white = product_t(TOKENS, OUT, rank, c, up);
        double *pc = product_t(TOKENS, rank, OUT, y, p.down);
        double *best = product_t(TOKENS, OUT, rank, pc, p.up);
        for (size_t i = 0; i < TOKENS * OUT; i++) {
            cr_assert_lt(fabs(white[i] - best[i]), EXACT * sqrt(whole));
            best[i] = y[i] - white[i];
        }
        cr_assert_lt(fabs(squares(TOKENS * OUT, best) - spectrum_tail(&s, rank)), EXACT * whole);
        projection_free(&p);
        moments_free(&gram);
        free(up), free(down), free(c), free(white), free(pc), free(best);
    }
    spectrum_free(&s);
    free(x), free(w), free(y);
}

Test(lowrank, weights_alone_lose_at_least_as_much) { /* T3 */
    double *x = cloud(TOKENS, WIDE, WIDE, 0.8, 5), *w = cloud(OUT, WIDE, OUT, 0.3, 6);
    double *y = product_t(TOKENS, OUT, WIDE, x, w), *moments = malloc(OUT * OUT * sizeof *moments);
    float *narrow = malloc(OUT * WIDE * sizeof *narrow);
    for (size_t i = 0; i < OUT * WIDE; i++) narrow[i] = (float)w[i];
    Spectrum s = spectrum_of(TOKENS, OUT, y), blind;
    Error err;
    cr_assert_eq(moments_of_weights(OUT, WIDE, narrow, moments, &err), OK);
    cr_assert_eq(spectrum_new(&blind, OUT, moments, NULL, OUT, 1, &err), OK);
    for (size_t rank = 1; rank < OUT; rank++) {
        Projection best = pca(&s, rank), other = pca(&blind, rank);
        const double least = lost(TOKENS, OUT, y, &best);
        cr_assert_geq(lost(TOKENS, OUT, y, &other), least * (1 - EXACT), "rank %zu", rank);
        if (rank == OUT / 2)
            cr_assert_gt(lost(TOKENS, OUT, y, &other), 1.5 * least,
                         "the case must tell them apart");
        projection_free(&best);
        projection_free(&other);
    }
    spectrum_free(&s);
    spectrum_free(&blind);
    free(x), free(w), free(y), free(moments), free(narrow);
}

Test(lowrank, more_rank_loses_less_and_the_rank_of_the_input_nothing) { /* T4 */
    enum { NARROW = 10 };
    double *x = cloud(TOKENS, NARROW, NARROW, 0.5, 7), *w = cloud(OUT, NARROW, NARROW, 0.2, 8);
    double *y = product_t(TOKENS, OUT, NARROW, x, w);
    Spectrum s = spectrum_of(TOKENS, OUT, y);
    double before = INFINITY;
    for (size_t rank = 1; rank <= OUT; rank++) {
        Projection p = pca(&s, rank);
        const double now = lost(TOKENS, OUT, y, &p), whole = squares(TOKENS * OUT, y);
        cr_assert_leq(now, before + EXACT * whole);
        if (rank < NARROW) cr_assert_gt(now, EXACT * whole);
        if (rank >= NARROW) cr_assert_lt(now, EXACT * whole);
        before = now;
        projection_free(&p);
    }
    spectrum_free(&s);
    free(x), free(w), free(y);
}

Test(lowrank, joint_loses_at_most_what_keys_and_values_lose_apart) { /* T5 */
    enum { RANK = 16 };
    double *both = cloud(TOKENS, 2 * OUT, 2 * OUT, 0.6, 9);
    Spectrum joint = spectrum_of(TOKENS, 2 * OUT, both);
    Moments m = moments_of(TOKENS, 2 * OUT, both);
    Spectrum part[2];
    double *block = malloc(OUT * OUT * sizeof *block);
    Error err;
    for (size_t i = 0; i < 2; i++) {
        moments_block(m.n, m.sum, i * OUT, OUT, block);
        cr_assert_eq(spectrum_new(&part[i], OUT, block, NULL, OUT, 1, &err), OK);
    }
    for (size_t first = 0; first <= RANK; first++) {
        const double apart = spectrum_tail(&part[0], first) + spectrum_tail(&part[1], RANK - first);
        cr_assert_leq(spectrum_tail(&joint, RANK), apart * (1 + EXACT), "%zu of the first", first);
    }
    /* Water-filling finds the best of these splits. */
    const size_t filled = spectrum_share(&part[0], &part[1], 1, RANK);
    const double best = spectrum_tail(&part[0], filled) + spectrum_tail(&part[1], RANK - filled);
    for (size_t first = 0; first <= RANK; first++)
        cr_assert_leq(best,
                      (spectrum_tail(&part[0], first) + spectrum_tail(&part[1], RANK - first)) *
                          (1 + EXACT));
    free(both), free(block);
    moments_free(&m);
    spectrum_free(&joint);
    spectrum_free(&part[0]);
    spectrum_free(&part[1]);
}

Test(lowrank, keys_and_values_of_mha_have_the_rank_of_their_input) { /* T6 */
    enum { D = 20 };
    double *x = cloud(TOKENS, D, D, 0.4, 10), *w = cloud(2 * D, D, D, 0.1, 11);
    double *both = product_t(TOKENS, 2 * D, D, x, w); /* n_k = n_v = D */
    Spectrum s = spectrum_of(TOKENS, 2 * D, both);
    Projection p = pca(&s, D);
    cr_assert_lt(sqrt(lost(TOKENS, 2 * D, both, &p) / squares(TOKENS * 2 * D, both)), EXACT);
    projection_free(&p);
    spectrum_free(&s);
    free(x), free(w), free(both);
}

/* |(y - y^) L|F^2 for block-diagonal L. */
static double lost_in_metric(size_t rows, size_t n, size_t width, const double *l, const double *y,
                             const Projection *p) {
    double *c = product_t(rows, p->rank, n, y, p->down), *rest = malloc(rows * n * sizeof *rest);
    memcpy(rest, y, rows * n * sizeof *rest);
    blas_gemm_f64(0, 1, rows, n, p->rank, -1, c, p->rank, p->up, p->rank, 1, rest, n);
    for (size_t b = 0; b < n / width; b++)
        blas_multiply_lower(0, rows, width, l + b * width * width, rest + b * width, n);
    const double sum = squares(rows * n, rest);
    free(c), free(rest);
    return sum;
}

Test(lowrank, a_metric_loses_the_tail_of_its_own_eigenvalues) { /* logits, outputs of W_O */
    enum { N = 24, BLOCK = 8, RANK = 9 };
    double *y = cloud(TOKENS, N, N, 0.6, 12), *queries = cloud(50, N, N, 0.9, 13);
    double *blocks = calloc(N * BLOCK, sizeof *blocks), *inside = malloc(N * N * sizeof *inside);
    for (size_t b = 0; b < N / BLOCK; b++)
        blas_gemm_f64(1, 0, BLOCK, BLOCK, 50, 1, queries + b * BLOCK, N, queries + b * BLOCK, N, 0,
                      blocks + b * BLOCK * BLOCK, BLOCK);
    Moments m = moments_of(TOKENS, N, y);
    Spectrum s;
    Projection p;
    Error err;
    cr_assert_eq(metric_factor(N, BLOCK, blocks, &err), OK);
    cr_assert_eq(metric_apply(N, BLOCK, blocks, m.sum, inside, &err), OK);
    cr_assert_eq(spectrum_new(&s, N, inside, NULL, N, 1, &err), OK);
    cr_assert_eq(projection_new(&p, N, RANK, &err), OK);
    projection_place(&p, &s, NULL, RANK, 0, 0);
    metric_return(&p, N, BLOCK, blocks, RANK, 0, 0);
    const double left = lost_in_metric(TOKENS, N, BLOCK, blocks, y, &p);
    cr_assert_lt(fabs(left - spectrum_tail(&s, RANK)), EXACT * s.trace);
    /* It beats PCA in that measure and is beaten by it in the plain one. */
    Spectrum plain = spectrum_of(TOKENS, N, y);
    Projection other = pca(&plain, RANK);
    cr_assert_gt(lost_in_metric(TOKENS, N, BLOCK, blocks, y, &other), 1.05 * left);
    cr_assert_gt(lost(TOKENS, N, y, &p), 1.05 * lost(TOKENS, N, y, &other));
    spectrum_free(&s), spectrum_free(&plain), moments_free(&m);
    projection_free(&p), projection_free(&other);
    free(y), free(queries), free(blocks), free(inside);
}

Test(lowrank, a_singular_metric_is_helped_and_one_that_is_no_number_refused) {
    double blocks[8] = { 1, 1, 1, 1, 4, 0, 0, 9 };
    Error err;
    cr_assert_eq(metric_factor(4, 2, blocks, &err), OK);
    cr_assert_float_eq(blocks[2], 1, 1e-5);
    cr_assert_float_eq(blocks[4], 2, 1e-12);
    cr_assert_float_eq(blocks[7], 3, 1e-12);
    double broken[4] = { NAN, 0, 0, 1 };
    cr_assert_eq(metric_factor(2, 2, broken, &err), ERR_MACHINE);
}

Test(lowrank, a_scale_weighs_values_and_is_taken_back) {
    enum { N = 12, RANK = 5 };
    double *y = cloud(TOKENS, N, N, 0.4, 14), *scaled = malloc(TOKENS * N * sizeof *scaled);
    double scale[N];
    for (size_t i = 0; i < N; i++) scale[i] = i < N / 2 ? 0.25 : 1;
    for (size_t i = 0; i < TOKENS * N; i++) scaled[i] = y[i] * scale[i % N];
    Moments m = moments_of(TOKENS, N, y);
    Spectrum weighed, direct = spectrum_of(TOKENS, N, scaled);
    Projection p;
    Error err;
    cr_assert_eq(spectrum_new(&weighed, N, m.sum, scale, N, 1, &err), OK);
    cr_assert_lt(fabs(weighed.trace - direct.trace), EXACT * direct.trace);
    for (size_t i = 0; i < N; i++)
        cr_assert_lt(fabs(weighed.values[i] - direct.values[i]), EXACT * direct.trace);
    cr_assert_eq(projection_new(&p, N, N, &err), OK);
    projection_place(&p, &weighed, scale, N, 0, 0);
    cr_assert_lt(lost(TOKENS, N, y, &p), EXACT * squares(TOKENS * N, y), "full rank loses nothing");
    projection_free(&p), spectrum_free(&weighed), spectrum_free(&direct), moments_free(&m);
    free(y), free(scaled);
}

Test(lowrank, floats_stream_to_the_same_moments) {
    enum { ROWS = 700, N = 9, LD = 13 };
    static float rows[ROWS * LD];
    static double wide[ROWS * N];
    for (size_t i = 0; i < ROWS * LD; i++) rows[i] = (float)random_normal(15, 1, i);
    for (size_t i = 0; i < ROWS * N; i++) wide[i] = rows[i / N * LD + i % N];
    Moments streamed, whole = moments_of(ROWS, N, wide);
    Error err;
    cr_assert_eq(moments_new(&streamed, N, &err), OK);
    for (size_t first = 0; first < ROWS; first += 333)
        moments_add(&streamed, first + 333 < ROWS ? 333 : ROWS - first, rows + first * LD, LD);
    moments_finish(&streamed);
    cr_assert_eq(streamed.rows, ROWS);
    for (size_t i = 0; i < N * N; i++)
        cr_assert_float_eq(streamed.sum[i], whole.sum[i], 1e-10 * ROWS);
    moments_free(&streamed);
    moments_free(&whole);
}

/* ---- beyond SPECTRUM_EXACT_MOST ---- */

enum { LARGE = SPECTRUM_EXACT_MOST + 4, STEEP_ROWS = 100 };

static double *large_moments(double *trace) {
    double *y = cloud(STEEP_ROWS, LARGE, STEEP_ROWS, 0.8, 16);
    Moments m = moments_of(STEEP_ROWS, LARGE, y);
    *trace = squares(STEEP_ROWS * LARGE, y);
    free(y);
    free(m.slab);
    return m.sum;
}

/* The eigenvalues that y y^T, which is small, shares with y^T y. */
static Spectrum small_side(void) {
    double *y = cloud(STEEP_ROWS, LARGE, STEEP_ROWS, 0.8, 16);
    double *gram = product_t(STEEP_ROWS, STEEP_ROWS, LARGE, y, y);
    Spectrum s;
    Error err;
    cr_assert_eq(spectrum_new(&s, STEEP_ROWS, gram, NULL, STEEP_ROWS, 1, &err), OK);
    free(y), free(gram);
    return s;
}

Test(lowrank, the_randomised_subspace_is_within_a_percent_of_the_best) {
    enum { RANK = 20 };
    double trace;
    double *moments = large_moments(&trace);
    Spectrum s, again, exact = small_side();
    Error err;
    cr_assert_eq(spectrum_new(&s, LARGE, moments, NULL, RANK, 1, &err), OK);
    cr_assert_eq(spectrum_new(&again, LARGE, moments, NULL, RANK, 1, &err), OK);
    cr_assert_eq(s.count, RANK);
    cr_assert_eq(memcmp(s.vectors, again.vectors, RANK * LARGE * sizeof *s.vectors), 0);
    const double best = spectrum_tail(&exact, RANK), left = spectrum_tail(&s, RANK);
    cr_assert_gt(best, 0.01 * trace, "the case must leave something to lose");
    cr_assert_geq(left, best * (1 - 1e-6));
    cr_assert_leq(left, best * 1.01, "%g over %g", left, best);
    for (size_t i = 0; i < RANK; i++)
        for (size_t j = 0; j <= i; j++) {
            double dot = 0;
            for (size_t d = 0; d < LARGE; d++)
                dot += s.vectors[i * LARGE + d] * s.vectors[j * LARGE + d];
            cr_assert_lt(fabs(dot - (i == j)), 1e-10);
        }
    spectrum_free(&s), spectrum_free(&again), spectrum_free(&exact);
    free(moments);
}

Test(lowrank, a_rank_that_cannot_be_is_refused) {
    const double moments[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    Spectrum s;
    Error err;
    cr_assert_eq(spectrum_new(&s, 3, moments, NULL, 4, 1, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "width 3"));
    double w[6] = { 1, 2, 3, 4, 5, 6 }, gram[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 }, up[6], down[9];
    cr_assert_eq(whitened_factors(2, 3, w, gram, 3, up, down, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "width 2"));
}
