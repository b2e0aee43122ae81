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

Test(peaks, of_instructions_that_the_mask_lacks_are_zero) {
    const Peaks peaks = measure(1, 1);
    cr_assert_eq(peaks.dot_bf16_gflops, 0);
    cr_assert_eq(peaks.dot_int8_gops, 0);
}

Test(peaks, read_every_whole_step_of_each_slice_once) {
    enum { WORDS = 1000 };
    static uint64_t words[WORDS];
    uint64_t whole = 0, halves = 0;
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = i * i + 1;
        if (i < WORDS / 16 * 16) whole += words[i];
        if (i < 2 * (WORDS / 2 / 16 * 16)) halves += words[i];
    }
    cr_assert_eq(peaks_read(1, words, sizeof words), whole);
    cr_assert_eq(peaks_read(2, words, sizeof words), halves);
}

Test(peaks, compute_rounds_on_every_thread_and_nothing_without_the_instruction) {
    Kernels kernels = kernels_select(0);
    const double one = peaks_compute(&kernels, PEAK_FMA_F32, 1, 1000);
    cr_assert_gt(one, 0);
    cr_assert_eq(peaks_compute(&kernels, PEAK_FMA_F32, 2, 1000), 2 * one);
    kernels.dot_bf16_rounds = NULL;
    cr_assert_eq(peaks_compute(&kernels, PEAK_DOT_BF16, 2, 1000), 0);
}

Test(peaks, rates_go_by_their_kind) {
    const Peaks peaks = { .fma_f32_gflops = 1, .dot_bf16_gflops = 2, .dot_int8_gops = 4 };
    cr_assert_eq(peaks_rate(&peaks, PEAK_FMA_F32), 1);
    cr_assert_eq(peaks_rate(&peaks, PEAK_DOT_BF16), 2);
    cr_assert_eq(peaks_rate(&peaks, PEAK_DOT_INT8), 4);
}
