/* reference.c -- attention as the formulas say it, in fp64; see reference.h.
 *
 * Rows are tokens, weights are [out, in], every product is x w^T. What runs in parallel writes
 * apart and adds up nothing across threads, so results do not depend on their number. */
#include "reference.h"

#include <math.h>
#include <string.h>

#include "blas.h"
#include "buffer.h"
#include "dots.h"

/* Rows of a float weight matrix that are widened to double at a time. */
enum { SLICE_ROWS = 64 };

static const double LATENT_NORM_EPS = 1e-6;

/* y [rows, out] = x [rows, in] w^T + bias. */
static Status linear(size_t rows, size_t out, size_t in, const double *x, const float *w,
                     const float *bias, double *y, Error *err) {
    double *slice;
    TRY(BUFFER(&slice, SLICE_ROWS * in, "a slice of weights", err));
    for (size_t first = 0; first < out; first += SLICE_ROWS) {
        const size_t n = out - first < SLICE_ROWS ? out - first : SLICE_ROWS;
        for (size_t i = 0; i < n * in; i++) slice[i] = w[first * in + i];
        blas_linear_f64(rows, n, in, x, in, slice, y + first, out);
    }
    buffer_free(slice);
    for (size_t r = 0; r < rows && bias; r++)
        for (size_t o = 0; o < out; o++) y[r * out + o] += bias[o];
    return OK;
}

/* x / sqrt(mean(x^2) + eps) * weight, in place. */
static void rmsnorm(size_t n, double eps, const float *weight, double *x) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += x[i] * x[i];
    const double factor = 1 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) x[i] *= factor * weight[i];
}

/* Rotates the part from `first` on of each of `heads` heads; the table begins at the first token.
 */
static void rotate(const Model *model, size_t tokens, size_t heads, size_t width, size_t first,
                   const double *table, double *x) {
    if (!model->rope.dim) return;
    for (size_t t = 0; t < tokens; t++)
        for (size_t h = 0; h < heads; h++)
            rope_rotate_f64(&model->rope, table + t * model->rope.dim,
                            x + (t * heads + h) * width + first);
}

/* The hidden states of the tokens that ask. */
static const double *asking(const Reference *r, const double *x) {
    return x + (r->tokens - r->queries) * r->hidden;
}

static Status project_heads(Reference *r, const Model *m, const LayerWeights *w, const double *x,
                            Error *err) {
    const size_t d = m->key_dim;
    TRY(linear(r->queries, m->heads * d, m->hidden, asking(r, x), w->q, w->q_bias, r->q, err));
    TRY(linear(r->tokens, m->kv_heads * d, m->hidden, x, w->k, w->k_bias, r->k, err));
    TRY(linear(r->tokens, m->kv_heads * m->value_dim, m->hidden, x, w->v, w->v_bias, r->v, err));
    for (size_t i = 0; i < r->queries * m->heads && w->q_norm; i++)
        rmsnorm(d, m->rms_norm_eps, w->q_norm, r->q + i * d);
    for (size_t i = 0; i < r->tokens * m->kv_heads && w->k_norm; i++)
        rmsnorm(d, m->rms_norm_eps, w->k_norm, r->k + i * d);
    return OK;
}

/* What lies between the products of MLA. */
typedef struct {
    double *query;      /* [queries, Q] */
    double *row;        /* [tokens, C + R] as projected */
    double *latent;     /* [tokens, C] normalised */
    double *key_values; /* [tokens, H, P + V] */
} Latents;

static Status project_mla_query(Reference *r, const Model *m, const LayerWeights *w,
                                const double *x, double *query, Error *err) {
    const size_t width = m->heads * m->key_dim, rank = m->q_lora_rank, rows = r->queries;
    if (!rank) return linear(rows, width, m->hidden, asking(r, x), w->q, w->q_bias, r->q, err);
    TRY(linear(rows, rank, m->hidden, asking(r, x), w->q_a, w->q_a_bias, query, err));
    for (size_t t = 0; t < rows; t++) rmsnorm(rank, LATENT_NORM_EPS, w->q_a_norm, query + t * rank);
    return linear(rows, width, rank, query, w->q_b, NULL, r->q, err);
}

