/* spectra.c -- decomposes what conversions ask for, and keeps it; see spectra.h. */
#include "spectra.h"

#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"

static void measured_spectrum_free(MeasuredSpectrum *m) {
    spectrum_free(&m->spectrum);
    buffer_free(m->scale);
    buffer_free(m->blocks);
    *m = (MeasuredSpectrum){ 0 };
}

void spectra_free(Spectra *spectra) {
    for (size_t i = 0; i < SPECTRA_KEPT; i++) measured_spectrum_free(&spectra->kept[i]);
    *spectra = (Spectra){ 0 };
}

/* What a decomposition is made from. */
typedef struct {
    const SpectrumKey *key;
    const Model *layer;
    const LayerWeights *weights;
    const Statistics *statistics;
    size_t rank;
    uint64_t seed;
} Source;

static bool is_keys(SpectrumOf of) {
    return of == SPECTRUM_LOGITS || of == SPECTRUM_KEY_WEIGHTS;
}

/* Where the decomposed values lie in [K | V]. */
static void place_of(const Source *s, size_t *first, size_t *n) {
    const size_t keys = s->layer->kv_heads * s->layer->key_dim;
    const size_t values = s->layer->kv_heads * s->layer->value_dim;
    *first = 0;
    *n = keys + values;
    if (s->key->of == SPECTRUM_BLOCK) {
        *first = s->key->first;
        *n = s->key->n;
    } else if (is_keys(s->key->of)) {
        *n = keys;
    } else if (s->key->of != SPECTRUM_BALANCED) {
        *first = keys;
        *n = values;
    }
}

/* ---- metrics ---- */

static Status balance_scale(const Source *s, size_t n, MeasuredSpectrum *out, Error *err) {
    TRY(BUFFER(&out->scale, n, "a scale", err));
    const size_t keys = s->layer->kv_heads * s->layer->key_dim;
    for (size_t i = 0; i < n; i++) out->scale[i] = i < keys ? s->key->key_scale : 1;
    return OK;
}

/* Under RoPE the products of different frequencies average out over distances, so that the metric
 * is diagonal; channels that no query uses get a little weight, to be taken back from. */
static Status logit_scale(const Source *s, size_t n, MeasuredSpectrum *out, Error *err) {
    TRY(BUFFER(&out->scale, n, "a scale", err));
    statistics_logit_weights(s->statistics, s->layer, out->scale);
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, out->scale[i]);
    if (most == 0) most = 1;
    for (size_t i = 0; i < n; i++) out->scale[i] = sqrt(fmax(out->scale[i], 1e-12 * most));
    return OK;
}

/* Without RoPE: Q^T Q of the query heads of each key head. */
static Status logit_blocks(const Source *s, size_t n, MeasuredSpectrum *out, Error *err) {
    const size_t d = s->layer->key_dim, share = s->layer->heads / s->layer->kv_heads;
    out->width = d;
    TRY(BUFFER(&out->blocks, n * d, "a metric", err));
    for (size_t h = 0; h < s->layer->heads; h++)
        for (size_t i = 0; i < d * d; i++)
            out->blocks[h / share * d * d + i] += s->statistics->queries[h * d * d + i];
    return metric_factor(n, d, out->blocks, err);
}

/* W_O,h^T W_O,h, summed over the query heads of each value head. */
static Status output_blocks(const Source *s, size_t n, MeasuredSpectrum *out, Error *err) {
    const Model *m = s->layer;
    const size_t width = m->value_dim, share = m->heads / m->kv_heads, row = m->heads * width;
    out->width = width;
    TRY(BUFFER(&out->blocks, n * width, "a metric", err));
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < m->kv_heads; g++)
        for (size_t h = g * share; h < (g + 1) * share; h++)
            for (size_t o = 0; o < m->hidden; o++) {
                const float *w = s->weights->o + o * row + h * width;
                for (size_t i = 0; i < width; i++) {
                    double *to = out->blocks + (g * width + i) * width;
                    for (size_t j = 0; j < width; j++) to[j] += (double)w[i] * w[j];
                }
            }
    return metric_factor(n, width, out->blocks, err);
}

