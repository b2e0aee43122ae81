/* moments.c -- sums of y^T y by symmetric rank-k updates; see moments.h. */
#include "moments.h"

#include <string.h>

#include "blas.h"
#include "buffer.h"

/* Rows that are widened to double at a time. */
enum { SLAB_ROWS = 256, TILE = 64 };

Status moments_new(Moments *moments, size_t n, Error *err) {
    *moments = (Moments){ .n = n };
    Status status = BUFFER(&moments->sum, n * n, "second moments", err);
    if (status == OK) status = BUFFER(&moments->slab, SLAB_ROWS * n, "rows of activations", err);
    if (status != OK) moments_free(moments);
    return status;
}

void moments_free(Moments *moments) {
    buffer_free(moments->sum);
    buffer_free(moments->slab);
    *moments = (Moments){ 0 };
}

void moments_add_f64(Moments *moments, size_t rows, const double *y, size_t ld) {
    blas_syrk_f64(moments->n, rows, y, ld, moments->sum);
    moments->rows += rows;
}

void moments_add(Moments *moments, size_t rows, const float *y, size_t ld) {
    const size_t n = moments->n;
    for (size_t first = 0; first < rows; first += SLAB_ROWS) {
        const size_t some = rows - first < SLAB_ROWS ? rows - first : SLAB_ROWS;
#pragma omp parallel for
        for (size_t r = 0; r < some; r++)
            for (size_t i = 0; i < n; i++) moments->slab[r * n + i] = y[(first + r) * ld + i];
        moments_add_f64(moments, some, moments->slab, n);
    }
}

/* Copies the lower triangle to the upper one, tile by tile so that both stay in the cache. */
static void mirror(size_t n, double *a) {
#pragma omp parallel for schedule(dynamic)
    for (size_t top = 0; top < n; top += TILE)
        for (size_t left = 0; left <= top; left += TILE)
            for (size_t i = top; i < top + TILE && i < n; i++)
                for (size_t j = left; j < left + TILE && j < i; j++) a[j * n + i] = a[i * n + j];
}

void moments_finish(Moments *moments) {
    mirror(moments->n, moments->sum);
}

void moments_block(size_t n, const double *sum, size_t first, size_t count, double *out) {
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * count, sum + (first + i) * n + first, count * sizeof *out);
}

Status moments_of_weights(size_t n, size_t cols, const float *w, double *sum, Error *err) {
    double *slab = NULL; /* a slice of columns, [SLAB_ROWS, n] */
    TRY(BUFFER(&slab, SLAB_ROWS * n, "a slice of weights", err));
    for (size_t i = 0; i < n * n; i++) sum[i] = 0;
    for (size_t first = 0; first < cols; first += SLAB_ROWS) {
        const size_t some = cols - first < SLAB_ROWS ? cols - first : SLAB_ROWS;
#pragma omp parallel for
        for (size_t c = 0; c < some; c++)
            for (size_t i = 0; i < n; i++) slab[c * n + i] = w[i * cols + first + c];
        blas_syrk_f64(n, some, slab, n, sum);
    }
    mirror(n, sum);
    buffer_free(slab);
    return OK;
}