static Status project_mla(Reference *r, const Model *m, const LayerWeights *w, const double *x,
                          const Latents *l, Error *err) {
    const size_t C = m->kv_lora_rank, R = m->rope_dim, P = m->nope_dim, V = m->value_dim;
    TRY(project_mla_query(r, m, w, x, l->query, err));
    TRY(linear(r->tokens, C + R, m->hidden, x, w->kv_a, w->kv_a_bias, l->row, err));
    for (size_t t = 0; t < r->tokens; t++) {
        memcpy(l->latent + t * C, l->row + t * (C + R), C * sizeof *l->latent);
        if (w->kv_a_norm) rmsnorm(C, LATENT_NORM_EPS, w->kv_a_norm, l->latent + t * C);
    }
    const size_t heads = r->kv_heads;
    TRY(linear(r->tokens, heads * (P + V), C, l->latent, w->kv_b, NULL, l->key_values, err));
    for (size_t t = 0; t < r->tokens; t++)
        for (size_t h = 0; h < heads; h++) {
            const double *source = l->key_values + (t * heads + h) * (P + V);
            double *key = r->k + (t * heads + h) * (P + R);
            memcpy(key, source, P * sizeof *key);
            memcpy(key + P, l->row + t * (C + R) + C, R * sizeof *key);
            memcpy(r->v + (t * heads + h) * V, source + P, V * sizeof *r->v);
        }
    return OK;
}

static Status project_latent(Reference *r, const Model *m, const LayerWeights *w, const double *x,
                             Error *err) {
    Latents l = { 0 };
    Status status = BUFFER(&l.query, r->queries * m->q_lora_rank, "query latents", err);
    if (status == OK)
        status = BUFFER(&l.row, r->tokens * (m->kv_lora_rank + m->rope_dim), "latents", err);
    if (status == OK) status = BUFFER(&l.latent, r->tokens * m->kv_lora_rank, "latents", err);
    if (status == OK)
        status = BUFFER(&l.key_values, r->tokens * r->kv_heads * (m->nope_dim + m->value_dim),
                        "keys and values", err);
    if (status == OK) status = project_mla(r, m, w, x, &l, err);
    buffer_free(l.key_values);
    buffer_free(l.latent);
    buffer_free(l.row);
    buffer_free(l.query);
    return status;
}

/* One query row of one head over `visible` keys, strides in elements. The sums of the softmax are
 * gathered as the largest score so far grows, so no row of scores is kept. */
static void attend_row(size_t visible, size_t key_dim, size_t value_dim, double scale,
                       const double *q, const double *k, size_t ld_k, const double *v, size_t ld_v,
                       double *out) {
    double max = -INFINITY, sum = 0;
    for (size_t d = 0; d < value_dim; d++) out[d] = 0;
    for (size_t t = 0; t < visible; t++) {
        const double score = scale * dot_f64(key_dim, q, k + t * ld_k);
        if (score > max) {
            const double factor = exp(max - score);
            for (size_t d = 0; d < value_dim; d++) out[d] *= factor;
            sum *= factor;
            max = score;
        }
        const double weight = exp(score - max);
        for (size_t d = 0; d < value_dim; d++) out[d] += weight * v[t * ld_v + d];
        sum += weight;
    }
    for (size_t d = 0; d < value_dim && visible; d++) out[d] /= sum;
}

