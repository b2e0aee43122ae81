/* hf_shape.c -- sizes that the reader of a model and the reader of an architecture share: layers,
 * hidden values, the heads of attention or the latent of MLA; see hf_reading.h.
 *
 * MLA is told by kv_lora_rank alone: q_lora_rank may be null, and head_dim and num_key_value_heads
 * of such files are not what is cached. */
#include <string.h>

#include "hf_reading.h"

static const char *const layers[] = { "num_hidden_layers", "n_layer", "n_layers", "num_layers",
                                      NULL };
static const char *const hidden[] = { "hidden_size", "n_embd", "n_embed", "d_model", NULL };
static const char *const heads[] = { "num_attention_heads", "n_head", "n_heads", NULL };
static const char *const kv_heads[] = { "num_key_value_heads", "num_kv_heads", "n_head_kv", NULL };
static const char *const head_dim[] = { "head_dim", "kv_channels", "attention_head_dim", NULL };
static const char *const value_dim[] = { "v_head_dim", NULL };

Status hf_sizes(const Fields *fields, Model *shape, Error *err) {
    TRY(fields_size(fields, layers, REQUIRED, ARCHITECTURE_LAYERS_MOST, &shape->layers, err));
    return fields_size(fields, hidden, REQUIRED, HIDDEN_MOST, &shape->hidden, err);
}

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
    /* Every MLA file fills these for readers that know heads only; no cached width follows. */
    static const char *const meaningless[] = { "num_key_value_heads", "head_dim", "qk_head_dim",
                                               NULL };
    fields_ignore(fields, meaningless);
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
    static const char *const attention_types[] = { "multihead_attention", "multiquery_attention",
                                                   "grouped_query_attention", NULL };
    Fields attention;
    Asked asked = { 0 };
    bool multi_query = false, per_group = false, grouped = true;
    size_t type = 0;
    TRY(fields_nested(&attention, fields, "attn_config", "attn_config.", err));
    attention.asked = &asked;
    TRY(fields_flag(fields, "multi_query", &multi_query, err));
    TRY(fields_flag(fields, "new_decoder_architecture", &per_group, err));
    TRY(fields_flag(fields, "multi_query_attention", &grouped, err));
    TRY(fields_choice(&attention, "attn_type", attention_types, &type, err));
    m->kv_heads = m->heads;
    if ((multi_query && !per_group) || type == 1) {
        fields_ignore(fields, kv_heads);
        m->kv_heads = 1;
    } else if (fields_spelled(&attention, kv_n_heads)) {
        TRY(fields_size(&attention, kv_n_heads, REQUIRED, HEADS_MOST, &m->kv_heads, err));
    } else if (grouped && fields_spelled(fields, groups)) {
        TRY(fields_size(fields, groups, REQUIRED, HEADS_MOST, &m->kv_heads, err));
    } else {
        fields_ignore(fields, groups);
        TRY(fields_size(fields, kv_heads, OPTIONAL, HEADS_MOST, &m->kv_heads, err));
        TRY(hf_block_kv_heads(fields, m->heads, &m->kv_heads, err));
    }
    if (m->heads % m->kv_heads)
        return fields_fail(fields, kv_heads[0], err, "%zu do not divide the %zu query heads",
                           m->kv_heads, m->heads);
    return attention.object ? fields_refuse_leftovers(&attention, NULL, err) : OK;
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

Status hf_attention(const Fields *fields, Model *shape, Error *err) {
    TRY(fields_size(fields, heads, REQUIRED, HEADS_MOST, &shape->heads, err));
    return fields_get(fields, "kv_lora_rank") ? read_latent(fields, shape, err)
                                              : read_heads(fields, shape, err);
}

Status hf_text_model(Fields *out, const Fields *document, Error *err) {
    static const char *const nests[][2] = { { "text_config", "text_config." },
                                            { "language_config", "language_config." },
                                            { "llm_config", "llm_config." } };
    *out = *document;
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++)
        if (fields_get(document, nests[i][0]))
            return fields_nested(out, document, nests[i][0], nests[i][1], err);
    return OK;
}
