/* test_kernels.c -- every tier against the reference: exact on whole numbers, within a bound that
 * follows from the terms otherwise, with guard pages behind all that is read and written. Rows:
 * test_rows.c. */
#define _DEFAULT_SOURCE
#include <float.h>

#include "tiers.h"

static const size_t row_counts[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 13 };
static const size_t token_counts[] = { 0, 1, 2, 3, 4, 5, 6, 7, 9, 25 };
static const size_t widths[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 200 };

/* Runs `check` over all types, shapes and both kinds of numbers. */
typedef void (*ShapeCheck)(const Kernels *tier, const char *name, RowType type, size_t m, size_t n,
                           size_t d, bool whole);

static void over_shapes(const Kernels *tier, const char *name, ShapeCheck check) {
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++)
        for (size_t m = 0; m < COUNT(row_counts); m++)
            for (size_t n = 0; n < COUNT(token_counts); n++)
                for (size_t d = 0; d < COUNT(widths); d++)
                    for (int whole = 0; whole < 2; whole++)
                        check(tier, name, type, row_counts[m], token_counts[n], widths[d], whole);
}

/* Whole numbers add up exactly in any order, so the whole array must agree, gaps between its rows
 * included; otherwise each element within its bound. */
static void compare(const char *what, const char *name, RowType type, size_t m, size_t n, size_t d,
                    bool whole, size_t count, const float *got, const float *expected,
                    const double *bound) {
    for (size_t i = 0; i < count; i++) {
        const double allowed = whole ? 0 : bound[i];
        cr_assert(fabs((double)got[i] - expected[i]) <= allowed,
                  "%s %s %s m=%zu n=%zu d=%zu: element %zu is %g, not %g", what, name,
                  row_type_name(type), m, n, d, i, (double)got[i], (double)expected[i]);
    }
}

static size_t extent(size_t rows, size_t ld, size_t width) {
    return rows && width ? (rows - 1) * ld + width : 0;
}

static void check_scores(const Kernels *tier, const char *name, RowType type, size_t m, size_t n,
                         size_t d, bool whole) {
    const Kernels ref = kernels_select(0);
    const RowFormat format = format_of(type, d, (m + n) % 3);
    const size_t ld_q = d + 3, ld_s = n + 2, stride = row_bytes(format) + 5;
    const size_t count = extent(m, ld_s, n);
    float *q = guarded(0, extent(m, ld_q, d) * sizeof(float));
    fill_floats(q, extent(m, ld_q, d), whole);
    const unsigned char *k = fill_rows(1, &format, n, stride, whole);
    float *got = guarded(2, count * sizeof(float)), *expected = guarded(3, count * sizeof(float));
    double *bound = guarded(4, count * sizeof(double));
    for (size_t i = 0; i < count; i++) got[i] = expected[i] = 7, bound[i] = 0;

    tier->scores[type](&format, m, n, d, q, ld_q, k, stride, got, ld_s);
    ref.scores[type](&format, m, n, d, q, ld_q, k, stride, expected, ld_s);
    float row[1024];
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double size = 0;
            ref.decode[type](&format, d, k + j * stride, row);
            for (size_t e = 0; e < d; e++) size += fabs((double)q[i * ld_q + e] * row[e]);
            /* at least four partial sums side by side */
            if (count) bound[i * ld_s + j] = (4 + (double)d / 4) * FLT_EPSILON / 2 * size;
        }
    }
    compare("scores", name, type, m, n, d, whole, count, got, expected, bound);
}

static void check_values(const Kernels *tier, const char *name, RowType type, size_t m, size_t n,
                         size_t d, bool whole) {
    const Kernels ref = kernels_select(0);
    const RowFormat format = format_of(type, d, (m + n) % 3);
    const size_t ld_p = n + 3, ld_o = d + 2, stride = row_bytes(format) + 3;
    const size_t count = extent(m, ld_o, d);
    float *p = guarded(0, extent(m, ld_p, n) * sizeof(float));
    fill_floats(p, extent(m, ld_p, n), whole);
    const unsigned char *v = fill_rows(1, &format, n, stride, whole);
    float *got = guarded(2, count * sizeof(float)), *expected = guarded(3, count * sizeof(float));
    double *bound = guarded(4, count * sizeof(double));
    for (size_t i = 0; i < count; i++)
        got[i] = expected[i] = draw_whole(), bound[i] = fabsf(got[i]);

    tier->values[type](&format, m, n, d, p, ld_p, v, stride, got, ld_o);
    ref.values[type](&format, m, n, d, p, ld_p, v, stride, expected, ld_o);
    float row[1024];
    for (size_t j = 0; j < n; j++) {
        ref.decode[type](&format, d, v + j * stride, row);
        for (size_t i = 0; i < m; i++)
            for (size_t e = 0; e < d; e++)
                bound[i * ld_o + e] += fabs((double)p[i * ld_p + j] * row[e]);
    }
    for (size_t i = 0; i < count; i++) bound[i] *= (2 + (double)n) * FLT_EPSILON / 2;
    compare("values", name, type, m, n, d, whole, count, got, expected, bound);
}

