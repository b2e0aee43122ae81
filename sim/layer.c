/* layer.c -- the workspace of a layer and one whole call; see layer.h.
 *
 * A call first brings all its rows into the cache, piece by piece, then attends to what the cache
 * holds: new tokens too are seen in their stored type, as a serving engine sees them. Only the
 * queries and outputs of a call are kept whole; everything between two products is a piece. */
#include "layer.h"

#include <assert.h>
#include <omp.h>

#include "blas.h"
#include "buffer.h"
#include "layer_parts.h"

/* Floats that the folded queries of one piece may take: 32 MiB. */
enum { ATTEND_FLOATS = 8 * 1024 * 1024, ATTEND_ROWS_LEAST = 16 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t greatest(size_t a, size_t b) {
    return a > b ? a : b;
}

static Status alloc_projection(Layer *layer, Error *err) {
    const Model *m = layer->params.model;
    const size_t rows = least(layer->tokens, PROJECT_ROWS), half = m->rope.dim / 2;
    TRY(BUFFER(&layer->rotations, layer->positions * half * 2, "the rotations", err));
    if (half) rope_table(&m->rope, 0, layer->positions, layer->rotations);
    if (m->kind != ATTENTION_MLA) return OK;
    TRY(BUFFER(&layer->query_latent, rows * m->q_lora_rank, "query latents", err));
    if (layer_keeps_latent(layer)) return OK;
    TRY(BUFFER(&layer->latent, rows * (m->kv_lora_rank + m->rope_dim), "latents", err));
    return BUFFER(&layer->key_values, rows * model_up_heads(m) * (m->nope_dim + m->value_dim),
                  "keys and values", err);
}

static Status alloc_attention(Layer *layer, Error *err) {
    const Model *m = layer->params.model;
    const Path path = layer->params.path;
    const size_t heads = m->heads, rank = m->kv_lora_rank, row = rank + m->rope_dim;
    TRY(BUFFER(&layer->views, layer->tokens, "views of sequences", err));
    layer->attend_rows = layer->tokens;
    if (layer_keeps_latent(layer)) {
        const size_t rows = greatest(ATTEND_FLOATS / (heads * row), ATTEND_ROWS_LEAST);
        layer->attend_rows = least(layer->tokens, rows);
    }
    const size_t rows = layer->attend_rows;
    if (path == PATH_ABSORBED) {
        TRY(BUFFER(&layer->absorbed_q, rows * heads * row, "folded queries", err));
        TRY(BUFFER(&layer->context, rows * heads * rank, "latent outputs", err));
    } else if (path == PATH_EXPANDED) {
        const size_t tokens = layer->params.expand_tokens;
        const KvLayout chunk = layer_chunk_layout(layer);
        TRY(BUFFER(&layer->chunk_latent, tokens * row, "decoded latents", err));
        TRY(BUFFER(&layer->chunk, chunk.block_bytes / sizeof(float), "expanded rows", err));
        TRY(BUFFER(&layer->part, rows * heads * m->value_dim, "partial outputs", err));
        TRY(BUFFER(&layer->part_lse, rows * heads, "partial sums", err));
        TRY(BUFFER(&layer->lse, layer->tokens * heads, "sums", err));
    }
    return OK;
}

Status layer_new(Layer **layer, const LayerParams *params, size_t tokens, size_t cached_tokens,
                 Error *err) {
    if (params->path != PATH_MATERIALISED && params->model->kind != ATTENTION_MLA)
        return fail(err, ERR_INPUT, "path %s: %s keeps no latent; only materialised applies",
                    path_name(params->path), attention_kind_name(params->model->kind));
    if (params->path == PATH_ABSORBED && params->model->rotates_rebuilt)
        return fail(err, ERR_INPUT,
                    "path absorbed: the layer rotates keys after it rebuilds them; expanded and "
                    "materialised apply");
    assert(params->threads > 0 && tokens > 0);
    assert(params->path != PATH_EXPANDED || params->expand_tokens > 0);
    Layer *draft;
    TRY(BUFFER(&draft, 1, "the layer", err));
    draft->params = *params;
    draft->shape = model_cache_shape(params->model, params->path);
    draft->tokens = tokens;
    draft->positions = cached_tokens + tokens;
    blas_set_threads(params->threads);
    Status status = alloc_projection(draft, err);
    if (status == OK) status = alloc_attention(draft, err);
    if (status == OK)
        *layer = draft;
    else
        layer_free(draft);
    return status;
}

void layer_free(Layer *layer) {
    if (!layer) return;
    float *const buffers[] = { layer->rotations,
                               layer->query_latent,
                               layer->latent,
                               layer->key_values,
                               layer->workspace,
                               layer->turned,
                               layer->absorbed_q,
                               layer->context,
                               layer->chunk_latent,
                               layer->chunk,
                               layer->part,
                               layer->lse,
                               layer->part_lse,
                               layer->q,
                               layer->out,
                               layer->k,
                               layer->v };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
    buffer_free(layer->row_position);
    buffer_free(layer->views);
    buffer_free(layer);
}

/* ---- one whole call ---- */

static Status alloc_call(Layer *layer, Error *err) {
    const Model *m = layer->params.model;
    const CacheShape *s = &layer->shape;
    const size_t rows = least(layer->tokens, PROJECT_ROWS);
    if (!layer->q) TRY(BUFFER(&layer->q, layer->tokens * m->heads * m->key_dim, "queries", err));
    if (!layer->out)
        TRY(BUFFER(&layer->out, layer->tokens * m->heads * m->value_dim, "outputs", err));
    if (!layer->k) TRY(BUFFER(&layer->k, rows * s->kv_heads * s->key_dim, "new keys", err));
    if (!layer->v)
        TRY(BUFFER(&layer->v, s->shared ? 0 : rows * s->kv_heads * s->value_dim, "new values",
                   err));
    if (!layer->row_position) return BUFFER(&layer->row_position, layer->tokens, "positions", err);
    return OK;
}

/* Checks a batch against the layer's room and numbers its rows' positions. */
static Status number_rows(Layer *layer, const Cache *cache, const LayerBatch *batch, size_t *rows,
                          Error *err) {
    size_t total = 0;
    for (size_t i = 0; i < batch->sequences; i++) {
        const size_t held = cache_tokens(cache, batch->sequence[i]), brought = batch->tokens[i];
        if (brought > layer->tokens - total)
            return fail(err, ERR_INPUT, "more than the %zu tokens that the layer takes in a call",
                        layer->tokens);
        if (held > layer->positions || brought > layer->positions - held)
            return fail(err, ERR_INPUT, "a sequence of %zu tokens, of at most %zu", held + brought,
                        layer->positions);
        for (size_t t = 0; t < brought; t++) layer->row_position[total + t] = held + t;
        total += brought;
    }
    *rows = total;
    return OK;
}

/* A sequence of the batch and how many of its tokens are done. */
typedef struct {
    size_t index, done;
} Progress;

/* Hands `rows` projected rows to the sequences they belong to. */
static Status append_rows(Layer *layer, Cache *cache, const LayerBatch *batch, size_t rows,
                          Progress *at, Error *err) {
    const CacheShape *s = &layer->shape;
    for (size_t row = 0; row < rows;) {
        const size_t left = batch->tokens[at->index] - at->done;
        if (left == 0) {
            at->index++;
            at->done = 0;
            continue;
        }
        const size_t n = least(left, rows - row);
        TRY(cache_append(cache, layer->params.kernels, layer->params.threads,
                         batch->sequence[at->index], n, layer->k + row * s->kv_heads * s->key_dim,
                         s->shared ? NULL : layer->v + row * s->kv_heads * s->value_dim, err));
        at->done += n;
        row += n;
    }
    return OK;
}

/* Takes back what a call that failed half-way has appended. */
static void forget_rows(Layer *layer, Cache *cache, const LayerBatch *batch, const Progress *at) {
    for (size_t i = 0; i < batch->sequences && i <= at->index; i++) {
        const size_t appended = i < at->index ? batch->tokens[i] : at->done;
        cache_truncate(cache, layer->params.kernels, batch->sequence[i],
                       cache_tokens(cache, batch->sequence[i]) - appended);
    }
}

static double lap_ns(double *since) {
    const double now = omp_get_wtime(), elapsed = now - *since;
    *since = now;
    return elapsed * 1e9;
}

Status layer_forward(Layer *layer, Cache *cache, const LayerBatch *batch, const float *x, float *y,
                     LayerTimes *times, Error *err) {
    const Model *m = layer->params.model;
    size_t rows = 0;
    TRY(alloc_call(layer, err));
    TRY(number_rows(layer, cache, batch, &rows, err));

    LayerTimes spent = { 0 };
    Progress at = { 0 };
    double clock = omp_get_wtime();
    for (size_t row = 0; row < rows; row += PROJECT_ROWS) {
        const size_t n = least(rows - row, PROJECT_ROWS);
        layer_project(layer, n, layer->row_position + row, x + row * m->hidden,
                      layer->q + row * m->heads * m->key_dim, layer->k, layer->v);
        spent.project_ns += lap_ns(&clock);
        const Status status = append_rows(layer, cache, batch, n, &at, err);
        if (status != OK) {
            forget_rows(layer, cache, batch, &at);
            return status;
        }
        spent.append_ns += lap_ns(&clock);
    }
    const Status status = layer_attend_checked(layer, cache, batch, layer->q, layer->out, err);
    if (status != OK) {
        forget_rows(layer, cache, batch, &at);
        return status;
    }
    spent.attend_ns = lap_ns(&clock);
    layer_output(layer, rows, layer->out, y);
    spent.output_ns = lap_ns(&clock);
    if (times) *times = spent;
    return OK;
}
