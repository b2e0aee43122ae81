/* layer_project.c -- from hidden states to queries and cache rows, and from outputs back.
 *
 * MHA, GQA, MQA:   x -> q, k, v -> (norm of each head) -> RoPE on q and k
 * MLA:             x -> q, or q_a -> norm -> q_b;      RoPE on the last R of each head's query
 *                  x -> kv_a -> | latent C: norm | key R: RoPE |   one row for all heads
 * and, materialised, that row -> kv_b -> per head | P key rows | V value rows |, the shared key
 * copied behind each head's P. */
#include <string.h>

#include "layer.h"
#include "layer_parts.h"
#include "linear.h"

/* y [rows, out] of stride ld_y = x w^T + bias. */
static void project(const Layer *layer, size_t rows, size_t out, size_t in, const float *x,
                    size_t ld_x, const float *w, const float *bias, float *y, size_t ld_y) {
    linear(layer->params.kernels, layer->params.threads, rows, out, in, x, ld_x, ROW_F32, w, y,
           ld_y);
    for (size_t r = 0; r < rows && bias; r++)
        for (size_t o = 0; o < out; o++) y[r * ld_y + o] += bias[o];
}

static const float *rotation_at(const Layer *layer, size_t position) {
    return layer->rotations + position * (layer->params.model->rope.dim / 2) * 2;
}

/* Norms and rotates `heads` heads of one token; the rotated part starts at `nope`. */
static void finish_heads(const Layer *layer, size_t heads, size_t nope, const float *norm,
                         const float *rotation, float *x) {
    const Model *m = layer->params.model;
    for (size_t h = 0; h < heads; h++) {
        float *head = x + h * m->key_dim;
        if (norm)
            layer->params.kernels->rmsnorm(m->key_dim, (float)m->rms_norm_eps, head, norm, head);
        if (m->rope.dim) rope_rotate(&m->rope, rotation, head + nope);
    }
}

static void project_heads(const Layer *layer, size_t rows, const size_t *positions, const float *x,
                          float *q, float *k, float *v) {
    const Model *m = layer->params.model;
    const LayerWeights *w = layer->params.weights;
    const size_t q_width = m->heads * m->key_dim, k_width = m->kv_heads * m->key_dim,
                 v_width = m->kv_heads * m->value_dim;
    if (q) project(layer, rows, q_width, m->hidden, x, m->hidden, w->q, w->q_bias, q, q_width);
    if (k) project(layer, rows, k_width, m->hidden, x, m->hidden, w->k, w->k_bias, k, k_width);
    if (k) project(layer, rows, v_width, m->hidden, x, m->hidden, w->v, w->v_bias, v, v_width);
#pragma omp parallel for schedule(static) num_threads(layer->params.threads) if (rows > 1)
    for (size_t r = 0; r < rows; r++) {
        const float *rotation = rotation_at(layer, positions[r]);
        if (q) finish_heads(layer, m->heads, 0, w->q_norm, rotation, q + r * q_width);
        if (k) finish_heads(layer, m->kv_heads, 0, w->k_norm, rotation, k + r * k_width);
    }
}

static void project_query(const Layer *layer, size_t rows, const float *x, float *q) {
    const Model *m = layer->params.model;
    const LayerWeights *w = layer->params.weights;
    const size_t width = m->heads * m->key_dim, rank = m->q_lora_rank;
    if (!rank) {
        project(layer, rows, width, m->hidden, x, m->hidden, w->q, w->q_bias, q, width);
        return;
    }
    float *low = layer->query_latent;
    project(layer, rows, rank, m->hidden, x, m->hidden, w->q_a, w->q_a_bias, low, rank);
    for (size_t r = 0; r < rows; r++)
        layer->params.kernels->rmsnorm(rank, LATENT_NORM_EPS, low + r * rank, w->q_a_norm,
                                       low + r * rank);
    project(layer, rows, width, rank, low, rank, w->q_b, NULL, q, width);
}

