/* coding.c -- blocks and windows of coded rows; see coding.h. */
#include "coding.h"

#include <stdint.h>
#include <string.h>

#include "buffer.h"

enum { HALF = 2, ROTATION_SEED = 1, KEY_STREAM = 0x4b, VALUE_STREAM = 0x56, ROPE_STREAM = 0x52 };

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}
static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* ---- the plan ---- */

static size_t part_rows_bytes(const Coding *c, const CodingPart *p) {
    const size_t group = p->coder.group_tokens ? p->coder.group_tokens : c->block_tokens;
    return c->block_tokens * p->coder.row_bytes + c->block_tokens / group * p->coder.group_bytes;
}

/* Lays a part behind what is there so far. */
static void place_part(Coding *c, CodingPart *p) {
    p->offset = c->block_bytes;
    p->head_bytes = part_rows_bytes(c, p);
    p->scales = c->block_tokens * p->coder.row_bytes;
    c->block_bytes += c->shape.kv_heads * p->head_bytes;
    p->exact = c->exact_bytes;
    p->exact_head = (c->sinks + c->window) * p->coder.format.n * HALF;
    c->exact_bytes += c->shape.kv_heads * p->exact_head;
}

static Status new_rotations(Coding *c, const Codec *codec, Error *err) {
    if (!codec->hadamard) return OK;
    const size_t coded = codec_key_values(codec, &c->shape);
    const size_t rope = codec->rope ? c->shape.key_dim - c->shape.value_dim : 0;
    TRY(rotation_new(&c->key.rotation, coded - rope, ROTATION_SEED, KEY_STREAM, err));
    if (rope) TRY(rotation_new(&c->key.rope, rope, ROTATION_SEED, ROPE_STREAM, err));
    if (c->shape.shared) return OK;
    return rotation_new(&c->value.rotation, c->shape.value_dim, ROTATION_SEED, VALUE_STREAM, err);
}

static void decode_tile(const KvCoding *kv, const Kernels *kernels, const KvSequence *view,
                        size_t head, size_t first, size_t n, float *keys, size_t ld_k,
                        float *values, size_t ld_v);

Status coding_new(Coding **coding, const Codec *codec, const CacheShape *shape, size_t block_tokens,
                  Error *err) {
    const char *why = codec_unheld(codec);
    if (why) return fail(err, ERR_INPUT, "%s: %s", codec->name, why);
    Coding *c;
    TRY(BUFFER(&c, 1, "the coding of a cache", err));
    c->shape = *shape;
    c->sinks = codec->sinks;
    c->window = codec->residual;
    c->block_tokens = block_tokens;
    c->key.coder = coder_of_keys(codec, shape);
    place_part(c, &c->key);
    if (!shape->shared) {
        c->value.coder = coder_of_values(codec, shape);
        place_part(c, &c->value);
    }
    const bool typed = c->key.coder.typed && (shape->shared || c->value.coder.typed);
    if (!typed || c->sinks || c->window) c->kv.decode = decode_tile;
    c->block_bytes = codec_block_bytes(codec, c->block_bytes);
    c->kv.token_bytes = (double)c->block_bytes / (double)block_tokens;
    const Status status = new_rotations(c, codec, err);
    if (status == OK)
        *coding = c;
    else
        coding_free(c);
    return status;
}

void coding_free(Coding *coding) {
    if (!coding) return;
    rotation_free(&coding->key.rotation);
    rotation_free(&coding->key.rope);
    rotation_free(&coding->value.rotation);
    buffer_free(coding);
}

KvLayout coding_layout(const Coding *coding) {
    const CacheShape *s = &coding->shape;
    const CodingPart *k = &coding->key, *v = s->shared ? k : &coding->value;
    return (KvLayout){ .k = k->coder.format,
                       .v = v->coder.format,
                       .kv_heads = s->kv_heads,
                       .dk = s->key_dim,
                       .dv = s->value_dim,
                       .k_offset = k->offset,
                       .v_offset = v->offset,
                       .k_head = k->head_bytes,
                       .v_head = v->head_bytes,
                       .k_row = k->coder.row_bytes,
                       .v_row = v->coder.row_bytes,
                       .block_tokens = coding->block_tokens,
                       .block_bytes = coding->block_bytes,
                       .v_in_k = s->shared,
                       .coding = coding->kv.decode ? &coding->kv : NULL };
}

