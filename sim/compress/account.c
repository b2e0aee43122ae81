/* account.c -- the bytes of a method, out of its parameters alone; see method.h.
 *
 * One sequence in one layer:
 *
 *   sinks (f16) | codes, in blocks of block_tokens | window of newest tokens (f16)
 *
 * Keys and values have windows of their own lengths and share the blocks, so there are as many
 * blocks as the longer of the two streams of codes needs. */
#include <string.h>

#include "method.h"

enum {
    HALF_BYTES = 2, /* f16 and bf16 */
    POSITION_BYTES = 4,
    SCORE_BYTES = 4,
    TABLE_BYTES = 4
};

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}
static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

size_t codec_key_window(const Codec *codec, size_t tokens) {
    const size_t window = codec->residual;
    const size_t rest = tokens - smaller(tokens, codec->sinks);
    if (!window || !rest) return 0;
    return codec->k_channel ? (rest - 1) % window + 1 : smaller(rest, window);
}

size_t codec_value_window(const Codec *codec, size_t tokens) {
    if (codec->v_channel) return codec_key_window(codec, tokens);
    return smaller(tokens - smaller(tokens, codec->sinks), codec->residual);
}

/* Bytes of the scales beside n values of a row type: of codec.h, or of fp8_model1. */
static size_t row_scale_bytes(const Codec *c, bool latent, size_t n) {
    enum { MODEL1_PADDED = 8 };
    RowType type;
    if (!codec_row_type(c, false, &type))
        return ceil_div(n / c->group, MODEL1_PADDED) * MODEL1_PADDED;
    const RowFormat format = latent ? row_format_latent(type, n, 0) : row_format(type, n);
    return row_bytes(format) - n * c->bits / 8;
}

/* Scales of n values that one token adds, where groups run over channels. */
static size_t scale_bytes(const Codec *c, bool latent, size_t n) {
    if (n == 0) return 0;
    switch (c->kind) {
    case CODEC_INTS:
        return n / (c->group ? c->group : n) * 2 * HALF_BYTES;
    case CODEC_TURBOQUANT:
        return HALF_BYTES;
    case CODEC_ROWS:
        return row_scale_bytes(c, latent, n);
    default:
        return 0;
    }
}

size_t codec_row_bytes(const Codec *codec, bool latent, size_t values) {
    return values * codec->bits / 8 + scale_bytes(codec, latent, values);
}

size_t codec_block_bytes(const Codec *codec, size_t bytes) {
    enum { MODEL1_BLOCK = 576 };
    const bool padded = strcmp(codec->name, "fp8_model1") == 0;
    return padded ? ceil_div(bytes, MODEL1_BLOCK) * MODEL1_BLOCK : bytes;
}

/* A part of the cache: all heads' keys, or values, with the stream of codes that it has. */
typedef struct {
    size_t heads, values; /* coded, of a row */
    size_t beside;        /* bytes of a row that are not coded: the rotated key in bf16 */
    size_t width;         /* all values of a row, for sinks and windows */
    bool channel;         /* groups run over tokens */
    size_t coded;         /* tokens in the stream */
    size_t window;        /* tokens in the window */
} Part;

static size_t part_codes(const Codec *c, const Part *p, size_t tokens) {
    return p->heads * (tokens * p->values * c->bits / 8);
}

static size_t part_scales(const Codec *c, const Part *p, bool latent, size_t tokens) {
    if (p->channel) return p->heads * (tokens / c->group * p->values * 2 * HALF_BYTES);
    return p->heads * tokens * scale_bytes(c, latent, p->values);
}

static size_t part_rows(const Codec *c, const Part *p, bool latent, size_t tokens) {
    return part_codes(c, p, tokens) + part_scales(c, p, latent, tokens) +
           p->heads * tokens * p->beside;
}

static size_t block_bytes(const Method *m, const Part *parts, bool latent, size_t block_tokens) {
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) bytes += part_rows(&m->codec, &parts[i], latent, block_tokens);
    return codec_block_bytes(&m->codec, bytes);
}

static void find_parts(const Method *m, const CacheShape *s, size_t tokens, Part *parts) {
    const Codec *c = &m->codec;
    const size_t rest = tokens - smaller(tokens, c->sinks);
    const size_t keys = codec_key_window(c, tokens), values = codec_value_window(c, tokens);
    parts[0] = (Part){ .heads = s->kv_heads,
                       .values = codec_key_values(c, s),
                       .width = s->key_dim,
                       .channel = c->k_channel,
                       .coded = rest - keys,
                       .window = keys };
    parts[0].beside = (s->key_dim - parts[0].values) * HALF_BYTES;
    parts[1] = (Part){ .heads = s->kv_heads,
                       .values = codec_value_values(s),
                       .channel = c->v_channel,
                       .coded = rest - values,
                       .window = values };
    parts[1].width = parts[1].values;
}

size_t eviction_index_bytes(const Eviction *e, size_t heads, size_t kept) {
    switch (e->kind) {
    case EVICT_H2O:
        return heads * kept * (POSITION_BYTES + SCORE_BYTES);
    case EVICT_SNAPKV:
        return heads * kept * POSITION_BYTES;
    default: /* first and newest need no list; the oracle keeps all */
        return 0;
    }
}

MethodBytes method_bytes(const Method *method, const CacheShape *shape, size_t tokens,
                         size_t block_tokens) {
    const Codec *c = &method->codec;
    const bool latent = shape->shared, oracle = method->eviction.kind == EVICT_ORACLE;
    MethodBytes b = { .kept_tokens = eviction_kept(&method->eviction, tokens) };
    const size_t held = oracle ? tokens : b.kept_tokens, sinks = smaller(held, c->sinks);
    Part parts[2];
    find_parts(method, shape, held, parts);
    size_t stream = 0;
    for (int i = 0; i < 2; i++) {
        const Part *p = &parts[i];
        b.code_bytes += part_codes(c, p, p->coded);
        b.scale_bytes += part_scales(c, p, latent, p->coded);
        b.exact_bytes +=
            p->heads * (p->coded * p->beside + (sinks + p->window) * p->width * HALF_BYTES);
        b.waste_bytes +=
            p->heads * (c->residual - p->window + c->sinks - sinks) * p->width * HALF_BYTES;
        if (p->values) stream = larger(stream, p->coded);
    }
    b.index_bytes = eviction_index_bytes(&method->eviction, shape->kv_heads, held);
    const size_t blocks = ceil_div(stream, block_tokens);
    b.waste_bytes += blocks * block_bytes(method, parts, latent, block_tokens);
    for (int i = 0; i < 2; i++) b.waste_bytes -= part_rows(c, &parts[i], latent, parts[i].coded);
    b.table_bytes = blocks * TABLE_BYTES;
    b.stored_bytes = b.code_bytes + b.scale_bytes + b.exact_bytes + b.index_bytes;
    b.held_bytes = b.stored_bytes + b.waste_bytes + b.table_bytes;
    b.read_bytes = b.code_bytes + b.scale_bytes + b.exact_bytes;
    if (oracle && tokens)
        b.read_bytes = part_rows(c, &parts[0], latent, b.kept_tokens) +
                       part_rows(c, &parts[1], latent, b.kept_tokens);
    return b;
}
