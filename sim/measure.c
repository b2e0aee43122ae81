/* measure.c -- samples in turns and their robust summary; see measure.h. */
#include "measure.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buffer.h"

static const double SHORT_NS = 10e3;
static const double FIRST_SLOW_MEDIANS = 1.5;
static const double OUTLIER_RANGES = 3;
static const double OUTLIER_SHARE = 0.02;
static const double SPREAD_SHARE = 0.05;

double measure_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quantile of n >= 1 sorted values: at (n - 1) * share, between the two nearest. */
static double quantile(size_t n, const double *sorted, double share) {
    const double at = (double)(n - 1) * share;
    const size_t below = (size_t)at;
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static unsigned find_warnings(const Measurement *m) {
    const double range = m->q3_ns - m->q1_ns;
    unsigned warnings = 0;
    size_t outliers = 0;
    if (m->samples_ns[0] > FIRST_SLOW_MEDIANS * m->median_ns) warnings |= WARN_FIRST_SLOW;
    for (size_t i = 0; i < m->samples; i++)
        if (m->samples_ns[i] > m->q3_ns + OUTLIER_RANGES * range ||
            m->samples_ns[i] < m->q1_ns - OUTLIER_RANGES * range)
            outliers++;
    if ((double)outliers > OUTLIER_SHARE * (double)m->samples) warnings |= WARN_OUTLIERS;
    if (range > SPREAD_SHARE * m->median_ns) warnings |= WARN_SPREAD;
    if (m->median_ns < SHORT_NS) warnings |= WARN_SHORT;
    return warnings;
}

Status measure_summarise(Measurement *result, Error *err) {
    const size_t n = result->samples;
    double *sorted;
    TRY(BUFFER(&sorted, n, "sorted samples", err));
    memcpy(sorted, result->samples_ns, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    result->min_ns = sorted[0];
    result->q1_ns = quantile(n, sorted, 0.25);
    result->median_ns = quantile(n, sorted, 0.5);
    result->q3_ns = quantile(n, sorted, 0.75);
    result->warnings = find_warnings(result);
    buffer_free(sorted);
    return OK;
}

/* A case's samples so far. */
typedef struct {
    double *samples_ns;
    size_t samples, capacity;
    double total_ns;
} Series;

static bool is_done(const Series *series, const MeasureParams *params) {
    if (series->samples == MEASURE_SAMPLES_MOST) return true;
    return series->samples > 0 && series->samples >= params->min_samples &&
           series->total_ns >= params->min_seconds * 1e9;
}

static Status take_sample(Series *series, double (*now_ns)(void), const MeasureCase *timed,
                          Error *err) {
    double *grown = buffer_grown(series->samples_ns, &series->capacity, series->samples,
                                 series->samples + 1, sizeof *grown, "samples", err);
    if (!grown) return ERR_MACHINE;
    series->samples_ns = grown;
    const double start = now_ns();
    timed->run(timed->context, series->samples + 1);
    const double elapsed = now_ns() - start;
    series->samples_ns[series->samples++] = elapsed;
    series->total_ns += elapsed;
    return OK;
}

/* Rounds of one sample each: until all are done, each leaving when it is, or until the first is. */
static Status take_all(Series *series, double (*now_ns)(void), const MeasureParams *params,
                       size_t count, const MeasureCase *cases, bool first_decides, Error *err) {
    for (size_t i = 0; i < count; i++) cases[i].run(cases[i].context, 0);
    bool busy = true;
    while (busy) {
        busy = false;
        for (size_t i = 0; i < count; i++) {
            if (!first_decides && is_done(&series[i], params)) continue;
            TRY(take_sample(&series[i], now_ns, &cases[i], err));
            busy = true;
        }
        if (first_decides) busy = !is_done(&series[0], params);
    }
    return OK;
}

static Status measure(double (*now_ns)(void), const MeasureParams *params, size_t count,
                      const MeasureCase *cases, bool first_decides, Measurement *results,
                      Error *err) {
    Series *series = NULL;
    Measurement *drafts = NULL;
    Status status = BUFFER(&series, count, "series", err);
    if (status == OK) status = BUFFER(&drafts, count, "measurements", err);
    if (status == OK) status = take_all(series, now_ns, params, count, cases, first_decides, err);
    for (size_t i = 0; i < count && status == OK; i++) {
        drafts[i] =
            (Measurement){ .samples_ns = series[i].samples_ns, .samples = series[i].samples };
        status = measure_summarise(&drafts[i], err);
    }
    if (status == OK) memcpy(results, drafts, count * sizeof *results);
    for (size_t i = 0; i < count && status != OK && series; i++) buffer_free(series[i].samples_ns);
    buffer_free(drafts);
    buffer_free(series);
    return status;
}

Status measure_cases_by(double (*now_ns)(void), const MeasureParams *params, size_t count,
                        const MeasureCase *cases, Measurement *results, Error *err) {
    return measure(now_ns, params, count, cases, false, results, err);
}

Status measure_cases(const MeasureParams *params, size_t count, const MeasureCase *cases,
                     Measurement *results, Error *err) {
    return measure_cases_by(measure_now_ns, params, count, cases, results, err);
}

Status measure_beside(const MeasureParams *params, const MeasureCase *timed,
                      const MeasureCase *yardstick, Measurement *result, Measurement *beside,
                      Error *err) {
    const MeasureCase cases[] = { *timed, *yardstick };
    Measurement results[2];
    TRY(measure(measure_now_ns, params, 2, cases, true, results, err));
    *result = results[0];
    *beside = results[1];
    return OK;
}

void measure_free(Measurement *result) {
    buffer_free(result->samples_ns);
    *result = (Measurement){ 0 };
}

const char *measure_warning(unsigned bit) {
    switch (bit) {
    case WARN_FIRST_SLOW:
        return "the first sample was slow: something was not warm";
    case WARN_OUTLIERS:
        return "over 2 % of the samples are far off the others";
    case WARN_SPREAD:
        return "the quartiles are further apart than 5 % of the median";
    case WARN_SHORT:
        return "the median is under 10 us: the clock is in it";
    case WARN_ROOFLINE:
        return "over 5 % faster than the roofline: served by a cache, or peaks of a busy machine";
    default:
        return "unknown warning";
    }
}