Status coding_open(const Coding *coding, CodedRows *rows, Error *err) {
    CodedRows draft = { 0 };
    TRY(BUFFER(&draft.exact, coding->exact_bytes, "the exact rows of a cache", err));
    *rows = draft;
    return OK;
}

void coding_close(CodedRows *rows) {
    buffer_free(rows->exact);
    *rows = (CodedRows){ 0 };
}

/* ---- streams and windows ---- */

/* Tokens of a part's stream once `tokens` are there, `coded` of them in it now. */
static size_t stream_after(const Coding *c, const CodingPart *p, size_t coded, size_t tokens) {
    const size_t rest = tokens - smaller(tokens, c->sinks);
    if (rest <= coded + c->window) return coded;
    const size_t over = rest - coded - c->window;
    if (!p->coder.by_channel) return coded + over;
    return coded + (over + c->window - 1) / c->window * c->window;
}

size_t coding_stream(const Coding *coding, const CodedRows *rows, size_t tokens) {
    const size_t keys = stream_after(coding, &coding->key, rows->keys, tokens);
    if (coding->shape.shared) return keys;
    return larger(keys, stream_after(coding, &coding->value, rows->values, tokens));
}

/* A head of a part in one sequence. */
typedef struct {
    const Coding *coding;
    const CodingPart *part;
    const Kernels *kernels;
    const KvSequence *view;
    unsigned char *exact; /* of this head */
    size_t head;
    size_t coded; /* tokens in the stream */
} Place;

static const CodedRows *rows_of(const KvSequence *view) {
    return view->coded;
}

static Place place_of(const Coding *c, bool value, const Kernels *kernels, const KvSequence *view,
                      const CodedRows *rows, size_t head) {
    const CodingPart *p = value ? &c->value : &c->key;
    return (Place){ .coding = c,
                    .part = p,
                    .kernels = kernels,
                    .view = view,
                    .exact = rows->exact + p->exact + head * p->exact_head,
                    .head = head,
                    .coded = value ? rows->values : rows->keys };
}

/* Where a token of the stream lies: its row, and the scales of its group. The pool is the cache's
 * own: it is written by coding_append alone. */
static unsigned char *head_of(const Place *p, size_t token) {
    const Coding *c = p->coding;
    const size_t block = p->view->table[token / c->block_tokens];
    return (unsigned char *)(uintptr_t)p->view->pool + block * c->block_bytes + p->part->offset +
           p->head * p->part->head_bytes;
}

static unsigned char *row_of(const Place *p, size_t token) {
    return head_of(p, token) + token % p->coding->block_tokens * p->part->coder.row_bytes;
}

static unsigned char *scales_of(const Place *p, size_t token) {
    const size_t group = token % p->coding->block_tokens / p->part->coder.group_tokens;
    return head_of(p, token) + p->part->scales + group * p->part->coder.group_bytes;
}

/* The exact row of a token: among the first ones, or in the ring. */
static unsigned char *exact_of(const Place *p, size_t token) {
    const Coding *c = p->coding;
    const size_t slot = token < c->sinks ? token : c->sinks + (token - c->sinks) % c->window;
    return p->exact + slot * p->part->coder.format.n * HALF;
}

static void put_exact(const Place *p, size_t token, const float *x) {
    const RowFormat halves = row_format(ROW_F16, p->part->coder.format.n);
    p->kernels->encode[ROW_F16](&halves, x, exact_of(p, token));
}

static void get_exact(const Place *p, size_t token, float *x) {
    const RowFormat halves = row_format(ROW_F16, p->part->coder.format.n);
    p->kernels->decode[ROW_F16](&halves, halves.n, exact_of(p, token), x);
}

/* ---- decoding ---- */

/* n tokens of the stream from `token` on, all in one block. */
static void get_coded(const Place *p, size_t token, size_t n, float *x, size_t ld) {
    const Coder *coder = &p->part->coder;
    if (!coder->group_tokens) {
        const unsigned char *row = row_of(p, token);
        for (size_t i = 0; i < n; i++)
            coder_decode(coder, p->kernels, row + i * coder->row_bytes, x + i * ld);
        return;
    }
    for (size_t done = 0, run; done < n; done += run) {
        const size_t at = token + done, group = coder->group_tokens;
        run = smaller(n - done, group - at % group);
        coder_decode_group(coder, p->kernels, run, row_of(p, at), scales_of(p, at), x + done * ld,
                           ld);
    }
}

