/* test_rope.c -- rotary embedding against reference values and against complex multiplication. */
#include "rope.h"

#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>

static const Rope deepseek = { .theta = 1e4,
                               .dim = 64,
                               .interleaved = true,
                               .scaling = ROPE_YARN,
                               .factor = 40,
                               .beta_fast = 32,
                               .beta_slow = 1,
                               .mscale = 1,
                               .mscale_all_dim = 1,
                               .original_tokens = 4096 };

static void near(double got, double wanted, double relative) {
    cr_assert(fabs(got - wanted) <= relative * fabs(wanted), "%.17g, not %.17g", got, wanted);
}

/* Whole numbers of both signs without a pattern that a swap could keep. */
static double sample(size_t i) {
    return (double)((i * 7919 + 13) % 101) - 50;
}

Test(rope, plain_frequencies_fall_geometrically) {
    const Rope rope = { .theta = 500000, .dim = 128 };
    double f[64];
    rope_frequencies(&rope, f);
    cr_assert_eq(f[0], 1);
    for (size_t i = 1; i < 64; i++) near(f[i] / f[i - 1], pow(500000, -2.0 / 128), 1e-12);
}

Test(rope, linear_scaling_divides_every_frequency) {
    const Rope plain = { .theta = 1e4, .dim = 16 };
    Rope linear = plain;
    linear.scaling = ROPE_LINEAR;
    linear.factor = 8;
    double f[8], g[8];
    rope_frequencies(&plain, f);
    rope_frequencies(&linear, g);
    for (size_t i = 0; i < 8; i++) cr_assert_eq(g[i], f[i] / 8);
    cr_assert_eq(rope_amplitude(&linear), 1);
}

/* The ramp runs from pair floor(10.4722) = 10 to ceil(22.5134) = 23. */
Test(rope, yarn_keeps_fast_pairs_and_divides_slow_ones) {
    double f[32];
    rope_frequencies(&deepseek, f);
    cr_assert_eq(f[0], 1);
    near(f[10], 5.6234133e-2, 1e-7);
    near(f[16], 5.5e-3, 1e-12);
    near(f[23], 3.3338036e-5, 1e-7);
    near(f[31], 3.3338036e-6, 1e-7);
    for (size_t i = 0; i < 32; i++) {
        const double plain = pow(1e4, -2.0 * (double)i / 64);
        if (i <= 10) near(f[i], plain, 1e-14);
        if (i >= 23) near(f[i], plain / 40, 1e-14);
        if (i > 10 && i < 23) cr_assert(f[i] < plain && f[i] > plain / 40);
    }
}

Test(rope, a_yarn_ramp_of_no_width_still_gives_finite_frequencies) {
    Rope rope = deepseek;
    rope.beta_fast = rope.beta_slow = 700; /* pair -0.2: both ends become pair 0 */
    double f[32];
    rope_frequencies(&rope, f);
    cr_assert_eq(f[0], 1);
    near(f[1], pow(1e4, -2.0 / 64) / 40, 1e-12);
}

Test(rope, mscale_has_the_published_values) {
    near(rope_mscale(40, 1), 1.36888795, 1e-8);
    near(rope_mscale(40, 1) * rope_mscale(40, 1), 1.87385421, 1e-8);
    near(rope_mscale(40, 0.707), 1.26080378, 1e-8);
    near(rope_mscale(40, 0.707) * rope_mscale(40, 0.707), 1.58962617, 1e-8);
    cr_assert_eq(rope_mscale(1, 1), 1);
    cr_assert_eq(rope_mscale(0.5, 1), 1);
}

Test(rope, yarn_amplitude_is_given_or_the_quotient_or_mscale_of_one) {
    Rope rope = deepseek;
    cr_assert_eq(rope_amplitude(&rope), 1);
    rope.mscale = 0.707;
    near(rope_amplitude(&rope), 1.26080378 / 1.36888795, 1e-8);
    rope.mscale_all_dim = 0;
    near(rope_amplitude(&rope), 1.36888795, 1e-8);
    rope.attention_factor = 0.5;
    cr_assert_eq(rope_amplitude(&rope), 0.5);
    rope.scaling = ROPE_PLAIN;
    cr_assert_eq(rope_amplitude(&rope), 1);
}

/* Llama 3.1: a pair that turns more than 4 times in 8,192 tokens stays, one that turns less than
 * once is divided by 8, and the quotient between runs smoothly. */
