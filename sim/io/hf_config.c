/* hf_config.c -- a Hugging Face config.json as a model; see hf_config.h.
 *
 *   its architecture, of layers that are all alike -> heads, or a latent -> RoPE -> norms, biases
 *
 * Not in the files, and so not known here: the biases on q, k and v of Qwen2 and GPT-2, and the
 * norms on q and k of Qwen3; no cached byte depends on them. */
#include "hf_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "hf_reading.h"

static const char *const norm_eps[] = { "rms_norm_eps",      "layer_norm_epsilon", "layer_norm_eps",
                                        "layernorm_epsilon", "norm_eps",           NULL };

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

/* Layers that were converted to MLA may have no norm over the latent (TransMLA's key). */
static Status read_latent_norm(const Fields *fields, Model *m, Error *err) {
    bool normed = true;
    TRY(fields_flag(fields, "qk_latent_layernorm", &normed, err));
    m->plain_latent = m->kind == ATTENTION_MLA && !normed;
    if (m->plain_latent && m->q_lora_rank)
        return fields_fail(fields, "qk_latent_layernorm", err,
                           "false beside a q_lora_rank of %zu is not computed", m->q_lora_rank);
    return OK;
}

/* Why layers of this kind cannot be run, NULL where they can. */
static const char *obstacle(const CacheKind *kind) {
    if (kind->keeps == KEEPS_STATE) return "linear or recurrent layers";
    if (kind->keeps == KEEPS_IMAGE) return "cross attention";
    if (kind->keeps == KEEPS_ROW) return "compressed keys and values";
    if (kind->reach == REACH_WINDOW) return "a sliding window";
    if (kind->reach == REACH_CHUNK) return "chunked attention";
    if (kind->index_dim) return "index keys beside the cache";
    return NULL;
}

/* Only layers that are all alike are one model; the first that are not say why. */
static Status require_plain(const Architecture *a, const char *file, Error *err) {
    const char *what = NULL, *rule = NULL;
    for (size_t k = 0; k < a->kind_count && !what; k++) {
        what = obstacle(&a->kind[k]);
        rule = a->kind[k].rule;
    }
    for (size_t layer = 0; layer < a->layers && !what; layer++) {
        rule = a->kind_count ? a->kind[a->kind_count - 1].rule : "num_attention_heads";
        if (a->kind_count != 1)
            what = "caches that differ from layer to layer";
        else if (a->layer_kind[layer] == NO_CACHE)
            what = "layers without a cache of their own";
        else if (a->layer_caches[layer] != 1)
            what = "more than one cache a layer";
    }
    if (!what) return OK;
    return fail_at(err, file, 0, 0, "%s: %s: a kind of cache that kvlab plans and does not run",
                   rule, what);
}

/* `architecture` is that of the document; `text` may be NULL. */
static Status parse(Model *model, const Json *json, const char *file, const char *text,
                    const Architecture *architecture, Error *err) {
    TRY(require_plain(architecture, file, err));
    const Fields document = { json, file, "", NULL, text };
    Fields fields = document;
    Model m = { 0 };
    TRY(hf_text_model(&fields, &document, err));
    TRY(hf_sizes(&fields, &m, err));
    TRY(hf_attention(&fields, &m, err));
    const bool latent = m.kind == ATTENTION_MLA;
    TRY(hf_rope(&fields, latent, latent ? m.rope_dim : m.key_dim, &m.rope, err));
    m.rope_dim = m.rope.dim;
    TRY(read_latent_norm(&fields, &m, err));
    TRY(read_biases_and_norms(&fields, &m, err));
    snprintf(m.name, sizeof m.name, "%.*s", (int)sizeof m.name - 1, architecture->name);
    *model = m;
    return OK;
}

Status hf_config_parse(Model *model, const Json *json, const char *file, const char *name,
                       Error *err) {
    Architecture architecture;
    TRY(hf_architecture_parse(&architecture, json, file, name, err));
    return parse(model, json, file, NULL, &architecture, err);
}

Status hf_config_read(Model *model, const char *path, const char *name, Error *err) {
    Json *json = NULL;
    char *text = NULL;
    Architecture architecture;
    TRY(hf_architecture_read(&architecture, path, name, err));
    TRY(json_read_python(&json, &text, path, err));
    const Status status = parse(model, json, path, text, &architecture, err);
    json_free(json);
    free(text);
    return status;
}
