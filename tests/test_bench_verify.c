/* test_bench_verify.c -- the checker itself: what is right passes, what is broken is caught. A
 * checker that cannot fail proves nothing, so every kind of mistake that it is there for is made
 * here on purpose, in one entry of the table. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench_inputs.h"
#include "bench_verify.h"

static Error err;

static int threads = 2;

static VerifyReport check(const char *filter, const char *isa, const Kernels *kernels) {
    static VerifyReport report;
    const VerifyParams params = { .filter = filter, .threads = threads };
    const VerifyTable table = { isa, *kernels };
    cr_assert_eq(bench_verify(&params, 1, &table, &report, &err), OK, "%s", err.text);
    return report;
}

/* The table of the machine's best tier. */
static Kernels best(void) {
    return kernels_select(kernels_detect());
}

static const char *const odd = "^(decode|prefill)/odd-.*/(f32|bf16)/";

Test(bench_verify, right_kernels_pass_and_are_counted) {
    VerifyTable tables[VERIFY_TABLES_MOST];
    size_t count;
    static VerifyReport report;
    cr_assert_eq(verify_tables(NULL, tables, &count, &err), OK);
    cr_assert_geq(count, 2, "ref and portable run anywhere");
    const VerifyParams params = { .filter = "/odd-", .threads = 2 };
    cr_assert_eq(bench_verify(&params, count, tables, &report, &err), OK, "%s", err.text);
    cr_assert_eq(report.failed, 0, "%s: %s", report.failure[0].name, report.failure[0].what);
    cr_assert_eq(report.tiers, count);
    size_t checks = 0;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(report.tier[i].checks, report.tier[0].checks);
        cr_assert(report.tier[i].worst > 0 && report.tier[i].worst <= 1);
        checks += report.tier[i].checks;
    }
    cr_assert_eq(report.checks, checks);
    cr_assert(report.exact > 0 && report.exact < report.values);
}

Test(bench_verify, without_a_tier_it_fails) {
    static VerifyReport report;
    const VerifyParams params = { .threads = 1 };
    cr_assert_eq(bench_verify(&params, 0, NULL, &report, &err), ERR_MACHINE);
    cr_assert(strstr(err.text, "nothing was verified"), "%s", err.text);
}

Test(bench_verify, a_named_tier_is_checked_alone_and_a_missing_one_is_refused) {
    VerifyTable tables[VERIFY_TABLES_MOST];
    size_t count;
    cr_assert_eq(verify_tables("portable", tables, &count, &err), OK);
    cr_assert(count == 1 && strcmp(tables[0].isa, "portable") == 0);
    cr_assert_eq(verify_tables("portabel", tables, &count, &err), ERR_INPUT);
}

/* ---- kernels broken on purpose ---- */

static Kernels whole;

/* Loses the last element of every row of scores. */
static void scores_without_tail(const RowFormat *format, size_t m, size_t n, size_t d,
                                const float *q, size_t ld_q, const void *k, size_t k_stride,
                                float *s, size_t ld_s) {
    whole.scores[format->type](format, m, n, d ? d - 1 : 0, q, ld_q, k, k_stride, s, ld_s);
}

/* Loses the last token. */
static void values_without_last(const RowFormat *format, size_t m, size_t n, size_t d,
                                const float *p, size_t ld_p, const void *v, size_t v_stride,
                                float *o, size_t ld_o) {
    whole.values[format->type](format, m, n ? n - 1 : 0, d, p, ld_p, v, v_stride, o, ld_o);
}

/* Rounds sums to 11 bits, as an accumulator of 16 bits would. */
static void values_in_16_bits(const RowFormat *format, size_t m, size_t n, size_t d, const float *p,
                              size_t ld_p, const void *v, size_t v_stride, float *o, size_t ld_o) {
    whole.values[format->type](format, m, n, d, p, ld_p, v, v_stride, o, ld_o);
    for (size_t i = 0; i < m; i++)
        for (size_t e = 0; e < d; e++) {
            int exponent;
            const float fraction = frexpf(o[i * ld_o + e], &exponent);
            o[i * ld_o + e] = ldexpf(rintf(fraction * 2048), exponent - 11);
        }
}

/* Writes one float too many. */
static void decode_too_far(const RowFormat *format, size_t n, const void *row, float *out) {
    whole.decode[format->type](format, n, row, out);
    out[n] = 0;
}

static float softmax_without_maximum(size_t n, float scale, float *s, float *max, float *sum) {
    *max = fmaxf(*max, 0);
    for (size_t j = 0; j < n; j++) *sum += s[j] = expf(fminf(scale * s[j], 80));
    return 1;
}

