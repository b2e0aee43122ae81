/* layer_attend.c -- the three paths from queries to outputs over what the cache holds.
 *
 * materialised  the driver reads keys and values where they lie; MHA, GQA, MQA are the same.
 *
 * absorbed      <W_UK c, q> = <c, W_UK^T q>: the queries are folded once, so that the latent rows
 *               themselves are the keys and, their first C, the values; W_UV comes last:
 *
 *                 q [H, P | R] -> [H, C | R] -> attend -> [H, C] -> out [H, V]
 *
 * expanded      keys and values of expand_tokens tokens at a time are rebuilt into one float block;
 *               each chunk's result is merged by its log-sum-exp. All queries of a sequence look at
 *               a chunk before the next is rebuilt.
 *
 * Products with W_UK and W_UV use the kernels' own inner loops, each head apart: weighted sums of
 * rows and dot products with rows are what attention itself is made of, so every tier has them, and
 * the bits do not depend on the number of threads.
 *
 * The last two take attend_rows query rows at a time, which bounds their workspace. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "layer.h"
#include "layer_parts.h"

/* Weights and rebuilt rows. */
static const RowFormat float_rows = { .type = ROW_F32 };

/* Completes a call and runs it. How much workspace it needs depends on how the driver cuts its
 * shapes, so the first call of a kind brings it. */
static Status run_attention(Layer *layer, Attention *a, KvLayout layout, Error *err) {
    a->layout = layout;
    a->heads = layer->params.model->heads;
    a->scale = (float)model_softmax_scale(layer->params.model);
    float *workspace = buffer_grown(layer->workspace, &layer->workspace_floats, 0,
                                    attention_workspace(a, layer->params.threads),
                                    sizeof *workspace, "attention workspace", err);
    if (!workspace) return ERR_MACHINE;
    layer->workspace = workspace;
    attention_run(layer->params.kernels, a, layer->params.threads, workspace);
    return OK;
}

/* The batch's query rows from one on: where the next piece starts. */
typedef struct {
    size_t index; /* of the sequence in the batch */
    size_t done;  /* of its query tokens */
} Cursor;

/* Views of the sequences that the next `most` query rows belong to, in layer->views; the number of
 * rows in *rows. */
static size_t next_views(Layer *layer, const Cache *cache, const LayerBatch *batch, Cursor *cursor,
                         size_t most, size_t *rows) {
    size_t count = 0;
    *rows = 0;
    while (cursor->index < batch->sequences && *rows < most) {
        const size_t left = batch->tokens[cursor->index] - cursor->done;
        const size_t taken = left < most - *rows ? left : most - *rows;
        if (taken) {
            KvSequence view = cache_sequence(cache, batch->sequence[cursor->index]);
            view.q_tokens = taken;
            view.q_position = view.tokens - batch->tokens[cursor->index] + cursor->done;
            layer->views[count++] = view;
            *rows += taken;
            cursor->done += taken;
        }
        if (taken == left) *cursor = (Cursor){ .index = cursor->index + 1 };
    }
    return count;
}

/* Turns a copy of the queries where the cache's rows are turned. */
static Status turned_queries(Layer *layer, const Cache *cache, size_t rows, Attention *a,
                             Error *err) {
    if (!cache_turns(cache)) return OK;
    const Model *m = layer->params.model;
    const size_t heads = rows * m->heads, floats = heads * m->key_dim;
    float *turned = buffer_grown(layer->turned, &layer->turned_floats, 0, floats, sizeof *turned,
                                 "turned queries", err);
    if (!turned) return ERR_MACHINE;
    layer->turned = turned;
    memcpy(turned, a->q, floats * sizeof *turned);
    cache_turn_queries(cache, heads, turned);
    a->q = turned;
    return OK;
}

static Status attend_materialised(Layer *layer, const Cache *cache, const LayerBatch *batch,
                                  const float *q, float *out, Error *err) {
    Cursor cursor = { 0 };
    size_t rows;
    const size_t count = next_views(layer, cache, batch, &cursor, layer->attend_rows, &rows);
    Attention a = { .sequences = count, .sequence = layer->views, .q = q, .out = out };
    TRY(turned_queries(layer, cache, rows, &a, err));
    TRY(run_attention(layer, &a, cache_layout(cache), err));
    cache_turn_outputs(cache, rows * layer->params.model->heads, out);
    return OK;
}

/* ---- absorbed ---- */

