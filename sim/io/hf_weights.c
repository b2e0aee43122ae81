/* hf_weights.c -- how many parameters each part of a model has, from its shapes; see hf_reading.h.
 *
 * Matrices to the last row. Biases, norms and scalars where a file or its family's code says so;
 * what is missed of them is below a thousandth. Towers for images or sound are not counted. */
#include <stdio.h>
#include <string.h>

#include "hf_reading.h"

enum { VOCABULARY_MOST = 1 << 26 };

static bool flag(const Fields *fields, const char *key) {
    bool value = false;
    json_bool(fields_get(fields, key), &value);
    return value;
}

/* ---- attention, by what it keeps ---- */

static double heads_parameters(const Reading *r, const CacheKind *kind) {
    static const char *const inputs[] = { "qkv_bias", "add_qkv_bias", "use_qkv_bias", NULL };
    const double hidden = (double)r->shape.hidden, q = (double)(kind->heads * kind->key_dim);
    const double out = (double)(kind->heads * kind->value_dim);
    const double kv = (double)(kind->kv_heads * (kind->key_dim + kind->value_dim));
    const bool gated = r->code->gated_output || flag(&r->text, "attn_output_gate");
    const bool all_biased = r->code->biased || flag(&r->text, "attention_bias");
    bool biased = all_biased || r->code->qkv_biased;
    for (Spellings key = inputs; *key; key++) biased = biased || flag(&r->text, *key);
    double sum = hidden * ((gated ? 2 : 1) * q + kv + out);
    if (biased) sum += q + kv;
    if (all_biased) sum += hidden;
    if (r->code->qk_norm || flag(&r->text, "use_qk_norm")) sum += 2 * (double)kind->key_dim;
    return sum;
}

static double index_parameters(const Reading *r, const CacheKind *kind) {
    const double hidden = (double)r->shape.hidden, dim = (double)kind->index_dim;
    const double heads = (double)kind->index_heads, rank = (double)kind->q_lora_rank;
    return rank * heads * dim + hidden * (dim + heads) + 2 * dim;
}

static double latent_parameters(const Reading *r, const CacheKind *kind) {
    const double hidden = (double)r->shape.hidden, heads = (double)kind->heads;
    const double latent = (double)kind->kv_lora_rank, rope = (double)kind->rope_dim;
    const double nope = (double)kind->nope_dim, value = (double)kind->mla_value_dim;
    const double q = heads * (nope + rope), rank = (double)kind->q_lora_rank;
    double sum = rank > 0 ? rank * (hidden + 1 + q) : hidden * q;
    sum +=
        hidden * (latent + rope) + latent * (1 + heads * (nope + value)) + heads * value * hidden;
    if (flag(&r->text, "mla_use_output_gate")) sum += hidden * heads * value;
    return kind->index_dim ? sum + index_parameters(r, kind) : sum;
}

/* What makes one row of `width` out of several: keys and gates, both doubled where rows overlap. */
static double compressor_parameters(double hidden, double width, double ratio, double overlap) {
    return overlap * width * (2 * hidden + ratio) + width;
}

/* DeepSeek-V4: a factored query, one row for all heads, an output in groups of low rank. */
static double row_parameters(const Reading *r, const CacheKind *kind) {
    enum { OVERLAPPING_RATIO = 4 };
    double out_rank = 0, groups = 1;
    json_number(fields_get(&r->text, "o_lora_rank"), &out_rank);
    json_number(fields_get(&r->text, "o_groups"), &groups);
    const double hidden = (double)r->shape.hidden, width = (double)kind->key_dim;
    const double q = (double)kind->heads * width, rank = (double)kind->q_lora_rank;
    const double ratio = (double)kind->row_tokens;
    const double overlap = kind->row_tokens == OVERLAPPING_RATIO ? 2 : 1;
    double sum = rank * (hidden + 1 + q) + (hidden + 1) * width + (double)kind->heads;
    sum += q * out_rank + groups * out_rank * hidden;
    if (kind->row_tokens > 1) sum += compressor_parameters(hidden, width, ratio, overlap);
    if (!kind->index_dim) return sum;
    const double index = (double)kind->index_dim, heads = (double)kind->index_heads;
    return sum + rank * heads * index + hidden * heads +
           compressor_parameters(hidden, index, ratio, overlap);
}

