/* hf_mlp.c -- the MLPs of a model: how wide, how many experts, and which layers have them; see
 * hf_reading.h. No cached byte depends on any of it. */
#include <string.h>

#include "hf_reading.h"

enum { INTERMEDIATE_MOST = 1 << 22, EXPERTS_MOST = 1 << 16 };

/* The first spelling that has a positive number; 0 and null are none. Never more than `most`. */
static Status count(const Fields *fields, Spellings spellings, size_t most, size_t *out,
                    Error *err) {
    for (Spellings s = spellings; *s; s++) fields_get(fields, *s); /* all count as asked for */
    for (; *spellings; spellings++) {
        double value = 0;
        if (!json_number(fields_get(fields, *spellings), &value) || value <= 0) continue;
        const char *const one[] = { *spellings, NULL };
        return fields_size(fields, one, REQUIRED, most, out, err);
    }
    return OK;
}

static Status read_dense(const Reading *r, const Fields *fields, Mlp *mlp, Error *err) {
    static const char *const width[] = {
        "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "d_ff", NULL
    };
    static const char *const dense_width[] = { "intermediate_size_mlp", NULL };
    static const char *const ratio[] = { "expansion_ratio", NULL };
    size_t times = 0, given = 0;
    TRY(count(fields, ratio, 64, &times, err));
    TRY(count(fields, width, INTERMEDIATE_MOST, &given, err));
    /* Families of two matrices that leave the width out all have four times the hidden values. */
    mlp->width_missing = !given && !times && !r->code->ungated;
    mlp->intermediate = given ? given : (times ? times : 4) * r->shape.hidden;
    mlp->expert_intermediate = mlp->intermediate;
    TRY(count(fields, dense_width, INTERMEDIATE_MOST, &mlp->intermediate, err));
    if (r->code->halved_mlp) mlp->intermediate /= 2;
    mlp->matrices = r->code->ungated ? 2 : 3;
    return OK;
}

static Status read_experts(const Reading *r, const Fields *fields, Mlp *mlp, Error *err) {
    static const char *const experts[] = { "n_routed_experts", "num_local_experts", "num_experts",
                                           "moe_num_experts", NULL };
    static const char *const taken[] = { "num_experts_per_tok",
                                         "num_experts_per_token",
                                         "experts_per_token",
                                         "moe_topk",
                                         "moe_top_k",
                                         "moe_k",
                                         NULL };
    static const char *const width[] = { "moe_intermediate_size", "expert_ffn_hidden_size", NULL };
    static const char *const narrow[] = { "routed_expert_hidden_size", NULL };
    TRY(count(fields, experts, EXPERTS_MOST, &mlp->experts, err));
    if (!mlp->experts) return OK;
    mlp->per_token = 1;
    TRY(count(fields, taken, mlp->experts, &mlp->per_token, err));
    TRY(count(fields, width, INTERMEDIATE_MOST, &mlp->expert_intermediate, err));
    mlp->expert_hidden = r->shape.hidden;
    TRY(count(fields, narrow, HIDDEN_MOST, &mlp->expert_hidden, err));
    mlp->expert_biases = r->code->expert_biases;
    mlp->dense_beside = r->code->dense_beside;
    return OK;
}

/* Experts that every token passes through: so many of an expert's width or of their own, or one
 * width for all. */
static Status read_shared(const Reading *r, const Fields *fields, Mlp *mlp, Error *err) {
    static const char *const shared[] = { "n_shared_experts", "num_shared_experts",
                                          "moe_num_shared_experts", NULL };
    static const char *const width[] = { "moe_shared_expert_intermediate_size", NULL };
    static const char *const all[] = { "shared_expert_intermediate_size",
                                       "shared_intermediate_size", NULL };
    size_t one = mlp->expert_intermediate;
    mlp->shared_experts = r->code->shared_experts;
    TRY(count(fields, shared, EXPERTS_MOST, &mlp->shared_experts, err));
    TRY(count(fields, width, INTERMEDIATE_MOST, &one, err));
    mlp->shared_width = mlp->shared_experts * one;
    if (mlp->shared_experts) return OK;
    TRY(count(fields, all, INTERMEDIATE_MOST, &mlp->shared_width, err));
    mlp->shared_experts = mlp->shared_width != 0;
    mlp->shared_gate = fields_get(fields, all[0]) && mlp->shared_width;
    return OK;
}

/* ---- which layers ---- */

typedef struct {
    size_t dense_first, interval, offset;
    bool counts_from_one; /* layer i has experts when i + 1 is a multiple, not i */
} ExpertLayers;

