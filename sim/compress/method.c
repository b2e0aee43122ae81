/* method.c -- specifications of methods: their three parts, and whether they fit; see method.h. */
#include "coder.h"

#include <stdio.h>
#include <string.h>

/* ---- the whole ---- */

Status method_parse(Method *out, const char *specification, Error *err) {
    if (strlen(specification) >= METHOD_NAME)
        return fail(err, ERR_INPUT, "%.40s...: a method's name has at most %d bytes", specification,
                    METHOD_NAME - 1);
    Method draft = { 0 };
    char rest[METHOD_NAME];
    snprintf(draft.name, sizeof draft.name, "%s", specification);
    snprintf(rest, sizeof rest, "%s", specification);
    char *eviction = strchr(rest, '@');
    if (eviction) *eviction++ = '\0';
    char *codec = strchr(rest, '*');
    if (codec) *codec++ = '\0';
    if (strlen(rest) >= CONVERSION_NAME)
        return fail(err, ERR_INPUT, "%s: a conversion's name has at most %d bytes", specification,
                    CONVERSION_NAME - 1);
    if (!*rest)
        return fail(err, ERR_INPUT,
                    "%s: no conversion before the codec; as in mha*int4-g32 or mla-512+64@h2o-1/16",
                    specification);
    TRY(codec_parse(&draft.codec, codec ? codec : "bf16", specification, err));
    if (eviction) TRY(eviction_parse(&draft.eviction, eviction, specification, err));
    memcpy(draft.conversion, rest, CONVERSION_NAME);
    *out = draft;
    return OK;
}

/* ---- does it fit? ---- */

size_t codec_key_values(const Codec *codec, const CacheShape *shape) {
    enum { EXACT_BITS = 16 };
    const bool whole = codec->rope || codec->bits >= EXACT_BITS;
    return shape->shared && !whole ? shape->value_dim : shape->key_dim;
}

size_t codec_value_values(const CacheShape *shape) {
    return shape->shared ? 0 : shape->value_dim;
}

/* The largest group that divides n values, at most `wanted`. */
static size_t nearest_group(size_t n, size_t wanted) {
    for (size_t g = wanted < n ? wanted : n; g > 1; g--)
        if (n % g == 0) return g;
    return 1;
}

/* Groups along the channels of a row of n values. */
static Status check_row_group(const Method *m, const char *what, size_t n, Error *err) {
    const Codec *c = &m->codec;
    const size_t group = c->group ? c->group : n;
    if (n % group == 0) return OK;
    fail(err, ERR_INPUT, "%s: groups of %zu do not divide the %zu values of a %s", m->name, group,
         n, what);
    const size_t used = strlen(err->text);
    if (c->kind == CODEC_INTS)
        snprintf(err->text + used, sizeof err->text - used, "; did you mean g%zu?",
                 nearest_group(n, group));
    return ERR_INPUT;
}

/* Groups along the tokens of a channel, in blocks of block_tokens. */
static Status check_token_group(const Method *m, size_t block_tokens, Error *err) {
    const size_t group = m->codec.group;
    if (block_tokens % group == 0) return OK;
    return fail(err, ERR_INPUT,
                "%s: groups of %zu tokens do not divide blocks of %zu; choose block_tokens a "
                "multiple of %zu",
                m->name, group, block_tokens, group);
}

static Status check_groups(const Method *m, const char *what, size_t n, bool by_channel,
                           size_t block_tokens, Error *err) {
    enum { CODES_TOGETHER = 8 };
    const CodecKind kind = m->codec.kind;
    if (n == 0 || kind == CODEC_NOMINAL) return OK;
    RowType type;
    const bool packed = !codec_row_type(&m->codec, by_channel, &type);
    if (packed && (n % CODES_TOGETHER || n > CODER_VALUES_MOST))
        return fail(err, ERR_INPUT,
                    "%s: %zu values of a %s; codes of %s need a multiple of %d, at "
                    "most %d",
                    m->name, n, what, m->codec.name, CODES_TOGETHER, CODER_VALUES_MOST);
    return by_channel ? check_token_group(m, block_tokens, err) : check_row_group(m, what, n, err);
}

