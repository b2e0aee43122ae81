/* The model of speed: its limits, and that its fit finds the shares a machine was made with. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "roofline.h"

Test(roofline, a_part_takes_as_long_as_its_slower_limit) {
    const PartWork work = { .flops = 100, .bytes = 30, .values = 5 };
    cr_expect_eq(roofline_seconds(&work, &(PartRates){ 100, 10, 0 }), 3);
    cr_expect_eq(roofline_seconds(&work, &(PartRates){ 10, 10, 0 }), 10);
    cr_expect_eq(roofline_seconds(&work, &(PartRates){ 10, 10, 1 }), 15);
    cr_expect_eq(roofline_seconds(&work, &(PartRates){ 0, 10, 0 }), 3);
}

static char path[32];

static void write_file(const char *text) {
    snprintf(path, sizeof path, "/tmp/kvlab-bench-XXXXXX");
    const int file = mkstemp(path);
    cr_assert_neq(file, -1);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
}

/* Cases of a machine of 200 Gflop/s and 30 GB/s whose kernels reach known shares; every other case
 * of a class takes `times` as long. */
static void write_known(double times) {
    static char text[1 << 16];
    size_t of_class[2] = { 0 };
    int used = snprintf(text, sizeof text,
                        "{\"machine\": {\"fma_f32_gflops\": 200, \"read_gbytes_s\": 30}, "
                        "\"cases\": [");
    for (int i = 0; i < 32; i++) {
        const int heads = 1 << i % 7, latent = i % 3 == 0;
        const double rows = 1000.0 * (1 + i), d = 128, type_bytes = i % 2 ? 1 : 2;
        const double flops = 2 * rows * heads * 2 * d;
        const double values = rows * (latent ? d : 2 * d), bytes = values * type_bytes;
        const double compute = flops / (200 * (latent ? 0.75 : 0.5));
        const double unpack = values / (i % 2 ? 10 : 40);
        const bool other = of_class[latent]++ % 2;
        const double ns = (other ? times : 1) * fmax(compute + unpack, bytes / (30 * 0.8));
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "%s{\"name\": \"decode/%d\", \"phase\": \"decode\", \"path\": \"%s\", "
                         "\"kv_dtype\": \"%s\", \"heads\": %d, \"kv_heads\": 1, \"dk\": 128, "
                         "\"dv\": 128, \"median_ns\": %.17g, \"flops\": %.17g, \"bytes\": %.17g}",
                         i ? ", " : "", i, latent ? "absorbed" : "materialised",
                         i % 2 ? "int8" : "bf16", heads, ns, flops, bytes);
    }
    snprintf(text + used, sizeof text - (size_t)used, "]}");
    write_file(text);
}

Test(roofline, the_fit_finds_the_shares_that_times_were_made_with) {
    KernelCheck check;
    Error err;
    write_known(1);
    cr_assert_eq(roofline_check(&check, path, &err), OK, "%s", err.text);
    unlink(path);
    cr_expect_eq(check.count, 32);
    cr_expect_lt(check.median_error, 0.01, "%g", check.median_error);
    cr_expect_lt(check.median_error_held_out, 0.02, "%g", check.median_error_held_out);
    cr_expect_lt(fabs(check.shares.compute[KERNEL_DECODE_HEADS] - 0.5), 0.02);
    cr_expect_lt(fabs(check.shares.compute[KERNEL_DECODE_LATENT] - 0.75), 0.03);
    size_t held_out = 0;
    for (size_t i = 0; i < check.count; i++) held_out += !check.cases[i].fitted;
    cr_expect_eq(held_out, 15); /* of 11 and 21 in two classes */
    roofline_check_free(&check);
}

/* Nothing is fitted to the cases that are held out: when they alone take twice as long, their error
 * is a half, and the shares stay. */
Test(roofline, cases_that_are_held_out_are_judged_apart) {
    KernelCheck check;
    Error err;
    write_known(2);
    cr_assert_eq(roofline_check(&check, path, &err), OK, "%s", err.text);
    unlink(path);
    cr_expect_lt(fabs(check.median_error_held_out - 0.5), 0.01, "%g", check.median_error_held_out);
    cr_expect_lt(check.median_error, 0.05, "%g", check.median_error);
    cr_expect_lt(fabs(check.shares.compute[KERNEL_DECODE_HEADS] - 0.5), 0.02);
    roofline_check_free(&check);
}

Test(roofline, what_is_no_result_of_a_benchmark_is_refused) {
    const struct {
        const char *text, *says;
    } wrong[] = { { "{}", "no result of kvlab bench" },
                  { "[", "JSON" },
                  { "{\"machine\": {}, \"cases\": []}", "0 decode and prefill cases" },
                  { "{\"machine\": {}, \"cases\": [{\"name\": \"x\", \"phase\": \"decode\", "
                    "\"kv_dtype\": \"bf16\", \"flops\": 1, \"bytes\": -1}]}",
                    "x: bytes: must be a number above 0" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        KernelCheck check;
        Error err;
        write_file(wrong[i].text);
        cr_expect_eq(roofline_check(&check, path, &err), ERR_INPUT, "%s", wrong[i].text);
        cr_expect_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
        unlink(path);
    }
}
