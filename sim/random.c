/* random.c -- counter-based random numbers; see random.h.
 *
 * Seed and stream are hashed to the start of a SplitMix64 sequence, the index is the place in it:
 * value i is mix(start + i * golden ratio), which needs no earlier value. */
#include "random.h"

#include <math.h>

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15u;
static const double PI = 3.14159265358979323846;

/* Stafford's variant 13 of the 64-bit finaliser of MurmurHash3: a bijection in which each input
 * bit changes each output bit with probability near one half. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The upper 52 bits, at the middle of their interval: in (0, 1). */
static double to_uniform(uint64_t bits) {
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
    const uint64_t start = mix(mix(seed + GOLDEN) ^ (stream * 0xD1342543DE82EF95u + GOLDEN));
    return mix(start + index * GOLDEN);
}

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return to_uniform(random_bits(seed, stream, index));
}

/* Box and Muller's transform of two uniforms; the second is a further mix of the first's bits, so
 * that an index stands for one value. */
double random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    const uint64_t bits = random_bits(seed, stream, index);
    const double radius = sqrt(-2 * log(to_uniform(bits)));
    return radius * cos(2 * PI * to_uniform(mix(bits ^ GOLDEN)));
}
