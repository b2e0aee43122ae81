/* Laws of principal component analysis: the error is the tail of the spectrum, and the randomised
 * subspace is as good as the exact one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "lowrank.h"
#include "random.h"

/* y [tokens, n] with singular directions at random and a power-law spectrum. */
static double *cloud(size_t tokens, size_t n, size_t directions, double decay, uint64_t seed) {
    double *left = malloc(tokens * directions * sizeof *left);
    double *right = malloc(directions * n * sizeof *right);
    double *y = calloc(tokens * n, sizeof *y);
    for (size_t i = 0; i < tokens * directions; i++)
        left[i] = random_normal(seed, 1, i) * pow((double)(i % directions + 1), -decay);
    for (size_t i = 0; i < directions * n; i++) right[i] = random_normal(seed, 2, i);
    blas_gemm_f64(0, 0, tokens, n, directions, 1, left, directions, right, n, 0, y, n);
    free(left);
    free(right);
    return y;
}

/* |y - y b^T b|F^2 and |y|F^2 */
static double residual(size_t tokens, size_t n, size_t rank, const double *y, const double *basis,
                       double *whole) {
    double *part = malloc(tokens * rank * sizeof *part), *rest = malloc(tokens * n * sizeof *rest);
    memcpy(rest, y, tokens * n * sizeof *rest);
    blas_gemm_f64(0, 1, tokens, rank, n, 1, y, n, basis, n, 0, part, rank);
    blas_gemm_f64(0, 0, tokens, n, rank, -1, part, rank, basis, n, 1, rest, n);
    double sum = 0;
    *whole = 0;
    for (size_t i = 0; i < tokens * n; i++) sum += rest[i] * rest[i], *whole += y[i] * y[i];
    free(part);
    free(rest);
    return sum;
}

static double tail(size_t tokens, size_t n, size_t rank, const double *y) {
    double *moment = malloc(n * n * sizeof *moment), *values = malloc(n * sizeof *values);
    blas_gemm_f64(1, 0, n, n, tokens, 1, y, n, y, n, 0, moment, n);
    cr_assert_eq(blas_eigh(n, moment, values), 0);
    double sum = 0;
    for (size_t i = rank; i < n; i++) sum += values[i];
    free(moment);
    free(values);
    return sum;
}

Test(lowrank, the_squared_error_is_the_tail_of_the_eigenvalues) {
    enum { TOKENS = 300, N = 48 };
    double *y = cloud(TOKENS, N, N, 0.7, 3), *basis = malloc(N * N * sizeof *basis);
    for (size_t rank = 1; rank <= N; rank += 7) {
        Error err;
        double whole;
        cr_assert_eq(lowrank_basis(TOKENS, N, y, rank, 1, basis, &err), OK);
        const double left = residual(TOKENS, N, rank, y, basis, &whole);
        cr_assert_lt(fabs(left - tail(TOKENS, N, rank, y)), 1e-9 * whole, "rank %zu", rank);
    }
    free(y);
    free(basis);
}

Test(lowrank, the_randomised_subspace_is_within_a_percent_of_the_best) {
    enum { TOKENS = 400, N = 1500, RANK = 40 };
    double *y = cloud(TOKENS, N, 200, 0.8, 4), *basis = malloc(RANK * N * sizeof *basis);
    Error err;
    double whole;
    cr_assert_eq(lowrank_basis(TOKENS, N, y, RANK, 1, basis, &err), OK);
    const double best = tail(TOKENS, N, RANK, y);
    const double left = residual(TOKENS, N, RANK, y, basis, &whole);
    cr_assert_gt(best, 0.01 * whole, "the case must leave something to lose");
    cr_assert_geq(left, best * (1 - 1e-9));
    cr_assert_leq(left, best * 1.01, "%g over %g", left, best);
    for (size_t i = 0; i < RANK; i++)
        for (size_t j = 0; j <= i; j++) {
            double dot = 0;
            for (size_t d = 0; d < N; d++) dot += basis[i * N + d] * basis[j * N + d];
            cr_assert_lt(fabs(dot - (i == j)), 1e-10);
        }
    free(y);
    free(basis);
}

Test(lowrank, the_randomised_subspace_follows_its_seed) {
    enum { TOKENS = 40, N = 1100, RANK = 4 };
    double *y = cloud(TOKENS, N, TOKENS, 0.99, 4), *basis[3];
    const uint64_t seeds[] = { 1, 1, 2 };
    Error err;
    for (size_t i = 0; i < 3; i++) {
        basis[i] = malloc(RANK * N * sizeof **basis);
        cr_assert_eq(lowrank_basis(TOKENS, N, y, RANK, seeds[i], basis[i], &err), OK);
    }
    const size_t size = RANK * N * sizeof **basis;
    cr_assert_eq(memcmp(basis[0], basis[1], size), 0);
    cr_assert_neq(memcmp(basis[0], basis[2], size), 0);
    for (size_t i = 0; i < 3; i++) free(basis[i]);
    free(y);
}

Test(lowrank, a_rank_that_cannot_be_is_refused) {
    double y[6] = { 1, 2, 3, 4, 5, 6 }, basis[36];
    Error err;
    cr_assert_eq(lowrank_basis(2, 3, y, 4, 1, basis, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "width 3"));
    cr_assert_eq(lowrank_basis(2, 3, y, 3, 1, basis, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "calibration tokens"));
}
