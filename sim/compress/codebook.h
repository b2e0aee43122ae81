/* codebook.h -- the scalar quantiser of least squared error for normal numbers (Lloyd 1957, Max
 * 1960), worked out by iteration. */
#ifndef KVLAB_CODEBOOK_H
#define KVLAB_CODEBOOK_H

#include <stddef.h>

enum { CODEBOOK_BITS_MOST = 6, CODEBOOK_MOST = 1 << CODEBOOK_BITS_MOST };

typedef struct {
    size_t count;                   /* 2^bits */
    double centroid[CODEBOOK_MOST]; /* growing, of N(0, 1) */
    double edge[CODEBOOK_MOST - 1]; /* halfway between neighbours: a value above edge i has a code
                                       above i */
    double error;                   /* mean squared error */
} Codebook;

/* The codebook of that many bits, 1 to CODEBOOK_BITS_MOST. */
Codebook codebook_normal(unsigned bits);

/* The code of a value: the index of the nearest centroid. */
size_t codebook_code(const Codebook *codebook, double value);

#endif
