/* test_peaks.c -- what must hold of any machine's measured limits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "kernel.h"
#include "peaks.h"

enum { LLC_BYTES = 8 << 20 };

static Peaks measure(unsigned mask, int threads) {
    void *scratch = malloc(peaks_scratch_bytes(LLC_BYTES));
    cr_assert_not_null(scratch);
    const Peaks peaks = peaks_measure(mask, threads, LLC_BYTES, 0.1, scratch);
    free(scratch);
    return peaks;
}

Test(peaks, scratch_is_far_larger_than_the_cache) {
    cr_assert_geq(peaks_scratch_bytes(LLC_BYTES), 4 * LLC_BYTES);
    cr_assert_geq(peaks_scratch_bytes((size_t)1 << 30), (size_t)4 << 30);
    cr_assert_gt(peaks_scratch_bytes(0), 0);
}

Test(peaks, are_positive_and_of_this_world) {
    const Peaks peaks = measure(kernels_detect(), 2);
    cr_assert(peaks.read_gbytes_s > 0.01 && peaks.read_gbytes_s < 1e5);
    cr_assert(peaks.l3_read_gbytes_s > 0.01 && peaks.l3_read_gbytes_s < 1e5);
    cr_assert(peaks.fma_f32_gflops > 0.01 && peaks.fma_f32_gflops < 1e6);
}

Test(peaks, take_the_best_tier_of_the_mask) {
    unsigned avx2;
    if (kernels_parse("avx2", &avx2)) cr_skip_test("this machine has no AVX2");
    cr_assert_gt(measure(avx2, 1).fma_f32_gflops, 2 * measure(1, 1).fma_f32_gflops);
}

Test(peaks, of_instructions_that_no_tier_has_are_zero) {
    const Peaks peaks = measure(1, 1);
    cr_assert_eq(peaks.dot_bf16_gflops, 0);
    cr_assert_eq(peaks.dot_int8_gops, 0);
}
