/* study_bytes.c -- the bytes phase: each contender's cache is really filled, its bytes counted on
 * what is held, and held against the closed form, to the byte. */
#include <stdio.h>

#include "buffer.h"
#include "study_run.h"

enum { PIECE_TOKENS = 256 };

/* How fast rows are drawn, encoded and stored, about. */
static const double FILLED_BYTES_S = 0.5e9;

/* Opens one sequence and appends `tokens` rows of the direct generator. */
static Status fill(const Study *study, Cache *cache, const CacheShape *shape,
                   const SequencesParams *params, size_t tokens, Error *err) {
    float *k = NULL, *v = NULL;
    size_t sequence;
    Status status = BUFFER(&k, PIECE_TOKENS * shape->kv_heads * shape->key_dim, "keys", err);
    if (status == OK)
        status = BUFFER(&v, PIECE_TOKENS * shape->kv_heads * shape->value_dim, "values", err);
    if (status == OK)
        status = sequences_direct(params, 1, PIECE_TOKENS, shape->kv_heads, shape->key_dim,
                                  params->key_decay, k, err);
    if (status == OK)
        status = sequences_direct(params, 2, PIECE_TOKENS, shape->kv_heads, shape->value_dim,
                                  params->value_decay, v, err);
    if (status == OK) status = cache_open(cache, &sequence, err);
    for (size_t done = 0; status == OK && done < tokens; done += PIECE_TOKENS) {
        const size_t piece = tokens - done < PIECE_TOKENS ? tokens - done : PIECE_TOKENS;
        status = cache_append(cache, &study->kernels, study->threads, sequence, piece, k,
                              shape->shared ? NULL : v, err);
    }
    buffer_free(k);
    buffer_free(v);
    return status;
}

static void add_closed_forms(MetricList *list, const Model *model, Path path, KvType type) {
    const double per_layer = (double)model_cache_bytes_per_token_layer(model, path, type);
    const double mha = (double)row_bytes(row_format(ROW_BF16, model_mha_elements(model)));
    const double gqa8 = (double)row_bytes(row_format(ROW_BF16, model_gqa8_elements(model)));
    const LayerFlops near = model_layer_flops(model, path, 1024, 1);
    const LayerFlops far = model_layer_flops(model, path, 1025, 1);
    metric_add(list, "cache_bytes_per_token", "B",
               (double)model_cache_bytes_per_token(model, path, type), KIND_EXACT);
    metric_add(list, "cache_bytes_per_token_layer", "B", per_layer, KIND_EXACT);
    metric_add(list, "ratio_to_mha", "1", mha / per_layer, KIND_EXACT);
    metric_add(list, "ratio_to_gqa8", "1", gqa8 / per_layer, KIND_EXACT);
    metric_add(list, "attention_parameters", "1", (double)model_attention_parameters(model),
               KIND_EXACT);
    metric_add(list, "decode_flops_per_cached_token", "flop",
               far.attention + far.latent - near.attention - near.latent, KIND_EXACT);
}

/* Counts a held cache of `tokens` tokens into the metrics. */
static Status count_held(const Study *study, const Config *config, const Model *model, Path path,
                         MetricList *list, Error *err) {
    const CacheShape shape = model_cache_shape(model, path);
    const size_t tokens = config->bytes.tokens;
    Cache *cache = NULL;
    TRY(cache_new(&cache, &config->cache, &shape, 1, tokens, err));
    Status status = fill(study, cache, &shape, &config->sequences, tokens, err);
    if (status == OK) {
        const CacheBytes held = cache_bytes(cache);
        const size_t expected =
            tokens * model_cache_bytes_per_token_layer(model, path, config->cache.type);
        metric_add(list, "held_bytes_per_token_layer", "B",
                   (double)held.payload_bytes / (double)tokens, KIND_EXACT);
        metric_add(list, "payload_bytes", "B", (double)held.payload_bytes, KIND_EXACT);
        metric_add(list, "block_waste_bytes", "B", (double)held.block_waste_bytes, KIND_EXACT);
        metric_add(list, "table_bytes", "B", (double)held.table_bytes, KIND_EXACT);
        metric_add(list, "resident_bytes", "B", (double)cache_resident_bytes(cache), KIND_MEASURED);
        if (held.payload_bytes != expected)
            status = fail(err, ERR_MACHINE, "held %zu bytes where the closed form says %zu",
                          held.payload_bytes, expected);
    }
    cache_free(cache);
    return status;
}

Status study_bytes_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    TRY(model_contender(&t->model, &study->model, c->contender, err));
    /* expanded and absorbed cache the same rows */
    t->path = study_path(&t->model, c->decode.path);
    if (t->path == PATH_EXPANDED) t->path = PATH_ABSORBED;
    t->tokens = c->bytes.tokens;
    const size_t block = c->cache.block_tokens;
    t->memory_bytes = (t->tokens + block - 1) / block * block *
                      model_cache_bytes_per_token_layer(&t->model, t->path, c->cache.type);
    t->more_seconds = (double)t->memory_bytes / FILLED_BYTES_S;
    t->metrics = 11;
    study_name_point(&t->point, PHASE_BYTES, c->contender, &t->model, t->path, c->cache.type, block,
                     t->tokens, 0, 1);
    return OK;
}

Status study_bytes_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    for (size_t i = 0; i < count; i++) {
        Task *t = tasks[i];
        MetricList list = { .count = 0 };
        Error why;
        add_closed_forms(&list, &t->model, t->path, t->config.cache.type);
        if (count_held(study, &t->config, &t->model, t->path, &list, &why) != OK)
            TRY(study_put_failed(study, &t->point, &why, err));
        else
            TRY(study_put(study, &t->point, &list, err));
    }
    return OK;
}