static double attention_parameters(const Reading *r, const CacheKind *kind) {
    switch (kind->keeps) {
    case KEEPS_HEADS:
    case KEEPS_IMAGE:
        return heads_parameters(r, kind);
    case KEEPS_LATENT:
        return latent_parameters(r, kind);
    case KEEPS_ROW:
        return row_parameters(r, kind);
    case KEEPS_STATE:
        break; /* hf_state knows */
    }
    return kind->parameters;
}

/* ---- the rest of a layer ---- */

static double dense_parameters(const Reading *r, const Mlp *mlp) {
    const double hidden = (double)r->shape.hidden, width = (double)mlp->intermediate;
    const double biases = r->code->biased ? width + hidden : 0;
    return (double)mlp->matrices * hidden * width + biases;
}

static double expert_parameters(const Mlp *mlp) {
    const double width = (double)mlp->expert_intermediate, hidden = (double)mlp->expert_hidden;
    const double biases = mlp->expert_biases ? (double)(mlp->matrices - 1) * width + hidden : 0;
    return (double)mlp->matrices * hidden * width + biases;
}

/* Experts that see fewer values than the model has are reached through two more matrices. */
static double router_parameters(const Reading *r, const Mlp *mlp) {
    const double hidden = (double)r->shape.hidden, experts = (double)mlp->experts;
    const double narrow = (double)mlp->expert_hidden;
    const bool narrowed = mlp->expert_hidden != r->shape.hidden;
    return hidden * experts + (mlp->expert_biases ? experts : 0) +
           (narrowed ? 2 * hidden * narrow : 0);
}

static double shared_parameters(const Reading *r, const Mlp *mlp) {
    const double hidden = (double)r->shape.hidden;
    return (double)mlp->matrices * hidden * (double)mlp->shared_width +
           (mlp->shared_gate ? hidden : 0);
}

static double norm_parameters(const Reading *r, bool spelled) {
    const double norms = r->code->sandwiched ? 4 : r->code->parallel || spelled ? 1 : 2;
    return norms * (double)r->shape.hidden * (r->code->biased ? 2 : 1);
}

/* Attention and MLP of one layer into the parts they belong to. */
static Status count_layer(const Reading *r, const Mlp *mlp, Architecture *a, size_t layer,
                          double *part, Error *err) {
    const size_t blocks = r->code->attention_blocks ? r->code->attention_blocks : 1;
    if (r->role[layer] != ROLE_NONE) {
        CacheKind kind;
        memset(&kind, 0, sizeof kind);
        TRY(hf_kind(r, layer, &kind, err));
        const double attention = attention_parameters(r, &kind);
        part[PART_ATTENTION] += (double)blocks * attention;
        if (a->layer_kind[layer] != NO_CACHE) a->kind[a->layer_kind[layer]].parameters = attention;
    }
    if (a->layer_mlp[layer] == MLP_EXPERTS) {
        part[PART_EXPERTS] += (double)mlp->experts * expert_parameters(mlp);
        part[PART_SHARED_EXPERTS] += shared_parameters(r, mlp);
        part[PART_ROUTER] += router_parameters(r, mlp);
        part[PART_DENSE_MLP] += (double)mlp->dense_beside * dense_parameters(r, mlp);
    } else if (a->layer_mlp[layer] == MLP_DENSE) {
        Mlp own = *mlp;
        uint8_t kind;
        if (fields_get(&r->text, "block_configs")) TRY(hf_block_mlp(r, layer, &own, &kind, err));
        part[PART_DENSE_MLP] += dense_parameters(r, &own);
    }
    const bool mixer_alone = r->role[layer] == ROLE_NONE || a->layer_mlp[layer] == MLP_NONE;
    part[PART_NORMS] += norm_parameters(r, mixer_alone);
    return OK;
}

