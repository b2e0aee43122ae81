/* factorise.c -- latents that are cached before RoPE: the projections of each low-rank recipe, and
 * the weights of the layer that rebuilds keys and values from them. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "convert.h"
#include "whitened.h"

/* What of the calibration text is lost and how much there was, in the measure of the method. */
typedef struct {
    double tail, total;
} Loss;

typedef struct {
    Conversion *out;
    const ConvertSource *source;
    Spectra *spectra;
    Projection projection; /* of [K | V] */
    Loss loss;
} Work;

static Status get(const Work *w, SpectrumKey key, size_t rank, const MeasuredSpectrum **out,
                  Error *err) {
    const ConvertSource *s = w->source;
    return spectra_get(w->spectra, &key, s->layer, s->weights, s->statistics, rank, s->seed, out,
                       err);
}

/* The `rank` leading components of a decomposition from component `first` on, which stands on
 * values `value` on. */
static Status place(Work *w, SpectrumKey key, size_t rank, size_t first, size_t value, Error *err) {
    const MeasuredSpectrum *measured;
    TRY(get(w, key, rank, &measured, err));
    spectra_place(measured, &w->projection, rank, first, value);
    w->loss.tail += spectrum_tail(&measured->spectrum, rank);
    w->loss.total += measured->spectrum.trace;
    return OK;
}

static SpectrumKey block(size_t first, size_t n) {
    return (SpectrumKey){ .of = SPECTRUM_BLOCK, .first = first, .n = n };
}

/* Keys and values apart, by two decompositions. */
static Status separate(Work *w, SpectrumKey keys, SpectrumKey values, size_t key_rank,
                       size_t value_rank, Error *err) {
    const size_t width = w->source->layer->kv_heads * w->source->layer->key_dim;
    TRY(place(w, keys, key_rank, 0, 0, err));
    return place(w, values, value_rank, key_rank, width, err);
}

/* Norm of keys over norm of values; 1 where either is nothing. */
static double norm_ratio(const Statistics *s) {
    double keys = 0, values = 0;
    for (size_t i = 0; i < s->kv.n; i++)
        *(i < s->key_width ? &keys : &values) += s->kv.sum[i * s->kv.n + i];
    return keys > 0 && values > 0 ? sqrt(keys / values) : 1;
}

static Status joint(Work *w, double gamma, Error *err) {
    const SpectrumKey key = { .of = SPECTRUM_BALANCED,
                              .key_scale = pow(norm_ratio(w->source->statistics), -gamma) };
    return place(w, key, w->projection.rank, 0, 0, err);
}

/* Each group of heads to the width of one: G' blocks of keys, then as many of values. */
static Status place_groups(Work *w, Error *err) {
    const Model *layer = w->source->layer;
    const size_t groups = w->out->recipe.key_rank / layer->key_dim;
    const size_t share = layer->kv_heads / groups, width = layer->kv_heads * layer->key_dim;
    for (size_t g = 0; g < groups; g++) {
        const size_t key = g * share * layer->key_dim, value = g * share * layer->value_dim;
        TRY(place(w, block(key, share * layer->key_dim), layer->key_dim, g * layer->key_dim, key,
                  err));
        TRY(place(w, block(width + value, share * layer->value_dim), layer->value_dim,
                  w->out->recipe.key_rank + g * layer->value_dim, width + value, err));
    }
    return OK;
}

/* These decompositions are small and many: they are not kept in the place of large ones. */
static Status grouped(Work *w, Error *err) {
    Spectra own = { .asked = 0 };
    w->spectra = &own;
    const Status status = place_groups(w, err);
    w->spectra = w->source->spectra;
    spectra_free(&own);
    return status;
}

/* Ranks where they lose least of keys' logits and values' outputs, each as a share of its whole. */
static Status filled(Work *w, Error *err) {
    const SpectrumKey logits = { .of = SPECTRUM_LOGITS }, outputs = { .of = SPECTRUM_OUTPUT };
    const Model *layer = w->source->layer;
    const size_t budget = w->projection.rank;
    const size_t keys = layer->kv_heads * layer->key_dim;
    const size_t values = layer->kv_heads * layer->value_dim;
    const MeasuredSpectrum *first, *second;
    TRY(get(w, logits, budget < keys ? budget : keys, &first, err));
    TRY(get(w, outputs, budget < values ? budget : values, &second, err));
    const double weight =
        first->spectrum.trace > 0 ? second->spectrum.trace / first->spectrum.trace : 1;
    const size_t share = spectrum_share(&first->spectrum, &second->spectrum, weight, budget);
    w->out->recipe.key_rank = share;
    w->out->recipe.value_rank = budget - share;
    return separate(w, logits, outputs, share, budget - share, err);
}

