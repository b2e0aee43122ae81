/* rorope.c -- Hermitian moments of each fold and their eigenvectors; see rorope.h. */
#include "rorope.h"

#include "blas.h"
#include "buffer.h"

/* Which row of a head of `dim` values holds the real (part 0) or imaginary (1) part of a pair. */
static size_t pair_row(bool interleaved, size_t dim, size_t pair, size_t part) {
    return interleaved ? 2 * pair + part : pair + part * (dim / 2);
}

/* Row of a part of number a of a fold: its head and its frequency among those of the fold. */
static size_t number_row(const Rorope *r, size_t fold, size_t a, size_t part) {
    const size_t head = a / r->fold, frequency = fold * r->fold + a % r->fold;
    return head * r->width + pair_row(r->rope->interleaved, r->rope->dim, frequency, part);
}

static size_t folds(const Rorope *r) {
    return r->rope->dim / 2 / r->fold;
}

size_t rorope_slots(const Rorope *r) {
    return folds(r) * r->kept;
}

/* M_ab = sum z_a conj(z_b) from the moments of the parts: (xx + yy) + j (yx - xy). A real basis
 * leaves out the imaginary part. */
static void fold_moments(const Rorope *r, size_t fold, const double *moments, size_t ld,
                         double *out) {
    const size_t numbers = r->heads * r->fold;
    for (size_t a = 0; a < numbers; a++)
        for (size_t b = 0; b < numbers; b++) {
            const double *x = moments + number_row(r, fold, a, 0) * ld;
            const double *y = moments + number_row(r, fold, a, 1) * ld;
            const size_t bx = number_row(r, fold, b, 0), by = number_row(r, fold, b, 1);
            out[2 * (a * numbers + b)] = x[bx] + y[by];
            out[2 * (a * numbers + b) + 1] = r->real ? 0 : y[bx] - x[by];
        }
}

/* Eigenvector u of a slot as two real columns: the parts of u^H z, and back. */
static void place(const Rorope *r, size_t fold, size_t slot, const double *u, double *basis) {
    const size_t width = 2 * rorope_slots(r);
    double *re = basis + pair_row(r->interleaved, width, slot, 0);
    double *im = basis + pair_row(r->interleaved, width, slot, 1);
    for (size_t a = 0; a < r->heads * r->fold; a++) {
        const size_t x = number_row(r, fold, a, 0) * width, y = number_row(r, fold, a, 1) * width;
        re[x] = u[2 * a];
        re[y] = u[2 * a + 1];
        im[x] = -u[2 * a + 1];
        im[y] = u[2 * a];
    }
}

static Status check(const Rorope *r, Error *err) {
    const size_t pairs = r->rope->dim / 2;
    if (r->fold == 0 || pairs % r->fold)
        return fail(err, ERR_INPUT, "a fold of %zu frequencies does not divide the %zu of a head",
                    r->fold, pairs);
    if (r->kept == 0 || r->kept > r->heads * r->fold)
        return fail(err, ERR_INPUT,
                    "%zu rotated components a fold; 1 to %zu (heads times frequencies) are there",
                    r->kept, r->heads * r->fold);
    return OK;
}

Status rorope_basis(const Rorope *r, const double *moments, size_t ld, double *basis, Error *err) {
    TRY(check(r, err));
    const size_t numbers = r->heads * r->fold, width = 2 * rorope_slots(r);
    double *matrix = NULL, *values = NULL;
    Status status = BUFFER(&matrix, 2 * numbers * numbers, "moments of a frequency", err);
    if (status == OK) status = BUFFER(&values, numbers, "eigenvalues", err);
    for (size_t i = 0; status == OK && i < r->heads * r->width * width; i++) basis[i] = 0;
    for (size_t fold = 0; status == OK && fold < folds(r); fold++) {
        fold_moments(r, fold, moments, ld, matrix);
        const int info = blas_eigh_complex(numbers, matrix, values);
        if (info)
            status = fail(err, ERR_MACHINE, "eigenvectors of %zu key components: LAPACK %d",
                          numbers, info);
        for (size_t i = 0; status == OK && i < r->kept; i++)
            place(r, fold, fold * r->kept + i, matrix + 2 * i * numbers, basis);
    }
    buffer_free(values);
    buffer_free(matrix);
    return status;
}

Status rorope_remove(const Rorope *r, const double *basis, size_t cols, double *rows, size_t ld,
                     Error *err) {
    const size_t n = r->heads * r->width, width = 2 * rorope_slots(r);
    double *part = NULL;
    TRY(BUFFER(&part, width * cols, "rotated components", err));
    blas_gemm_f64(1, 0, width, cols, n, 1, basis, width, rows, ld, 0, part, cols);
    blas_gemm_f64(0, 0, n, cols, width, -1, basis, width, part, cols, 1, rows, ld);
    buffer_free(part);
    return OK;
}
