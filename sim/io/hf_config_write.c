/* hf_config_write.c -- a model as the config.json that hf_config_parse reads back; see hf_config.h.
 */
#include <stddef.h>

#include "hf_config.h"

static void put_rope(Json *json, const Rope *rope) {
    static const char *const names[] = { "default", "linear", "yarn", "llama3" };
    json_put_number(json, "rope_theta", rope->theta);
    json_put_bool(json, "rope_interleave", rope->interleaved);
    if (rope->scaling == ROPE_PLAIN) return;
    Json *scaling = json_new_object();
    json_put_string(scaling, "rope_type", names[rope->scaling]);
    json_put_number(scaling, "factor", rope->factor);
    if (rope->scaling != ROPE_LINEAR)
        json_put_whole(scaling, "original_max_position_embeddings",
                       (long long)rope->original_tokens);
    if (rope->scaling == ROPE_LLAMA3) {
        json_put_number(scaling, "low_freq_factor", rope->low_freq_factor);
        json_put_number(scaling, "high_freq_factor", rope->high_freq_factor);
    }
    if (rope->scaling == ROPE_YARN) {
        json_put_number(scaling, "beta_fast", rope->beta_fast);
        json_put_number(scaling, "beta_slow", rope->beta_slow);
        if (rope->mscale > 0) json_put_number(scaling, "mscale", rope->mscale);
        if (rope->mscale_all_dim > 0)
            json_put_number(scaling, "mscale_all_dim", rope->mscale_all_dim);
        if (rope->attention_factor > 0)
            json_put_number(scaling, "attention_factor", rope->attention_factor);
        json_put_bool(scaling, "truncate", !rope->ramp_between_pairs);
    }
    json_put(json, "rope_scaling", scaling);
}

static void put_latent(Json *json, const Model *m) {
    if (m->q_lora_rank)
        json_put_whole(json, "q_lora_rank", (long long)m->q_lora_rank);
    else
        json_put(json, "q_lora_rank", json_new_null());
    json_put_whole(json, "kv_lora_rank", (long long)m->kv_lora_rank);
    json_put_whole(json, "qk_nope_head_dim", (long long)m->nope_dim);
    json_put_whole(json, "qk_rope_head_dim", (long long)m->rope_dim);
    json_put_whole(json, "v_head_dim", (long long)m->value_dim);
    if (m->plain_latent) json_put_bool(json, "qk_latent_layernorm", false);
}

Status hf_config_write(const Model *model, Json **out, Error *err) {
    const Model *m = model;
    const bool mla = m->kind == ATTENTION_MLA;
    if (m->rotates_rebuilt)
        return fail(
            err, ERR_INPUT,
            "%s: no config.json describes keys that are rotated after they are rebuilt from "
            "a latent",
            m->name);
    if (!mla && m->key_dim != m->value_dim)
        return fail(err, ERR_INPUT,
                    "%s: no config.json describes heads of keys and values of "
                    "different widths",
                    m->name);
    Json *json = json_new_object();
    json_put_string(json, "model_type", mla ? "deepseek_v3" : "llama");
    json_put_whole(json, "num_hidden_layers", (long long)m->layers);
    json_put_whole(json, "hidden_size", (long long)m->hidden);
    json_put_whole(json, "num_attention_heads", (long long)m->heads);
    json_put_whole(json, "num_key_value_heads", (long long)m->kv_heads);
    if (mla) {
        put_latent(json, m);
    } else {
        json_put_whole(json, "head_dim", (long long)m->key_dim);
        if (m->rope.dim != m->key_dim) json_put_whole(json, "rotary_dim", (long long)m->rope.dim);
    }
    put_rope(json, &m->rope);
    json_put_number(json, "rms_norm_eps", m->rms_norm_eps);
    json_put_bool(json, "attention_bias", m->attention_bias);
    if (m->qk_norm) json_put_bool(json, "use_qk_norm", true);
    *out = json;
    return OK;
}
