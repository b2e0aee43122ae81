/* attention_statistics.h -- what the tests of the generator look at: ranks, norms, the attention
 * itself, and small versions of the compressions whose order it must reproduce.
 *
 * Matrices are row-major floats, [tokens, width]; sums are double. */
#ifndef KVLAB_ATTENTION_STATISTICS_H
#define KVLAB_ATTENTION_STATISTICS_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "sequences.h"

static inline float *floats(size_t n) {
    float *x = calloc(n ? n : 1, sizeof *x);
    if (!x) abort();
    return x;
}

/* X^T X in double of x [rows, n], centred or not. */
static inline double *gram_of(size_t rows, size_t n, const float *x, bool centred) {
    double *y = calloc(rows * n, sizeof *y), *gram = calloc(n * n, sizeof *gram);
    if (!y || !gram) abort();
    for (size_t j = 0; j < n; j++) {
        double mean = 0;
        for (size_t t = 0; t < rows; t++) mean += x[t * n + j];
        mean = centred ? mean / (double)rows : 0;
        for (size_t t = 0; t < rows; t++) y[t * n + j] = x[t * n + j] - mean;
    }
    blas_gemm_f64(1, 0, n, n, rows, 1, y, n, y, n, 0, gram, n);
    free(y);
    return gram;
}

/* Principal directions that hold 90 % of the energy, as a share of all n. */
static inline double rank_90(size_t rows, size_t n, const float *x, bool centred) {
    double *gram = gram_of(rows, n, x, centred), *values = calloc(n, sizeof *values);
    if (!values || blas_eigh(n, gram, values) != 0) abort();
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) total += values[i];
    size_t rank = 0;
    while (sum < 0.9 * total) sum += values[rank++];
    free(values);
    free(gram);
    return (double)rank / (double)n;
}

static inline double norm_of(size_t n, const float *x) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)x[i] * x[i];
    return sqrt(square);
}

/* |a - b| / |b| */
static inline double relative(size_t n, const float *a, const float *b) {
    double error = 0;
    for (size_t i = 0; i < n; i++) error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(error) / norm_of(n, b);
}

static inline int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Largest over median root mean square of the channels. */
static inline double channel_spread(size_t rows, size_t n, const float *x) {
    double *rms = calloc(n, sizeof *rms);
    if (!rms) abort();
    for (size_t t = 0; t < rows; t++)
        for (size_t j = 0; j < n; j++) rms[j] += (double)x[t * n + j] * x[t * n + j];
    qsort(rms, n, sizeof *rms, compare_doubles);
    const double spread = sqrt(rms[n - 1] / rms[n / 2]);
    free(rms);
    return spread;
}

/* Correlation of a channel with itself one token later, pooled over channels, from `first` on. */
static inline double lag_correlation(size_t rows, size_t n, const float *x, size_t first) {
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        double mean = 0, square = 0, product = 0;
        for (size_t t = first; t < rows; t++) mean += x[t * n + j] / (double)(rows - first);
        for (size_t t = first; t < rows; t++) {
            const double a = x[t * n + j] - mean;
            square += a * a;
            if (t + 1 < rows) product += a * (x[(t + 1) * n + j] - mean);
        }
        sum += product / square / (double)n;
    }
    return sum;
}

/* Rotates every head of x [tokens, heads * stride] whose rotated part begins at `first`. */
static inline void rotate_all(const Rope *rope, size_t tokens, size_t heads, size_t stride,
                              size_t first, float *x) {
    float *table = floats(tokens * rope->dim);
    rope_table(rope, 0, tokens, table);
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            rope_rotate(rope, table + t * rope->dim, x + (t * heads + h) * stride + first);
    free(table);
}

/* What the attention of all heads does. */
typedef struct {
    double sink_mass;        /* mean share of the first token, queries of the second half */
    double effective_tokens; /* exp of the mean entropy */
    double logit_std;        /* row-centred, the first token left out */
} AttentionShape;

/* Causal attention of heads [tokens, heads * key] and values [tokens, heads * value]; out may be
 * NULL, as may shape. */
