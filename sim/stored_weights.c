/* stored_weights.c -- the weights of a model as its tensors store them; see stored_weights.h. */
#include "stored_weights.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"

/* ---- names ---- */

/* The first word that a name holds decides. Towers and drafts first, since they hold everything
 * else within; experts before the MLP they are in; norms of attention's own before norms. */
static const struct {
    const char *word;
    WeightPart part;
} words[] = {
    { "vision", PART_OTHER },
    { "visual", PART_OTHER },
    { "audio", PART_OTHER },
    { "projector", PART_OTHER },
    { "mtp.", PART_DRAFT },
    { "nextn.", PART_DRAFT },
    { "shared_expert", PART_SHARED_EXPERTS },
    { "_shexp", PART_SHARED_EXPERTS },
    { "router", PART_ROUTER },
    { "gate_inp", PART_ROUTER },
    { "e_score_correction", PART_ROUTER },
    { "exp_probs_b", PART_ROUTER },
    { "mlp.gate.", PART_ROUTER },
    { "moe.gate.", PART_ROUTER },
    { "mixer.gate.", PART_ROUTER },
    { "ffn.gate.", PART_ROUTER },
    { "expert", PART_EXPERTS },
    { "_exps", PART_EXPERTS },
    { "embed_out", PART_HEAD },
    { "lm_head", PART_HEAD },
    { "output_layer", PART_HEAD },
    { "embed", PART_EMBEDDING },
    { "token_embd", PART_EMBEDDING },
    { "position_embd", PART_EMBEDDING },
    { "wte.", PART_EMBEDDING },
    { "wpe.", PART_EMBEDDING },
    { "self_attn.", PART_ATTENTION },
    { "linear_attn.", PART_ATTENTION },
    { "attn_q", PART_ATTENTION },
    { "attn_k", PART_ATTENTION },
    { "norm", PART_NORMS },
    { "ln_", PART_NORMS },
    { "attn", PART_ATTENTION },
    { "attention", PART_ATTENTION },
    { "indexer", PART_ATTENTION },
    { "mamba", PART_ATTENTION },
    { "ssm_", PART_ATTENTION },
    { "shortconv", PART_ATTENTION },
    { "conv.", PART_ATTENTION },
    { "mlp", PART_DENSE_MLP },
    { "ffn_", PART_DENSE_MLP },
    { "ffn.", PART_DENSE_MLP },
    { "feed_forward", PART_DENSE_MLP },
    { "fc1.", PART_DENSE_MLP },
    { "fc2.", PART_DENSE_MLP },
};

/* The number after "layers.", "blk." and the like; false where a name has none. */
static bool layer_of(const char *name, size_t *layer) {
    static const char *const before[] = { "layers.", "blk.", "blocks.", ".h." };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        const char *at = strstr(name, before[i]);
        if (!at || !isdigit((unsigned char)at[strlen(before[i])])) continue;
        *layer = strtoul(at + strlen(before[i]), NULL, 10);
        return true;
    }
    return false;
}

/* Models that call attention, Mamba and MLP alike "mixer" tell them by the layer. */
static WeightPart mixer_part(const Architecture *model, const char *name) {
    size_t layer = 0;
    const bool known = layer_of(name, &layer) && layer < model->layers;
    return known && model->layer_kind[layer] == NO_CACHE ? PART_DENSE_MLP : PART_ATTENTION;
}

static WeightPart part_of_words(const Architecture *model, const char *name) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i].word)) return words[i].part;
    if (strcmp(name, "output.weight") == 0 || strcmp(name, "head.weight") == 0) return PART_HEAD;
    return strstr(name, "mixer.") ? mixer_part(model, name) : PART_OTHER;
}

/* The first layers are the model's own; towers number theirs apart. */
WeightPart stored_weights_part(const Architecture *model, const char *name) {
    size_t layer = 0;
    const bool tower = strstr(name, "vision") || strstr(name, "visual") || strstr(name, "audio");
    const bool beyond = !tower && layer_of(name, &layer) && layer >= model->layers;
    return beyond ? PART_DRAFT : part_of_words(model, name);
}

/* ---- sums ---- */

static void add_type(StoredWeights *sum, const char *type, double bytes) {
    for (size_t i = 0; i < sizeof sum->types / sizeof *sum->types; i++) {
        char *name = sum->types[i].name;
        if (!*name) snprintf(name, sizeof sum->types[i].name, "%.15s", type);
        if (strncmp(name, type, sizeof sum->types[i].name - 1) != 0) continue;
        sum->types[i].bytes += bytes;
        if (sum->types[i].bytes <= sum->type_bytes) return;
        sum->type_bytes = sum->types[i].bytes;
        snprintf(sum->type, sizeof sum->type, "%s", name);
        return;
    }
}

