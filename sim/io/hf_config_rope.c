/* hf_config_rope.c -- the rotary embedding of a config.json: rope_parameters of today, or
 * rope_theta and rope_scaling of before, whose kind is spelled "rope_type" or "type".
 *
 * No cached size depends on any of it. Not in the files, and so not known here: that GPT-J and
 * chatglm rotate neighbouring pairs, that chatglm rotates half a head, and that OPT learns its
 * positions. */
#include <string.h>

#include "hf_config_fields.h"
#include "names.h"

static const double FACTOR_LEAST = 1e-6, FACTOR_MOST = 1e6;
static const double THETA_LEAST = 2, THETA_MOST = 1e15;
enum { TOKENS_MOST = 1 << 30 };

static const char *const types[] = { "default", "linear", "yarn",    "llama3",
                                     "mrope",   "su",     "dynamic", "longrope" };
/* The same order: mrope equals plain for text; the last three change with the length of the input
 * and are left out. */
static const struct {
    RopeScaling scaling;
    bool left_out;
} meanings[] = { { ROPE_PLAIN, false },  { ROPE_LINEAR, false }, { ROPE_YARN, false },
                 { ROPE_LLAMA3, false }, { ROPE_PLAIN, false },  { ROPE_PLAIN, true },
                 { ROPE_PLAIN, true },   { ROPE_PLAIN, true } };
enum { TYPES = sizeof types / sizeof *types };

