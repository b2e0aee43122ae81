/* internal.h -- inside kernels/ only: what each tier file gives to kernel.c, and the little that
 * all of them share. */
#ifndef KVLAB_INTERNAL_H
#define KVLAB_INTERNAL_H

#include <math.h>

#include "floats.h"
#include "kernel.h"

/* Every entry, in plain C with sums in double: the definition the other tiers are held to. */
void kernels_fill_ref(Kernels *kernels);
void kernels_fill_ref_rows(Kernels *kernels); /* its part that encodes rows */

void kernels_fill_codes(Kernels *kernels); /* and that of packed codes */

/* Plain C that compilers turn into the vectors of any machine. */
void kernels_fill_portable(Kernels *kernels);

/* The tiles of these two. */
extern const TileKernels tile_ref, tile_portable;

/* AVX2 with FMA and F16C. */
void kernels_fill_avx2(Kernels *kernels);

/* AVX-512 F, BW, DQ and VL. */
void kernels_fill_avx512(Kernels *kernels);

/* The same and BF16, or VNNI: tiles of narrow rows. */
void kernels_fill_avx512bf16(Kernels *kernels);
void kernels_fill_avx512vnni(Kernels *kernels);

/* NEON of 64-bit Arm. */
void kernels_fill_neon(Kernels *kernels);

/* A step of the online softmax in which no score was above -INFINITY: weights 0, or NaN where the
 * score was NaN, so that a NaN is seen in the output and not taken for a masked row. */
static inline float softmax_masked(size_t n, float *s, float *sum) {
    for (size_t j = 0; j < n; j++) {
        s[j] = isnan(s[j]) ? s[j] : 0.0f;
        *sum += s[j];
    }
    return 1.0f;
}

#endif
