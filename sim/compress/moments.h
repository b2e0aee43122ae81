/* moments.h -- second moments y^T y of rows of activations, summed while they stream by: what is
 * held is n x n, whatever the number of rows. */
#ifndef KVLAB_MOMENTS_H
#define KVLAB_MOMENTS_H

#include <stddef.h>

#include "error.h"

typedef struct {
    size_t n, rows;
    double *sum;  /* [n, n]; both triangles are right after moments_finish */
    double *slab; /* rows widened to double, some at a time */
} Moments;

/* Zeroed room. Errors: ERR_MACHINE. Release with moments_free. */
Status moments_new(Moments *moments, size_t n, Error *err);
void moments_free(Moments *moments);

/* Adds rows y [rows, n] of stride ld; float rows are widened first. */
void moments_add(Moments *moments, size_t rows, const float *y, size_t ld);
void moments_add_f64(Moments *moments, size_t rows, const double *y, size_t ld);

/* Makes sum symmetric: to be called after the last row and before the first reading. */
void moments_finish(Moments *moments);

/* The block of values first .. first + count - 1 of moments [n, n], dense into out. */
void moments_block(size_t n, const double *sum, size_t first, size_t count, double *out);

/* y^T y of the weights' rows, w w^T [n, n], into a matrix; w [n, cols]. The moments of white input.
 * Errors: ERR_MACHINE. */
Status moments_of_weights(size_t n, size_t cols, const float *w, double *sum, Error *err);

#endif
