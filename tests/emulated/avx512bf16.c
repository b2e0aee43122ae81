/* avx512bf16.c -- the AVX-512 BF16 tier over the emulated immintrin.h beside it, under its own
 * name. */
#define kernels_fill_avx512bf16 kernels_fill_avx512bf16_emulated
#include "../../kernels/avx512bf16.c"
