/* linear.c -- the choice between the two products; see linear.h. */
#include "linear.h"

#include "blas.h"

void linear(const Kernels *kernels, int threads, size_t rows, size_t out, size_t in, const float *x,
            size_t ld_x, RowType type, const void *w, float *y, size_t ld_y) {
    if (rows > SKINNY_ROWS_MAX && type == ROW_F32)
        blas_linear(rows, out, in, x, ld_x, w, y, ld_y);
    else
        skinny_linear(kernels, threads, rows, out, in, x, ld_x, type, w, y, ld_y);
}