/* The Hadamard transform runs over blocks of the largest power of two that divides a row. A row of
 * turboquant has one norm and one codebook: all of it must be mixed. */
static Status check_rotation(const Method *m, const char *what, size_t n, Error *err) {
    enum { BLOCK_LEAST = 16 };
    if (m->codec.kind == CODEC_TURBOQUANT && n & (n - 1))
        return fail(err, ERR_INPUT,
                    "%s: turboquant rotates rows of a power of two, and a %s has %zu", m->name,
                    what, n);
    if (!m->codec.hadamard || n % BLOCK_LEAST == 0) return OK;
    return fail(err, ERR_INPUT,
                "%s: a Hadamard rotation needs rows of a multiple of %d values, and a %s has %zu",
                m->name, BLOCK_LEAST, what, n);
}

/* A codec for tensors that it is not made for. */
static Status check_kind(const Method *m, const CacheShape *shape, Error *err) {
    enum { TILE = 128, SMALL_TILE = 64, BITS_LEAST = 3 };
    const Codec *c = &m->codec;
    const bool ds_mla = strcmp(c->name, "fp8_ds_mla") == 0;
    const bool small = strcmp(c->name, "fp8_model1") == 0;
    const size_t tile = ds_mla ? TILE : SMALL_TILE;
    if ((ds_mla || small) && !shape->shared)
        return fail(err, ERR_INPUT,
                    "%s: %s stores a latent, and this cache holds keys and values of heads; did "
                    "you mean fp8?",
                    m->name, c->name);
    if ((ds_mla || small) && shape->value_dim % tile)
        return fail(err, ERR_INPUT, "%s: %s needs a latent of a multiple of %zu values, not %zu",
                    m->name, c->name, tile, shape->value_dim);
    if (strcmp(c->name, "kivi") == 0 && shape->shared)
        return fail(err, ERR_INPUT,
                    "%s: kivi stores keys by channel and values by token, and a latent is both; "
                    "did you mean int%u-g%zu or int%u-g%zu-channel?",
                    m->name, c->bits, c->group, c->bits, c->group);
    if (c->rope && !(shape->shared && shape->key_dim > shape->value_dim))
        return fail(err, ERR_INPUT, "%s: -rope is for the rotated key beside a latent", m->name);
    if (c->rope && c->bits < BITS_LEAST)
        return fail(err, ERR_INPUT,
                    "%s: %u bits of a rotated key, which every head shares; at least %d, or leave "
                    "out -rope to keep it in bf16",
                    m->name, c->bits, BITS_LEAST);
    return OK;
}

/* Tokens that are evicted one by one share nothing with others. */
static Status check_eviction(const Method *m, Error *err) {
    const Codec *c = &m->codec;
    const char *why = c->k_channel || c->v_channel ? "groups of tokens share a scale"
                      : c->residual                ? "a window of newest tokens is kept apart"
                      : c->sinks                   ? "first tokens are kept apart"
                                                   : NULL;
    if (m->eviction.kind == EVICT_NONE || !why) return OK;
    return fail(err, ERR_INPUT,
                "%s: %s evicts tokens one by one, and in this codec %s; choose one that stores "
                "each token by itself, as int4-g32",
                m->name, eviction_name(m->eviction.kind), why);
}

Status method_check(const Method *method, const CacheShape *shape, size_t block_tokens,
                    Error *err) {
    const Codec *c = &method->codec;
    const char *key = shape->shared ? "latent" : "key";
    const size_t key_values = codec_key_values(c, shape), value_values = codec_value_values(shape);
    const size_t rope = c->rope ? shape->key_dim - shape->value_dim : 0;
    TRY(check_kind(method, shape, err));
    TRY(check_groups(method, key, key_values, c->k_channel, block_tokens, err));
    TRY(check_groups(method, "value", value_values, c->v_channel, block_tokens, err));
    TRY(check_rotation(method, key, key_values - rope, err));
    TRY(check_rotation(method, "rotated key", rope, err));
    TRY(check_rotation(method, "value", value_values, err));
    return check_eviction(method, err);
}
