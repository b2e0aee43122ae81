/* latent.c -- a layer of MHA or GQA to MLA, without training.
 *
 * 1. the shared rotated key: the leading principal components of the keys across heads, one
 *    frequency (or fold of frequencies) at a time, cached rotated at the slot's frequency. Each
 *    query head is turned with its key head: q_rope = B_g^T q, B the basis of rorope.h.
 * 2. what is left of the keys, (1 - B B^T) k, is kept without RoPE, together with the values: PCA
 * of [b K_rest | V] to C, b = (|V| / |K_rest|)^gamma so that neither drowns the other. All of it
 *    follows from the moments of [K | V].
 * 3. a key that is no longer rotated meets its query turned by the mean of exp(j t f) over causal
 *    distances t up to the context, the constant that comes nearest to the rotation left out: slow
 *    frequencies keep their say, fast ones, which would be noise, lose it. RoPE that also scales
 *    queries and keys (YaRN) is owed its square.
 * 4. queries are scaled by the ratio of the softmax scales, so that MLA's gives the layer's.
 *
 * The way of TransMLA (arXiv 2502.07864) with complex instead of real rotations. */
#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "convert.h"
#include "rorope.h"

typedef struct {
    Conversion *out;
    const ConvertSource *source;
    const Model *layer, *target;
    size_t keys, values; /* widths of [K | V] */
    Rorope rorope;
    double *rest; /* [keys + values]^2: moments of [K_rest | V] */
} Work;

/* ---- queries ---- */

/* Query rows of the rotated part, B_g^T q, for weights [.., cols] or a bias, cols 1. */
static Status fold_queries(const Work *w, double scale, size_t cols, const float *from, float *to,
                           Error *err) {
    const size_t d = w->layer->key_dim, rope = w->target->rope_dim;
    const size_t share = w->layer->heads / w->layer->kv_heads;
    float *basis = NULL;
    TRY(BUFFER(&basis, w->keys * rope, "rotated basis", err));
    for (size_t i = 0; i < w->keys * rope; i++) basis[i] = (float)w->out->rope_basis[i];
    for (size_t h = 0; h < w->layer->heads; h++)
        blas_gemm(1, 0, rope, cols, d, (float)scale, basis + h / share * d * rope, rope,
                  from + h * d * cols, cols, 0,
                  to + (h * w->target->key_dim + w->target->nope_dim) * cols, cols);
    buffer_free(basis);
    return OK;
}

/* The mean of exp(j t f) over causal pairs at distances 0 .. context - 1. */
static void mean_rotation(double f, size_t context, double *re, double *im) {
    double sum_re = 0, sum_im = 0, count = 0;
    for (size_t t = 0; t < context; t++) {
        const double weight = (double)(context - t);
        sum_re += weight * cos((double)t * f);
        sum_im += weight * sin((double)t * f);
        count += weight;
    }
    *re = sum_re / count;
    *im = sum_im / count;
}

/* Step 3: the queries that meet the keys without RoPE. turn [pairs, 2]. */
static void turn_queries(const Work *w, double scale, const double *turn, size_t cols,
                         const float *from, float *to) {
    const Rope *rope = &w->layer->rope;
    const size_t d = w->layer->key_dim, pairs = rope->dim / 2;
#pragma omp parallel for
    for (size_t h = 0; h < w->layer->heads; h++) {
        const float *in = from + h * d * cols;
        float *out = to + h * w->target->key_dim * cols;
        for (size_t i = rope->dim * cols; i < d * cols; i++) out[i] = (float)(scale * in[i]);
        for (size_t i = 0; i < pairs; i++) {
            const size_t re = (rope->interleaved ? 2 * i : i) * cols;
            const size_t im = (rope->interleaved ? 2 * i + 1 : i + pairs) * cols;
            const double c = scale * turn[2 * i], s = scale * turn[2 * i + 1];
            for (size_t k = 0; k < cols; k++) {
                const double x = in[re + k], y = in[im + k];
                out[re + k] = (float)(c * x - s * y);
                out[im + k] = (float)(s * x + c * y);
            }
        }
    }
}

