/* hf_config.c -- a Hugging Face config.json as a model; see hf_config.h.
 *
 *   the object that describes the text model -> refusals -> MLA, or heads -> RoPE -> norms, biases
 *
 * MLA is told by kv_lora_rank alone: q_lora_rank may be null, and head_dim and num_key_value_heads
 * of such files are not what is cached. Not in the files, and so not known here: the biases on q, k
 * and v of Qwen2 and GPT-2, and the norms on q and k of Qwen3; no cached byte depends on them. */
#include "hf_config.h"

#include <stdio.h>
#include <string.h>

#include "hf_config_fields.h"

enum { LAYERS_MOST = 4096, HIDDEN_MOST = 1 << 20, HEADS_MOST = 4096, WIDTH_MOST = 16384 };

static const char *const layers[] = { "num_hidden_layers", "n_layer", "n_layers", "num_layers",
                                      NULL };
static const char *const hidden[] = { "hidden_size", "n_embd", "n_embed", "d_model", NULL };
static const char *const heads[] = { "num_attention_heads", "n_head", "n_heads", NULL };
static const char *const kv_heads[] = { "num_key_value_heads", "num_kv_heads", "n_head_kv", NULL };
static const char *const head_dim[] = { "head_dim", "kv_channels", "attention_head_dim", NULL };
static const char *const value_dim[] = { "v_head_dim", NULL };
static const char *const norm_eps[] = { "rms_norm_eps",      "layer_norm_epsilon", "layer_norm_eps",
                                        "layernorm_epsilon", "norm_eps",           NULL };

/* hidden_size / num_attention_heads, where a file leaves a head's width out. */
static Status derived_width(const Fields *fields, const char *key, const Model *m, size_t *out,
                            Error *err) {
    if (m->hidden % m->heads)
        return fields_fail(fields, key, err,
                           "missing, and %zu hidden values are no multiple of %zu heads", m->hidden,
                           m->heads);
    *out = m->hidden / m->heads;
    if (*out > WIDTH_MOST)
        return fields_fail(fields, key, err, "%zu; allowed: 1 to %d", *out, WIDTH_MOST);
    return OK;
}

static Status read_latent(const Fields *fields, Model *m, Error *err) {
    static const char *const latent[] = { "kv_lora_rank", NULL };
    static const char *const query[] = { "q_lora_rank", NULL };
    static const char *const nope[] = { "qk_nope_head_dim", NULL };
    static const char *const rope[] = { "qk_rope_head_dim", NULL };
    TRY(fields_size(fields, latent, REQUIRED, WIDTH_MOST, &m->kv_lora_rank, err));
    TRY(fields_size(fields, query, OPTIONAL, HIDDEN_MOST, &m->q_lora_rank, err));
    TRY(fields_size(fields, nope, REQUIRED, WIDTH_MOST, &m->nope_dim, err));
    TRY(fields_size(fields, rope, REQUIRED, WIDTH_MOST, &m->rope_dim, err));
    TRY(fields_size(fields, value_dim, OPTIONAL, WIDTH_MOST, &m->value_dim, err));
    if (!m->value_dim) /* MiniCPM3 leaves it to its code, which derives it so */
        TRY(derived_width(fields, value_dim[0], m, &m->value_dim, err));
    if (m->rope_dim % 2)
        return fields_fail(fields, rope[0], err, "%zu; allowed: an even number", m->rope_dim);
    m->kind = ATTENTION_MLA;
    m->kv_heads = m->heads;
    m->key_dim = m->nope_dim + m->rope_dim;
    return OK;
}

/* Key/value heads: a number, or one where a file says multi-query. Falcon's older form says so
 * beside a num_kv_heads that then means nothing. */