void reference_attention(size_t q_tokens, size_t first, size_t heads, size_t kv_heads,
                         size_t key_dim, size_t value_dim, double scale, const double *q,
                         const double *k, const double *v, double *out) {
    const size_t group = heads / kv_heads;
#pragma omp parallel for collapse(2) schedule(dynamic, 8)
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < q_tokens; i++)
            attend_row(first + i + 1, key_dim, value_dim, scale, q + (i * heads + h) * key_dim,
                       k + h / group * key_dim, kv_heads * key_dim, v + h / group * value_dim,
                       kv_heads * value_dim, out + (i * heads + h) * value_dim);
}

static Status alloc(Reference *r, Error *err) {
    const size_t rows = r->tokens, keys = rows * r->kv_heads * r->key_dim;
    TRY(BUFFER(&r->q, r->queries * r->heads * r->key_dim, "reference queries", err));
    TRY(BUFFER(&r->k, keys, "reference keys", err));
    TRY(BUFFER(&r->k_pre, keys, "reference keys before RoPE", err));
    TRY(BUFFER(&r->v, rows * r->kv_heads * r->value_dim, "reference values", err));
    TRY(BUFFER(&r->out, r->queries * r->heads * r->value_dim, "reference outputs", err));
    return BUFFER(&r->y, r->queries * r->hidden, "reference results", err);
}

static Status run(Reference *r, const Model *m, const LayerWeights *w, const double *x,
                  const double *table, Error *err) {
    const bool mla = m->kind == ATTENTION_MLA;
    if (mla)
        TRY(project_latent(r, m, w, x, err));
    else
        TRY(project_heads(r, m, w, x, err));
    memcpy(r->k_pre, r->k, r->tokens * r->kv_heads * r->key_dim * sizeof *r->k);
    const size_t rotated_from = mla && !m->rotates_rebuilt ? m->nope_dim : 0;
    const size_t first = r->tokens - r->queries;
    rotate(m, r->queries, r->heads, r->key_dim, rotated_from, table + first * m->rope.dim, r->q);
    rotate(m, r->tokens, r->kv_heads, r->key_dim, rotated_from, table, r->k);
    reference_attention(r->queries, first, r->heads, r->kv_heads, r->key_dim, r->value_dim,
                        r->scale, r->q, r->k, r->v, r->out);
    return linear(r->queries, r->hidden, r->heads * r->value_dim, r->out, w->o, w->o_bias, r->y,
                  err);
}

Status reference_run(Reference *reference, const Model *model, const LayerWeights *weights,
                     size_t tokens, const float *x, Error *err) {
    return reference_run_last(reference, model, weights, tokens, tokens, x, err);
}

Status reference_run_last(Reference *reference, const Model *model, const LayerWeights *weights,
                          size_t tokens, size_t queries, const float *x, Error *err) {
    Reference draft = { .tokens = tokens,
                        .queries = queries < tokens ? queries : tokens,
                        .heads = model->heads,
                        .kv_heads =
                            model->kind == ATTENTION_MLA ? model_up_heads(model) : model->kv_heads,
                        .key_dim = model->key_dim,
                        .value_dim = model->value_dim,
                        .hidden = model->hidden,
                        .scale = model_softmax_scale(model) };
    double *input = NULL, *table = NULL;
    Status status = alloc(&draft, err);
    if (status == OK) status = BUFFER(&input, tokens * model->hidden, "reference input", err);
    if (status == OK) status = BUFFER(&table, tokens * model->rope.dim, "rotations", err);
    if (status == OK) {
        for (size_t i = 0; i < tokens * model->hidden; i++) input[i] = x[i];
        if (model->rope.dim) rope_table_f64(&model->rope, 0, tokens, table);
        status = run(&draft, model, weights, input, table, err);
    }
    buffer_free(table);
    buffer_free(input);
    if (status == OK)
        *reference = draft;
    else
        reference_free(&draft);
    return status;
}

void reference_free(Reference *reference) {
    double *const buffers[] = { reference->q,     reference->k,   reference->v,
                                reference->k_pre, reference->out, reference->y };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
    *reference = (Reference){ 0 };
}