static Status read_type(const Fields *scaling, Rope *rope, Error *err) {
    static const char *const keys[] = { "rope_type", "type", NULL };
    const char *key = fields_spelled(scaling, keys);
    if (!key) return OK;
    const char *type = json_text(fields_get(scaling, key));
    for (size_t i = 0; type && i < TYPES; i++)
        if (strcmp(type, types[i]) == 0) {
            rope->scaling = meanings[i].scaling;
            rope->scaling_left_out = meanings[i].left_out;
            return OK;
        }
    const char *nearest = type ? names_nearest(type, types, TYPES) : NULL;
    return fields_fail(scaling, key, err,
                       "%.64s: no such scaling; allowed: default, linear, yarn, llama3, mrope, su, "
                       "dynamic, longrope%s%s%s",
                       type ? type : "not a string", nearest ? "; did you mean " : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

static Status read_original(const Fields *fields, const Fields *scaling, Rope *rope, Error *err) {
    static const char *const original[] = { "original_max_position_embeddings", NULL };
    static const char *const longest[] = { "max_position_embeddings", NULL };
    if (fields_spelled(scaling, original))
        return fields_size(scaling, original, REQUIRED, TOKENS_MOST, &rope->original_tokens, err);
    if (fields_spelled(fields, original))
        return fields_size(fields, original, REQUIRED, TOKENS_MOST, &rope->original_tokens, err);
    if (fields_spelled(fields, longest))
        return fields_size(fields, longest, REQUIRED, TOKENS_MOST, &rope->original_tokens, err);
    return fields_size(scaling, original, REQUIRED, TOKENS_MOST, &rope->original_tokens, err);
}

static Status read_yarn(const Fields *scaling, Rope *rope, Error *err) {
    static const char *const fast[] = { "beta_fast", NULL }, *const slow[] = { "beta_slow", NULL };
    static const char *const mscale[] = { "mscale", NULL };
    static const char *const mscale_all[] = { "mscale_all_dim", NULL };
    static const char *const attention[] = { "attention_factor", NULL };
    bool truncate = true;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    TRY(fields_real(scaling, fast, OPTIONAL, FACTOR_LEAST, FACTOR_MOST, &rope->beta_fast, err));
    TRY(fields_real(scaling, slow, OPTIONAL, FACTOR_LEAST, FACTOR_MOST, &rope->beta_slow, err));
    TRY(fields_real(scaling, mscale, OPTIONAL, 0, FACTOR_MOST, &rope->mscale, err));
    TRY(fields_real(scaling, mscale_all, OPTIONAL, 0, FACTOR_MOST, &rope->mscale_all_dim, err));
    TRY(fields_real(scaling, attention, OPTIONAL, FACTOR_LEAST, FACTOR_MOST,
                    &rope->attention_factor, err));
    TRY(fields_flag(scaling, "truncate", &truncate, err));
    rope->ramp_between_pairs = !truncate;
    return OK;
}

static Status read_llama3(const Fields *scaling, Rope *rope, Error *err) {
    static const char *const low[] = { "low_freq_factor", NULL };
    static const char *const high[] = { "high_freq_factor", NULL };
    TRY(fields_real(scaling, low, REQUIRED, FACTOR_LEAST, FACTOR_MOST, &rope->low_freq_factor,
                    err));
    TRY(fields_real(scaling, high, REQUIRED, FACTOR_LEAST, FACTOR_MOST, &rope->high_freq_factor,
                    err));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return fields_fail(scaling, high[0], err, "%g; allowed: above low_freq_factor, %g",
                           rope->high_freq_factor, rope->low_freq_factor);
    return OK;
}

static Status read_scaling(const Fields *fields, const Fields *scaling, Rope *rope, Error *err) {
    static const char *const factor[] = { "factor", NULL };
    TRY(read_type(scaling, rope, err));
    if (rope->scaling == ROPE_PLAIN) return OK;
    TRY(fields_real(scaling, factor, REQUIRED, FACTOR_LEAST, FACTOR_MOST, &rope->factor, err));
    if (rope->scaling == ROPE_LINEAR) return OK;
    TRY(read_original(fields, scaling, rope, err));
    return rope->scaling == ROPE_YARN ? read_yarn(scaling, rope, err)
                                      : read_llama3(scaling, rope, err);
}

static Status read_theta(const Fields *fields, const Fields *scaling, Rope *rope, Error *err) {
    static const char *const theta[] = { "rope_theta", "rotary_emb_base", NULL };
    static const char *const ratio[] = { "rope_ratio", NULL }; /* chatglm: times the usual base */
    double times = 1;
    rope->theta = 10000;
    TRY(fields_real(fields, theta, OPTIONAL, THETA_LEAST, THETA_MOST, &rope->theta, err));
    TRY(fields_real(scaling, theta, OPTIONAL, THETA_LEAST, THETA_MOST, &rope->theta, err));
    TRY(fields_real(fields, ratio, OPTIONAL, FACTOR_LEAST, FACTOR_MOST, &times, err));
    rope->theta *= times;
    return OK;
}

/* Learned positions (GPT-2) or ALiBi: nothing is rotated. */
static Status read_unrotated(const Fields *fields, bool *unrotated, Error *err) {
    static const char *const rotary[] = {
        "rope_theta", "rope_parameters", "rope_scaling",          "rotary_emb_base",
        "rotary_dim", "rotary_pct",      "partial_rotary_factor", NULL
    };
    static const char *const learned[] = { "n_positions", "offset_alibi", NULL };
    Fields nested;
    bool alibi = false;
    TRY(fields_nested(&nested, fields, "attn_config", "attn_config.", err));
    TRY(fields_flag(fields, "alibi", &alibi, err));
    TRY(fields_flag(&nested, "alibi", &alibi, err));
    *unrotated = alibi || (!fields_spelled(fields, rotary) && fields_spelled(fields, learned));
    return OK;
}

/* The rotated part of a head: a count, a share, or all. */
static Status read_dim(const Fields *fields, const Fields *scaling, size_t width, Rope *rope,
                       Error *err) {
    static const char *const count[] = { "rotary_dim", NULL };
    static const char *const share[] = { "partial_rotary_factor", "rotary_pct", NULL };
    double part = 1;
    TRY(fields_real(fields, share, OPTIONAL, 0, 1, &part, err));
    TRY(fields_real(scaling, share, OPTIONAL, 0, 1, &part, err));
    rope->dim = (size_t)((double)width * part);
    const char *given = fields_spelled(fields, count);
    TRY(fields_size(fields, count, OPTIONAL, width, &rope->dim, err));
    if (rope->dim % 2)
        return fields_fail(fields, given ? given : "head_dim", err,
                           "%zu rotated values of a head; allowed: an even number", rope->dim);
    return OK;
}

Status hf_rope(const Fields *fields, bool latent, size_t width, Rope *out, Error *err) {
    Rope rope = { .dim = width, .interleaved = latent, .theta = 10000 };
    bool unrotated = false;
    Fields scaling, older;
    TRY(fields_nested(&scaling, fields, "rope_parameters", "rope_parameters.", err));
    TRY(fields_nested(&older, fields, "rope_scaling", "rope_scaling.", err));
    if (!scaling.object) scaling = older;
    for (void *at = json_first(scaling.object); at; at = json_next(scaling.object, at))
        if (json_is_object(json_value(at)))
            return fields_fail(
                &scaling, json_key(at), err,
                "rotary embeddings that differ from layer to layer are not computed");
    TRY(read_theta(fields, &scaling, &rope, err));
    TRY(fields_flag(fields, "rope_interleave", &rope.interleaved, err));
    TRY(read_scaling(fields, &scaling, &rope, err));
    if (!latent) {
        TRY(read_unrotated(fields, &unrotated, err));
        TRY(read_dim(fields, &scaling, width, &rope, err));
        if (unrotated) rope = (Rope){ .theta = 10000 };
        /* Only MLA's code sharpens the softmax by mscale_all_dim; here it stays an amplitude. */
        rope.attention_factor = rope.scaling == ROPE_YARN ? rope_amplitude(&rope) : 0;
        rope.mscale = rope.mscale_all_dim = 0;
    }
    *out = rope;
    return OK;
}