static Status read_kv_heads(const Fields *fields, Model *m, Error *err) {
    static const char *const groups[] = { "multi_query_group_num", NULL };
    static const char *const kv_n_heads[] = { "kv_n_heads", NULL };
    Fields attention;
    bool multi_query = false, per_group = false, grouped = true;
    TRY(fields_nested(&attention, fields, "attn_config", "attn_config.", err));
    TRY(hf_refuse(&attention, err));
    TRY(fields_flag(fields, "multi_query", &multi_query, err));
    TRY(fields_flag(fields, "new_decoder_architecture", &per_group, err));
    TRY(fields_flag(fields, "multi_query_attention", &grouped, err));
    const char *type = json_text(fields_get(&attention, "attn_type"));
    m->kv_heads = m->heads;
    if ((multi_query && !per_group) || (type && strcmp(type, "multiquery_attention") == 0))
        m->kv_heads = 1;
    else if (fields_spelled(&attention, kv_n_heads))
        TRY(fields_size(&attention, kv_n_heads, REQUIRED, HEADS_MOST, &m->kv_heads, err));
    else if (grouped && fields_spelled(fields, groups))
        TRY(fields_size(fields, groups, REQUIRED, HEADS_MOST, &m->kv_heads, err));
    else
        TRY(fields_size(fields, kv_heads, OPTIONAL, HEADS_MOST, &m->kv_heads, err));
    if (m->heads % m->kv_heads)
        return fields_fail(fields, kv_heads[0], err, "%zu do not divide the %zu query heads",
                           m->kv_heads, m->heads);
    return OK;
}

static Status read_heads(const Fields *fields, Model *m, Error *err) {
    TRY(read_kv_heads(fields, m, err));
    TRY(fields_size(fields, head_dim, OPTIONAL, WIDTH_MOST, &m->key_dim, err));
    if (!m->key_dim) TRY(derived_width(fields, head_dim[0], m, &m->key_dim, err));
    m->value_dim = m->key_dim;
    TRY(fields_size(fields, value_dim, OPTIONAL, WIDTH_MOST, &m->value_dim, err));
    m->kind = m->kv_heads == m->heads ? ATTENTION_MHA
              : m->kv_heads == 1      ? ATTENTION_MQA
                                      : ATTENTION_GQA;
    return OK;
}

static Status read_biases_and_norms(const Fields *fields, Model *m, Error *err) {
    static const char *const of_inputs[] = { "qkv_bias", "add_qkv_bias", "use_qkv_bias", NULL };
    bool all = false;
    TRY(fields_flag(fields, "bias", &all, err));
    TRY(fields_flag(fields, "attention_bias", &all, err));
    m->attention_bias = m->output_bias = all;
    for (Spellings key = of_inputs; *key; key++)
        if (!all) TRY(fields_flag(fields, *key, &m->attention_bias, err));
    m->rms_norm_eps = 1e-6;
    TRY(fields_real(fields, norm_eps, OPTIONAL, 0, 1, &m->rms_norm_eps, err));
    TRY(fields_flag(fields, "use_qk_norm", &m->qk_norm, err));
    if (m->kind == ATTENTION_MLA || fields_get(fields, "qk_norm_type"))
        m->qk_norm = false; /* not a norm over each head */
    return OK;
}

/* Where a model of several parts nests the one that has the cache; else the document itself. */
static Status text_model(Fields *out, const Fields *document, Error *err) {
    static const char *const nests[][2] = { { "text_config", "text_config." },
                                            { "language_config", "language_config." },
                                            { "llm_config", "llm_config." } };
    *out = *document;
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++)
        if (fields_get(document, nests[i][0]))
            return fields_nested(out, document, nests[i][0], nests[i][1], err);
    return OK;
}

Status hf_config_parse(Model *model, const Json *json, const char *file, const char *name,
                       Error *err) {
    if (!json_is_object(json)) return fail_at(err, file, 0, 0, "not a JSON object");
    const Fields document = { json, file, "" };
    Fields fields = document;
    Model m = { 0 };
    TRY(hf_refuse(&document, err));
    TRY(text_model(&fields, &document, err));
    TRY(hf_refuse(&fields, err));
    TRY(fields_size(&fields, layers, REQUIRED, LAYERS_MOST, &m.layers, err));
    TRY(fields_size(&fields, hidden, REQUIRED, HIDDEN_MOST, &m.hidden, err));
    TRY(fields_size(&fields, heads, REQUIRED, HEADS_MOST, &m.heads, err));
    const bool latent = fields_get(&fields, "kv_lora_rank") != NULL;
    TRY(latent ? read_latent(&fields, &m, err) : read_heads(&fields, &m, err));
    TRY(hf_rope(&fields, latent, latent ? m.rope_dim : m.key_dim, &m.rope, err));
    m.rope_dim = m.rope.dim;
    TRY(read_biases_and_norms(&fields, &m, err));
    snprintf(m.name, sizeof m.name, "%s", name);
    *model = m;
    return OK;
}

Status hf_config_read(Model *model, const char *path, const char *name, Error *err) {
    Json *json = NULL;
    TRY(json_read(&json, path, err));
    const Status status = hf_config_parse(model, json, path, name, err);
    json_free(json);
    return status;
}
