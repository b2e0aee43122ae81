/* rorope.h -- principal components of rotated keys across heads, one frequency at a time.
 *
 * A pair of key channels at one frequency is a complex number z, which RoPE multiplies by
 * exp(j t f). That commutes with every complex-linear map across the heads' numbers of the same
 * frequency: for a unitary U, conj(q) z stays as it is when z becomes U^H z and q becomes U^H q. So
 * the best few components a frequency are the leading eigenvectors of the Hermitian moments
 * sum z z^H. Real ones (TransMLA's RoRoPE, arXiv 2502.07864), the same rotation of real and
 * imaginary parts, are eigenvectors of the moments' real part: a special case.
 *
 * Folding takes `fold` neighbouring frequencies together as if they were one, which is
 * approximate for fold > 1 (FreqFold). */
#ifndef KVLAB_ROROPE_H
#define KVLAB_ROROPE_H

#include <stddef.h>

#include "error.h"
#include "rope.h"

typedef struct {
    size_t heads, width; /* of keys: G, d */
    const Rope *rope;    /* of the keys; rotates the first rope->dim values of a head */
    size_t fold;         /* frequencies taken together; divides rope->dim / 2 */
    size_t kept;         /* components that are kept of each fold's heads * fold numbers */
    bool real;
    bool interleaved; /* how pairs lie in the result */
} Rorope;

/* Slots: pairs of the result, kept of each fold. */
size_t rorope_slots(const Rorope *r);

/* basis [heads * width, 2 slots] with orthonormal columns: the kept components are basis^T k,
 * pairs in slots, and basis (basis^T k) is what they hold of a key k. moments
 * [heads width, ..] of stride ld are those of keys before RoPE, heads side by side, both triangles.
 * The slots of a fold come largest first. Errors: ERR_INPUT when fold or kept do not fit;
 * ERR_MACHINE from memory or LAPACK. */
Status rorope_basis(const Rorope *r, const double *moments, size_t ld, double *basis, Error *err);

/* rows [heads width, cols] of stride ld <- rows - basis basis^T rows: what is left without the kept
 * components. Errors: ERR_MACHINE. */
Status rorope_remove(const Rorope *r, const double *basis, size_t cols, double *rows, size_t ld,
                     Error *err);

#endif
