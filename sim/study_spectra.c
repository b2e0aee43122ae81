/* study_spectra.c -- how much of a teacher's keys and values a few components hold; see
 * study_teacher.h.
 *
 * Keys before RoPE, values and [K | V] are the blocks that conversions decompose too: what is made
 * here is kept for them. */
#include <stdio.h>

#include "study_teacher.h"

/* Leading components of widths whose decomposition is not whole. */
enum { RANK_MOST = 1024 };

static size_t rank_of(size_t n) {
    return n <= SPECTRUM_EXACT_MOST || n < RANK_MOST ? n : RANK_MOST;
}

/* Components that leave out at most a tenth; 0 when those that are known leave out more. */
static size_t ninety(const Spectrum *s) {
    double kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        kept += s->values[i];
        if (kept >= 0.9 * s->trace) return i + 1;
    }
    return 0;
}

static void add_tail(MetricList *list, const char *name, const Spectrum *s, size_t rank) {
    char metric[48];
    snprintf(metric, sizeof metric, "spectrum_%s_%zu", name, rank);
    metric_add(list, metric, "1", spectrum_tail(s, rank) / s->trace, KIND_MEASURED);
}

static void add_spectrum(MetricList *list, const char *name, const Spectrum *s) {
    char metric[48];
    if (!(s->trace > 0)) return;
    snprintf(metric, sizeof metric, "%s_ninety", name);
    if (ninety(s)) metric_add(list, metric, "1", (double)ninety(s), KIND_MEASURED);
    snprintf(metric, sizeof metric, "%s_width", name);
    metric_add(list, metric, "1", (double)s->n, KIND_EXACT);
    for (size_t rank = 1; rank < s->n && rank <= s->count; rank *= 2) {
        add_tail(list, name, s, rank);
        if (rank > 1 && rank + rank / 2 <= s->count && rank + rank / 2 < s->n)
            add_tail(list, name, s, rank + rank / 2);
    }
}

/* Of a decomposition that conversions share. */
static Status add_shared(Teacher *t, const char *name, SpectrumKey key, size_t n, uint64_t seed,
                         MetricList *list, Error *err) {
    const MeasuredSpectrum *measured;
    TRY(spectra_get(&t->spectra, &key, &t->model, t->weights, &t->statistics, rank_of(n), seed,
                    &measured, err));
    add_spectrum(list, name, &measured->spectrum);
    return OK;
}

static Status add_rotated(const Teacher *t, uint64_t seed, MetricList *list, Error *err) {
    const Moments *m = &t->statistics.rotated;
    Spectrum spectrum;
    TRY(spectrum_new(&spectrum, m->n, m->sum, NULL, rank_of(m->n), seed, err));
    add_spectrum(list, "key_rotated", &spectrum);
    spectrum_free(&spectrum);
    return OK;
}

Status study_add_spectra(Teacher *teacher, uint64_t seed, MetricList *list, Error *err) {
    Teacher *t = teacher;
    if (!t->calibrated) return OK;
    const size_t keys = t->statistics.key_width, values = t->statistics.value_width;
    const SpectrumKey key = { .of = SPECTRUM_BLOCK, .first = 0, .n = keys };
    const SpectrumKey value = { .of = SPECTRUM_BLOCK, .first = keys, .n = values };
    const SpectrumKey both = { .of = SPECTRUM_BALANCED, .key_scale = 1 };
    TRY(add_shared(t, "key", key, keys, seed, list, err));
    TRY(add_shared(t, "value", value, values, seed, list, err));
    TRY(add_shared(t, "both", both, keys + values, seed, list, err));
    return t->statistics.rotated.n ? add_rotated(t, seed, list, err) : OK;
}
