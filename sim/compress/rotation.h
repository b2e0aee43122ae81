/* rotation.h -- random Hadamard rotations of rows: what spreads outlier channels over all channels
 * before a row is quantised (QuaRot, arXiv 2404.00456; TurboQuant, arXiv 2504.19874).
 *
 *   y = H S x     S random signs, H the orthonormal Hadamard matrix over blocks of the largest
 * power of two that divides the width:  H_2n = [H_n H_n; H_n -H_n] / sqrt 2
 *
 * Keys are rotated after RoPE together with their queries, which leaves every logit as it was;
 * values are rotated and the outputs turned back, which is what folding H S into W_V and its
 * inverse into W_O comes to. */
#ifndef KVLAB_ROTATION_H
#define KVLAB_ROTATION_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

typedef struct {
    size_t n, block;
    float *signs; /* [n], each +-1 / sqrt(block); NULL: no rotation */
} Rotation;

/* A rotation of rows of n values, drawn from (seed, stream). Errors: ERR_MACHINE for lack of
 * memory.
 */
Status rotation_new(Rotation *rotation, size_t n, uint64_t seed, uint64_t stream, Error *err);
void rotation_free(Rotation *rotation);

/* x becomes H S x, or S H x, its inverse. */
void rotation_apply(const Rotation *rotation, float *x);
void rotation_undo(const Rotation *rotation, float *x);

#endif
