/* test_random.c -- the counter-based generator: moments, independence of its three arguments, and
 * the same bits whoever draws them. */
#include <criterion/criterion.h>
#include <math.h>

#include "random.h"

enum { DRAWS = 200000 };

/* Means of DRAWS values with variance v stay within five standard errors. */
static double five_errors(double variance) {
    return 5 * sqrt(variance / DRAWS);
}

Test(random, a_value_depends_on_its_counters_alone) {
    const uint64_t late = random_bits(7, 3, 1000);
    for (uint64_t i = 0; i < 1000; i++) random_bits(7, 3, i);
    cr_assert_eq(random_bits(7, 3, 1000), late);
}

Test(random, threads_draw_the_same_bits_as_one_loop) {
    uint64_t sum = 0, parallel_sum = 0;
    for (uint64_t i = 0; i < 10000; i++) sum += random_bits(1, 2, i);
#pragma omp parallel for reduction(+ : parallel_sum) num_threads(3)
    for (uint64_t i = 0; i < 10000; i++) parallel_sum += random_bits(1, 2, i);
    cr_assert_eq(sum, parallel_sum);
}

Test(random, neighbouring_counters_flip_half_of_the_bits) {
    double flipped[3] = { 0 };
    for (uint64_t i = 0; i < 10000; i++) {
        const uint64_t bits = random_bits(i, i, i);
        flipped[0] += __builtin_popcountll(bits ^ random_bits(i + 1, i, i));
        flipped[1] += __builtin_popcountll(bits ^ random_bits(i, i + 1, i));
        flipped[2] += __builtin_popcountll(bits ^ random_bits(i, i, i + 1));
    }
    for (int which = 0; which < 3; which++)
        cr_assert_float_eq(flipped[which] / 10000, 32, 0.2, "argument %d: %f", which,
                           flipped[which] / 10000);
}

Test(random, seed_stream_and_index_do_not_stand_for_each_other) {
    cr_assert_neq(random_bits(1, 2, 3), random_bits(2, 1, 3));
    cr_assert_neq(random_bits(1, 2, 3), random_bits(1, 3, 2));
    cr_assert_neq(random_bits(1, 2, 3), random_bits(3, 2, 1));
}

Test(random, uniform_lies_inside_the_open_interval_with_its_moments) {
    double mean = 0, square = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double u = random_uniform(11, 0, i);
        cr_assert(u > 0 && u < 1);
        mean += u / DRAWS, square += (u - 0.5) * (u - 0.5) / DRAWS;
    }
    cr_assert_float_eq(mean, 0.5, five_errors(1.0 / 12));
    cr_assert_float_eq(square, 1.0 / 12, five_errors(1.0 / 180));
}

Test(random, normal_has_the_moments_and_the_tail_of_a_normal) {
    double moment[5] = { 0 }, tail = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double x = random_normal(11, 1, i);
        for (int k = 1; k <= 4; k++) moment[k] += pow(x, k) / DRAWS;
        tail += (fabs(x) > 3) / (double)DRAWS;
    }
    cr_assert_float_eq(moment[1], 0, five_errors(1));
    cr_assert_float_eq(moment[2], 1, five_errors(2));
    cr_assert_float_eq(moment[3], 0, five_errors(15));
    cr_assert_float_eq(moment[4], 3, five_errors(96));
    cr_assert_float_eq(tail, 0.0026998, five_errors(0.0027));
}

Test(random, streams_seeds_and_neighbours_are_uncorrelated) {
    double stream = 0, seed = 0, neighbour = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double x = random_normal(5, 8, i);
        stream += x * random_normal(5, 9, i) / DRAWS;
        seed += x * random_normal(6, 8, i) / DRAWS;
        neighbour += x * random_normal(5, 8, i + 1) / DRAWS;
    }
    cr_assert_float_eq(stream, 0, five_errors(1));
    cr_assert_float_eq(seed, 0, five_errors(1));
    cr_assert_float_eq(neighbour, 0, five_errors(1));
}