static Status make_metric(const Source *s, size_t n, MeasuredSpectrum *out, Error *err) {
    switch (s->key->of) {
    case SPECTRUM_BALANCED:
        return balance_scale(s, n, out, err);
    case SPECTRUM_LOGITS:
        return s->layer->rope.dim ? logit_scale(s, n, out, err) : logit_blocks(s, n, out, err);
    case SPECTRUM_OUTPUT:
        return output_blocks(s, n, out, err);
    default:
        return OK;
    }
}

/* ---- the decomposition ---- */

static Status weight_moments(const Source *s, size_t n, double *moments, Error *err) {
    const float *w = is_keys(s->key->of) ? s->weights->k : s->weights->v;
    return moments_of_weights(n, s->layer->hidden, w, moments, err);
}

/* The moments to decompose, [n, n] in *owned, or borrowed where they are all of the statistics. */
static Status take_moments(const Source *s, size_t first, size_t n, const double *blocks,
                           size_t width, double **owned, const double **moments, Error *err) {
    if (s->statistics && n == s->statistics->kv.n && !blocks) {
        *moments = s->statistics->kv.sum;
        return OK;
    }
    TRY(BUFFER(owned, n * n, "moments", err));
    *moments = *owned;
    if (!s->statistics) return weight_moments(s, n, *owned, err);
    moments_block(s->statistics->kv.n, s->statistics->kv.sum, first, n, *owned);
    return blocks ? metric_apply(n, width, blocks, *owned, *owned, err) : OK;
}

static Status decompose(const Source *s, MeasuredSpectrum *out, Error *err) {
    size_t first, n;
    place_of(s, &first, &n);
    *out = (MeasuredSpectrum){ .key = *s->key };
    double *owned = NULL;
    const double *moments = NULL;
    Status status = make_metric(s, n, out, err);
    if (status == OK)
        status = take_moments(s, first, n, out->blocks, out->width, &owned, &moments, err);
    if (status == OK)
        status = spectrum_new(&out->spectrum, n, moments, out->scale, s->rank, s->seed, err);
    buffer_free(owned);
    if (status != OK) measured_spectrum_free(out);
    return status;
}

static bool same_key(const SpectrumKey *a, const SpectrumKey *b) {
    return a->of == b->of && a->first == b->first && a->n == b->n && a->key_scale == b->key_scale;
}

Status spectra_get(Spectra *spectra, const SpectrumKey *key, const Model *layer,
                   const LayerWeights *weights, const Statistics *statistics, size_t rank,
                   uint64_t seed, const MeasuredSpectrum **out, Error *err) {
    MeasuredSpectrum *oldest = &spectra->kept[0];
    const size_t width = layer->kv_heads * (layer->key_dim + layer->value_dim);
    const size_t wide = spectra->wide < width ? spectra->wide : width;
    if (key->of == SPECTRUM_BALANCED && key->key_scale == 1 && rank < wide) rank = wide;
    const size_t now = ++spectra->asked;
    for (size_t i = 0; i < SPECTRA_KEPT; i++) {
        MeasuredSpectrum *kept = &spectra->kept[i];
        if (kept->used < oldest->used) oldest = kept;
        if (!kept->spectrum.n || !same_key(&kept->key, key) || kept->spectrum.count < rank)
            continue;
        kept->used = now;
        *out = kept;
        return OK;
    }
    const bool of_weights = key->of == SPECTRUM_KEY_WEIGHTS || key->of == SPECTRUM_VALUE_WEIGHTS;
    const Source source = { key, layer, weights, of_weights ? NULL : statistics, rank, seed };
    measured_spectrum_free(oldest);
    TRY(decompose(&source, oldest, err));
    oldest->used = now;
    *out = oldest;
    return OK;
}

void spectra_place(const MeasuredSpectrum *measured, Projection *projection, size_t rank,
                   size_t first_component, size_t first_value) {
    const Spectrum *s = &measured->spectrum;
    projection_place(projection, s, measured->scale, rank, first_component, first_value);
    if (measured->blocks)
        metric_return(projection, s->n, measured->width, measured->blocks, rank, first_component,
                      first_value);
}
