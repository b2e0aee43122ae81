/* model.c -- names, contenders and closed forms of a model's attention; see model.h. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
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

/* ---- contenders ---- */

/* Reads "<prefix><number>" and what follows it; no sign, no leading zero, at most 9 digits. */
static bool number_after(const char *text, const char *prefix, size_t *number, const char **rest) {
    const size_t skip = strlen(prefix);
    if (strncmp(text, prefix, skip) != 0 || text[skip] < '1' || text[skip] > '9') return false;
    char *end;
    const unsigned long value = strtoul(text + skip, &end, 10);
    if (end - (text + skip) > 9) return false;
    *number = value;
    *rest = end;
    return true;
}

/* Turns any model into one that caches per-head keys and values of its head width. */
static void make_heads(Model *m, AttentionKind kind, size_t kv_heads) {
    if (m->kind == ATTENTION_MLA) {
        m->key_dim = m->rope_dim = m->rope.dim = m->value_dim;
        m->q_lora_rank = m->kv_lora_rank = m->nope_dim = 0;
        m->attention_bias = false;
    }
    m->kind = kind;
    m->kv_heads = kv_heads;
}

static Status make_latent(Model *m, size_t rank, size_t rope, const char *specification,
                          Error *err) {
    if (rope % 2)
        return fail(err, ERR_INPUT, "%s: qk_rope_head_dim must be even, not %zu", specification,
                    rope);
    if (rank > 1000000 || rope > 65536)
        return fail(err, ERR_INPUT,
                    "%s: kv_lora_rank may be 1 to 1000000, qk_rope_head_dim 2 to "
                    "65536",
                    specification);
    const bool was_latent = m->kind == ATTENTION_MLA;
    if (!was_latent) {
        m->nope_dim = m->value_dim;
        m->attention_bias = m->qk_norm = false;
    }
    m->kind = ATTENTION_MLA;
    m->kv_heads = m->heads;
    m->kv_lora_rank = rank;
    m->rope_dim = m->rope.dim = rope;
    m->key_dim = m->nope_dim + rope;
    return OK;
}

static Status unknown_contender(const char *specification, Error *err) {
    static const char *const forms[] = { "model", "mha", "mqa", "gqa-8", "mla-512+64" };
    const char *nearest = names_nearest(specification, forms, sizeof forms / sizeof *forms);
    return fail(err, ERR_INPUT,
                "%s: no such contender; model, mha, gqa-G, mqa and mla-C+R are%s%s%s",
                specification, nearest ? ", for example " : "", nearest ? nearest : "", "");
}

Status model_contender(Model *out, const Model *base, const char *specification, Error *err) {
    Model m = *base;
    size_t number = 0, rope = 0;
    const char *rest = "";
    if (strcmp(specification, "model") == 0) {
        *out = m;
        return OK;
    }
    if (strcmp(specification, "mha") == 0) {
        make_heads(&m, ATTENTION_MHA, m.heads);
    } else if (strcmp(specification, "mqa") == 0) {
        make_heads(&m, ATTENTION_MQA, 1);
    } else if (number_after(specification, "gqa-", &number, &rest) && !*rest) {
        if (number > m.heads || m.heads % number)
            return fail(err, ERR_INPUT, "%s: key/value heads must divide the %zu heads of %s",
                        specification, m.heads, m.name);
        make_heads(&m,
                   number == m.heads ? ATTENTION_MHA
                   : number == 1     ? ATTENTION_MQA
                                     : ATTENTION_GQA,
                   number);
    } else if (number_after(specification, "mla-", &number, &rest) &&
               number_after(rest, "+", &rope, &rest) && !*rest) {
        TRY(make_latent(&m, number, rope, specification, err));
    } else {
        return unknown_contender(specification, err);
    }
    *out = m;
    return OK;
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
        snprintf(label, size, "MLA-%zu+%zu", model->kv_lora_rank, model->rope_dim);
        break;
    }
}

/* ---- closed forms ---- */

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

size_t model_cache_bytes_per_token_layer(const Model *model, Path path, RowType type) {
    const CacheShape shape = model_cache_shape(model, path);
    return shape.kv_heads *
           (row_bytes(type, shape.key_dim) + (shape.shared ? 0 : row_bytes(type, shape.value_dim)));
}

size_t model_cache_bytes_per_token(const Model *model, Path path, RowType type) {
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
        const double up =
            2 * heads * (double)model->kv_lora_rank * (double)(model->nope_dim + model->value_dim);
        flops.latent = (path == PATH_EXPANDED ? (double)cached + q : q) * up;
        if (path == PATH_ABSORBED)
            width = 2 * (double)model->kv_lora_rank + (double)model->rope_dim;
    }
    flops.attention = 2 * heads * width * pairs;
    return flops;
}

double model_path_crossover(const Model *model, size_t cached) {
    const double c = (double)model->kv_lora_rank,
                 heads = (double)(model->nope_dim + model->value_dim);
    const double denominator = 2 * c - heads + (cached ? c * heads / (double)cached : 0);
    return denominator > 0 ? c * heads / denominator : INFINITY;
}