/* turn [pairs, 2] of step 3. */
static Status mean_turns(const Work *w, double *turn, Error *err) {
    const Rope *rope = &w->layer->rope;
    const size_t pairs = rope->dim / 2;
    double *frequencies = NULL;
    TRY(BUFFER(&frequencies, pairs, "frequencies", err));
    rope_frequencies(rope, frequencies);
    const double amplitude = rope_amplitude(rope) * rope_amplitude(rope);
#pragma omp parallel for
    for (size_t i = 0; i < pairs; i++) {
        mean_rotation(frequencies[i], w->source->context, &turn[2 * i], &turn[2 * i + 1]);
        turn[2 * i] *= amplitude;
        turn[2 * i + 1] *= amplitude;
    }
    buffer_free(frequencies);
    return OK;
}

static Status convert_queries(const Work *w, Error *err) {
    const LayerWeights *from = w->source->weights;
    LayerWeights *to = &w->out->weights;
    const size_t hidden = w->layer->hidden;
    const double scale = model_softmax_scale(w->layer) / model_softmax_scale(w->target);
    double *turn = NULL;
    TRY(BUFFER(&turn, w->layer->rope.dim, "mean rotations", err));
    Status status = mean_turns(w, turn, err);
    if (status == OK) {
        turn_queries(w, scale, turn, hidden, from->q, to->q);
        if (from->q_bias) turn_queries(w, scale, turn, 1, from->q_bias, to->q_bias);
        status = fold_queries(w, scale, hidden, from->q, to->q, err);
    }
    if (status == OK && from->q_bias)
        status = fold_queries(w, scale, 1, from->q_bias, to->q_bias, err);
    buffer_free(turn);
    return status;
}

/* ---- keys and values ---- */

static void transpose(size_t n, double *a) {
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            const double x = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = x;
        }
}

/* Moments of [K_rest | V]: the rotated part removed on both sides. */
static Status rest_moments(Work *w, Error *err) {
    const Moments *kv = &w->source->statistics->kv;
    TRY(BUFFER(&w->rest, kv->n * kv->n, "moments of unrotated keys", err));
    memcpy(w->rest, kv->sum, kv->n * kv->n * sizeof *w->rest);
    TRY(rorope_remove(&w->rorope, w->out->rope_basis, kv->n, w->rest, kv->n, err));
    transpose(kv->n, w->rest);
    return rorope_remove(&w->rorope, w->out->rope_basis, kv->n, w->rest, kv->n, err);
}

/* (|V| / |K_rest|)^gamma; 1 where either is nothing, as K_rest is, up to rounding, when the rotated
 * part holds all of the keys. */
static double balance(const Work *w) {
    const Moments *kv = &w->source->statistics->kv;
    double all_keys = 0, keys = 0, values = 0;
    for (size_t i = 0; i < kv->n; i++) *(i < w->keys ? &keys : &values) += w->rest[i * kv->n + i];
    for (size_t i = 0; i < w->keys; i++) all_keys += kv->sum[i * kv->n + i];
    if (keys <= 1e-10 * all_keys || values <= 0) return 1;
    return pow(values / keys, w->out->recipe.gamma / 2);
}

/* down <- down (1 - B B^T) on the keys: the latent of a key is that of its rest. */
static Status remove_from_down(const Work *w, Projection *p, Error *err) {
    const size_t rope = w->target->rope_dim;
    double *part = NULL;
    TRY(BUFFER(&part, p->rank * rope, "rotated components", err));
    const double *basis = w->out->rope_basis;
    blas_gemm_f64(0, 0, p->rank, rope, w->keys, 1, p->down, p->n, basis, rope, 0, part, rope);
    blas_gemm_f64(0, 1, p->rank, w->keys, rope, -1, part, rope, basis, rope, 1, p->down, p->n);
    buffer_free(part);
    return OK;
}