/* Tokens first .. first+n-1 as they are stored, turned. */
static void get_tokens(const Place *p, size_t first, size_t n, float *x, size_t ld) {
    const Coding *c = p->coding;
    for (size_t done = 0, run; done < n; done += run) {
        const size_t token = first + done;
        float *at = x + done * ld;
        run = 1;
        if (token < c->sinks || token - c->sinks >= p->coded) {
            get_exact(p, token, at);
            continue;
        }
        const size_t stream = token - c->sinks;
        run = smaller(smaller(n - done, p->coded - stream),
                      c->block_tokens - stream % c->block_tokens);
        get_coded(p, stream, run, at, ld);
    }
}

static void decode_tile(const KvCoding *kv, const Kernels *kernels, const KvSequence *view,
                        size_t head, size_t first, size_t n, float *keys, size_t ld_k,
                        float *values, size_t ld_v) {
    const Coding *c = (const Coding *)kv;
    const Place k = place_of(c, false, kernels, view, rows_of(view), head);
    get_tokens(&k, first, n, keys, ld_k);
    if (c->shape.shared) return;
    const Place v = place_of(c, true, kernels, view, rows_of(view), head);
    get_tokens(&v, first, n, values, ld_v);
}

static void turn_back(const CodingPart *p, float *row) {
    rotation_undo(&p->rotation, row);
    rotation_undo(&p->rope, row + p->rotation.n);
}

static void read_part(const Coding *c, bool value, const Kernels *kernels, const KvSequence *view,
                      size_t first, size_t tokens, float *x) {
    const size_t heads = c->shape.kv_heads;
    for (size_t g = 0; g < heads; g++) {
        const Place p = place_of(c, value, kernels, view, rows_of(view), g);
        const size_t n = p.part->coder.format.n;
        get_tokens(&p, first, tokens, x + g * n, heads * n);
        for (size_t t = 0; t < tokens; t++) turn_back(p.part, x + (t * heads + g) * n);
    }
}

void coding_read(const Coding *coding, const Kernels *kernels, const KvSequence *view, size_t first,
                 size_t tokens, float *k, float *v) {
    read_part(coding, false, kernels, view, first, tokens, k);
    if (!coding->shape.shared) read_part(coding, true, kernels, view, first, tokens, v);
}

/* ---- coding ---- */

/* Codes the next token of the stream, which shares no scale with others. */
static void put_coded(const Place *p, size_t token, const float *x) {
    const Coder *coder = &p->part->coder;
    if (coder->group_tokens)
        coder_encode_group(coder, p->kernels, x, coder->format.n, row_of(p, token),
                           scales_of(p, token));
    else
        coder_encode(coder, p->kernels, x, row_of(p, token));
}

/* The oldest of the window leave it. rows: room for a windowful by channel, else for one row. */
static void flush(Place *p, float *rows) {
    const Coding *c = p->coding;
    const Coder *coder = &p->part->coder;
    const size_t n = coder->format.n, group = coder->codec.group;
    if (!coder->by_channel) {
        get_exact(p, c->sinks + p->coded, rows);
        put_coded(p, p->coded, rows);
        p->coded++;
        return;
    }
    for (size_t i = 0; i < c->window; i++) get_exact(p, c->sinks + p->coded + i, rows + i * n);
    for (size_t i = 0; i < c->window; i += group)
        coder_encode_group(coder, p->kernels, rows + i * n, n, row_of(p, p->coded + i),
                           scales_of(p, p->coded + i));
    p->coded += c->window;
}

/* Takes one token's row, turned. */
static void take_row(Place *p, size_t token, const float *x, float *rows) {
    const Coding *c = p->coding;
    if (token < c->sinks) {
        put_exact(p, token, x);
    } else if (c->window) {
        if (token - c->sinks - p->coded == c->window) flush(p, rows);
        put_exact(p, token, x);
    } else {
        put_coded(p, token - c->sinks, x);
    }
}

/* Floats that taking a row needs: the row, turned, and what flush needs. */
static size_t work_floats(const Coding *c, const CodingPart *p) {
    return (1 + (p->coder.by_channel ? c->window : 1)) * p->coder.format.n;
}

/* Tokens from .. to-1 of a head of a part. */
static void take_rows(const Place *place, size_t first, size_t from, size_t to, const float *x,
                      float *work) {
    Place p = *place;
    const size_t n = p.part->coder.format.n, heads = p.coding->shape.kv_heads;
    for (size_t t = from; t < to; t++) {
        memcpy(work, x + (t * heads + p.head) * n, n * sizeof *work);
        rotation_apply(&p.part->rotation, work);
        rotation_apply(&p.part->rope, work + p.part->rotation.n);
        take_row(&p, first + t, work, work + n);
    }
}

