/* random.h -- counter-based random numbers: a value is a function of (seed, stream, index), so any
 * thread may draw any of them, in any order, to the same bits. */
#ifndef KVLAB_RANDOM_H
#define KVLAB_RANDOM_H

#include <stdint.h>

/* 64 uniform bits. */
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in (0, 1): never 0, never 1. */
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Normal with mean 0 and variance 1. */
double random_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
