/* hf_config_leftovers.c -- what fails closed: a key of a config.json that no reader asked for,
 * whose name speaks of caches, and that is not known here to leave them alone, is refused.
 *
 * A key that says nothing (null, false, an empty list, a number below zero) is no key. */
#include <stdio.h>
#include <string.h>

#include "hf_config_fields.h"

/* A key with one of these in its name could change what is cached. */
static const char *const telling[] = {
    "window",  "layer", "attn",  "attention", "kv",     "key",    "head",   "rank",    "state",
    "conv",    "ssm",   "index", "compress",  "share",  "cache",  "lora",   "mamba",   "linear",
    "hybrid",  "swa",   "chunk", "block",     "latent", "sparse", "memory", "period",  "interval",
    "pattern", "cross", "local", "global",    "mla",    "mtp",    "nextn",  "encoder", "recur",
};

/* Known to change no cached byte. A '*' stands for any beginning, or any end. */
static const char *const harmless[] = {
    /* weights: experts and which layers have them, gates, the low rank of an output projection */
    "*expert*",
    "moe_layer_freq",
    "interleave_moe_layer_step",
    "decoder_sparse_step",
    "mlp_only_layers",
    "first_k_dense_replace",
    "shared_intermediate_size",
    "shared_moe_mode",
    "latent_moe_use_norm",
    "num_hash_layers",
    "o_lora_rank",
    "attn_output_gate",
    "mla_use_output_gate",
    "lm_head_bias",
    "mtp_use_dedicated_embeddings",
    /* values: norms, biases, scales, sinks, what rotates, activations */
    "layer_norm*",
    "layernorm*",
    "*_layernorm",
    "post_layer_norm",
    "do_layer_norm_before",
    "apply_residual_connection_post_layernorm",
    "apply_query_key_layer_scaling",
    "*attention_bias",
    "*attention_sink_bias",
    "*qkv_bias",
    "*bias_linear",
    "skip_bias_add_qkv",
    "attention_value_scale",
    "attention_multiplier",
    "attn_logit_softcapping",
    "attn_temperature_tuning",
    "attn_scale",
    "query_pre_attn_scalar",
    "scale_attn_*",
    "*attention_softmax_in_fp32",
    "use_logn_attn",
    "mla_use_nope",
    "attn_res_block_size",
    "activation_situ_linear_beta",
    "compress_rope_theta",
    "swa_rope_theta",
    "rope_local_base_freq",
    "global_rope_theta",
    "local_rope_theta",
    "indexer_rope_interleave",
    "no_rope_layer*",
    "parallel_attn",
    "clip_qkv",
    /* how one library computes it */
    "attn_impl",
    "attn_uses_sequence_id",
    "*attn_implementation*",
    "use_flash_attn*",
    "use_flash_attention",
    "use_mamba_kernels",
    "pad_key_length",
    "cache_implementation",
    "reorder_and_upcast_attn",
    /* numbers of tokens of the vocabulary; training; how sequences are written out */
    "*_token_index",
    "ignore_index",
    "*dropout*",
    "*_pdrop",
    "layerdrop",
    "reset_attention_mask",
    "num_logits_to_keep",
    "chunk_size_feed_forward",
    "encoder_no_repeat_ngram_size",
    "cross_attention_hidden_size",
    "use_cache",
    "output_*",
};

static bool matches(const char *pattern, const char *key) {
    const size_t length = strlen(pattern), has = strlen(key);
    const bool front = pattern[0] == '*', back = pattern[length - 1] == '*';
    if (front && back) {
        char middle[64];
        snprintf(middle, sizeof middle, "%.*s", (int)length - 2, pattern + 1);
        return strstr(key, middle) != NULL;
    }
    if (front) return has >= length - 1 && strcmp(key + has - (length - 1), pattern + 1) == 0;
    if (back) return strncmp(key, pattern, length - 1) == 0;
    return strcmp(key, pattern) == 0;
}

static bool is_telling(const char *key) {
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
        if (strstr(key, telling[i])) return true;
    return false;
}

static bool is_harmless(const char *key) {
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (matches(harmless[i], key)) return true;
    return false;
}

static bool says_nothing(const Json *value) {
    double number = 0;
    bool flag = false;
    if (json_number(value, &number)) return number < 0;
    if (json_bool(value, &flag)) return !flag;
    if (json_text(value)) return *json_text(value) == '\0';
    return json_size(value) == 0; /* null, or empty */
}

static bool was_asked(const Asked *asked, const char *key) {
    for (size_t i = 0; asked && i < asked->count; i++)
        if (strcmp(asked->keys[i], key) == 0) return true;
    return false;
}

Status fields_refuse_leftovers(const Fields *fields, Error *err) {
    for (void *at = json_first(fields->object); at; at = json_next(fields->object, at)) {
        const char *key = json_key(at);
        if (says_nothing(json_value(at)) || !is_telling(key) || was_asked(fields->asked, key) ||
            is_harmless(key))
            continue;
        return fields_fail(fields, key, err,
                           "kvlab does not know this field, or not in such a model, and it could "
                           "change what is cached");
    }
    return OK;
}
