/* avx512vnni.c -- the AVX-512 VNNI tier over the emulated immintrin.h beside it, under its own
 * name. */
#define kernels_fill_avx512vnni kernels_fill_avx512vnni_emulated
#include "../../kernels/avx512vnni.c"
