/* measure.h -- timing as an experiment: warm-up apart, at least 10 samples and 0.5 s, all samples
 * kept, contenders in turns within one run, a robust summary and warnings as values. */
#ifndef KVLAB_MEASURE_H
#define KVLAB_MEASURE_H

#include <stddef.h>

#include "error.h"

typedef struct {
    size_t min_samples; /* 10 */
    double min_seconds; /* 0.5 */
} MeasureParams;

/* One thing to time: run(context, i) does the i-th call; i lets it rotate over buffers. */
typedef struct {
    void (*run)(void *context, size_t i);
    void *context;
} MeasureCase;

enum {
    WARN_FIRST_SLOW = 1, /* the first sample was over 1.5 medians */
    WARN_OUTLIERS = 2,   /* over 2 % of samples lie 3 interquartile ranges off */
    WARN_SPREAD = 4,     /* quartiles further apart than 5 % of the median */
    WARN_SHORT = 8,      /* the median is under 10 us: the clock is in it */
    WARN_ROOFLINE = 16   /* the median is under 0.95 of the roofline's time: set by who knows it */
};

typedef struct {
    double *samples_ns; /* in the order taken */
    size_t samples;
    double median_ns, q1_ns, q3_ns, min_ns;
    unsigned warnings;
} Measurement;

/* No case keeps more samples than this, however short its calls are. */
enum { MEASURE_SAMPLES_MOST = 100000 };

/* Times `count` cases in turns, one sample of each a round, after one warm-up call of each (i = 0;
 * samples go on from 1). A case with min_samples and min_seconds leaves the rounds, so a short case
 * does not multiply a long one's samples. results [count]; release each with measure_free. */
Status measure_cases(const MeasureParams *params, size_t count, const MeasureCase *cases,
                     Measurement *results, Error *err);

/* The same by another clock, for tests. */
Status measure_cases_by(double (*now_ns)(void), const MeasureParams *params, size_t count,
                        const MeasureCase *cases, Measurement *results, Error *err);
/* Times a case and, in turns with it, a yardstick: one sample of each a round, until the case has
 * its samples and seconds. Both then saw the same machine, however it drifted. */
Status measure_beside(const MeasureParams *params, const MeasureCase *timed,
                      const MeasureCase *yardstick, Measurement *result, Measurement *beside,
                      Error *err);
void measure_free(Measurement *result);

/* Fills the summary of a result from its samples (at least one): quantiles by linear interpolation
 * between order statistics. Errors: ERR_MACHINE for lack of memory. */
Status measure_summarise(Measurement *result, Error *err);

/* The text of one warning bit. */
const char *measure_warning(unsigned bit);

/* Nanoseconds of a monotonic clock. */
double measure_now_ns(void);

#endif
