/* convert.c -- chooses the conversion of a kind, and leads cached rows back; see convert.h. */
#include "convert.h"

#include <string.h>

#include "blas.h"
#include "buffer.h"

Status convert_layer(Conversion *out, const Model *teacher, const LayerWeights *weights,
                     const Model *contender, const Calibration *text, Error *err) {
    if (teacher->kind != ATTENTION_MHA)
        return fail(err, ERR_INPUT, "%s: only an MHA layer can be a teacher", teacher->name);
    if (contender->heads != teacher->heads || contender->hidden != teacher->hidden)
        return fail(err, ERR_INPUT, "%s: teacher and contender differ in heads or hidden size",
                    contender->name);
    *out = (Conversion){ .model = *contender };
    const Status status = contender->kind == ATTENTION_MLA
                              ? convert_latent(out, teacher, weights, text, err)
                              : convert_pool(out, weights, err);
    if (status != OK) convert_free(out);
    return status;
}

void convert_free(Conversion *conversion) {
    weights_free(&conversion->weights);
    buffer_free(conversion->rope_basis);
    *conversion = (Conversion){ 0 };
}

/* Turns rotated heads back: x [tokens, heads, dim] with RoPE on its first rope->dim values. */
static Status unrotate(const Rope *rope, size_t tokens, size_t heads, size_t dim, float *x,
                       Error *err) {
    const size_t pairs = rope->dim / 2;
    float *table = NULL;
    TRY(BUFFER(&table, tokens * pairs * 2, "RoPE table", err));
    rope_table(rope, 0, tokens, table);
    const double amplitude = rope_amplitude(rope);
    const float undo = (float)(1 / (amplitude * amplitude));
    for (size_t i = 0; i < tokens * pairs; i++) {
        table[2 * i] *= undo;
        table[2 * i + 1] *= -undo;
    }
#pragma omp parallel for
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            rope_rotate(rope, table + t * pairs * 2, x + (t * heads + h) * dim);
    buffer_free(table);
    return OK;
}

/* Copies each group's row to all of its heads: to [tokens, heads, dim] from [tokens, groups, dim].
 */
static void spread(size_t tokens, size_t heads, size_t groups, size_t dim, const float *from,
                   float *to) {
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            memcpy(to + (t * heads + h) * dim, from + (t * groups + h / (heads / groups)) * dim,
                   dim * sizeof *to);
}

/* One head's keys or values from the latent, into a matrix of row stride ld_to. */
static void expand_head(const Conversion *c, size_t tokens, const float *rows, size_t h,
                        bool values, float *to, size_t ld_to) {
    const Model *m = &c->model;
    const size_t rank = m->kv_lora_rank, width = rank + m->rope_dim;
    const float *up = c->weights.kv_b + h * (m->nope_dim + m->value_dim) * rank;
    blas_linear(tokens, values ? m->value_dim : m->nope_dim, rank, rows, width,
                values ? up + m->nope_dim * rank : up, to, ld_to);
}

/* Adds u kappa to the keys: the rotated part, turned back, in the teacher's rows. */
static void add_rotated(const Conversion *c, size_t tokens, const float *kappa, float *k) {
    const Model *m = &c->model;
    const size_t dim = m->nope_dim, fold = dim / m->rope_dim, slots = m->rope_dim / 2;
    const bool interleaved = m->rope.interleaved;
#pragma omp parallel for
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < slots; i++) {
            const float *row = kappa + t * m->rope_dim;
            const double re = row[interleaved ? 2 * i : i];
            const double im = row[interleaved ? 2 * i + 1 : i + slots];
            for (size_t a = 0; a < m->heads * fold; a++) {
                const double *u = c->rope_basis + 2 * (i * m->heads * fold + a);
                const size_t f = i * fold + a % fold;
                float *head = k + (t * m->heads + a / fold) * dim;
                head[interleaved ? 2 * f : f] += (float)(u[0] * re - u[1] * im);
                head[interleaved ? 2 * f + 1 : f + dim / 2] += (float)(u[0] * im + u[1] * re);
            }
        }
}

static Status latent_back(const Conversion *c, size_t tokens, const float *rows, float *k, float *v,
                          Error *err) {
    const Model *m = &c->model;
    const size_t width = m->kv_lora_rank + m->rope_dim;
    for (size_t h = 0; h < m->heads; h++) {
        expand_head(c, tokens, rows, h, false, k + h * m->nope_dim, m->heads * m->nope_dim);
        expand_head(c, tokens, rows, h, true, v + h * m->value_dim, m->heads * m->value_dim);
    }
    float *kappa = NULL;
    TRY(BUFFER(&kappa, tokens * m->rope_dim, "rotated keys", err));
    for (size_t t = 0; t < tokens; t++)
        memcpy(kappa + t * m->rope_dim, rows + t * width + m->kv_lora_rank,
               m->rope_dim * sizeof *kappa);
    const Status status = unrotate(&m->rope, tokens, 1, m->rope_dim, kappa, err);
    if (status == OK) add_rotated(c, tokens, kappa, k);
    buffer_free(kappa);
    return status;
}

Status convert_back(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *k, float *v, Error *err) {
    const Model *m = &conversion->model;
    if (m->kind == ATTENTION_MLA) return latent_back(conversion, tokens, rows_k, k, v, err);
    spread(tokens, m->heads, m->kv_heads, m->key_dim, rows_k, k);
    spread(tokens, m->heads, m->kv_heads, m->value_dim, rows_v, v);
    return unrotate(&m->rope, tokens, m->heads, m->key_dim, k, err);
}

void convert_keys(const Conversion *conversion, size_t tokens, const float *rows_k, float *k) {
    const Model *m = &conversion->model;
    if (m->kind != ATTENTION_MLA) {
        spread(tokens, m->heads, m->kv_heads, m->key_dim, rows_k, k);
        return;
    }
    const size_t width = m->kv_lora_rank + m->rope_dim;
    for (size_t h = 0; h < m->heads; h++) {
        expand_head(conversion, tokens, rows_k, h, false, k + h * m->key_dim,
                    m->heads * m->key_dim);
        for (size_t t = 0; t < tokens; t++)
            memcpy(k + (t * m->heads + h) * m->key_dim + m->nope_dim,
                   rows_k + t * width + m->kv_lora_rank, m->rope_dim * sizeof *k);
    }
}