Test(rope, llama3_divides_long_wavelengths_only) {
    const Rope plain = { .theta = 500000, .dim = 128 };
    Rope rope = plain;
    rope.scaling = ROPE_LLAMA3;
    rope.factor = 8;
    rope.low_freq_factor = 1;
    rope.high_freq_factor = 4;
    rope.original_tokens = 8192;
    double f[64], g[64];
    rope_frequencies(&plain, f);
    rope_frequencies(&rope, g);
    size_t between = 0;
    for (size_t i = 0; i < 64; i++) {
        const double turns = 8192 * f[i] / (2 * acos(-1));
        const double share = (turns - 1) / 3;
        if (turns > 4)
            cr_assert_eq(g[i], f[i]);
        else if (turns < 1)
            cr_assert_eq(g[i], f[i] / 8);
        else
            near(g[i], f[i] * (share + (1 - share) / 8), 1e-12), between++;
    }
    cr_assert_gt(between, 0);
}

static void rotates_as_complex_numbers(const Rope *rope, size_t first) {
    enum { TOKENS = 3, WIDTH = 80 };
    double table[TOKENS * WIDTH], f[WIDTH / 2];
    float table_f32[TOKENS * WIDTH];
    rope_table_f64(rope, first, TOKENS, table);
    rope_table(rope, first, TOKENS, table_f32);
    rope_frequencies(rope, f);
    for (size_t t = 0; t < TOKENS; t++) {
        double x[WIDTH];
        float x_f32[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) x[i] = sample(i), x_f32[i] = (float)x[i];
        rope_rotate_f64(rope, table + t * rope->dim, x);
        rope_rotate(rope, table_f32 + t * rope->dim, x_f32);
        for (size_t i = 0; i < rope->dim / 2; i++) {
            const size_t re = rope->interleaved ? 2 * i : i;
            const size_t im = rope->interleaved ? 2 * i + 1 : i + rope->dim / 2;
            const double complex z = (sample(re) + sample(im) * I) *
                                     cexp(I * (double)(first + t) * f[i]) * rope_amplitude(rope);
            cr_assert(cabs(z - (x[re] + x[im] * I)) <= 1e-12 * 100);
            cr_assert(cabs(z - (x_f32[re] + x_f32[im] * I)) <= 4 * 0x1p-24 * 100);
        }
        for (size_t i = rope->dim; i < WIDTH; i++) {
            cr_assert_eq(x[i], sample(i), "value %zu lies behind the rotated part", i);
            cr_assert_eq(x_f32[i], (float)sample(i));
        }
    }
}

Test(rope, each_layout_is_a_complex_multiplication_of_its_pairs) {
    Rope rope = deepseek;
    rotates_as_complex_numbers(&rope, 0);
    rotates_as_complex_numbers(&rope, 100000);
    rope.interleaved = false;
    rotates_as_complex_numbers(&rope, 100000);
    rope.mscale = 0.707; /* an amplitude other than 1 */
    rotates_as_complex_numbers(&rope, 7);
}

/* half[i] = interleaved[2i], half[i + dim/2] = interleaved[2i + 1]. */
Test(rope, the_layouts_agree_after_the_index_map) {
    enum { DIM = 64 };
    Rope half = deepseek;
    half.interleaved = false;
    double row[DIM], x[DIM], y[DIM];
    rope_table_f64(&deepseek, 12345, 1, row);
    for (size_t i = 0; i < DIM; i++) x[i] = sample(i);
    for (size_t i = 0; i < DIM / 2; i++) y[i] = x[2 * i], y[i + DIM / 2] = x[2 * i + 1];
    rope_rotate_f64(&deepseek, row, x);
    rope_rotate_f64(&half, row, y);
    for (size_t i = 0; i < DIM / 2; i++) {
        cr_assert_eq(y[i], x[2 * i]);
        cr_assert_eq(y[i + DIM / 2], x[2 * i + 1]);
    }
}

Test(rope, scores_depend_on_the_distance_alone) {
    enum { DIM = 64 };
    double rows[4][DIM], q[DIM], k[DIM], scores[2];
    const size_t at[4] = { 900, 1000, 5900, 6000 };
    for (size_t i = 0; i < 4; i++) rope_table_f64(&deepseek, at[i], 1, rows[i]);
    for (size_t pair = 0; pair < 2; pair++) {
        scores[pair] = 0;
        for (size_t i = 0; i < DIM; i++) q[i] = sample(i), k[i] = sample(i + 1000);
        rope_rotate_f64(&deepseek, rows[2 * pair + 1], q);
        rope_rotate_f64(&deepseek, rows[2 * pair], k);
        for (size_t i = 0; i < DIM; i++) scores[pair] += q[i] * k[i];
    }
    near(scores[0], scores[1], 1e-9);
}

Test(rope, a_model_without_rotary_embedding_is_left_alone) {
    const Rope none = { .theta = 1e4, .dim = 0 };
    double x = 3, row = 0;
    rope_table_f64(&none, 5, 1, &row);
    rope_rotate_f64(&none, &row, &x);
    cr_assert_eq(x, 3);
    cr_assert_eq(row, 0);
}