/* Step 2. */
static Status convert_rest(Work *w, Error *err) {
    const size_t n = w->keys + w->values, rank = w->target->kv_lora_rank;
    Spectrum spectrum = { 0 };
    Projection projection = { 0 };
    double *scale = NULL;
    TRY(rest_moments(w, err));
    Status status = BUFFER(&scale, n, "a scale", err);
    if (status == OK) {
        const double b = balance(w);
        for (size_t i = 0; i < n; i++) scale[i] = i < w->keys ? b : 1;
        status = spectrum_new(&spectrum, n, w->rest, scale, rank, w->source->seed, err);
    }
    if (status == OK) status = projection_new(&projection, n, rank, err);
    if (status == OK) {
        projection_place(&projection, &spectrum, scale, rank, 0, 0);
        status = remove_from_down(w, &projection, err);
    }
    if (status == OK) status = convert_latent(w->out, w->source, &projection, err);
    if (status == OK && spectrum.trace > 0)
        w->out->loss = sqrt(spectrum_tail(&spectrum, rank) / spectrum.trace);
    projection_free(&projection);
    spectrum_free(&spectrum);
    buffer_free(scale);
    return status;
}

/* The shared key's rows of kv_a, B^T W_K, and its bias. */
static Status convert_shared_key(const Work *w, Error *err) {
    const size_t hidden = w->layer->hidden, rope = w->target->rope_dim;
    const size_t rank = w->target->kv_lora_rank;
    const LayerWeights *from = w->source->weights;
    LayerWeights *to = &w->out->weights;
    float *basis = NULL;
    TRY(BUFFER(&basis, w->keys * rope, "rotated basis", err));
    for (size_t i = 0; i < w->keys * rope; i++) basis[i] = (float)w->out->rope_basis[i];
    blas_gemm(1, 0, rope, hidden, w->keys, 1, basis, rope, from->k, hidden, 0,
              to->kv_a + rank * hidden, hidden);
    if (from->k_bias)
        blas_gemm(1, 0, rope, 1, w->keys, 1, basis, rope, from->k_bias, 1, 0, to->kv_a_bias + rank,
                  1);
    buffer_free(basis);
    return OK;
}

/* The latent's RMSNorm, for readers that always have one: its weight undoes the mean of what it
 * divides by, over the sample of the calibration text. */
static Status keep_norm(const Work *w, Error *err) {
    const Statistics *s = w->source->statistics;
    LayerWeights *to = &w->out->weights;
    const size_t rank = w->target->kv_lora_rank;
    const size_t tokens = s->tokens < STATISTICS_SAMPLE ? s->tokens : STATISTICS_SAMPLE;
    float *latent = NULL;
    TRY(BUFFER(&latent, tokens * rank, "latents", err));
    blas_linear(tokens, rank, w->layer->hidden, s->sample, w->layer->hidden, to->kv_a, latent,
                rank);
    double inverse = 0;
    for (size_t t = 0; t < tokens; t++) {
        double squares = 0;
        for (size_t r = 0; r < rank; r++) {
            const double c = latent[t * rank + r] + (to->kv_a_bias ? to->kv_a_bias[r] : 0);
            squares += c * c;
        }
        inverse += 1 / sqrt(squares / (double)rank + 1e-6) / (double)tokens;
    }
    for (size_t r = 0; r < rank; r++) to->kv_a_norm[r] = (float)(1 / inverse);
    buffer_free(latent);
    return OK;
}

Status convert_mla(Conversion *out, const ConvertSource *source, Error *err) {
    const Model *layer = source->layer;
    Work w = { .out = out,
               .source = source,
               .layer = layer,
               .target = &out->model,
               .keys = source->statistics->key_width,
               .values = source->statistics->value_width,
               .rorope = { .heads = layer->kv_heads,
                           .width = layer->key_dim,
                           .rope = &layer->rope,
                           .fold = out->recipe.fold,
                           .kept = out->recipe.kept,
                           .real = out->recipe.real,
                           .interleaved = out->model.rope.interleaved } };
    TRY(weights_alloc(&out->weights, &out->model, err));
    TRY(BUFFER(&out->rope_basis, w.keys * out->model.rope_dim, "rotated basis", err));
    const Moments *kv = &source->statistics->kv;
    Status status = rorope_basis(&w.rorope, kv->sum, kv->n, out->rope_basis, err);
    if (status == OK) status = convert_queries(&w, err);
    if (status == OK) status = convert_rest(&w, err);
    if (status == OK) status = convert_shared_key(&w, err);
    if (status == OK && out->recipe.norm) status = keep_norm(&w, err);
    buffer_free(w.rest);
    return status;
}
