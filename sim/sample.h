/* sample.h -- what a weight matrix is applied to, seen on a sample of tokens: its mean, its first
 * token and its principal axes, which the matrix is then built around. */
#ifndef KVLAB_SAMPLE_H
#define KVLAB_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

typedef struct {
    size_t tokens, width;
    float *x;    /* [tokens, width] */
    float *mean; /* [width] */
    float *axes; /* [axis_count, width], orthonormal, the strongest first */
    size_t axis_count;
} Sample;

/* Room for a sample, x zeroed for the caller to fill. Release with sample_free. */
Status sample_new(Sample *sample, size_t tokens, size_t width, Error *err);
void sample_free(Sample *sample);

/* Mean and principal axes of the tokens from `from` on: directions of largest variance, by
 * orthogonal iteration from a start that follows from seed. The tokens before are held out: what
 * is measured on them is as it will be on other texts. 1 <= from < tokens. */
Status sample_describe(Sample *sample, size_t from, uint64_t seed, Error *err);

/* Every row of x divided by its root mean square (a latent's RMSNorm). */
void sample_normalise(Sample *sample);

#endif
