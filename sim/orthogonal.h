/* orthogonal.h -- random orthogonal matrices that cost O(n log n) to apply, for any n.
 *
 * Q = (W S P) (W S P): P a random permutation, S random signs, W the orthonormal Hadamard transform
 * where n is a power of two, else that of the first 2^k entries, signs, and that of the last 2^k,
 * 2^k the largest power of two below n. Each factor is orthogonal, so Q is, and two rounds leave
 * entries that look normal with variance 1/n. Nothing of size n x n is ever held.
 */
#ifndef KVLAB_ORTHOGONAL_H
#define KVLAB_ORTHOGONAL_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { ORTHOGONAL_ROUNDS = 2, ORTHOGONAL_LANES = 16 };

typedef struct {
    size_t n;
    uint32_t *order; /* [rounds, n] */
    float *sign;     /* [rounds, 2, n]: before the first window and before the last */
} Orthogonal;

/* The matrix of (seed, stream); n >= 1 below 2^32. Release with orthogonal_free. */
Status orthogonal_new(Orthogonal *q, size_t n, uint64_t seed, uint64_t stream, Error *err);
void orthogonal_free(Orthogonal *q);

/* x <- Q x for ORTHOGONAL_LANES columns at once: x and the scratch `work` are [n, lanes]. */
void orthogonal_apply(const Orthogonal *q, float *x, float *work);

#endif
