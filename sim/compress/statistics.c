/* statistics.c -- projects calibration text block by block and adds it up; see statistics.h. */
#include "statistics.h"

#include <string.h>

#include "blas.h"
#include "buffer.h"

/* Tokens that are projected at a time. */
enum { BLOCK_TOKENS = 256 };

Status statistics_new(Statistics *statistics, const Model *layer, unsigned more, Error *err) {
    if (layer->kind == ATTENTION_MLA)
        return fail(err, ERR_INPUT, "%s: an MLA layer is converted already", layer->name);
    if (layer->qk_norm)
        return fail(err, ERR_INPUT,
                    "%s: norms of key heads stand between the weights and the keys; such a layer "
                    "cannot be converted",
                    layer->name);
    const size_t d = layer->key_dim;
    Statistics s = { .key_width = layer->kv_heads * d,
                     .value_width = layer->kv_heads * layer->value_dim };
    const size_t widest = s.key_width + s.value_width > layer->heads * d
                              ? s.key_width + s.value_width
                              : layer->heads * d;
    Status status = moments_new(&s.kv, s.key_width + s.value_width, err);
    if (status == OK && more & STATISTICS_INPUT) status = moments_new(&s.input, layer->hidden, err);
    if (status == OK && more & STATISTICS_ROTATED)
        status = moments_new(&s.rotated, s.key_width, err);
    if (status == OK && more & STATISTICS_ROTATED)
        status = BUFFER(&s.turns, BLOCK_TOKENS * layer->rope.dim, "rotations", err);
    if (status == OK) status = BUFFER(&s.queries, layer->heads * d * d, "query moments", err);
    if (status == OK)
        status = BUFFER(&s.sample, STATISTICS_SAMPLE * layer->hidden, "a sample", err);
    if (status == OK) status = BUFFER(&s.slab, BLOCK_TOKENS * widest, "projected tokens", err);
    if (status == OK)
        *statistics = s;
    else
        statistics_free(&s);
    return status;
}

void statistics_free(Statistics *statistics) {
    moments_free(&statistics->kv);
    moments_free(&statistics->input);
    moments_free(&statistics->rotated);
    buffer_free(statistics->queries);
    buffer_free(statistics->sample);
    buffer_free(statistics->slab);
    buffer_free(statistics->turns);
    *statistics = (Statistics){ 0 };
}

/* y [rows, out] of stride ld = x w^T + bias. */
static void project(size_t rows, size_t out, size_t in, const float *x, const float *w,
                    const float *bias, float *y, size_t ld) {
    blas_linear(rows, out, in, x, in, w, y, ld);
    for (size_t r = 0; r < rows && bias; r++)
        for (size_t o = 0; o < out; o++) y[r * ld + o] += bias[o];
}

static void add_queries(Statistics *s, const Model *m, size_t rows) {
    const size_t d = m->key_dim, width = m->heads * d;
#pragma omp parallel for schedule(static)
    for (size_t h = 0; h < m->heads; h++)
        for (size_t t = 0; t < rows; t++) {
            const float *q = s->slab + t * width + h * d;
            for (size_t i = 0; i < d; i++) {
                double *row = s->queries + (h * d + i) * d;
                for (size_t j = 0; j < d; j++) row[j] += (double)q[i] * q[j];
            }
        }
}

/* Turns the keys of the slab, whose first token is at position s->tokens, and adds them up. */
static void add_rotated(Statistics *s, const Model *m, size_t rows, size_t width) {
    rope_table(&m->rope, s->tokens, rows, s->turns);
#pragma omp parallel for
    for (size_t t = 0; t < rows; t++)
        for (size_t g = 0; g < m->kv_heads; g++)
            rope_rotate(&m->rope, s->turns + t * m->rope.dim, s->slab + t * width + g * m->key_dim);
    moments_add(&s->rotated, rows, s->slab, width);
}

static void add_block(Statistics *s, const Model *m, const LayerWeights *w, size_t rows,
                      const float *x) {
    const size_t width = s->key_width + s->value_width;
    if (s->input.n) moments_add(&s->input, rows, x, m->hidden);
    project(rows, s->key_width, m->hidden, x, w->k, w->k_bias, s->slab, width);
    project(rows, s->value_width, m->hidden, x, w->v, w->v_bias, s->slab + s->key_width, width);
    moments_add(&s->kv, rows, s->slab, width);
    if (s->rotated.n) add_rotated(s, m, rows, width);
    project(rows, m->heads * m->key_dim, m->hidden, x, w->q, w->q_bias, s->slab,
            m->heads * m->key_dim);
    add_queries(s, m, rows);
}

void statistics_add(Statistics *statistics, const Model *layer, const LayerWeights *weights,
                    size_t tokens, const float *x) {
    Statistics *s = statistics;
    const size_t hidden = layer->hidden;
    for (size_t first = 0; first < tokens; first += BLOCK_TOKENS) {
        const size_t rows = tokens - first < BLOCK_TOKENS ? tokens - first : BLOCK_TOKENS;
        if (s->tokens < STATISTICS_SAMPLE) {
            const size_t room = STATISTICS_SAMPLE - s->tokens, kept = rows < room ? rows : room;
            memcpy(s->sample + s->tokens * hidden, x + first * hidden,
                   kept * hidden * sizeof *s->sample);
        }
        add_block(s, layer, weights, rows, x + first * hidden);
        s->tokens += rows;
    }
}

void statistics_finish(Statistics *statistics) {
    moments_finish(&statistics->kv);
    if (statistics->input.n) moments_finish(&statistics->input);
    if (statistics->rotated.n) moments_finish(&statistics->rotated);
}

/* E q_i^2 of channel i, summed over the query heads of key head g. */
static double mean_square(const Statistics *s, const Model *m, size_t g, size_t i) {
    const size_t share = m->heads / m->kv_heads, d = m->key_dim;
    double sum = 0;
    for (size_t h = g * share; h < (g + 1) * share; h++) sum += s->queries[(h * d + i) * d + i];
    return s->tokens ? sum / (double)s->tokens : 0;
}

void statistics_logit_weights(const Statistics *statistics, const Model *layer, double *out) {
    const size_t d = layer->key_dim, rotated = layer->rope.dim;
    for (size_t g = 0; g < layer->kv_heads; g++)
        for (size_t i = 0; i < d; i++) {
            double weight = mean_square(statistics, layer, g, i);
            if (i < rotated) {
                const size_t half = rotated / 2;
                const size_t other = layer->rope.interleaved ? (i ^ 1)
                                     : i < half              ? i + half
                                                             : i - half;
                weight = (weight + mean_square(statistics, layer, g, other)) / 2;
            }
            out[g * d + i] = weight;
        }
}
