/* lowrank.c -- exact and randomised PCA; see lowrank.h. */
#include "lowrank.h"

#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "random.h"

enum { EXACT_MOST = 1024, OVERSAMPLING = 16, POWER_STEPS = 2, STREAM = 0x10a7 };

static Status exact_basis(size_t tokens, size_t n, const double *y, size_t rank, double *basis,
                          Error *err) {
    double *moment = NULL, *values = NULL;
    Status status = BUFFER(&moment, n * n, "second moments", err);
    if (status == OK) status = BUFFER(&values, n, "eigenvalues", err);
    if (status == OK) {
        blas_gemm_f64(1, 0, n, n, tokens, 1, y, n, y, n, 0, moment, n);
        const int info = blas_eigh(n, moment, values);
        if (info) status = fail(err, ERR_MACHINE, "eigenvalues of %zu moments: LAPACK %d", n, info);
    }
    if (status == OK) memcpy(basis, moment, rank * n * sizeof *basis);
    buffer_free(moment);
    buffer_free(values);
    return status;
}

/* Work of the randomised iteration over l = rank + oversampling directions. */
typedef struct {
    size_t l;
    double *left;   /* [tokens, l] */
    double *right;  /* [n, l] */
    double *small;  /* [l, l] */
    double *values; /* [l] */
} Sketch;

static Status sketch_alloc(Sketch *s, size_t tokens, size_t n, size_t rank, Error *err) {
    const size_t least = tokens < n ? tokens : n;
    s->l = rank + OVERSAMPLING < least ? rank + OVERSAMPLING : least;
    TRY(BUFFER(&s->left, tokens * s->l, "left subspace", err));
    TRY(BUFFER(&s->right, n * s->l, "right subspace", err));
    TRY(BUFFER(&s->small, s->l * s->l, "projected moments", err));
    return BUFFER(&s->values, s->l, "eigenvalues", err);
}

static void sketch_free(Sketch *s) {
    buffer_free(s->left);
    buffer_free(s->right);
    buffer_free(s->small);
    buffer_free(s->values);
}

/* right becomes an orthonormal basis that leans to the leading right singular vectors of y.
 * LAPACK's info. */
static int sketch_iterate(Sketch *s, size_t tokens, size_t n, const double *y, uint64_t seed) {
    for (size_t i = 0; i < n * s->l; i++) s->right[i] = random_normal(seed, STREAM, i);
    for (int step = 0; step <= POWER_STEPS; step++) {
        blas_gemm_f64(0, 0, tokens, s->l, n, 1, y, n, s->right, s->l, 0, s->left, s->l);
        int info = blas_orthonormalise(tokens, s->l, s->left);
        if (info) return info;
        blas_gemm_f64(1, 0, n, s->l, tokens, 1, y, n, s->left, s->l, 0, s->right, s->l);
        info = blas_orthonormalise(n, s->l, s->right);
        if (info) return info;
    }
    return 0;
}

/* basis: the principal axes of y within the subspace. LAPACK's info. */
static int sketch_rotate(Sketch *s, size_t tokens, size_t n, const double *y, size_t rank,
                         double *basis) {
    blas_gemm_f64(0, 0, tokens, s->l, n, 1, y, n, s->right, s->l, 0, s->left, s->l);
    blas_gemm_f64(1, 0, s->l, s->l, tokens, 1, s->left, s->l, s->left, s->l, 0, s->small, s->l);
    const int info = blas_eigh(s->l, s->small, s->values);
    if (info == 0)
        blas_gemm_f64(0, 1, rank, n, s->l, 1, s->small, s->l, s->right, s->l, 0, basis, n);
    return info;
}

static Status random_basis(size_t tokens, size_t n, const double *y, size_t rank, uint64_t seed,
                           double *basis, Error *err) {
    Sketch s = { 0 };
    Status status = sketch_alloc(&s, tokens, n, rank, err);
    if (status == OK) {
        int info = sketch_iterate(&s, tokens, n, y, seed);
        if (info == 0) info = sketch_rotate(&s, tokens, n, y, rank, basis);
        if (info)
            status = fail(err, ERR_MACHINE, "subspace of %zu directions: LAPACK %d", s.l, info);
    }
    sketch_free(&s);
    return status;
}

Status lowrank_basis(size_t tokens, size_t n, const double *y, size_t rank, uint64_t seed,
                     double *basis, Error *err) {
    if (rank > n) return fail(err, ERR_INPUT, "rank %zu is above the width %zu", rank, n);
    if (rank > tokens)
        return fail(err, ERR_INPUT, "rank %zu needs at least as many calibration tokens, not %zu",
                    rank, tokens);
    if (n <= EXACT_MOST) return exact_basis(tokens, n, y, rank, basis, err);
    return random_basis(tokens, n, y, rank, seed, basis, err);
}
