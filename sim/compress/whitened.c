/* whitened.c -- Cholesky, SVD, and back through the triangle; see whitened.h. */
#include "whitened.h"

#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "lowrank.h"

typedef struct {
    double *white;  /* [n, cols] w L, destroyed by the decomposition */
    double *values; /* [min(n, cols)] */
    double *right;  /* [min(n, cols), cols] */
} Work;

static Status decompose(size_t n, size_t cols, const double *w, const double *factor, Work *work,
                        Error *err) {
    memcpy(work->white, w, n * cols * sizeof *w);
    blas_multiply_lower(0, n, cols, factor, work->white, cols);
    const int info = blas_svd(n, cols, work->white, work->values, work->right);
    if (info)
        return fail(err, ERR_MACHINE, "singular values of %zu x %zu weights: LAPACK %d", n, cols,
                    info);
    return OK;
}

/* up = w L Z_r S_r^-1 = U_r, down = S_r Z_r^T L^-1. */
static void compose(size_t n, size_t cols, const double *w, const double *factor, size_t rank,
                    Work *work, double *up, double *down) {
    memcpy(work->white, w, n * cols * sizeof *w);
    blas_multiply_lower(0, n, cols, factor, work->white, cols);
    blas_gemm_f64(0, 1, n, rank, cols, 1, work->white, cols, work->right, cols, 0, up, rank);
    for (size_t r = 0; r < rank; r++) {
        const double value = work->values[r];
        for (size_t i = 0; i < n; i++) up[i * rank + r] *= value > 0 ? 1 / value : 0;
        for (size_t c = 0; c < cols; c++) down[r * cols + c] = value * work->right[r * cols + c];
    }
    blas_solve_lower(0, rank, cols, factor, down, cols);
}

Status whitened_factors(size_t n, size_t cols, const double *w, double *gram, size_t rank,
                        double *up, double *down, Error *err) {
    const size_t least = n < cols ? n : cols;
    if (rank > least) return fail(err, ERR_INPUT, "rank %zu is above the width %zu", rank, least);
    TRY(metric_factor(cols, cols, gram, err));
    Work work = { 0 };
    Status status = BUFFER(&work.white, n * cols, "whitened weights", err);
    if (status == OK) status = BUFFER(&work.values, least, "singular values", err);
    if (status == OK) status = BUFFER(&work.right, least * cols, "singular vectors", err);
    if (status == OK) status = decompose(n, cols, w, gram, &work, err);
    if (status == OK) compose(n, cols, w, gram, rank, &work, up, down);
    buffer_free(work.right);
    buffer_free(work.values);
    buffer_free(work.white);
    return status;
}