static inline void attend_all(size_t tokens, size_t heads, size_t key, size_t value, double scale,
                              const float *q, const float *k, const float *v, float *out,
                              AttentionShape *shape) {
    float *logits = floats(tokens * tokens);
    AttentionShape sum = { 0 };
    double pairs = 0;
    for (size_t h = 0; h < heads; h++) {
        blas_gemm(0, 1, tokens, tokens, key, (float)scale, q + h * key, heads * key, k + h * key,
                  heads * key, 0, logits, tokens);
        for (size_t t = 0; t < tokens; t++) {
            float *row = logits + t * tokens;
            double most = -INFINITY, total = 0, entropy = 0, mean = 0, square = 0;
            for (size_t j = 0; j <= t; j++) {
                if (row[j] > most) most = row[j];
                if (j) mean += row[j], square += (double)row[j] * row[j];
            }
            if (t) sum.logit_std += square - mean * mean / (double)t, pairs += (double)t;
            for (size_t j = 0; j < tokens; j++) row[j] = j <= t ? expf(row[j] - (float)most) : 0;
            for (size_t j = 0; j <= t; j++) total += row[j];
            for (size_t j = 0; j <= t; j++) {
                row[j] = (float)(row[j] / total);
                if (shape && row[j] > 0) entropy -= row[j] * log(row[j]);
            }
            sum.effective_tokens += entropy / (double)(tokens * heads);
            if (t >= tokens / 2) sum.sink_mass += row[0] / (double)((tokens - tokens / 2) * heads);
        }
        if (out)
            blas_gemm(0, 0, tokens, value, tokens, 1, logits, tokens, v + h * value, heads * value,
                      0, out + h * value, heads * value);
    }
    free(logits);
    sum.effective_tokens = exp(sum.effective_tokens);
    sum.logit_std = sqrt(sum.logit_std / pairs);
    if (shape) *shape = sum;
}

/* One layer's heads over one sequence, keys and values repeated for every query head. */
typedef struct {
    const Model *model;
    size_t tokens, key, value;          /* widths over all heads */
    float *x, *q, *k, *k_rot, *v, *out; /* q after RoPE, k before, k_rot after */
    AttentionShape shape;
} Heads;

/* out[t, h] <- in[t, h / group], heads of `dim`. */
static inline void repeat_heads(size_t tokens, size_t heads, size_t given, size_t dim,
                                const float *in, float *out, size_t ld_out) {
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            memcpy(out + (t * heads + h) * ld_out, in + (t * given + h / (heads / given)) * dim,
                   dim * sizeof *in);
}

/* y [tokens, out] = x w^T; RMS-normalised when asked. */
static inline float *apply(size_t tokens, size_t in, size_t out, const float *x, size_t ld_x,
                           const float *w, bool normalised) {
    float *y = floats(tokens * out);
    blas_linear(tokens, out, in, x, ld_x, w, y, out);
    for (size_t t = 0; normalised && t < tokens; t++) {
        const double rms =
            sqrt(norm_of(out, y + t * out) * norm_of(out, y + t * out) / (double)out);
        for (size_t j = 0; j < out; j++) y[t * out + j] = (float)(y[t * out + j] / rms);
    }
    return y;
}

static inline void latent_heads(Heads *h, const LayerWeights *w) {
    const Model *m = h->model;
    const size_t n = h->tokens, c = m->kv_lora_rank, both = m->nope_dim + m->value_dim;
    float *latent = apply(n, m->hidden, c, h->x, m->hidden, w->kv_a, true);
    float *shared =
        apply(n, m->hidden, m->rope_dim, h->x, m->hidden, w->kv_a + c * m->hidden, false);
    float *kv = apply(n, c, m->heads * both, latent, c, w->kv_b, false);
    for (size_t row = 0; row < n * m->heads; row++) {
        memcpy(h->k + row * m->key_dim, kv + row * both, m->nope_dim * sizeof *kv);
        memcpy(h->v + row * m->value_dim, kv + row * both + m->nope_dim, m->value_dim * sizeof *kv);
    }
    repeat_heads(n, m->heads, 1, m->rope_dim, shared, h->k + m->nope_dim, m->key_dim);
    free(latent), free(shared), free(kv);
}

static inline void plain_heads(Heads *h, const LayerWeights *w) {
    const Model *m = h->model;
    float *k = apply(h->tokens, m->hidden, m->kv_heads * m->key_dim, h->x, m->hidden, w->k, false);
    float *v =
        apply(h->tokens, m->hidden, m->kv_heads * m->value_dim, h->x, m->hidden, w->v, false);
    repeat_heads(h->tokens, m->heads, m->kv_heads, m->key_dim, k, h->k, m->key_dim);
    repeat_heads(h->tokens, m->heads, m->kv_heads, m->value_dim, v, h->v, m->value_dim);
    free(k), free(v);
}

