/* Lloyd and Max's quantiser of normal numbers against its published constants, and its laws. */
#include <criterion/criterion.h>
#include <math.h>

#include "codebook.h"
#include "random.h"

Test(codebook, centroids_are_those_of_max_to_four_digits) {
    static const double known[3][4] = { { 0.7979 },
                                        { 0.4528, 1.5104 },
                                        { 0.2451, 0.7560, 1.3439, 2.1519 } };
    for (unsigned bits = 1; bits <= 3; bits++) {
        const Codebook c = codebook_normal(bits);
        const size_t half = c.count / 2;
        cr_assert_eq(c.count, (size_t)1 << bits);
        for (size_t i = 0; i < half; i++) {
            cr_expect_float_eq(c.centroid[half + i], known[bits - 1][i], 5.1e-5);
            cr_expect_float_eq(c.centroid[half - 1 - i], -known[bits - 1][i], 5.1e-5);
        }
    }
    cr_expect_float_eq(codebook_normal(1).centroid[1], sqrt(2 / acos(-1)), 1e-12);
}

Test(codebook, squared_errors_are_the_published_ones) {
    static const double known[] = { 0.36338, 0.11748, 0.03455, 0.00950, 0.00251, 0.00064 };
    for (unsigned bits = 1; bits <= 6; bits++)
        cr_expect_float_eq(codebook_normal(bits).error, known[bits - 1], 1.01e-5, "%u bits", bits);
}

Test(codebook, the_error_lies_between_shannons_bound_and_turboquants) {
    const double pi = acos(-1);
    for (unsigned bits = 1; bits <= CODEBOOK_BITS_MOST; bits++) {
        const double error = codebook_normal(bits).error, bound = pow(4, -(double)bits);
        cr_expect_gt(error, bound);
        cr_expect_lt(error, sqrt(3) * pi / 2 * bound, "%u bits", bits);
    }
}

Test(codebook, every_cell_quantises_to_its_nearest_centroid) {
    const Codebook c = codebook_normal(4);
    for (uint64_t i = 0; i < 2000; i++) {
        const double x = 1.5 * random_normal(1, 2, i);
        const size_t code = codebook_code(&c, x);
        for (size_t other = 0; other < c.count; other++)
            cr_assert_leq(fabs(x - c.centroid[code]), fabs(x - c.centroid[other]));
    }
}

Test(codebook, normal_numbers_really_lose_that_much) {
    enum { N = 200000 };
    for (unsigned bits = 1; bits <= 4; bits++) {
        const Codebook c = codebook_normal(bits);
        double error = 0, size = 0;
        for (uint64_t i = 0; i < N; i++) {
            const double x = random_normal(7, bits, i), d = x - c.centroid[codebook_code(&c, x)];
            error += d * d, size += x * x;
        }
        cr_expect_float_eq(error / size, c.error, 0.02 * c.error);
    }
}