/* Head h of kv_b [H, P + V, C]: first its P rows of W_UK, then its V rows of W_UV. */
static const float *up_projection(const Layer *layer, size_t h) {
    const Model *m = layer->params.model;
    return layer->params.weights->kv_b + h * (m->nope_dim + m->value_dim) * m->kv_lora_rank;
}

/* Rows of W_UK folded at a time: they stay in the first cache while the sums walk down stripes of
 * them, so that memory is read in order. */
enum { FOLD_ROWS = 16 };

/* Folds W_UK into the queries: qa = W_UK^T q_nope is a weighted sum of the rows of W_UK, the same
 * inner loop that sums values. The rotated part follows unchanged. */
static void fold_queries(Layer *layer, size_t rows, const float *q) {
    const Model *m = layer->params.model;
    const size_t heads = m->heads, rank = m->kv_lora_rank, nope = m->nope_dim, rope = m->rope_dim,
                 width = rank + rope;
#pragma omp parallel for schedule(static) num_threads(layer->params.threads)
    for (size_t h = 0; h < heads; h++) {
        for (size_t r = 0; r < rows; r++) {
            float *folded = layer->absorbed_q + (r * heads + h) * width;
            memset(folded, 0, rank * sizeof *folded);
            memcpy(folded + rank, q + (r * heads + h) * (nope + rope) + nope,
                   rope * sizeof *folded);
        }
        const float *w = up_projection(layer, h), *q_head = q + h * (nope + rope);
        for (size_t p = 0; p < nope; p += FOLD_ROWS)
            layer->params.kernels->values[ROW_F32](
                &float_rows, rows, nope - p < FOLD_ROWS ? nope - p : FOLD_ROWS, rank, q_head + p,
                heads * (nope + rope), w + p * rank, rank * sizeof *w,
                layer->absorbed_q + h * width, heads * width);
    }
}

/* out = W_UV context: dot products with the rows of W_UV, the same inner loop as scores. */
static void unfold_outputs(Layer *layer, size_t rows, float *out) {
    const Model *m = layer->params.model;
    const size_t heads = m->heads, rank = m->kv_lora_rank, value = m->value_dim;
#pragma omp parallel for schedule(static) num_threads(layer->params.threads)
    for (size_t h = 0; h < heads; h++)
        layer->params.kernels->scores[ROW_F32](
            &float_rows, rows, value, rank, layer->context + h * rank, heads * rank,
            up_projection(layer, h) + m->nope_dim * rank, rank * sizeof(float), out + h * value,
            heads * value);
}

static Status attend_absorbed(Layer *layer, const Cache *cache, const LayerBatch *batch,
                              const float *q, float *out, Error *err) {
    const Model *m = layer->params.model;
    Cursor cursor = { 0 };
    for (size_t rows, at = 0;; at += rows) {
        const size_t count = next_views(layer, cache, batch, &cursor, layer->attend_rows, &rows);
        if (!rows) return OK;
        fold_queries(layer, rows, q + at * m->heads * m->key_dim);
        Attention a = { .sequences = count,
                        .sequence = layer->views,
                        .q = layer->absorbed_q,
                        .out = layer->context };
        cache_turn_queries(cache, rows * m->heads, layer->absorbed_q);
        TRY(run_attention(layer, &a, cache_layout(cache), err));
        cache_turn_outputs(cache, rows * m->heads, layer->context);
        unfold_outputs(layer, rows, out + at * m->heads * m->value_dim);
    }
}

/* ---- expanded ---- */

KvLayout layer_chunk_layout(const Layer *layer) {
    const Model *m = layer->params.model;
    return kv_layout(kv_type(ROW_F32), model_up_heads(m), m->key_dim, m->value_dim, false,
                     layer->params.expand_tokens);
}

/* Rebuilds keys and values of n cached tokens from `first` on into the chunk: [n, C] by the rows of
 * W_UK and W_UV of each head, heads apart; keys without a shared rotated part are rotated then. */
