/* study_bytes.c -- the bytes phase: each contender's cache is really filled, its bytes counted on
 * what is held, and held against the closed form, to the byte. */
#include <string.h>

#include "buffer.h"
#include "study_run.h"

enum { PIECE_TOKENS = 256 };

/* How fast rows are drawn, encoded and stored, about. */
static const double FILLED_BYTES_S = 0.5e9;

/* Rows of the direct generator, kept for the next point of the same shape. */
typedef struct {
    SequencesParams params;
    size_t kv_heads, key_dim, value_dim;
    float *k, *v; /* [PIECE_TOKENS, kv_heads, key_dim] and value_dim */
} Rows;

static Status draw_rows(Rows *rows, const CacheShape *shape, const SequencesParams *params,
                        Error *err) {
    const size_t heads = shape->kv_heads;
    TRY(BUFFER(&rows->k, PIECE_TOKENS * heads * shape->key_dim, "keys", err));
    TRY(BUFFER(&rows->v, PIECE_TOKENS * heads * shape->value_dim, "values", err));
    TRY(sequences_direct(params, 1, PIECE_TOKENS, heads, shape->key_dim, params->key_decay, rows->k,
                         err));
    TRY(sequences_direct(params, 2, PIECE_TOKENS, heads, shape->value_dim, params->value_decay,
                         rows->v, err));
    rows->params = *params;
    rows->kv_heads = heads, rows->key_dim = shape->key_dim, rows->value_dim = shape->value_dim;
    return OK;
}

static void free_rows(Rows *rows) {
    buffer_free(rows->k);
    buffer_free(rows->v);
    *rows = (Rows){ 0 };
}

void study_bytes_forget(void *kept) {
    if (kept) free_rows(kept);
    buffer_free(kept);
}

/* The rows for a shape: those kept from the point before, or new ones. */
static Status find_rows(Study *study, const CacheShape *shape, const SequencesParams *params,
                        const Rows **out, Error *err) {
    Rows *rows = study->kept[PHASE_BYTES];
    if (!rows) TRY(BUFFER(&rows, 1, "rows", err));
    study->kept[PHASE_BYTES] = rows;
    *out = rows;
    if (rows->kv_heads == shape->kv_heads && rows->key_dim == shape->key_dim &&
        rows->value_dim == shape->value_dim && memcmp(&rows->params, params, sizeof *params) == 0)
        return OK;
    free_rows(rows);
    const Status status = draw_rows(rows, shape, params, err);
    if (status != OK) free_rows(rows);
    return status;
}

/* Opens one sequence and appends `tokens` rows to it. */
static Status fill(Study *study, Cache *cache, const CacheShape *shape,
                   const SequencesParams *params, size_t tokens, Error *err) {
    const Rows *rows;
    size_t sequence;
    TRY(find_rows(study, shape, params, &rows, err));
    TRY(cache_open(cache, &sequence, err));
    for (size_t done = 0; done < tokens; done += PIECE_TOKENS) {
        const size_t piece = tokens - done < PIECE_TOKENS ? tokens - done : PIECE_TOKENS;
        TRY(cache_append(cache, &study->kernels, study->threads, sequence, piece, rows->k,
                         shape->shared ? NULL : rows->v, err));
    }
    return OK;
}

static void add_closed_forms(MetricList *list, const Task *t, const MethodBytes *bytes) {
    const Model *model = &t->model;
    const double per_layer = (double)bytes->stored_bytes / (double)t->tokens;
    const LayerFlops near = model_layer_flops(model, t->path, 1024, 1);
    const LayerFlops far = model_layer_flops(model, t->path, 1025, 1);
    metric_add(list, "cache_bytes_per_token", "B", (double)model->layers * per_layer, KIND_EXACT);
    metric_add(list, "cache_bytes_per_token_layer", "B", per_layer, KIND_EXACT);
    metric_add(list, "read_bytes_per_token", "B",
               (double)model->layers * (double)bytes->read_bytes / (double)t->tokens, KIND_EXACT);
    study_add_ratios(t, bytes, t->tokens, list);
    metric_add(list, "attention_parameters", "1", (double)model_attention_parameters(model),
               KIND_EXACT);
    metric_add(list, "decode_flops_per_cached_token", "flop",
               far.attention + far.latent - near.attention - near.latent, KIND_EXACT);
}

