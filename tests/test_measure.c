/* test_measure.c -- timing by a clock that the tests move. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "measure.h"

static double fake_ns;

static double read_fake(void) {
    return fake_ns;
}

/* A case that takes step_ns a call and writes its name into the order of calls. */
typedef struct {
    char name;
    double step_ns;
    size_t calls, last_index;
} Sleeper;

static char call_order[64];

static void sleep_once(void *context, size_t i) {
    Sleeper *s = context;
    fake_ns += s->step_ns;
    s->calls++;
    s->last_index = i;
    const size_t used = strlen(call_order);
    if (used + 1 < sizeof call_order) call_order[used] = s->name;
}

static Measurement summary_of(size_t n, const double *samples) {
    Error err;
    Measurement m = { .samples = n };
    cr_assert_eq(BUFFER(&m.samples_ns, n, "samples", &err), OK);
    memcpy(m.samples_ns, samples, n * sizeof *samples);
    cr_assert_eq(measure_summarise(&m, &err), OK);
    return m;
}

Test(measure, quantiles_lie_between_order_statistics) {
    Measurement m = summary_of(4, (double[]){ 4e5, 1e5, 3e5, 2e5 });
    cr_assert_float_eq(m.min_ns, 1e5, 1e-6);
    cr_assert_float_eq(m.q1_ns, 1.75e5, 1e-6);
    cr_assert_float_eq(m.median_ns, 2.5e5, 1e-6);
    cr_assert_float_eq(m.q3_ns, 3.25e5, 1e-6);
    cr_assert_float_eq(m.samples_ns[0], 4e5, 1e-6, "samples stay in the order taken");
    measure_free(&m);
}

Test(measure, one_sample_is_its_own_summary) {
    Measurement m = summary_of(1, (double[]){ 5e5 });
    cr_assert_eq(m.min_ns, 5e5);
    cr_assert_eq(m.q1_ns, 5e5);
    cr_assert_eq(m.median_ns, 5e5);
    cr_assert_eq(m.q3_ns, 5e5);
    cr_assert_eq(m.warnings, 0);
    measure_free(&m);
}

Test(measure, each_warning_has_its_cause) {
    const struct {
        double samples[5];
        unsigned warnings;
    } cases[] = {
        { { 100e3, 101e3, 102e3, 101e3, 100e3 }, 0 },
        { { 9.9e3, 9.9e3, 9.9e3, 9.9e3, 9.9e3 }, WARN_SHORT },
        { { 100e3, 150e3, 200e3, 120e3, 180e3 }, WARN_SPREAD },
        { { 100e3, 101e3, 102e3, 101e3, 150e3 }, WARN_OUTLIERS },
        { { 100e3, 101e3, 102e3, 101e3, 60e3 }, WARN_OUTLIERS },
        { { 155e3, 100e3, 101e3, 102e3, 101e3 }, WARN_OUTLIERS | WARN_FIRST_SLOW },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Measurement m = summary_of(5, cases[i].samples);
        cr_assert_eq(m.warnings, cases[i].warnings, "case %zu: %u", i, m.warnings);
        measure_free(&m);
    }
}

Test(measure, few_outliers_among_many_samples_are_no_cause_for_doubt) {
    double samples[200];
    Error err = { 0 };
    for (int far = 4; far <= 5; far++) { /* 2 % of 200, and one more */
        for (int i = 0; i < 200; i++) samples[i] = i % 40 == 0 && i < 40 * far ? 150e3 : 100e3 + i;
        Measurement m = { .samples_ns = samples, .samples = 200 };
        cr_assert_eq(measure_summarise(&m, &err), OK);
        cr_assert_eq(m.warnings & WARN_OUTLIERS, far > 4 ? WARN_OUTLIERS : 0);
    }
}

Test(measure, every_warning_has_its_own_text) {
    for (unsigned a = 1; a <= WARN_ROOFLINE; a *= 2)
        for (unsigned b = 1; b < a; b *= 2)
            cr_assert_str_neq(measure_warning(a), measure_warning(b));
}

