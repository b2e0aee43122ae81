/* whitened.h -- low rank from weights and input moments: whitened singular value decomposition. */
#ifndef KVLAB_WHITENED_H
#define KVLAB_WHITENED_H

#include <stddef.h>

#include "error.h"

/* The best rank-r factors of y = w x for inputs with moments G = sum x x^T = L L^T: with
 * w L = U S Z^T, up [n, rank] = U_r and down [rank, cols] = S_r Z_r^T L^-1 (SVD-LLM, arXiv
 * 2403.07378; Palu, 2407.21118). up down w is the same map as PCA of y, by another way.
 * w [n, cols]; gram [cols, cols] becomes L. up and down are dense.
 * Errors: ERR_INPUT for a rank above n or cols; ERR_MACHINE from memory or LAPACK. */
Status whitened_factors(size_t n, size_t cols, const double *w, double *gram, size_t rank,
                        double *up, double *down, Error *err);

#endif
