/* skinny.h -- products of few rows with a matrix of weights: y = x w^T, the weights read once.
 *
 * What BLAS is made for needs many rows: it packs all weights at each call, several times the time
 * that reading them takes. Here they are read where they lie, in the type that they are stored in.
 */
#ifndef KVLAB_SKINNY_H
#define KVLAB_SKINNY_H

#include "kernel.h"

/* Up to so many rows this is faster than BLAS on weights out of cache. */
enum { SKINNY_ROWS_MAX = 16 };

/* y[r, o] = sum_i x[r, i] w[o, i]: x [rows, in] of stride ld_x, w [out, in] dense in f32, bf16 or
 * f16, y of stride ld_y. Any number of rows; x, w and y apart. Starts threads of its own: call it
 * outside of parallel regions. */
void skinny_linear(const Kernels *kernels, int threads, size_t rows, size_t out, size_t in,
                   const float *x, size_t ld_x, RowType type, const void *w, float *y, size_t ld_y);

#endif