static void expand_chunk(Layer *layer, const Cache *cache, size_t sequence, size_t first, size_t n,
                         const KvLayout *chunk) {
    const Model *m = layer->params.model;
    const size_t rank = m->kv_lora_rank, nope = m->nope_dim, rope = m->rope_dim,
                 width = rank + rope;
    const ScoresFn product = layer->params.kernels->scores[ROW_F32];
    const float *latent = layer->chunk_latent;
    cache_read(cache, layer->params.kernels, sequence, first, n, layer->chunk_latent, NULL);
#pragma omp parallel for schedule(static) num_threads(layer->params.threads)
    for (size_t h = 0; h < model_up_heads(m); h++) {
        const float *w = up_projection(layer, h);
        float *key = layer->chunk + (chunk->k_offset + h * chunk->k_head) / sizeof(float);
        float *value = layer->chunk + (chunk->v_offset + h * chunk->v_head) / sizeof(float);
        product(&float_rows, n, nope, rank, latent, width, w, rank * sizeof *w, key, m->key_dim);
        product(&float_rows, n, m->value_dim, rank, latent, width, w + nope * rank,
                rank * sizeof *w, value, m->value_dim);
        for (size_t t = 0; t < n; t++)
            if (m->rotates_rebuilt)
                rope_rotate(&m->rope, layer->rotations + (first + t) * m->rope.dim,
                            key + t * m->key_dim);
            else
                memcpy(key + t * m->key_dim + nope, latent + t * width + rank, rope * sizeof *key);
    }
}

/* Some query rows of a sequence over one chunk: the first chunk writes the result, later ones are
 * merged into it. */
static Status attend_chunk(Layer *layer, const KvSequence *view, const KvLayout *layout,
                           const float *q, float *out, float *lse, Error *err) {
    const Model *m = layer->params.model;
    const bool merged = view->position > 0;
    Attention a = { .sequences = 1,
                    .sequence = view,
                    .q = q,
                    .out = merged ? layer->part : out,
                    .lse = merged ? layer->part_lse : lse };
    TRY(run_attention(layer, &a, *layout, err));
    if (merged)
        attention_merge(view->q_tokens * m->heads, m->value_dim, out, lse, layer->part,
                        layer->part_lse);
    return OK;
}

/* One sequence: `rows` query tokens, the last of those it holds. */
static Status attend_expanded_sequence(Layer *layer, const Cache *cache, size_t sequence,
                                       size_t rows, const float *q, float *out, float *lse,
                                       Error *err) {
    const Model *m = layer->params.model;
    const size_t tokens = cache_tokens(cache, sequence), most = layer->params.expand_tokens,
                 q_first = tokens - rows, heads = m->heads;
    const KvLayout layout = layer_chunk_layout(layer);
    const uint32_t block = 0;
    for (size_t first = 0; first < tokens && rows; first += most) {
        const size_t n = tokens - first < most ? tokens - first : most;
        expand_chunk(layer, cache, sequence, first, n, &layout);
        /* Queries before the chunk see nothing of it. */
        for (size_t row = first > q_first ? first - q_first : 0; row < rows;
             row += layer->attend_rows) {
            const size_t left = rows - row;
            const KvSequence view = {
                .pool = (const unsigned char *)layer->chunk,
                .table = &block,
                .tokens = n,
                .position = first,
                .q_tokens = left < layer->attend_rows ? left : layer->attend_rows,
                .q_position = q_first + row,
            };
            TRY(attend_chunk(layer, &view, &layout, q + row * heads * m->key_dim,
                             out + row * heads * m->value_dim, lse + row * heads, err));
        }
    }
    return OK;
}

static Status attend_expanded(Layer *layer, const Cache *cache, const LayerBatch *batch,
                              const float *q, float *out, Error *err) {
    const Model *m = layer->params.model;
    size_t at = 0;
    for (size_t i = 0; i < batch->sequences; i++) {
        TRY(attend_expanded_sequence(
            layer, cache, batch->sequence[i], batch->tokens[i], q + at * m->heads * m->key_dim,
            out + at * m->heads * m->value_dim, layer->lse + at * m->heads, err));
        at += batch->tokens[i];
    }
    return OK;
}

Status layer_attend_checked(Layer *layer, const Cache *cache, const LayerBatch *batch,
                            const float *q, float *out, Error *err) {
    switch (layer->params.path) {
    case PATH_EXPANDED:
        return attend_expanded(layer, cache, batch, q, out, err);
    case PATH_ABSORBED:
        return attend_absorbed(layer, cache, batch, q, out, err);
    default:
        return attend_materialised(layer, cache, batch, q, out, err);
    }
}

void layer_attend(Layer *layer, const Cache *cache, const LayerBatch *batch, const float *q,
                  float *out) {
    Error err;
    if (layer_attend_checked(layer, cache, batch, q, out, &err) == OK) return;
    const Model *m = layer->params.model;
    size_t rows = 0;
    for (size_t i = 0; i < batch->sequences; i++) rows += batch->tokens[i];
    for (size_t i = 0; i < rows * m->heads * m->value_dim; i++) out[i] = NAN;
}
