/* model.c -- names and closed forms of a model's attention; see model.h. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weights.h"

static const char *const kind_names[] = { "mha", "gqa", "mqa", "mla" };
static const char *const path_names[] = { "materialised", "expanded", "absorbed" };

const char *attention_kind_name(AttentionKind kind) {
    return kind_names[kind];
}

const char *path_name(Path path) {
    return path_names[path];
}

bool path_parse(const char *name, Path *out) {
    for (size_t i = 0; i < sizeof path_names / sizeof *path_names; i++)
        if (strcmp(name, path_names[i]) == 0) {
            *out = (Path)i;
            return true;
        }
    return false;
}

void model_label(const Model *model, char *label, size_t size) {
    switch (model->kind) {
    case ATTENTION_MHA:
        snprintf(label, size, "MHA");
        break;
    case ATTENTION_GQA:
        snprintf(label, size, "GQA-%zu", model->kv_heads);
        break;
    case ATTENTION_MQA:
        snprintf(label, size, "MQA");
        break;
    case ATTENTION_MLA:
        if (model->rotates_rebuilt)
            snprintf(label, size, "Latent-%zu", model->kv_lora_rank);
        else
            snprintf(label, size, "MLA-%zu+%zu", model->kv_lora_rank, model->rope_dim);
        break;
    }
}

size_t model_up_heads(const Model *model) {
    return model->rotates_rebuilt ? model->kv_heads : model->heads;
}

double model_softmax_scale(const Model *model) {
    const double plain = 1 / sqrt((double)model->key_dim);
    if (model->rope.scaling != ROPE_YARN || model->rope.mscale_all_dim <= 0) return plain;
    const double m = rope_mscale(model->rope.factor, model->rope.mscale_all_dim);
    return plain * m * m;
}

CacheShape model_cache_shape(const Model *model, Path path) {
    if (model->kind == ATTENTION_MLA && path != PATH_MATERIALISED)
        return (CacheShape){ 1, model->kv_lora_rank + model->rope_dim, model->kv_lora_rank, true };
    return (CacheShape){ model->kv_heads, model->key_dim, model->value_dim, false };
}

size_t model_cache_elements(const Model *model, Path path) {
    const CacheShape shape = model_cache_shape(model, path);
    return shape.kv_heads * (shape.key_dim + (shape.shared ? 0 : shape.value_dim));
}

RowFormat cache_shape_key(const CacheShape *shape, KvType type) {
    if (!shape->shared) return row_format(type.k, shape->key_dim);
    return row_format_latent(type.k, shape->value_dim, shape->key_dim - shape->value_dim);
}

RowFormat cache_shape_value(const CacheShape *shape, KvType type) {
    return shape->shared ? cache_shape_key(shape, type) : row_format(type.v, shape->value_dim);
}

size_t cache_shape_bytes(const CacheShape *shape, KvType type) {
    const size_t key = row_bytes(cache_shape_key(shape, type));
    return shape->kv_heads *
           (key + (shape->shared ? 0 : row_bytes(cache_shape_value(shape, type))));
}

static Status check_rows(const char *rows, RowFormat format, Error *err) {
    const char *misfit = row_format_misfit(format);
    if (!misfit) return OK;
    return fail(err, ERR_INPUT, "%s: %s; %s %zu", row_type_name(format.type), misfit, rows,
                format.coded);
}

Status cache_shape_check(const CacheShape *shape, KvType type, Error *err) {
    if (shape->shared) {
        if (type.k == type.v) return check_rows("this one has", cache_shape_key(shape, type), err);
        return fail(err, ERR_INPUT, "%s,%s: a latent is one row, of one type",
                    row_type_name(type.k), row_type_name(type.v));
    }
    TRY(check_rows("keys have", cache_shape_key(shape, type), err));
    return check_rows("values have", cache_shape_value(shape, type), err);
}

size_t model_cache_bytes_per_token_layer(const Model *model, Path path, KvType type) {
    const CacheShape shape = model_cache_shape(model, path);
    return cache_shape_bytes(&shape, type);
}

size_t model_cache_bytes_per_token(const Model *model, Path path, KvType type) {
    return model->layers * model_cache_bytes_per_token_layer(model, path, type);
}

size_t model_mha_elements(const Model *model) {
    return 2 * model->heads * model->value_dim;
}

size_t model_gqa8_elements(const Model *model) {
    return 2 * 8 * model->value_dim;
}

size_t model_attention_parameters(const Model *model) {
    return weights_bytes(model) / sizeof(float);
}

/* Multiply-adds a token of the projections around attention; kv_b is counted under `latent`. */
static double projection_macs(const Model *m) {
    const double hidden = (double)m->hidden, heads = (double)m->heads;
    const double q_rows = heads * (double)m->key_dim;
    const double output = hidden * heads * (double)m->value_dim;
    if (m->kind != ATTENTION_MLA)
        return hidden * (q_rows + (double)(m->kv_heads * (m->key_dim + m->value_dim))) + output;
    const double query =
        m->q_lora_rank ? (double)m->q_lora_rank * (hidden + q_rows) : hidden * q_rows;
    return query + hidden * (double)(m->kv_lora_rank + m->rope_dim) + output;
}

LayerFlops model_layer_flops(const Model *model, Path path, size_t cached, size_t q_tokens) {
    const double q = (double)q_tokens, heads = (double)model->heads;
    const double pairs = q * (double)cached + q * (q + 1) / 2; /* causal: a token sees itself */
    LayerFlops flops = { .projection = 2 * q * projection_macs(model) };
    double width = (double)(model->key_dim + model->value_dim);
    if (model->kind == ATTENTION_MLA) {
        const double up = 2 * (double)model_up_heads(model) * (double)model->kv_lora_rank *
                          (double)(model->nope_dim + model->value_dim);
        flops.latent = (path == PATH_EXPANDED ? (double)cached + q : q) * up;
        if (path == PATH_ABSORBED)
            width = 2 * (double)model->kv_lora_rank + (double)model->rope_dim;
    }
    flops.attention = 2 * heads * width * pairs;
    return flops;
}

double model_path_crossover(const Model *model, size_t cached) {
    const double c = (double)model->kv_lora_rank, s = (double)cached;
    const double heads = (double)(model->nope_dim + model->value_dim);
    const double shorter = 2 * c - heads; /* multiply-adds a pair that expanding saves */
    if (shorter <= 0) return INFINITY;
    if (!cached) return c * heads / shorter;
    const double half = s + 0.5; /* shorter (q s + q (q + 1) / 2) = s c heads */
    return sqrt(half * half + 2 * s * c * heads / shorter) - half;
}