/* A draft layer joins the hidden values and the next token's embedding, after a norm each. */
static Status count_drafts(const Reading *r, const Mlp *mlp, Architecture *a, Error *err) {
    const double hidden = (double)r->shape.hidden;
    for (size_t layer = a->layers; layer < a->layers + a->draft_layers; layer++) {
        double part[WEIGHT_PARTS] = { 0 };
        TRY(count_layer(r, mlp, a, layer, part, err));
        for (WeightPart p = 0; p < WEIGHT_PARTS; p++) a->parameters.part[PART_DRAFT] += part[p];
        a->parameters.part[PART_DRAFT] += 2 * hidden * hidden + 3 * hidden;
    }
    return OK;
}

/* ---- embedding, head, totals ---- */

static Status count_vocabulary(const Reading *r, Architecture *a, Error *err) {
    static const char *const vocabulary[] = { "padded_vocab_size", NULL };
    static const char *const plain[] = { "vocab_size", NULL };
    const bool padded = fields_spelled(&r->text, vocabulary) != NULL;
    bool tied = r->code->tied;
    a->vocabulary = r->code->vocabulary;
    TRY(fields_size(&r->text, padded ? vocabulary : plain, OPTIONAL, VOCABULARY_MOST,
                    &a->vocabulary, err));
    TRY(fields_flag(&r->document, "tie_word_embeddings", &tied, err));
    TRY(fields_flag(&r->text, "tie_word_embeddings", &tied, err));
    const double rows = (double)a->vocabulary * (double)a->hidden;
    const size_t extra = r->code->positions_extra;
    const double positions = extra ? (double)(r->longest_tokens + extra - 1) : 0;
    a->parameters.part[PART_EMBEDDING] = rows + positions * (double)a->hidden;
    a->parameters.part[PART_HEAD] = tied ? 0 : rows;
    return OK;
}

/* A tower for images: four matrices of attention and two of the MLP a layer. Its embeddings and the
 * projection into the model are below a tenth of that. 0 where the file does not give its sizes. */
static Status count_tower(const Reading *r, double *parameters, Error *err) {
    static const char *const hidden_keys[] = { "hidden_size", "vt_hidden_size", NULL };
    static const char *const width_keys[] = { "intermediate_size", "vt_intermediate_size", NULL };
    static const char *const layer_keys[] = { "num_hidden_layers", "depth", "vt_num_hidden_layers",
                                              NULL };
    static const char *const more_keys[] = { "num_global_layers", NULL };
    Fields tower;
    size_t hidden = 0, width = 0, layers = 0, more = 0;
    TRY(fields_nested(&tower, &r->document, "vision_config", "vision_config.", err));
    TRY(fields_size(&tower, hidden_keys, OPTIONAL, HIDDEN_MOST, &hidden, err));
    TRY(fields_size(&tower, width_keys, OPTIONAL, HIDDEN_MOST, &width, err));
    TRY(fields_size(&tower, layer_keys, OPTIONAL, ARCHITECTURE_LAYERS_MOST, &layers, err));
    TRY(fields_size(&tower, more_keys, OPTIONAL, ARCHITECTURE_LAYERS_MOST, &more, err));
    *parameters =
        (double)(layers + more) * (double)hidden * (4 * (double)hidden + 2 * (double)width);
    return OK;
}

static void note_missing(const Mlp *mlp, Architecture *a) {
    const char *key = !a->vocabulary ? "vocab_size" : mlp->width_missing ? "intermediate_size" : "";
    snprintf(a->weights_missing, sizeof a->weights_missing, "%s", key);
}

Status hf_weights(const Reading *r, Architecture *out, Error *err) {
    Mlp mlp;
    TRY(hf_mlp(r, &mlp, out->layer_mlp, err));
    TRY(count_vocabulary(r, out, err));
    for (size_t layer = 0; layer < out->layers; layer++)
        TRY(count_layer(r, &mlp, out, layer, out->parameters.part, err));
    out->parameters.part[PART_NORMS] += (double)out->hidden * (r->code->biased ? 2 : 1);
    TRY(count_drafts(r, &mlp, out, err));
    TRY(count_tower(r, &out->tower_parameters, err));
    note_missing(&mlp, out);
    out->dense_intermediate = mlp.intermediate;
    out->expert_intermediate = mlp.experts ? mlp.expert_intermediate : 0;
    out->experts = mlp.experts;
    out->experts_per_token = mlp.per_token;
    out->shared_experts = mlp.shared_experts;
    architecture_count_totals(out);
    return OK;
}
