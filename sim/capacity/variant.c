/* variant.c -- see variant.h. */
#include "variant.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    bool latent;
    size_t kv_heads; /* 0: as many as query heads */
    size_t rank, rope;
} Specification;

static bool parse(const char *text, Specification *s) {
    int end = 0;
    *s = (Specification){ 0 };
    if (strcmp(text, "mha") == 0) return true;
    if (strcmp(text, "mqa") == 0) {
        s->kv_heads = 1;
        return true;
    }
    if (sscanf(text, "gqa-%6zu%n", &s->kv_heads, &end) == 1 && !text[end]) return s->kv_heads > 0;
    s->latent = true;
    return sscanf(text, "mla-%6zu+%6zu%n", &s->rank, &s->rope, &end) == 2 && !text[end] &&
           s->rank > 0 && s->rope > 0;
}

/* The width that a head of the layer has for its values. */
static size_t head_width(const CacheKind *kind) {
    return kind->keeps == KEEPS_LATENT ? kind->mla_value_dim : kind->value_dim;
}

static double parameters(const CacheKind *kind, double hidden) {
    const double heads = (double)kind->heads, q = (double)kind->q_lora_rank;
    if (kind->keeps == KEEPS_HEADS)
        return hidden * (heads * (double)(kind->key_dim + kind->value_dim) +
                         (double)(kind->kv_heads * (kind->key_dim + kind->value_dim)));
    const double key = heads * (double)(kind->nope_dim + kind->rope_dim);
    const double query = q > 0 ? hidden * q + q * key : hidden * key;
    const double c = (double)kind->kv_lora_rank, v = (double)kind->mla_value_dim;
    return query + hidden * (c + (double)kind->rope_dim) +
           c * heads * ((double)kind->nope_dim + v) + heads * v * hidden;
}

static Status change(CacheKind *kind, const Specification *s, const char *text, double hidden,
                     Error *err) {
    const size_t width = head_width(kind);
    const size_t kv_heads = s->kv_heads ? s->kv_heads : kind->heads;
    if (!s->latent && (kv_heads > kind->heads || kind->heads % kv_heads))
        return fail(err, ERR_INPUT, "%s: its heads must divide the %zu query heads", text,
                    kind->heads);
    CacheKind new = { .layers = kind->layers,
                      .draft_layers = kind->draft_layers,
                      .heads = kind->heads,
                      .reach = kind->reach,
                      .window = kind->window,
                      .row_tokens = 1 };
    if (s->latent) {
        new.keeps = KEEPS_LATENT;
        new.kv_lora_rank = s->rank;
        new.rope_dim = s->rope;
        new.nope_dim = kind->keeps == KEEPS_LATENT ? kind->nope_dim : width;
        new.mla_value_dim = width;
        new.q_lora_rank = kind->q_lora_rank;
    } else {
        new.keeps = KEEPS_HEADS;
        new.kv_heads = kv_heads;
        new.key_dim = new.value_dim = width;
    }
    snprintf(new.rule, sizeof new.rule, "as %.40s", text);
    new.parameters = parameters(&new, hidden);
    *kind = new;
    return OK;
}

Status variant_make(Architecture *out, const Architecture *base, const char *specification,
                    Error *err) {
    Specification s;
    *out = *base;
    if (strcmp(specification, "model") == 0) return OK;
    if (!parse(specification, &s))
        return fail(err, ERR_INPUT,
                    "%.80s: no such contender; allowed are model, mha, mqa, gqa-G and mla-C+R",
                    specification);
    double more = 0;
    for (size_t i = 0; i < out->kind_count; i++) {
        CacheKind *kind = &out->kind[i];
        if (kind->keeps != KEEPS_HEADS && kind->keeps != KEEPS_LATENT) continue;
        const double before = kind->parameters * (double)kind->layers;
        TRY(change(kind, &s, specification, (double)base->hidden, err));
        more += kind->parameters * (double)kind->layers - before;
    }
    out->parameters.part[PART_ATTENTION] += more;
    out->parameters.total += more;
    out->parameters.active += more;
    architecture_label(out, out->attention, sizeof out->attention);
    return OK;
}