/* From latent rows to each head's key and value. */
static void materialise(const Layer *layer, size_t rows, const size_t *positions,
                        const float *latent, float *k, float *v) {
    const Model *m = layer->params.model;
    const size_t heads = model_up_heads(m), nope = m->nope_dim, rope = m->rope_dim,
                 value = m->value_dim, rank = m->kv_lora_rank, width = heads * (nope + value);
    project(layer, rows, width, rank, latent, rank + rope, layer->params.weights->kv_b, NULL,
            layer->key_values, width);
#pragma omp parallel for schedule(static) num_threads(layer->params.threads) if (rows > 1)
    for (size_t r = 0; r < rows; r++)
        for (size_t h = 0; h < heads; h++) {
            const float *source = layer->key_values + r * width + h * (nope + value);
            float *key = k + (r * heads + h) * (nope + rope);
            memcpy(key, source, nope * sizeof *key);
            memcpy(key + nope, latent + r * (rank + rope) + rank, rope * sizeof *key);
            memcpy(v + (r * heads + h) * value, source + nope, value * sizeof *v);
            if (m->rotates_rebuilt) rope_rotate(&m->rope, rotation_at(layer, positions[r]), key);
        }
}

/* The latent rows, and the heads' rows where those are cached. */
static void project_rows(const Layer *layer, size_t rows, const size_t *positions, const float *x,
                         float *k, float *v) {
    const Model *m = layer->params.model;
    const LayerWeights *w = layer->params.weights;
    const size_t rank = m->kv_lora_rank, width = rank + m->rope_dim;
    float *latent = layer_keeps_latent(layer) ? k : layer->latent;
    project(layer, rows, width, m->hidden, x, m->hidden, w->kv_a, w->kv_a_bias, latent, width);
#pragma omp parallel for schedule(static) num_threads(layer->params.threads) if (rows > 1)
    for (size_t r = 0; r < rows; r++) {
        float *row = latent + r * width;
        if (w->kv_a_norm) /* a converted layer has none */
            layer->params.kernels->rmsnorm(rank, LATENT_NORM_EPS, row, w->kv_a_norm, row);
        if (m->rope_dim) rope_rotate(&m->rope, rotation_at(layer, positions[r]), row + rank);
    }
    if (!layer_keeps_latent(layer)) materialise(layer, rows, positions, latent, k, v);
}

static void project_latent(const Layer *layer, size_t rows, const size_t *positions, const float *x,
                           float *q, float *k, float *v) {
    const Model *m = layer->params.model;
    if (k) project_rows(layer, rows, positions, x, k, v);
    if (!q) return;
    project_query(layer, rows, x, q);
#pragma omp parallel for schedule(static) num_threads(layer->params.threads) if (rows > 1)
    for (size_t r = 0; r < rows; r++)
        finish_heads(layer, m->heads, m->rotates_rebuilt ? 0 : m->nope_dim, NULL,
                     rotation_at(layer, positions[r]), q + r * m->heads * m->key_dim);
}

void layer_project(Layer *layer, size_t tokens, const size_t *positions, const float *x, float *q,
                   float *k, float *v) {
    const Model *m = layer->params.model;
    const CacheShape *s = &layer->shape;
    for (size_t row = 0; row < tokens; row += PROJECT_ROWS) {
        const size_t rows = tokens - row < PROJECT_ROWS ? tokens - row : PROJECT_ROWS;
        float *q_row = q ? q + row * m->heads * m->key_dim : NULL;
        float *k_row = k ? k + row * s->kv_heads * s->key_dim : NULL;
        float *v_row = s->shared || !k ? NULL : v + row * s->kv_heads * s->value_dim;
        if (m->kind == ATTENTION_MLA)
            project_latent(layer, rows, positions + row, x + row * m->hidden, q_row, k_row, v_row);
        else
            project_heads(layer, rows, positions + row, x + row * m->hidden, q_row, k_row, v_row);
    }
}

void layer_output(Layer *layer, size_t tokens, const float *out, float *y) {
    const Model *m = layer->params.model;
    const LayerWeights *w = layer->params.weights;
    const size_t width = m->heads * m->value_dim;
    project(layer, tokens, m->hidden, width, out, width, w->o, w->o_bias, y, m->hidden);
}
