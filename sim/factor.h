/* factor.h -- weight matrices from structured orthogonal factors, and what is done to their rows.
 *
 *   W = gain U diag(i^-decay) B^T
 *
 * U [rows, rows] and the columns of B [cols, min(rows, cols)] are random orthogonal; the leading
 * columns of B are blended with given axes, the principal axes of what the matrix will be applied
 * to. W is written where it lies, in O(elements log elements).
 *
 * The sums here are our own loops, not BLAS, whose rounding depends on its threads: weights have
 * the same bits for any number of them. */
#ifndef KVLAB_FACTOR_H
#define KVLAB_FACTOR_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Some rows of a matrix [.., cols]: out of every `stride` rows the `block` from `first` on, as a
 * head's key rows among its key and value rows. */
typedef struct {
    float *w;
    size_t count, cols; /* rows in all */
    size_t block, stride, first;
} Rows;

/* All rows of a dense matrix. */
Rows rows_dense(float *w, size_t count, size_t cols);

/* Row i < count. */
float *rows_at(const Rows *rows, size_t i);

typedef struct {
    uint64_t seed, stream;
    double decay;
    const float *axes; /* [axis_count, cols], orthonormal; NULL when axis_count is 0 */
    size_t axis_count;
    double blend;      /* share of the axis in a leading column of B; the rest is random */
    const float *gain; /* [rows], or NULL for ones */
} Factor;

/* Writes W. Errors: ERR_MACHINE for lack of memory. */
Status factor_fill(const Rows *rows, const Factor *factor, Error *err);

/* W <- scale W, W <- W + u v^T with u [rows], v [cols]. */
void rows_scale(const Rows *rows, double scale);
void rows_add_outer(const Rows *rows, const float *u, const float *v);

/* out[t, i] = <x_t, W_(from+i)>, i < count: x [tokens, cols], out with row stride ld_out. */
void rows_product(const Rows *rows, size_t from, size_t count, size_t tokens, const float *x,
                  float *out, size_t ld_out);

/* <a, b> over n floats, in a fixed order of additions. */
float factor_dot(size_t n, const float *a, const float *b);

#endif