static Status project(Work *w, Error *err) {
    const Recipe *r = &w->out->recipe;
    const Model *layer = w->source->layer;
    const size_t keys = layer->kv_heads * layer->key_dim;
    switch (r->kind) {
    case RECIPE_JOINT:
        return joint(w, 0, err);
    case RECIPE_BALANCED:
        return joint(w, r->gamma, err);
    case RECIPE_GROUP:
        return grouped(w, err);
    case RECIPE_WEIGHTS:
        return separate(w, (SpectrumKey){ .of = SPECTRUM_KEY_WEIGHTS },
                        (SpectrumKey){ .of = SPECTRUM_VALUE_WEIGHTS }, r->key_rank, r->value_rank,
                        err);
    case RECIPE_AWARE:
        return separate(w, (SpectrumKey){ .of = SPECTRUM_LOGITS },
                        (SpectrumKey){ .of = SPECTRUM_OUTPUT }, r->key_rank, r->value_rank, err);
    case RECIPE_FILLED:
        return filled(w, err);
    default:
        return separate(w, block(0, keys), block(keys, layer->kv_heads * layer->value_dim),
                        r->key_rank, r->value_rank, err);
    }
}

/* ---- whitened ---- */

typedef struct {
    double *weights; /* [n, D] */
    double *gram;    /* [D, D] */
    double *up;      /* [n, rank] */
    double *down;    /* [rank, D] */
} Whitened;

static Status whitened_alloc(Whitened *w, size_t n, size_t rank, size_t hidden, Error *err) {
    TRY(BUFFER(&w->weights, n * hidden, "weights", err));
    TRY(BUFFER(&w->gram, hidden * hidden, "input moments", err));
    TRY(BUFFER(&w->up, n * rank, "up-projection", err));
    return BUFFER(&w->down, rank * hidden, "down-projection", err);
}

/* The factors of one of W_K and W_V: up into the projection, down into the rows of kv_a. */
static Status whiten(Work *w, const float *weights, size_t n, size_t rank, size_t first,
                     size_t value, float *kv_a, Error *err) {
    const size_t hidden = w->source->layer->hidden;
    Projection *p = &w->projection;
    Whitened f = { 0 };
    Status status = whitened_alloc(&f, n, rank, hidden, err);
    if (status == OK) {
        for (size_t i = 0; i < n * hidden; i++) f.weights[i] = weights[i];
        memcpy(f.gram, w->source->statistics->input.sum, hidden * hidden * sizeof *f.gram);
        status = whitened_factors(n, hidden, f.weights, f.gram, rank, f.up, f.down, err);
    }
    for (size_t i = 0; status == OK && i < n; i++)
        for (size_t r = 0; r < rank; r++) {
            p->up[(value + i) * p->rank + first + r] = f.up[i * rank + r];
            p->down[(first + r) * p->n + value + i] = f.up[i * rank + r];
        }
    for (size_t i = 0; status == OK && i < rank * hidden; i++)
        kv_a[first * hidden + i] = (float)f.down[i];
    buffer_free(f.down);
    buffer_free(f.up);
    buffer_free(f.gram);
    buffer_free(f.weights);
    return status;
}

/* U_r from whitening is orthonormal, so that its transpose takes biases down. */
static Status convert_whitened(Work *w, Error *err) {
    const Recipe *r = &w->out->recipe;
    const Model *layer = w->source->layer;
    const size_t keys = layer->kv_heads * layer->key_dim, hidden = layer->hidden;
    if (!w->source->statistics->input.n)
        return fail(err, ERR_INPUT, "%s: needs the moments of hidden states", r->name);
    float *kv_a = NULL;
    TRY(BUFFER(&kv_a, w->projection.rank * hidden, "down-projection", err));
    Status status = whiten(w, w->source->weights->k, keys, r->key_rank, 0, 0, kv_a, err);
    if (status == OK)
        status = whiten(w, w->source->weights->v, layer->kv_heads * layer->value_dim, r->value_rank,
                        r->key_rank, keys, kv_a, err);
    if (status == OK) status = convert_latent(w->out, w->source, &w->projection, err);
    if (status == OK)
        memcpy(w->out->weights.kv_a, kv_a, w->projection.rank * hidden * sizeof *kv_a);
    buffer_free(kv_a);
    return status;
}

/* ---- any ---- */

static void copy_queries(const ConvertSource *source, LayerWeights *to) {
    const size_t rows = source->layer->heads * source->layer->key_dim;
    memcpy(to->q, source->weights->q, rows * source->layer->hidden * sizeof *to->q);
    if (source->weights->q_bias)
        memcpy(to->q_bias, source->weights->q_bias, rows * sizeof *to->q_bias);
}

Status convert_lowrank(Conversion *out, const ConvertSource *source, Error *err) {
    const Model *layer = source->layer;
    Work w = { .out = out, .source = source, .spectra = source->spectra };
    TRY(weights_alloc(&out->weights, &out->model, err));
    copy_queries(source, &out->weights);
    Status status =
        projection_new(&w.projection, layer->kv_heads * (layer->key_dim + layer->value_dim),
                       out->model.kv_lora_rank, err);
    if (status == OK && out->recipe.kind == RECIPE_WHITENED) {
        status = convert_whitened(&w, err);
    } else if (status == OK) {
        status = project(&w, err);
        if (status == OK) status = convert_latent(out, source, &w.projection, err);
    }
    if (w.loss.total > 0) out->loss = sqrt(w.loss.tail / w.loss.total);
    projection_free(&w.projection);
    return status;
}