/* Tokens that the cache of an eviction holds; their positions are beside it. */
static size_t held_tokens(const Task *t, const MethodBytes *bytes) {
    return t->method.eviction.kind == EVICT_ORACLE ? t->tokens : bytes->kept_tokens;
}

/* Counts a held cache into the metrics, against what the accountant says. */
static Status count_held(Study *study, const Task *t, const MethodBytes *bytes, MetricList *list,
                         Error *err) {
    const CacheShape shape = model_cache_shape(&t->model, t->path);
    const CacheParams params = study_cache(t, t->config.cache.type, t->config.cache.block_tokens);
    const size_t tokens = held_tokens(t, bytes);
    Cache *cache = NULL;
    TRY(cache_new(&cache, &params, &shape, 1, tokens, err));
    Status status = fill(study, cache, &shape, &t->config.sequences, tokens, err);
    if (status == OK) {
        const CacheBytes held = cache_bytes(cache);
        const size_t stored = held.payload_bytes + bytes->index_bytes;
        metric_add(list, "held_bytes_per_token_layer", "B", (double)stored / (double)t->tokens,
                   KIND_EXACT);
        metric_add(list, "payload_bytes", "B", (double)held.payload_bytes, KIND_EXACT);
        metric_add(list, "index_bytes", "B", (double)bytes->index_bytes, KIND_EXACT);
        metric_add(list, "block_waste_bytes", "B", (double)held.block_waste_bytes, KIND_EXACT);
        metric_add(list, "table_bytes", "B", (double)held.table_bytes, KIND_EXACT);
        metric_add(list, "resident_bytes", "B", (double)cache_resident_bytes(cache), KIND_MEASURED);
        const size_t all = stored + held.block_waste_bytes + held.table_bytes;
        if (stored != bytes->stored_bytes || all != bytes->held_bytes)
            status = fail(err, ERR_MACHINE,
                          "held %zu bytes, %zu with waste and tables, where the closed form says "
                          "%zu and %zu",
                          stored, all, bytes->stored_bytes, bytes->held_bytes);
    }
    cache_free(cache);
    return status;
}

Status study_bytes_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    TRY(study_contender(&study->model, c->contender, t, err));
    /* expanded and absorbed cache the same rows */
    t->path =
        study_path(&t->model, c->decode.path == PATH_EXPANDED ? PATH_ABSORBED : c->decode.path);
    t->tokens = c->bytes.tokens;
    const size_t block = c->cache.block_tokens;
    TRY(study_fits(t, block, err));
    t->memory_bytes = study_method_bytes(t, c->cache.type, t->tokens, block).held_bytes;
    t->more_seconds = (double)t->memory_bytes / FILLED_BYTES_S;
    t->metrics = 12;
    study_name_point(&t->point, PHASE_BYTES, c->contender, &t->model, t->path, c->cache.type, block,
                     t->tokens, 0, 1);
    return OK;
}

Status study_bytes_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    for (size_t i = 0; i < count; i++) {
        Task *t = tasks[i];
        MetricList list = { .count = 0 };
        Error why;
        const MethodBytes bytes =
            study_method_bytes(t, t->config.cache.type, t->tokens, t->config.cache.block_tokens);
        add_closed_forms(&list, t, &bytes);
        if (count_held(study, t, &bytes, &list, &why) != OK)
            TRY(study_put_failed(study, &t->point, &why, err));
        else
            TRY(study_put(study, &t->point, &list, err));
    }
    return OK;
}
