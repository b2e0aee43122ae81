/* hf_blocks.c -- block_configs: models found by search over blocks (Nemotron-NAS), where each layer
 * says what its attention and its MLP are; see hf_reading.h.
 *
 *   attention: n_heads_in_group, no_op, replace_with_linear    ffn: ffn_mult, no_op, ... */
#include <math.h>
#include <stdio.h>

#include "hf_reading.h"

enum { WIDTH_STEP = 256 }; /* what the width of an MLP is rounded up to */
static const char key[] = "block_configs";

/* One half of a layer: "attention" or "ffn". */
static Status half_of(const Fields *fields, size_t layer, const char *half, Fields *out,
                      Error *err) {
    const Json *block = json_at(fields_get(fields, key), layer);
    *out = (Fields){ json_get(block, half), fields->file, "block_configs.*.", NULL, fields->text };
    return json_is_object(out->object)
               ? OK
               : fields_fail(fields, key, err, "layer %zu has no %s", layer, half);
}

/* Is it there: neither left out nor replaced by one matrix? */
static Status is_kept(const Fields *half, bool *kept, bool *linear, Error *err) {
    bool left_out = false;
    *linear = false;
    TRY(fields_flag(half, "no_op", &left_out, err));
    TRY(fields_flag(half, "replace_with_linear", linear, err));
    *kept = !left_out && !*linear;
    return OK;
}

Status hf_block_roles(const Reading *r, const char *name, uint8_t *role, Error *err) {
    if (json_size(fields_get(&r->text, name)) != r->shape.layers)
        return fields_fail(&r->text, name, err, "%zu entries, but the model has %zu layers",
                           json_size(fields_get(&r->text, name)), r->shape.layers);
    for (size_t i = 0; i < r->shape.layers; i++) {
        static const char *const known[] = { "no_op", "replace_with_linear", "n_heads_in_group",
                                             NULL };
        Asked asked = { 0 };
        Fields half;
        bool kept = true, linear = false;
        TRY(half_of(&r->text, i, "attention", &half, err));
        half.asked = &asked;
        fields_ignore(&half, known);
        TRY(is_kept(&half, &kept, &linear, err));
        TRY(fields_refuse_leftovers(&half, NULL, err));
        role[i] = kept ? ROLE_FULL : ROLE_NONE;
    }
    return OK;
}

Status hf_block_kv_heads(const Fields *fields, size_t heads, size_t *kv_heads, Error *err) {
    static const char *const group_key[] = { "n_heads_in_group", NULL };
    size_t group = 0;
    for (size_t i = 0; i < json_size(fields_get(fields, key)); i++) {
        size_t found = 0;
        Fields half;
        TRY(half_of(fields, i, "attention", &half, err));
        TRY(fields_size(&half, group_key, OPTIONAL, heads, &found, err));
        if (found && group && found != group)
            return fields_fail(&half, group_key[0], err,
                               "%zu in layer %zu and %zu before: heads that differ by layer are "
                               "not read",
                               found, i, group);
        if (found) group = found;
    }
    if (group && heads % group)
        return fields_fail(fields, key, err, "groups of %zu do not divide the %zu query heads",
                           group, heads);
    if (group) *kv_heads = heads / group;
    return OK;
}

Status hf_block_mlp(const Reading *r, size_t layer, Mlp *mlp, uint8_t *layer_mlp, Error *err) {
    static const char *const times[] = { "ffn_mult", NULL };
    const double hidden = (double)r->shape.hidden;
    Fields half;
    bool kept = true, linear = false;
    double mult = 0;
    TRY(half_of(&r->text, layer, "ffn", &half, err));
    TRY(is_kept(&half, &kept, &linear, err));
    *layer_mlp = kept || linear ? MLP_DENSE : MLP_NONE;
    if (linear) {
        mlp->matrices = 1;
        mlp->intermediate = r->shape.hidden;
    }
    if (!kept) return OK;
    TRY(fields_real(&half, times, REQUIRED, 1e-3, 1e3, &mult, err));
    mlp->intermediate = (size_t)ceil(floor(2 * mult * hidden / 3) / WIDTH_STEP) * WIDTH_STEP;
    return OK;
}
