/* lowrank.c -- projections out of spectra, and metrics; see lowrank.h. */
#include "lowrank.h"

#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"

Status projection_new(Projection *projection, size_t n, size_t rank, Error *err) {
    *projection = (Projection){ .n = n, .rank = rank };
    Status status = BUFFER(&projection->down, rank * n, "down-projection", err);
    if (status == OK) status = BUFFER(&projection->up, n * rank, "up-projection", err);
    if (status != OK) projection_free(projection);
    return status;
}

void projection_free(Projection *projection) {
    buffer_free(projection->down);
    buffer_free(projection->up);
    *projection = (Projection){ 0 };
}

void projection_place(Projection *projection, const Spectrum *spectrum, const double *scale,
                      size_t rank, size_t first_component, size_t first_value) {
    Projection *p = projection;
#pragma omp parallel for
    for (size_t r = 0; r < rank; r++)
        for (size_t i = 0; i < spectrum->n; i++) {
            const double e = spectrum->vectors[r * spectrum->n + i], s = scale ? scale[i] : 1;
            p->down[(first_component + r) * p->n + first_value + i] = e * s;
            p->up[(first_value + i) * p->rank + first_component + r] = e / s;
        }
}

/* ---- metrics ---- */

/* out [.., ld] <- block^T times `width` rows of m. */
static void multiply_rows(size_t n, size_t width, const double *blocks, const double *m,
                          double *out) {
    for (size_t b = 0; b < n / width; b++)
        blas_gemm_f64(1, 0, width, n, width, 1, blocks + b * width * width, width,
                      m + b * width * n, n, 0, out + b * width * n, n);
}

Status metric_apply(size_t n, size_t width, const double *blocks, const double *moments,
                    double *out, Error *err) {
    double *half = NULL; /* L^T M; by symmetry its transpose is M L */
    TRY(BUFFER(&half, n * n, "moments in a metric", err));
    multiply_rows(n, width, blocks, moments, half);
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            const double x = half[i * n + j];
            half[i * n + j] = half[j * n + i];
            half[j * n + i] = x;
        }
    multiply_rows(n, width, blocks, half, out);
    buffer_free(half);
    return OK;
}

/* The factor of one block; `work` holds a copy to begin again from. */
static int factor_block(size_t width, double *block, double *work) {
    memcpy(work, block, width * width * sizeof *work);
    double mean = 0;
    for (size_t i = 0; i < width; i++) mean += block[i * width + i] / (double)width;
    double added = 0;
    for (double share = 1e-12; share < 1e-3; share *= 10) {
        if (blas_cholesky(width, block) == 0) return 0;
        added += share * (mean > 0 ? mean : 1);
        memcpy(block, work, width * width * sizeof *block);
        for (size_t i = 0; i < width; i++) block[i * width + i] += added;
    }
    return blas_cholesky(width, block);
}

Status metric_factor(size_t n, size_t width, double *blocks, Error *err) {
    double *work = NULL;
    TRY(BUFFER(&work, width * width, "a metric", err));
    int info = 0;
    for (size_t b = 0; b < n / width && info == 0; b++)
        info = factor_block(width, blocks + b * width * width, work);
    buffer_free(work);
    if (info)
        return fail(err, ERR_MACHINE, "a metric of %zu values is not positive: LAPACK %d", width,
                    info);
    return OK;
}

void metric_return(Projection *projection, size_t n, size_t width, const double *blocks,
                   size_t rank, size_t first_component, size_t first_value) {
    Projection *p = projection;
    for (size_t b = 0; b < n / width; b++) {
        const double *l = blocks + b * width * width;
        const size_t value = first_value + b * width;
        double *down = p->down + first_component * p->n + value;
        double *up = p->up + value * p->rank + first_component;
        /* c = E^T L^T y: rows of down times L^T. */
        blas_multiply_lower(1, rank, width, l, down, p->n);
        /* y^ = L^-T E c: up <- L^-T up. */
        blas_solve_lower_left(1, width, rank, l, up, p->rank);
    }
}
