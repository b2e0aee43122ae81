/* lowrank.h -- the leading subspace of a cloud of rows: uncentred principal component analysis. */
#ifndef KVLAB_LOWRANK_H
#define KVLAB_LOWRANK_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* basis [rank, n]: orthonormal rows spanning the rank leading right singular vectors of y
 * [tokens, n], largest first, so that |y - y basis^T basis|F is least. Exact (eigenvectors of
 * y^T y) up to n = 1,024; beyond it a randomised subspace iteration with 16 more directions and two
 * power steps (Halko, Martinsson, Tropp 2011), whose draws follow from seed.
 * Errors: ERR_INPUT when rank exceeds n or tokens; ERR_MACHINE from memory or LAPACK. */
Status lowrank_basis(size_t tokens, size_t n, const double *y, size_t rank, uint64_t seed,
                     double *basis, Error *err);

#endif