void stored_weights_add(StoredWeights *sum, const Architecture *model, const char *name,
                        const char *type, StoredAs as, double elements, double bytes) {
    const WeightPart part = stored_weights_part(model, name);
    sum->bytes[part] += bytes;
    if (as == STORED_WEIGHTS) sum->elements[part] += elements;
    if (as == STORED_PACKED) sum->packed[part] = true;
    add_type(sum, type, bytes);
}

/* Weights that are stored, at most: an element that holds several may hold as many as it has bits.
 */
static double most_weights(const StoredWeights *sum, WeightPart part) {
    return sum->packed[part] ? 8 * sum->bytes[part] : sum->elements[part];
}

/* Every part that a model cannot be without must be there, and not as a token of itself. */
static Status check_counts(const StoredWeights *sum, Architecture *model, const char *file,
                           Error *err) {
    static const double least_share = 0.001, usual_share = 0.9;
    static const struct {
        WeightPart part;
        const char *name;
    } needed[] = { { PART_EMBEDDING, "the embedding" },
                   { PART_ATTENTION, "attention" },
                   { PART_DENSE_MLP, "the dense MLPs" },
                   { PART_EXPERTS, "the experts" } };
    double all_asked = 0, all_found = 0;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const WeightPart part = needed[i].part;
        const double asked = model->parameters.part[part], found = most_weights(sum, part);
        if (asked > 0 && sum->bytes[part] <= 0)
            return fail_at(err, file, 0, 0,
                           "holds no tensor of %s, which the model has: weights are missing, or "
                           "under names that kvlab does not know",
                           needed[i].name);
        if (found < least_share * asked)
            return fail_at(err, file, 0, 0,
                           "holds %.4g of the %.4g parameters of %s: weights are missing, or of "
                           "another model",
                           found, asked, needed[i].name);
        all_asked += asked;
        all_found += fmin(found, asked);
    }
    if (all_found < usual_share * all_asked)
        architecture_note(model,
                          "the stored tensors hold %.0f %% of the parameters that the model's "
                          "shapes have: weights may be missing",
                          100 * all_found / all_asked);
    return OK;
}

Status stored_weights_apply(const StoredWeights *sum, Architecture *model, const char *file,
                            Error *err) {
    TRY(check_counts(sum, model, file, err));
    if (sum->bytes[PART_DRAFT] > 0 && !model->draft_layers)
        architecture_note(model,
                          "%.4g bytes are of layers beyond the model's %zu: weights of a draft",
                          sum->bytes[PART_DRAFT], model->layers);
    for (WeightPart part = 0; part < WEIGHT_PARTS; part++) {
        double *parameters = &model->parameters.part[part];
        if (!sum->packed[part] || *parameters <= 0) *parameters = sum->elements[part];
        if (sum->bytes[part] <= 0) *parameters = 0;
        if (*parameters > 0) model->weight_bits[part] = 8 * sum->bytes[part] / *parameters;
    }
    architecture_count_totals(model);
    model->weights_exact = true;
    model->tower_parameters = 0; /* its tensors are there, or it is not */
    model->weights_missing[0] = '\0';
    return OK;
}

/* ---- checkpoints ---- */

static bool ends_with(const char *text, const char *ending) {
    const size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* What quantisers store beside the weights. */
static StoredAs stored_as(const Tensor *tensor) {
    static const char *const beside[] = { "scale",         "scales",      "scale_inv", "qzeros",
                                          "zero_point",    "g_idx",       "_absmax",   "quant_map",
                                          "nested_absmax", "weight_shape" };
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (ends_with(tensor->name, beside[i])) return STORED_SCALES;
    const bool integers = tensor->type == TENSOR_OPAQUE && strncmp(tensor->dtype, "F8", 2) != 0 &&
                          strncmp(tensor->dtype, "F6", 2) != 0 && strcmp(tensor->dtype, "F4") != 0;
    return integers ? STORED_PACKED : STORED_WEIGHTS;
}

Status stored_weights_of_folder(Architecture *model, const char *folder, Error *err) {
    Checkpoint *checkpoint = NULL;
    StoredWeights sum;
    memset(&sum, 0, sizeof sum);
    TRY(checkpoint_open_headers(&checkpoint, folder, err));
    for (size_t i = 0; i < checkpoint_count(checkpoint); i++) {
        const Tensor *tensor = checkpoint_tensor(checkpoint, i);
        stored_weights_add(&sum, model, tensor->name, tensor->dtype, stored_as(tensor),
                           (double)tensor->elements, (double)tensor->bytes);
    }
    const Status status = stored_weights_apply(&sum, model, checkpoint_path(checkpoint), err);
    /* The form that quantization_config names says more than the type that holds most bytes. */
    if (status == OK && !strchr(model->weight_format, ' ') && !strstr(model->weight_format, "fp"))
        snprintf(model->weight_format, sizeof model->weight_format, "%s", sum.type);
    checkpoint_close(checkpoint);
    return status;
}
