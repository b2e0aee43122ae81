/* study_method.c -- contenders as methods: the shape of what they cache, the codec that stores it,
 * how much of it stays, and the bytes of all that. */
#include <stdio.h>
#include <string.h>

#include "coder.h"
#include "study_run.h"

/* MHA of a model's widths, which contenders are converted from. */
static Status mha_of(const Model *base, Model *out, Error *err) {
    TRY(model_contender(out, base, "mha", err));
    out->attention_bias = out->output_bias = out->qk_norm = false;
    return OK;
}

Status study_contender(const Model *base, const char *name, Task *task, Error *err) {
    Method method;
    Model mha, model;
    Recipe recipe;
    Error unknown;
    TRY(method_parse(&method, name, err));
    if (model_contender(&model, base, method.conversion, &unknown) != OK) {
        TRY(mha_of(base, &mha, err));
        TRY(recipe_parse(&recipe, method.conversion, &mha, err));
        model = recipe.model;
    }
    task->method = method;
    task->coded = strchr(name, '*') != NULL;
    task->model = model;
    return OK;
}

Status study_fits(const Task *task, size_t block_tokens, Error *err) {
    const CacheShape shape = model_cache_shape(&task->model, task->path);
    const Method *m = &task->method;
    const char *why = codec_unheld(&m->codec);
    if (why)
        return fail(err, ERR_INPUT, "%s: %s-%u is %s; allowed: what a cache can hold, as int%u",
                    m->name, m->codec.name, m->codec.bits, why, m->codec.bits > 3 ? 4 : 2);
    return task->coded || m->eviction.kind != EVICT_NONE
               ? method_check(m, &shape, block_tokens, err)
               : OK;
}

Status study_type_fits(const Task *task, Phase phase, Error *err) {
    const bool cached = phase == PHASE_BYTES || phase == PHASE_DECODE || phase == PHASE_PREFILL ||
                        phase == PHASE_ERROR;
    const CacheShape shape = model_cache_shape(&task->model, task->path);
    const Config *c = &task->config;
    if (!cached || task->coded) return OK;
    return cache_shape_check(&shape, phase == PHASE_ERROR ? c->error.type : c->cache.type, err);
}

CacheParams study_cache(const Task *task, KvType type, size_t block_tokens) {
    return (CacheParams){ .type = type,
                          .block_tokens = block_tokens,
                          .codec = task->coded ? &task->method.codec : NULL };
}

/* Rows of the study's type, whose keys and values may differ in it: all of them, or what an
 * eviction keeps (the oracle all, of which a step reads the kept ones). */
static MethodBytes plain_bytes(const Task *task, KvType type, size_t tokens, size_t block_tokens) {
    const Eviction *eviction = &task->method.eviction;
    const CacheShape shape = model_cache_shape(&task->model, task->path);
    const size_t row = model_cache_bytes_per_token_layer(&task->model, task->path, type);
    MethodBytes b = { .kept_tokens = eviction_kept(eviction, tokens) };
    const size_t held = eviction->kind == EVICT_ORACLE ? tokens : b.kept_tokens;
    const size_t blocks = (held + block_tokens - 1) / block_tokens;
    b.code_bytes = held * row;
    b.read_bytes = b.kept_tokens * row;
    b.index_bytes = eviction_index_bytes(eviction, shape.kv_heads, held);
    b.waste_bytes = (blocks * block_tokens - held) * row;
    b.table_bytes = blocks * sizeof(uint32_t);
    b.stored_bytes = b.code_bytes + b.index_bytes;
    b.held_bytes = b.stored_bytes + b.waste_bytes + b.table_bytes;
    return b;
}

MethodBytes study_method_bytes(const Task *task, KvType type, size_t tokens, size_t block_tokens) {
    const CacheShape shape = model_cache_shape(&task->model, task->path);
    if (!task->coded) return plain_bytes(task, type, tokens, block_tokens);
    return method_bytes(&task->method, &shape, tokens, block_tokens);
}

void study_add_ratios(const Task *task, const MethodBytes *bytes, size_t tokens, MetricList *list) {
    const double stored = (double)bytes->stored_bytes / (double)tokens;
    const double mha = (double)row_bytes(row_format(ROW_BF16, model_mha_elements(&task->model)));
    const double gqa8 = (double)row_bytes(row_format(ROW_BF16, model_gqa8_elements(&task->model)));
    metric_add(list, "ratio_to_mha", "1", mha / stored, KIND_EXACT);
    metric_add(list, "ratio_to_gqa8", "1", gqa8 / stored, KIND_EXACT);
    metric_add(list, "read_ratio_to_mha", "1", mha * (double)tokens / (double)bytes->read_bytes,
               KIND_EXACT);
}
