/* linear.h -- y = x w^T for any number of rows: few by skinny.h, many by BLAS. */
#ifndef KVLAB_LINEAR_H
#define KVLAB_LINEAR_H

#include "skinny.h"

/* y[r, o] = sum_i x[r, i] w[o, i] as skinny_linear; weights that are not f32 never go to BLAS,
 * which has no product for them. BLAS takes the threads of blas_set_threads. */
void linear(const Kernels *kernels, int threads, size_t rows, size_t out, size_t in, const float *x,
            size_t ld_x, RowType type, const void *w, float *y, size_t ld_y);

#endif