Test(measure, cases_take_turns_after_one_warm_up_each) {
    Sleeper a = { .name = 'a', .step_ns = 100e3 }, b = { .name = 'b', .step_ns = 200e3 };
    const MeasureCase cases[] = { { sleep_once, &a }, { sleep_once, &b } };
    Measurement results[2];
    Error err;
    const MeasureParams params = { .min_samples = 3, .min_seconds = 0 };
    cr_assert_eq(measure_cases_by(read_fake, &params, 2, cases, results, &err), OK);
    cr_assert_str_eq(call_order, "abababab");
    cr_assert_eq(results[0].samples, 3, "the warm-up is no sample");
    cr_assert_eq(results[0].median_ns, 100e3);
    cr_assert_eq(results[1].median_ns, 200e3);
    cr_assert_eq(a.last_index, 3, "calls count on, so that buffers can rotate");
    measure_free(&results[0]);
    measure_free(&results[1]);
}

Test(measure, time_and_samples_are_both_reached) {
    Sleeper brief = { .name = 's', .step_ns = 1e6 }, slow = { .name = 'l', .step_ns = 1e9 };
    const MeasureCase cases[] = { { sleep_once, &brief }, { sleep_once, &slow } };
    Measurement results[2];
    Error err;
    const MeasureParams params = { .min_samples = 10, .min_seconds = 0.5 };
    cr_assert_eq(measure_cases_by(read_fake, &params, 2, cases, results, &err), OK);
    cr_assert_eq(results[0].samples, 500, "%zu", results[0].samples);
    cr_assert_eq(results[1].samples, 10, "a short case does not multiply a long one");
    measure_free(&results[0]);
    measure_free(&results[1]);
}

Test(measure, a_call_that_takes_no_time_ends_all_the_same) {
    Sleeper none = { .name = 'n' };
    const MeasureCase timed = { sleep_once, &none };
    Measurement result;
    Error err;
    const MeasureParams params = { .min_samples = 10, .min_seconds = 0.5 };
    cr_assert_eq(measure_cases_by(read_fake, &params, 1, &timed, &result, &err), OK);
    cr_assert_eq(result.samples, MEASURE_SAMPLES_MOST);
    cr_assert(result.warnings & WARN_SHORT);
    measure_free(&result);
}

static void spin(void *context, size_t i) {
    (void)i;
    const double until = measure_now_ns() + *(double *)context;
    while (measure_now_ns() < until) continue;
}

Test(measure, the_real_clock_sees_a_longer_call_as_longer) {
    double brief = 20e3, slow = 200e3;
    const MeasureCase cases[] = { { spin, &brief }, { spin, &slow } };
    Measurement results[2];
    Error err;
    const MeasureParams params = { .min_samples = 10, .min_seconds = 0.005 };
    cr_assert_eq(measure_cases(&params, 2, cases, results, &err), OK);
    cr_assert_geq(results[0].min_ns, brief);
    cr_assert_geq(results[1].min_ns, slow);
    measure_free(&results[0]);
    measure_free(&results[1]);
}

static void count_call(void *context, size_t i) {
    (void)i;
    ++*(size_t *)context;
}

Test(measure, a_yardstick_takes_as_many_samples_as_the_case_beside_it) {
    double slow = 100e3;
    size_t calls = 0;
    const MeasureCase timed = { spin, &slow }, yardstick = { count_call, &calls };
    Measurement result, beside;
    Error err;
    const MeasureParams params = { .min_samples = 10, .min_seconds = 0.002 };
    cr_assert_eq(measure_beside(&params, &timed, &yardstick, &result, &beside, &err), OK);
    cr_assert_geq(result.samples, 10);
    cr_assert_eq(beside.samples, result.samples);
    cr_assert_eq(calls, result.samples + 1, "one warm-up");
    measure_free(&result);
    measure_free(&beside);
}