static Status read_rule(const Reading *r, ExpertLayers *rule, Error *err) {
    static const char *const first[] = { "first_k_dense_replace", "moe_layer_start_index", NULL };
    static const char *const from_zero[] = { "moe_layer_freq", "moe_layer_interval", NULL };
    static const char *const from_one[] = { "decoder_sparse_step", "interleave_moe_layer_step",
                                            NULL };
    static const char *const period[] = { "expert_layer_period", NULL };
    static const char *const offset[] = { "expert_layer_offset", NULL };
    TRY(count(&r->text, first, ARCHITECTURE_LAYERS_MOST, &rule->dense_first, err));
    rule->interval = 1;
    if (!json_is_array(fields_get(&r->text, from_zero[0])))
        TRY(count(&r->text, from_zero, ARCHITECTURE_LAYERS_MOST, &rule->interval, err));
    if (fields_spelled(&r->text, from_one)) {
        rule->counts_from_one = true;
        TRY(count(&r->text, from_one, ARCHITECTURE_LAYERS_MOST, &rule->interval, err));
    }
    TRY(count(&r->text, period, ARCHITECTURE_LAYERS_MOST, &rule->interval, err));
    return count(&r->text, offset, ARCHITECTURE_LAYERS_MOST, &rule->offset, err);
}

static bool has_experts(const Reading *r, const ExpertLayers *rule, size_t layer) {
    const Json *list = fields_get(&r->text, "moe_layer_freq");
    const Json *dense = fields_get(&r->text, "mlp_only_layers");
    long long value = 0;
    if (json_is_array(list)) return json_whole(json_at(list, layer), &value) && value != 0;
    for (size_t i = 0; i < json_size(dense); i++)
        if (json_whole(json_at(dense, i), &value) && value == (long long)layer) return false;
    if (layer < rule->dense_first) return false;
    return (layer + rule->counts_from_one) % rule->interval == rule->offset % rule->interval;
}

/* A word for each layer, as GLM-5 has them beside first_k_dense_replace. */
static Status read_words(const Reading *r, uint8_t *layer_mlp, Error *err) {
    static const char key[] = "mlp_layer_types";
    const Json *list = fields_get(&r->text, key);
    if (!list) return OK;
    if (json_size(list) != r->shape.layers)
        return fields_fail(&r->text, key, err, "%zu entries, but the model has %zu layers",
                           json_size(list), r->shape.layers);
    for (size_t i = 0; i < r->shape.layers; i++) {
        const char *word = json_text(json_at(list, i));
        const bool dense = word && strcmp(word, "dense") == 0;
        if (!dense && (!word || strcmp(word, "sparse") != 0))
            return fields_fail(&r->text, key, err, "the entry of layer %zu; allowed: dense, sparse",
                               i);
        layer_mlp[i] = dense ? MLP_DENSE : MLP_EXPERTS;
    }
    return OK;
}

/* Models that spell each layer with a letter have an MLP, experts or a mixer in it, never two. */
static bool read_spelled(const Reading *r, uint8_t *layer_mlp) {
    const char *letters = json_text(fields_get(&r->text, "hybrid_override_pattern"));
    if (!letters) return false;
    for (size_t i = 0; i < r->shape.layers; i++)
        layer_mlp[i] = letters[i] == 'E' ? MLP_EXPERTS : letters[i] == '-' ? MLP_DENSE : MLP_NONE;
    return true;
}

Status hf_mlp(const Reading *r, Mlp *out, uint8_t layer_mlp[ARCHITECTURE_LAYERS_MOST], Error *err) {
    Mlp mlp = { 0 };
    ExpertLayers rule = { 0 };
    const size_t layers = r->shape.layers;
    Fields fields = r->text;
    if (fields_get(&r->text, "ffn_config")) /* DBRX */
        TRY(fields_nested(&fields, &r->text, "ffn_config", "ffn_config.", err));
    TRY(read_dense(r, &fields, &mlp, err));
    TRY(read_experts(r, &fields, &mlp, err));
    if (mlp.experts) TRY(read_shared(r, &fields, &mlp, err));
    TRY(read_rule(r, &rule, err));
    const bool states_alone = !r->shape.heads; /* Mamba has its MLP within */
    if (!read_spelled(r, layer_mlp))
        for (size_t i = 0; i < layers; i++)
            layer_mlp[i] = states_alone                              ? MLP_NONE
                           : mlp.experts && has_experts(r, &rule, i) ? MLP_EXPERTS
                                                                     : MLP_DENSE;
    TRY(read_words(r, layer_mlp, err));
    for (size_t i = 0; i < layers && fields_get(&r->text, "block_configs"); i++) {
        Mlp own = mlp;
        TRY(hf_block_mlp(r, i, &own, &layer_mlp[i], err));
    }
    size_t dense = mlp.dense_beside;
    for (size_t i = 0; i < layers; i++) dense += layer_mlp[i] == MLP_DENSE;
    const bool of_its_own = mlp.expert_intermediate != mlp.intermediate;
    mlp.width_missing &=
        !fields_get(&r->text, "block_configs") && (dense > 0 || (mlp.experts && !of_its_own));
    for (size_t i = layers; i < layers + r->draft_layers; i++)
        layer_mlp[i] = mlp.experts ? MLP_EXPERTS : MLP_DENSE;
    *out = mlp;
    return OK;
}
