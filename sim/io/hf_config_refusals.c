/* hf_config_refusals.c -- what a config.json may hold that changes the cache and that kvlab does
 * not compute. One row a field; whatever carries one is refused by the field's name.
 *
 * What changes only the values and never the size of a cache (ALiBi, soft-capped scores, attention
 * sinks, a query scale) is not here. */
#include <stdio.h>
#include <string.h>

#include "hf_config_fields.h"

/* When a field's value speaks. */
typedef enum {
    SET,    /* neither false nor 0 nor below nor empty */
    WINDOW, /* SET, not switched off, and narrower than the longest context */
    KINDS,  /* a list of kinds with another entry than full attention */
    PREFIX  /* SET, for every key that begins so */
} Condition;

typedef struct {
    const char *key;
    Condition condition;
    const char *kind;
} Refusal;

static const char per_layer[] = "caches that differ from layer to layer";
static const char recurrent[] = "linear or recurrent layers";
static const char indexed[] = "index keys beside the cache";
static const char window[] = "a sliding window";
static const char crossed[] = "cross attention";
static const char shared[] = "keys and values shared between layers";

/* The more telling field of a family first: it is the one that is named. */
static const Refusal refusals[] = {
    { "is_encoder_decoder", SET, crossed },
    { "cross_attention_layers", SET, crossed },
    { "compress_ratios", SET, "compressed keys and values" },
    { "index_head_dim", SET, indexed },
    { "index_topk", SET, indexed },
    { "indexer_types", SET, indexed },
    { "linear_attn_config", SET, recurrent },
    { "full_attention_interval", SET, recurrent },
    { "attn_type_list", SET, recurrent },
    { "hybrid_override_pattern", SET, recurrent },
    { "attn_layer_period", SET, recurrent },
    { "full_attn_idxs", SET, recurrent },
    { "layers_block_type", SET, recurrent },
    { "block_types", SET, recurrent },
    { "_block_types", SET, recurrent },
    { "layer_group_size", SET, recurrent },
    { "linear_num_key_heads", SET, recurrent },
    { "state_size", SET, recurrent },
    { "conv_L_cache", SET, recurrent },
    { "mamba_", PREFIX, recurrent },
    { "ssm_", PREFIX, recurrent },
    { "hybrid_layer_pattern", SET, window },
    { "layer_types", KINDS, per_layer },
    { "attention_layers", KINDS, per_layer },
    { "block_configs", SET, per_layer },
    { "swa_", PREFIX, window },
    { "sliding_window_pattern", SET, window },
    { "sliding_window", WINDOW, window },
    { "sliding_window_size", WINDOW, window },
    { "attention_window", WINDOW, window },
    { "attention_chunk_size", SET, "chunked attention" },
    { "cla_share_factor", SET, shared },
    { "num_kv_shared_layers", SET, shared },
    { "mla_scale_kv_lora", SET, "two latents a layer" },
};

static bool is_set(const Json *value) {
    double number = 0;
    bool flag = false;
    if (json_number(value, &number)) return number > 0;
    if (json_bool(value, &flag)) return flag;
    if (json_text(value)) return *json_text(value) != '\0';
    return json_size(value) > 0;
}

static bool is_active_window(const Fields *fields, const Json *value) {
    static const char *const lengths[] = { "max_position_embeddings", "n_positions", "max_seq_len",
                                           "seq_length", NULL };
    const char *key = fields_spelled(fields, lengths);
    double width = 0, longest = 0;
    bool used = true;
    if (json_bool(fields_get(fields, "use_sliding_window"), &used) && !used) return false;
    const bool reaches = key && json_number(value, &width) &&
                         json_number(fields_get(fields, key), &longest) && width >= longest;
    return is_set(value) && !reaches;
}

static bool has_other_kinds(const Json *value) {
    if (!json_is_array(value)) return is_set(value);
    for (size_t i = 0; i < json_size(value); i++) {
        const char *kind = json_text(json_at(value, i));
        if (!kind || (strcmp(kind, "full_attention") != 0 && strcmp(kind, "global") != 0))
            return true;
    }
    return false;
}

static bool speaks(const Fields *fields, Condition condition, const Json *value) {
    if (!value) return false;
    if (condition == WINDOW) return is_active_window(fields, value);
    if (condition == KINDS) return has_other_kinds(value);
    return is_set(value);
}

static Status refuse(const Fields *fields, const char *key, const char *kind, Error *err) {
    const Json *value = fields_get(fields, key);
    double number = 0;
    char shown[32] = "";
    if (json_number(value, &number)) snprintf(shown, sizeof shown, "%.15g: ", number);
    return fields_fail(fields, key, err, "%s%s: a kind of cache that kvlab does not compute", shown,
                       kind);
}

Status hf_refuse(const Fields *fields, Error *err) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const Refusal *row = &refusals[i];
        if (row->condition != PREFIX) {
            if (speaks(fields, row->condition, fields_get(fields, row->key)))
                return refuse(fields, row->key, row->kind, err);
            continue;
        }
        for (void *at = json_first(fields->object); at; at = json_next(fields->object, at))
            if (strncmp(json_key(at), row->key, strlen(row->key)) == 0 && is_set(json_value(at)))
                return refuse(fields, json_key(at), row->kind, err);
    }
    return OK;
}