FOR_EACH_SUBJECT(kernels, scores_equal_the_reference) {
    const Kernels tier = table_of(*subject);
    over_shapes(&tier, subjects[*subject], check_scores);
}

FOR_EACH_SUBJECT(kernels, values_equal_the_reference) {
    const Kernels tier = table_of(*subject);
    over_shapes(&tier, subjects[*subject], check_values);
}

FOR_EACH_SUBJECT(kernels, long_rows_and_many_tokens_equal_the_reference) {
    const Kernels tier = table_of(*subject);
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
        check_scores(&tier, subjects[*subject], type, 12, 26, 1000, true);
        check_values(&tier, subjects[*subject], type, 12, 200, 576, true);
    }
}

/* ---- softmax, scale, norm ---- */

FOR_EACH_SUBJECT(kernels, exp_is_within_two_ulp_over_its_whole_range) {
    const Kernels tier = table_of(*subject);
    enum { N = 1 << 16 };
    static float x[N], y[N];
    for (size_t i = 0; i < N; i++) y[i] = x[i] = -87.3365f * (float)i / N;
    float max = 0, sum = 0;
    tier.softmax_step(N, 1, y, &max, &sum);
    for (size_t i = 0; i < N; i++) {
        const double expected = exp((double)x[i]);
        cr_assert(fabs(y[i] - expected) <= 2 * FLT_EPSILON * expected, "%s: exp(%a) is %a, not %a",
                  subjects[*subject], (double)x[i], (double)y[i], expected);
    }
}

FOR_EACH_SUBJECT(kernels, scores_far_below_the_maximum_weigh_nothing) {
    const Kernels tier = table_of(*subject);
    float s[20] = { -104, -1e4f, -FLT_MAX, -INFINITY, 0 };
    for (size_t i = 5; i < 20; i++) s[i] = -INFINITY;
    float max = -INFINITY, sum = 0;
    cr_assert_eq(tier.softmax_step(20, 1, s, &max, &sum), 0);
    for (size_t i = 0; i < 20; i++) cr_assert_eq(s[i], i == 4 ? 1 : 0);
    cr_assert(max == 0 && sum == 1);
}

FOR_EACH_SUBJECT(kernels, masked_rows_change_nothing) {
    const Kernels tier = table_of(*subject);
    for (size_t n = 0; n < 40; n++) {
        float *s = guarded(0, n * sizeof *s);
        for (size_t i = 0; i < n; i++) s[i] = -INFINITY;
        float max = -INFINITY, sum = 0;
        cr_assert_eq(tier.softmax_step(n, 0.5f, s, &max, &sum), 1);
        cr_assert(max == -INFINITY && sum == 0);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(s[i], 0);
            s[i] = -INFINITY;
        }
        max = 2, sum = 3;
        cr_assert_eq(tier.softmax_step(n, 0.5f, s, &max, &sum), 1);
        cr_assert(max == 2 && sum == 3);
    }
}

FOR_EACH_SUBJECT(kernels, softmax_equals_the_reference_at_every_length) {
    const Kernels tier = table_of(*subject), ref = kernels_select(0);
    for (size_t n = 0; n < 100; n++) {
        float *got = guarded(0, n * sizeof *got), raw[100], expected[100];
        for (size_t i = 0; i < n; i++) raw[i] = got[i] = expected[i] = 50 * draw();
        float max = 1, sum = 0.25f, ref_max = 1, ref_sum = 0.25f;
        const float factor = tier.softmax_step(n, 0.7f, got, &max, &sum);
        const float ref_factor = ref.softmax_step(n, 0.7f, expected, &ref_max, &ref_sum);
        cr_assert_eq(max, ref_max);
        cr_assert(fabsf(factor - ref_factor) <= 40 * FLT_EPSILON * ref_factor);
        double bound = 4 * FLT_EPSILON * ref_sum;
        for (size_t i = 0; i < n; i++) {
            const double scaled = fabs(0.7 * raw[i]);
            const double allowed = FLT_EPSILON * (2 + scaled + fabs(max)) * expected[i];
            cr_assert(fabs((double)got[i] - expected[i]) <= allowed);
            bound += allowed;
        }
        cr_assert(fabs((double)sum - ref_sum) <= bound + 40 * FLT_EPSILON * ref_factor);
    }
}

FOR_EACH_SUBJECT(kernels, two_steps_of_softmax_equal_one) {
    const Kernels tier = table_of(*subject);
    float whole[50], parts[50];
    for (size_t i = 0; i < 50; i++) whole[i] = parts[i] = 8 * draw() + (float)i / 4;
    float max = -INFINITY, sum = 0, part_max = -INFINITY, part_sum = 0;
    tier.softmax_step(50, 1, whole, &max, &sum);
    tier.softmax_step(21, 1, parts, &part_max, &part_sum);
    const float factor = tier.softmax_step(29, 1, parts + 21, &part_max, &part_sum);
    cr_assert_eq(part_max, max);
    cr_assert_float_eq(part_sum, sum, 1e-5);
    for (size_t i = 0; i < 50; i++)
        cr_assert_float_eq(parts[i] * (i < 21 ? factor : 1), whole[i], 1e-5);
}