Status coding_append(const Coding *coding, const Kernels *kernels, int threads,
                     const KvSequence *view, CodedRows *rows, size_t first, size_t tokens,
                     const float *k, const float *v, Error *err) {
    const size_t heads = coding->shape.kv_heads, parts = coding->shape.shared ? 1 : 2;
    const size_t floats =
        larger(work_floats(coding, &coding->key), work_floats(coding, &coding->value));
    /* Tokens follow each other through a window; else they are apart, in pieces. */
    const size_t pieces = coding->window ? 1 : smaller(tokens, larger(1, (size_t)threads));
    const size_t items = parts * heads * pieces;
    float *work = NULL;
    TRY(BUFFER(&work, items * floats, "work of a codec", err));
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (tokens > 1)
    for (size_t i = 0; i < items; i++) {
        const bool value = i / pieces >= heads;
        const size_t piece = i % pieces;
        const Place p = place_of(coding, value, kernels, view, rows, i / pieces % heads);
        take_rows(&p, first, tokens * piece / pieces, tokens * (piece + 1) / pieces, value ? v : k,
                  work + i * floats);
    }
    buffer_free(work);
    rows->keys = stream_after(coding, &coding->key, rows->keys, first + tokens);
    if (!coding->shape.shared)
        rows->values = stream_after(coding, &coding->value, rows->values, first + tokens);
    return OK;
}

/* ---- cutting, counting, turning ---- */

/* Cuts a part's stream to `rest` tokens; what is left of a group by channel goes to the window.
 * Tokens in the stream then. */
static size_t cut_stream(const Coding *c, bool value, const Kernels *kernels,
                         const KvSequence *view, const CodedRows *rows, size_t rest) {
    const Coder *coder = value ? &c->value.coder : &c->key.coder;
    const size_t whole = coder->by_channel ? rest / coder->codec.group * coder->codec.group : rest;
    float row[2 * CODER_VALUES_MOST]; /* a rotated key lies beside the channels */
    for (size_t g = 0; g < c->shape.kv_heads; g++) {
        const Place p = place_of(c, value, kernels, view, rows, g);
        for (size_t t = whole; t < rest; t++) {
            get_coded(&p, t, 1, row, coder->format.n);
            put_exact(&p, c->sinks + t, row);
        }
    }
    return whole;
}

void coding_truncate(const Coding *coding, const Kernels *kernels, const KvSequence *view,
                     CodedRows *rows, size_t tokens) {
    const size_t rest = tokens - smaller(tokens, coding->sinks);
    if (rest < rows->keys) rows->keys = cut_stream(coding, false, kernels, view, rows, rest);
    if (!coding->shape.shared && rest < rows->values)
        rows->values = cut_stream(coding, true, kernels, view, rows, rest);
}

static void add_payload(const Coding *c, const CodingPart *p, size_t coded, size_t tokens,
                        size_t *coded_bytes, size_t *exact_bytes) {
    const size_t group = p->coder.group_tokens ? p->coder.group_tokens : 1;
    *coded_bytes +=
        c->shape.kv_heads * (coded * p->coder.row_bytes + coded / group * p->coder.group_bytes);
    *exact_bytes += c->shape.kv_heads * (tokens - coded) * p->coder.format.n * HALF;
}

void coding_payload(const Coding *coding, const CodedRows *rows, size_t tokens, size_t *coded,
                    size_t *exact) {
    *coded = *exact = 0;
    add_payload(coding, &coding->key, rows->keys, tokens, coded, exact);
    if (!coding->shape.shared)
        add_payload(coding, &coding->value, rows->values, tokens, coded, exact);
}

bool coding_turns(const Coding *coding) {
    return coding->key.rotation.n > 0;
}

void coding_turn_queries(const Coding *coding, size_t n, float *q) {
    const size_t dim = coding->shape.key_dim;
#pragma omp parallel for if (n > 64)
    for (size_t i = 0; i < n; i++) {
        rotation_apply(&coding->key.rotation, q + i * dim);
        rotation_apply(&coding->key.rope, q + i * dim + coding->key.rotation.n);
    }
}

void coding_turn_outputs(const Coding *coding, size_t n, float *out) {
    const Rotation *r = coding->shape.shared ? &coding->key.rotation : &coding->value.rotation;
#pragma omp parallel for if (n > 64)
    for (size_t i = 0; i < n; i++) rotation_undo(r, out + i * coding->shape.value_dim);
}
