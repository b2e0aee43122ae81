/* study_bytes.c -- the bytes phase: each contender's cache is really filled, its bytes counted on
 * what is held, and held against the closed form, to the byte. */
#include <stdio.h>

#include "buffer.h"
#include "study_run.h"

enum { PIECE_TOKENS = 256 };

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

static void add_closed_forms(MetricList *list, const Model *model, Path path, RowType type) {
    const double per_layer = (double)model_cache_bytes_per_token_layer(model, path, type);
    const double mha = (double)row_bytes(ROW_BF16, model_mha_elements(model));
    const double gqa8 = (double)row_bytes(ROW_BF16, model_gqa8_elements(model));
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

/* The contender of a point, its name, and the bytes of the cache that is to be held. */
static Status make_point(const Study *study, const Config *config, Model *model, Path *path,
                         Point *point, size_t *bytes, Error *err) {
    TRY(model_contender(model, &study->model, config->contender, err));
    /* expanded and absorbed cache the same rows */
    *path = study_path(model, config->decode.path);
    if (*path == PATH_EXPANDED) *path = PATH_ABSORBED;
    const size_t block = config->cache.block_tokens;
    *bytes = (config->bytes.tokens + block - 1) / block * block *
             model_cache_bytes_per_token_layer(model, *path, config->cache.type);
    study_name_point(point, PHASE_BYTES, config->contender, model, *path, config->cache.type, block,
                     config->bytes.tokens, 0, 1);
    return OK;
}

Status study_bytes_plan(Study *study, Error *err) {
    if (study->leave_out) return OK;
    for (size_t i = 0; i < config_points(study->config, PHASE_BYTES); i++) {
        Config config;
        Model model;
        Path path;
        Point point;
        size_t bytes;
        config_point(study->config, PHASE_BYTES, i, &config);
        TRY(make_point(study, &config, &model, &path, &point, &bytes, err));
        if (bytes > study->memory_bytes)
            return study_refuse(study, "bytes.tokens", &point, config.bytes.tokens, bytes, err);
    }
    return OK;
}

static Status run_point(Study *study, const Config *config, Error *err) {
    Model model;
    Path path;
    Point point;
    size_t bytes;
    TRY(make_point(study, config, &model, &path, &point, &bytes, err));
    bool finished;
    TRY(study_finished(study, &point, &finished, err));
    if (finished) return OK;
    MetricList list = { .count = 0 };
    if (bytes > study->memory_bytes) return study_put_too_large(study, &point, bytes, err);
    add_closed_forms(&list, &model, path, config->cache.type);
    Error why;
    if (count_held(study, config, &model, path, &list, &why) != OK)
        return study_put_failed(study, &point, &why, err);
    return study_put(study, &point, &list, err);
}

Status study_bytes(Study *study, Error *err) {
    for (size_t i = 0; i < config_points(study->config, PHASE_BYTES); i++) {
        Config config;
        config_point(study->config, PHASE_BYTES, i, &config);
        TRY(run_point(study, &config, err));
    }
    return OK;
}
