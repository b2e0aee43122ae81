/* codes.c -- packed codes in plain C: what the entries of kernel.h mean, for every tier that has
 * nothing faster. */
#include <string.h>

#include "codes.h"
#include "internal.h"

static unsigned code_at(size_t n, unsigned bits, const unsigned char *codes, size_t s, size_t i) {
    const size_t eighth = n / 8;
    unsigned code = 0;
    for (unsigned from = 0, width; from < bits; from += width) {
        width = plane_bits(bits - from);
        const unsigned byte = codes[plane_at(width, eighth, s) + i];
        code |= (byte >> plane_shift(width, s) & ((1u << width) - 1)) << from;
        codes += width * eighth;
    }
    return code;
}

static void decode_steps(size_t n, size_t group, unsigned bits, const void *codes,
                         const float *step, const float *least, float *out) {
    for (size_t s = 0, v = 0; s < 8; s++)
        for (size_t i = 0; i < n / 8; i++, v++)
            out[v] = (float)code_at(n, bits, codes, s, i) * step[v / group] + least[v / group];
}

static void decode_table(size_t n, unsigned bits, const void *codes, const float *table,
                         float scale, float *out) {
    for (size_t s = 0, v = 0; s < 8; s++)
        for (size_t i = 0; i < n / 8; i++, v++)
            out[v] = table[code_at(n, bits, codes, s, i)] * scale;
}

static void pack_codes(size_t n, unsigned bits, const unsigned char *codes, void *packed) {
    const size_t eighth = n / 8;
    unsigned char *to = packed;
    memset(to, 0, n * bits / 8);
    for (unsigned from = 0, width; from < bits; from += width) {
        width = plane_bits(bits - from);
        const unsigned mask = (1u << width) - 1;
        for (size_t s = 0; s < 8; s++) {
            unsigned char *bytes = to + plane_at(width, eighth, s);
            const unsigned shift = plane_shift(width, s);
#pragma omp simd
            for (size_t i = 0; i < eighth; i++)
                bytes[i] |= (unsigned char)((codes[s * eighth + i] >> from & mask) << shift);
        }
        to += width * eighth;
    }
}

void kernels_fill_codes(Kernels *kernels) {
    kernels->pack_codes = pack_codes;
    kernels->decode_steps = decode_steps;
    kernels->decode_table = decode_table;
}
