/* contender.c -- other attentions of a model's size, and smaller ones: model_contender,
 * model_divide; see model.h.
 *
 * A specification is a word ("mha") or a word with numbers ("gqa-8", "mla-512+64"). A contender is
 * the base with its head layout replaced; what is not named stays as it was. */
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "names.h"

enum { LATENT_MOST = 65536, ROPE_MOST = 1024, DIGITS_MOST = 9 };

/* Reads digits at *text and moves past them; false when there are none or too many. */
static bool take_number(const char **text, size_t *out) {
    size_t value = 0, digits = 0;
    for (; **text >= '0' && **text <= '9'; ++*text, digits++) {
        if (digits == DIGITS_MOST) return false;
        value = value * 10 + (size_t)(**text - '0');
    }
    if (digits == 0) return false;
    *out = value;
    return true;
}

/* The divisor of heads nearest to the number that is none. */
static size_t nearest_divisor(size_t heads, size_t wanted) {
    size_t nearest = 1;
    for (size_t g = 1; g <= heads; g++) {
        const size_t gap = g > wanted ? g - wanted : wanted - g;
        const size_t best = nearest > wanted ? nearest - wanted : wanted - nearest;
        if (heads % g == 0 && gap < best) nearest = g;
    }
    return nearest;
}

static Status unknown(const Model *base, const char *specification, Error *err) {
    char gqa[32], mla[64] = "mla-512+64";
    snprintf(gqa, sizeof gqa, "gqa-%zu", nearest_divisor(base->heads, 8));
    if (base->kind == ATTENTION_MLA)
        snprintf(mla, sizeof mla, "mla-%zu+%zu", base->kv_lora_rank, base->rope_dim);
    const char *const names[] = { "model", "mha", gqa, "mqa", mla };
    const char *nearest = strncmp(specification, "gq", 2) == 0 ? gqa
                          : strncmp(specification, "ml", 2) == 0
                              ? mla
                              : names_nearest(specification, names, sizeof names / sizeof *names);
    return fail(err, ERR_INPUT,
                "%.64s: no such contender; allowed: model, mha, gqa-G, mqa, mla-C+R%s%s%s",
                specification, nearest ? "; did you mean " : "", nearest ? nearest : "",
                nearest ? "?" : "");
}

/* Per-head keys and values: G heads of the model's width. */
static void set_heads(Model *out, const Model *base, size_t kv_heads) {
    if (base->kind == ATTENTION_MLA) {
        out->key_dim = base->value_dim;
        out->q_lora_rank = out->kv_lora_rank = out->nope_dim = 0;
        out->rope_dim = out->rope.dim = base->value_dim / 2 * 2;
    }
    out->kv_heads = kv_heads;
    out->kind = kv_heads == base->heads ? ATTENTION_MHA
                : kv_heads == 1         ? ATTENTION_MQA
                                        : ATTENTION_GQA;
}

static Status set_gqa(Model *out, const Model *base, const char *specification, Error *err) {
    const char *at = specification + strlen("gqa-");
    size_t kv_heads = 0;
    if (!take_number(&at, &kv_heads) || *at) return unknown(base, specification, err);
    if (kv_heads == 0 || base->heads % kv_heads != 0)
        return fail(err, ERR_INPUT,
                    "%s: %zu does not divide the %zu query heads; did you mean gqa-%zu?",
                    specification, kv_heads, base->heads, nearest_divisor(base->heads, kv_heads));
    set_heads(out, base, kv_heads);
    return OK;
}

static Status set_mla(Model *out, const Model *base, const char *specification, Error *err) {
    const char *at = specification + strlen("mla-");
    size_t latent = 0, rope = 0;
    if (!take_number(&at, &latent) || *at++ != '+' || !take_number(&at, &rope) || *at)
        return unknown(base, specification, err);
    if (latent == 0 || latent > LATENT_MOST)
        return fail(err, ERR_INPUT,
                    "%s: a latent of %zu; allowed: 1 to %d; did you mean mla-%d+%d?", specification,
                    latent, LATENT_MOST, 512, 64);
    if (rope < 2 || rope % 2 || rope > ROPE_MOST)
        return fail(err, ERR_INPUT,
                    "%s: a rotary key of %zu; allowed: an even number, 2 to %d; did you mean "
                    "mla-%zu+%zu?",
                    specification, rope, ROPE_MOST, latent,
                    rope > ROPE_MOST ? (size_t)64 : rope / 2 * 2 + 2);
    if (base->kind != ATTENTION_MLA) {
        out->nope_dim = base->key_dim;
        out->kv_heads = base->heads;
        out->qk_norm = false;
        out->kind = ATTENTION_MLA;
    }
    out->kv_lora_rank = latent;
    out->rope_dim = out->rope.dim = rope;
    out->key_dim = out->nope_dim + rope;
    return OK;
}

Status model_contender(Model *out, const Model *base, const char *specification, Error *err) {
    Model draft = *base;
    if (strcmp(specification, "mha") == 0)
        set_heads(&draft, base, base->heads);
    else if (strcmp(specification, "mqa") == 0)
        set_heads(&draft, base, 1);
    else if (strncmp(specification, "gqa-", 4) == 0)
        TRY(set_gqa(&draft, base, specification, err));
    else if (strncmp(specification, "mla-", 4) == 0)
        TRY(set_mla(&draft, base, specification, err));
    else if (strcmp(specification, "model") != 0)
        return unknown(base, specification, err);
    *out = draft;
    return OK;
}

static Status divide(size_t *value, size_t by, const char *what, Error *err) {
    if (*value % by)
        return fail(err, ERR_INPUT, "%zu does not divide the model's %s of %zu", by, what, *value);
    *value /= by;
    return OK;
}

Status model_divide(Model *model, size_t by, Error *err) {
    Model draft = *model, *m = &draft;
    TRY(divide(&m->hidden, by, "hidden size", err));
    TRY(divide(&m->key_dim, by, "key width", err));
    TRY(divide(&m->value_dim, by, "value width", err));
    TRY(divide(&m->kv_lora_rank, by, "kv_lora_rank", err));
    TRY(divide(&m->nope_dim, by, "qk_nope_head_dim", err));
    TRY(divide(&m->rope_dim, by, "qk_rope_head_dim", err));
    TRY(divide(&m->rope.dim, by, "rotated width", err));
    if (m->rope.dim % 2)
        return fail(err, ERR_INPUT, "%zu leaves an odd rotated width of %zu", by, m->rope.dim);
    *model = draft;
    return OK;
}
