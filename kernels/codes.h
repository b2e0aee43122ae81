/* codes.h -- inside kernels/ only: where a code lies among packed ones (drawn in kernel.h).
 *
 * A plane of w bits has w n / 8 bytes; value v of n is in byte v mod (w n / 8), from bit
 * w (v / (w n / 8)) on. So each eighth of the values (n / 8 of them) has its bits at one place in
 * neighbouring bytes. */
#ifndef KVLAB_CODES_H
#define KVLAB_CODES_H

#include <stddef.h>

/* The widest plane within so many bits. */
static inline unsigned plane_bits(unsigned bits) {
    return bits >= 8 ? 8 : bits >= 4 ? 4 : bits >= 2 ? 2 : 1;
}

/* The bytes of the s-th eighth of a plane, and the bit its codes begin at. */
static inline size_t plane_at(unsigned width, size_t eighth, size_t s) {
    return s % width * eighth;
}
static inline unsigned plane_shift(unsigned width, size_t s) {
    return (unsigned)(s / width) * width;
}

#endif