FOR_EACH_SUBJECT(kernels, nan_in_a_score_is_seen_in_the_sum) {
    const Kernels tier = table_of(*subject);
    const uint32_t kinds[] = { 0x7fc00000, 0x7fc00001, 0x7fffffff, 0xffffffff };
    for (size_t at = 0; at < 19; at++) {
        for (size_t kind = 0; kind < 2 * sizeof kinds / sizeof *kinds; kind++) {
            float s[19], max = -INFINITY, sum = 0;
            for (size_t i = 0; i < 19; i++) s[i] = kind % 2 ? -INFINITY : 1;
            memcpy(s + at, kinds + kind / 2, sizeof *s);
            tier.softmax_step(19, 1, s, &max, &sum);
            cr_assert(isnan(s[at]) && isnan(sum), "%s: NaN %zu at %zu", subjects[*subject],
                      kind / 2, at);
        }
    }
}

FOR_EACH_SUBJECT(kernels, scale_and_rmsnorm_equal_the_reference_at_every_length) {
    const Kernels tier = table_of(*subject), ref = kernels_select(0);
    for (size_t n = 0; n < 70; n++) {
        float *x = guarded(0, n * sizeof *x), *weight = guarded(1, n * sizeof *weight);
        float *y = guarded(2, n * sizeof *y), expected[70];
        fill_floats(x, n, false);
        fill_floats(weight, n, false);
        tier.rmsnorm(n, 1e-6f, x, weight, y);
        ref.rmsnorm(n, 1e-6f, x, weight, expected);
        for (size_t i = 0; i < n; i++)
            cr_assert(fabsf(y[i] - expected[i]) <=
                      (4 + (float)n / 4) * FLT_EPSILON * fabsf(expected[i]));
        memcpy(expected, y, n * sizeof *y);
        memcpy(y, x, n * sizeof *y);
        tier.rmsnorm(n, 1e-6f, y, weight, y);
        cr_assert(n == 0 || memcmp(y, expected, n * sizeof *y) == 0);
        for (size_t i = 0; i < n; i++) expected[i] = 1.7f * x[i];
        tier.scale(n, 1.7f, x);
        cr_assert(n == 0 || memcmp(x, expected, n * sizeof *x) == 0);
    }
}

Test(kernels, rmsnorm_divides_by_the_root_of_the_mean_square) {
    const float x[2] = { 3, 4 }, weight[2] = { 1, 10 };
    float y[2];
    kernels_select(0).rmsnorm(2, 0, x, weight, y);
    cr_assert_float_eq(y[0], 3 / sqrt(12.5), 1e-6);
    cr_assert_float_eq(y[1], 40 / sqrt(12.5), 1e-5);
}

FOR_EACH_SUBJECT(kernels, fma_rounds_counts_its_flops) {
    const Kernels tier = table_of(*subject);
    double one, ten;
    cr_assert(isfinite(tier.fma_rounds(1, &one)));
    cr_assert(isfinite(tier.fma_rounds(10, &ten)));
    cr_assert(one > 0 && ten == 10 * one);
}

/* ---- the table ---- */

Test(kernels, parse_takes_every_tier_by_its_name_or_says_that_the_machine_lacks_it) {
    for (size_t i = 0; i < kernel_tier_count; i++) {
        unsigned mask = 12345;
        const char *wrong = kernels_parse(kernel_tiers[i].name, &mask);
        if (kernel_tiers[i].available()) {
            cr_assert_null(wrong);
            cr_assert_str_eq(kernels_name(mask), kernel_tiers[i].name);
            for (size_t above = i + 1; above < kernel_tier_count; above++)
                cr_assert_eq(mask & kernel_tiers[above].bit, 0);
            for (size_t below = 0; below < i; below++)
                cr_assert_eq(!!(mask & kernel_tiers[below].bit), kernel_tiers[below].available());
        } else {
            cr_assert_not_null(wrong);
            cr_assert_eq(mask, 12345);
        }
    }
}

Test(kernels, parse_takes_auto_and_refuses_other_names) {
    unsigned mask = 0;
    cr_assert_null(kernels_parse("auto", &mask));
    cr_assert_eq(mask, kernels_detect());
    mask = 0;
    cr_assert_null(kernels_parse(NULL, &mask));
    cr_assert_eq(mask, kernels_detect());
    cr_assert_not_null(kernels_parse("avx", &mask));
    cr_assert_not_null(kernels_parse("", &mask));
    cr_assert_eq(mask, kernels_detect());
}

Test(kernels, select_fills_every_entry_from_the_reference_upward) {
    const Kernels none = kernels_select(0), ref = kernels_select(1),
                  all = kernels_select(kernels_detect());
    cr_assert_eq(none.scores[0], ref.scores[0]);
    cr_assert_neq(ref.scores[0], all.scores[0]);
    cr_assert_str_eq(kernels_name(0), "ref");
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
        cr_assert(all.decode[type] && all.encode[type] && all.scores[type] && all.values[type]);
    }
}