/* Output of other keys (before RoPE, or after) and values with the same queries, against `out`. */
static inline double output_error(const Heads *h, const float *k, bool rotated, const float *v) {
    const Model *m = h->model;
    float *keys = floats(h->tokens * h->key), *out = floats(h->tokens * h->value);
    memcpy(keys, k, h->tokens * h->key * sizeof *keys);
    if (!rotated) rotate_all(&m->rope, h->tokens, m->heads, m->key_dim, m->nope_dim, keys);
    attend_all(h->tokens, m->heads, m->key_dim, m->value_dim, model_softmax_scale(m), h->q, keys, v,
               out, NULL);
    const double error = relative(h->tokens * h->value, out, h->out);
    free(keys), free(out);
    return error;
}

/* All of it for text number `sequence`. Release with heads_free. */
static inline Heads heads_of(const SequencesParams *params, uint64_t sequence, const Model *m,
                             const LayerWeights *w, size_t tokens) {
    Heads h = {
        .model = m, .tokens = tokens, .key = m->heads * m->key_dim, .value = m->heads * m->value_dim
    };
    Error err;
    h.x = floats(tokens * m->hidden);
    if (sequences_hidden(params, sequence, tokens, m->hidden, h.x, &err) != OK) abort();
    h.k = floats(tokens * h.key), h.k_rot = floats(tokens * h.key);
    h.v = floats(tokens * h.value), h.out = floats(tokens * h.value);
    if (m->q_lora_rank) {
        float *latent = apply(tokens, m->hidden, m->q_lora_rank, h.x, m->hidden, w->q_a, true);
        h.q = apply(tokens, m->q_lora_rank, h.key, latent, m->q_lora_rank, w->q_b, false);
        free(latent);
    } else {
        h.q = apply(tokens, m->hidden, h.key, h.x, m->hidden, w->q, false);
    }
    if (m->kind == ATTENTION_MLA)
        latent_heads(&h, w);
    else
        plain_heads(&h, w);
    memcpy(h.k_rot, h.k, tokens * h.key * sizeof *h.k);
    rotate_all(&m->rope, tokens, m->heads, m->key_dim, m->nope_dim, h.k_rot);
    rotate_all(&m->rope, tokens, m->heads, m->key_dim, m->nope_dim, h.q);
    attend_all(tokens, m->heads, m->key_dim, m->value_dim, model_softmax_scale(m), h.q, h.k_rot,
               h.v, h.out, &h.shape);
    return h;
}

static inline void heads_free(Heads *h) {
    free(h->x), free(h->q), free(h->k), free(h->k_rot), free(h->v), free(h->out);
}

/* Two bits with least and step of each group: 32 channels of a token, or 32 tokens of a channel. */
static inline void quantise_int2(size_t tokens, size_t width, bool per_channel, float *x) {
    enum { GROUP = 32, TOP = 3 };
    const size_t step = per_channel ? width : 1;
    for (size_t t = 0; t < tokens; t += per_channel ? GROUP : 1)
        for (size_t j = 0; j < width; j += per_channel ? 1 : GROUP) {
            float *group = x + t * width + j, least = group[0], most = group[0];
            for (size_t i = 1; i < GROUP; i++) {
                least = fminf(least, group[i * step]);
                most = fmaxf(most, group[i * step]);
            }
            const float unit = most > least ? (most - least) / TOP : 1;
            for (size_t i = 0; i < GROUP; i++)
                group[i * step] = least + unit * roundf((group[i * step] - least) / unit);
        }
}

/* y <- y P, P the projection onto the leading eigenvectors of gram [n, n] (destroyed). */
static inline void project_leading(size_t rows, size_t n, size_t rank, double *gram, float *y) {
    double *values = calloc(n, sizeof *values);
    float *basis = floats(rank * n), *latent = floats(rows * rank);
    if (!values || blas_eigh(n, gram, values) != 0) abort();
    for (size_t i = 0; i < rank * n; i++) basis[i] = (float)gram[i];
    blas_gemm(0, 1, rows, rank, n, 1, y, n, basis, n, 0, latent, rank);
    blas_gemm(0, 0, rows, n, rank, 1, latent, rank, basis, n, 0, y, n);
    free(latent);
    free(basis);
    free(values);
}

#endif