static float softmax_in_few_bits(size_t n, float scale, float *s, float *max, float *sum) {
    const float factor = whole.softmax_step(n, scale, s, max, sum);
    for (size_t j = 0; j < n; j++) s[j] *= 1 + 0x1p-12f * (float)(j % 3);
    return factor;
}

static void decode_upside_down(const RowFormat *format, size_t n, const void *row, float *out) {
    whole.decode[format->type](format, n, row, out);
    if (n > 1) {
        const float first = out[0];
        out[0] = out[n - 1];
        out[n - 1] = first;
    }
}

static void encode_cut(const RowFormat *format, const float *in, void *row) {
    float cut[1024];
    for (size_t i = 0; i < format->n; i++) cut[i] = in[i] * (1 - 0x1p-10f);
    whole.encode[format->type](format, cut, row);
}

/* The portable tier, whose attention goes through these entries. */
static Kernels portable(void) {
    unsigned mask;
    cr_assert_null(kernels_parse("portable", &mask));
    whole = kernels_select(mask);
    return whole;
}

static void assert_caught(const Kernels *broken, const char *filter, const char *what) {
    const Kernels right = whole;
    const VerifyReport before = check(filter, "right", &right);
    cr_assert_eq(before.failed, 0, "%s: %s", before.failure[0].name, before.failure[0].what);
    const VerifyReport report = check(filter, "broken", broken);
    cr_assert_gt(report.failed, 0, "%s was not caught", what);
    cr_assert_str_eq(report.failure[0].isa, "broken");
    cr_assert(report.failure[0].what[0] && report.failure[0].name[0]);
}

Test(bench_verify, a_lost_tail_of_the_scores_is_caught) {
    Kernels broken = portable();
    broken.scores[ROW_F32] = broken.scores[ROW_BF16] = scores_without_tail;
    assert_caught(&broken, odd, "a lost tail");
}

Test(bench_verify, a_lost_token_is_caught) {
    Kernels broken = portable();
    broken.values[ROW_F32] = broken.values[ROW_BF16] = values_without_last;
    assert_caught(&broken, odd, "a lost token");
}

Test(bench_verify, sums_in_16_bits_are_caught) {
    Kernels broken = portable();
    broken.values[ROW_F32] = broken.values[ROW_BF16] = values_in_16_bits;
    assert_caught(&broken, odd, "a sum in 16 bits");
}

Test(bench_verify, a_write_beyond_the_end_is_caught) {
    Kernels broken = portable();
    broken.decode[ROW_INT8] = decode_too_far;
    threads = 1; /* so that no other row lies behind the one that is written */
    assert_caught(&broken, "^decode_rows/odd-67/int8", "a write beyond the end");
}

Test(bench_verify, a_softmax_that_overflows_is_caught) {
    Kernels broken = portable();
    broken.softmax_step = softmax_without_maximum;
    assert_caught(&broken, odd, "a softmax without its maximum");
}

Test(bench_verify, weights_of_few_bits_are_caught) {
    Kernels broken = portable();
    broken.softmax_step = softmax_in_few_bits;
    assert_caught(&broken, odd, "weights of few bits");
}

Test(bench_verify, rows_decoded_in_another_order_are_caught) {
    Kernels broken = portable();
    broken.decode[ROW_INT8] = decode_upside_down;
    assert_caught(&broken, "^decode_rows/odd-67/int8", "rows decoded in another order");
}

Test(bench_verify, rows_encoded_with_another_rounding_are_caught) {
    Kernels broken = portable();
    broken.encode[ROW_BF16] = encode_cut;
    assert_caught(&broken, "^encode_rows/odd-67/bf16", "another rounding");
}

Test(bench_verify, the_rounding_that_a_table_declares_widens_its_bounds_alone) {
    Kernels coarse = portable();
    coarse.values[ROW_BF16] = coarse.values[ROW_F32] = values_in_16_bits;
    coarse.rounding[ROW_BF16] = 0x1p-9;
    const VerifyReport bf16 = check("^decode/odd-6.*/bf16/", "coarse", &coarse);
    const VerifyReport f32 = check("^decode/odd-6.*/f32/", "coarse", &coarse);
    cr_assert_eq(bf16.failed, 0, "%s: %s", bf16.failure[0].name, bf16.failure[0].what);
    cr_assert_gt(f32.failed, 0);
}

/* ---- the inputs ---- */

Test(bench_verify, whole_rows_survive_every_type_and_nearly_all_are_decided) {
    const Kernels kernels = best();
    const VerifyReport rows = check("^encode_rows/(head|latent)", "best", &kernels);
    cr_assert_eq(rows.failed, 0, "%s: %s", rows.failure[0].name, rows.failure[0].what);
    const VerifyReport decode = check("^decode/odd-6", "best", &kernels);
    cr_assert_gt((double)decode.exact, 0.3 * (double)decode.values);
}
