/* lowrank.h -- low-rank maps of activations: the leading subspace of second moments, and the pairs
 * of projections that methods make of it.
 *
 * Rows y [n] with moments M = sum y^T y. A Projection keeps c = down y (r values) and gives back
 * y^ = up c. The best one of rank r for |y - y^|F has the r leading eigenvectors of M as rows of
 * down and columns of up, and loses the sum of the other eigenvalues (uncentred principal component
 * analysis, PCA). With a metric L the error |(y - y^) L|F is least instead: PCA of y L, taken back.
 *
 * Everything is in double. */
#ifndef KVLAB_LOWRANK_H
#define KVLAB_LOWRANK_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Up to this width the decomposition is LAPACK's, all n vectors (dsyevd). */
enum { SPECTRUM_EXACT_MOST = 4096 };

typedef struct {
    size_t n;
    size_t count;    /* vectors held: n where exact, else at least the rank asked for */
    double *values;  /* [count], descending; rounding below zero is cut off */
    double *vectors; /* [count, n], orthonormal rows */
    double trace;    /* the sum of all n eigenvalues */
} Spectrum;

/* Eigenvalues and vectors of moments [n, n], which are left as they are, multiplied on both sides
 * by diag(scale) where scale is not NULL. Exact up to n = SPECTRUM_EXACT_MOST; beyond it `rank`
 * leading ones by a randomised subspace iteration with 16 more directions and two power steps
 * (Halko, Martinsson, Tropp 2011, arXiv 0909.4061), whose draws follow from seed.
 * Errors: ERR_INPUT for a rank above n; ERR_MACHINE from memory or LAPACK. Release with
 * spectrum_free. */
Status spectrum_new(Spectrum *spectrum, size_t n, const double *moments, const double *scale,
                    size_t rank, uint64_t seed, Error *err);
void spectrum_free(Spectrum *spectrum);

/* What PCA to that rank loses: the sum of the eigenvalues from `rank` on. */
double spectrum_tail(const Spectrum *spectrum, size_t rank);

/* How the leading components of two spectra are shared out so that `budget` of them lose least in
 * the sum of squares: the largest eigenvalues of both, those of the first times `weight`. Returns
 * how many of the first (water-filling). Both must hold min(budget, n) values. */
size_t spectrum_share(const Spectrum *first, const Spectrum *second, double weight, size_t budget);

typedef struct {
    size_t n, rank;
    double *down; /* [rank, n] */
    double *up;   /* [n, rank] */
} Projection;

/* Zeroed room. Errors: ERR_MACHINE. Release with projection_free. */
Status projection_new(Projection *projection, size_t n, size_t rank, Error *err);
void projection_free(Projection *projection);

/* PCA: the `rank` leading vectors of the spectrum into row `row` on and column `column` on of a
 * projection's down and up, those of the spectrum scaled by diag(scale) (NULL: 1) taken back. */
void projection_place(Projection *projection, const Spectrum *spectrum, const double *scale,
                      size_t rank, size_t first_component, size_t first_value);

/* moments' = L^T moments L for a metric that is block-diagonal: lower triangular blocks
 * [n / width, width, width]. Errors: ERR_MACHINE. */
Status metric_apply(size_t n, size_t width, const double *blocks, const double *moments,
                    double *out, Error *err);

/* Makes each block [width, width] of a positive metric its Cholesky factor L. A block that is
 * singular gets a growing share of its mean diagonal added first, 1e-12 at least.
 * Errors: ERR_MACHINE when that does not help (a value is not finite). */
Status metric_factor(size_t n, size_t width, double *blocks, Error *err);

/* Takes components of y L back to y: down <- down L^T on values first_value .. + n, and
 * up <- L^-T up, for components first_component .. + rank that projection_place put there. */
void metric_return(Projection *projection, size_t n, size_t width, const double *blocks,
                   size_t rank, size_t first_component, size_t first_value);

#endif
