/* avx512.c -- the AVX-512 tier over the emulated immintrin.h beside it, under its own name. */
#define kernels_fill_avx512 kernels_fill_avx512_emulated
#include "../../kernels/avx512.c"
