/* cases.c -- shapes, and the sweeps over them that make the list of cases; see cases.h.
 *
 * A sweep is a shape, a phase, a set of row types, lengths and batches; the list is all their
 * products in order. Decode and projections are read from memory (the measuring side keeps more of
 * them than the last cache holds); prefill and absorbed decode are bound by arithmetic. Prefill at
 * DeepSeek's widths runs 16 of its heads: heads are independent and a call of all 128 takes
 * seconds. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

enum { K = 1024, LENGTHS_MOST = 7, BATCHES_MOST = 4, RAGGED_BATCH = 8 };

typedef struct {
    const char *name, *kind, *path;
    size_t heads, kv_heads, dk, dv, rank, rope;
} Shape;

/* What the cache of a latent is read as: one head of C + R whose first C are the value. */
static const Shape v3_absorbed = { "mla-v3", "mla", "absorbed", 128, 1, 576, 512, 512, 64 };
static const Shape v2_lite_absorbed = {
    "mla-v2-lite", "mla", "absorbed", 16, 1, 576, 512, 512, 64
};
static const Shape cpm3_absorbed = { "mla-minicpm3", "mla", "absorbed", 40, 1, 288, 256, 256, 32 };
static const Shape v3_materialised = { "mla-v3", "mla", "materialised", 128, 128, 192, 128, 0, 0 };
static const Shape v2_lite_materialised = {
    "mla-v2-lite", "mla", "materialised", 16, 16, 192, 128, 0, 0
};
static const Shape v2_lite_expanded = {
    "mla-v2-lite", "mla", "expanded", 16, 16, 192, 128, 512, 64
};
static const Shape gqa_32 = { "gqa-32-8-128", "gqa", "materialised", 32, 8, 128, 128, 0, 0 };
static const Shape gqa_64 = { "gqa-64-8-128", "gqa", "materialised", 64, 8, 128, 128, 0, 0 };
static const Shape mha_32 = { "mha-32-32-128", "mha", "materialised", 32, 32, 128, 128, 0, 0 };
static const Shape mqa_32 = { "mqa-32-1-128", "mqa", "materialised", 32, 1, 128, 128, 0, 0 };

/* in, then out: the joint projection into DeepSeek-V3's latents, and a square one. */
static const Shape v3_down = { "mla-v3-2112x7168", "projection", NULL, 0, 0, 7168, 2112, 0, 0 };
static const Shape llama_out = { "llama-4096x4096", "projection", NULL, 0, 0, 4096, 4096, 0, 0 };

static const Shape latent_row = { "latent-512+64", "codec", NULL, 0, 0, 576, 0, 512, 64 };
static const Shape head_row = { "head-128", "codec", NULL, 0, 0, 128, 0, 0, 0 };

/* Widths that no vector divides. */
static const Shape odd_heads = { "odd-6-2-33-31", "gqa", "materialised", 6, 2, 33, 31, 0, 0 };
static const Shape odd_latent = { "odd-9-45+10", "mla", "absorbed", 9, 1, 55, 45, 45, 10 };
static const Shape odd_expanded = { "odd-3-45+10", "mla", "expanded", 3, 3, 31, 19, 45, 10 };
static const Shape odd_projection = { "odd-37x131", "projection", NULL, 0, 0, 131, 37, 0, 0 };
static const Shape odd_row = { "odd-67", "codec", NULL, 0, 0, 67, 0, 0, 0 };

/* Sets of row types. */
#define BIT(type) (1 << (type))
enum {
    BF16 = BIT(ROW_BF16),
    FLOATS = BIT(ROW_F32) | BF16,
    MAIN_TYPES = FLOATS | BIT(ROW_F16) | BIT(ROW_FP8) | BIT(ROW_INT8),
    LATENT_TYPES = BIT(ROW_TYPE_COUNT) - 1,
    HEAD_TYPES = LATENT_TYPES & ~BIT(ROW_FP8_DS_MLA),
    SMALL_TYPES = HEAD_TYPES & ~MAIN_TYPES
};

typedef enum { DECODE, PREFILL, PROJECT, ENCODE_ROWS, DECODE_ROWS } CasePhase;

static const struct {
    const char *name;
    CaseWork work;
} phases[] = {
    [DECODE] = { "decode", WORK_ATTENTION },        [PREFILL] = { "prefill", WORK_ATTENTION },
    [PROJECT] = { "project", WORK_PROJECTION },     [ENCODE_ROWS] = { "encode_rows", WORK_ENCODE },
    [DECODE_ROWS] = { "decode_rows", WORK_DECODE },
};

typedef struct {
    const Shape *shape;
    CasePhase phase;
    int types;
    size_t lengths[LENGTHS_MOST]; /* S; M of a projection */
    size_t batches[BATCHES_MOST]; /* none: one sequence */
    bool ragged;
    bool check_only;
} Sweep;

static const Sweep sweeps[] = {
    { &v3_absorbed,
      DECODE,
      MAIN_TYPES | BIT(ROW_FP8_DS_MLA),
      { 4 * K, 8 * K, 16 * K, 32 * K },
      { 0 },
      0,
      0 },
    { &v3_absorbed, DECODE, SMALL_TYPES, { 4 * K, 32 * K }, { 0 }, 0, 0 },
    { &v3_absorbed, DECODE, BF16, { 64 * K }, { 0 }, 0, 0 },
    { &v3_absorbed, DECODE, BF16, { 4 * K }, { 8, 64 }, 0, 0 },
    { &v3_absorbed, DECODE, BF16, { 8 * K }, { RAGGED_BATCH }, 1, 0 },
    { &v2_lite_absorbed, DECODE, LATENT_TYPES, { 4 * K, 32 * K }, { 0 }, 0, 0 },
    { &cpm3_absorbed, DECODE, LATENT_TYPES & ~BIT(ROW_NVFP4), { 4 * K, 32 * K }, { 0 }, 0, 0 },
    { &gqa_32, DECODE, HEAD_TYPES, { 8 * K, 32 * K }, { 0 }, 0, 0 },
    { &gqa_32, DECODE, BF16, { 4 * K, 16 * K, 64 * K }, { 0 }, 0, 0 },
    { &gqa_32, DECODE, BF16, { 4 * K }, { 8, 64 }, 0, 0 },
    { &gqa_32, DECODE, BF16, { 8 * K }, { RAGGED_BATCH }, 1, 0 },
    { &gqa_64, DECODE, HEAD_TYPES, { 8 * K, 32 * K }, { 0 }, 0, 0 },
    { &gqa_64, DECODE, BF16, { 16 * K }, { 0 }, 0, 0 },
    { &mha_32, DECODE, HEAD_TYPES, { 8 * K }, { 0 }, 0, 0 },
    { &mha_32, DECODE, BF16, { 4 * K, 16 * K, 32 * K, 64 * K }, { 0 }, 0, 0 },
    { &mha_32, DECODE, BF16, { 2 * K }, { 1, 8, 64 }, 0, 0 },
    { &v3_materialised, DECODE, MAIN_TYPES, { 8 * K }, { 0 }, 0, 0 },
    { &v3_materialised, DECODE, BF16, { 16 * K, 32 * K }, { 0 }, 0, 0 },
    { &mqa_32, DECODE, HEAD_TYPES, { 8 * K, 32 * K }, { 0 }, 0, 0 },
    { &mha_32, PREFILL, FLOATS, { 2 * K, 4 * K }, { 0 }, 0, 0 },
    { &gqa_32, PREFILL, FLOATS, { 2 * K, 4 * K }, { 0 }, 0, 0 },
    { &gqa_32, PREFILL, MAIN_TYPES & ~FLOATS, { 2 * K }, { 0 }, 0, 0 },
    { &v2_lite_materialised, PREFILL, FLOATS, { 2 * K, 4 * K }, { 0 }, 0, 0 },
    { &v2_lite_expanded, PREFILL, FLOATS, { 2 * K, 4 * K }, { 0 }, 0, 0 },
    { &v2_lite_absorbed, PREFILL, FLOATS, { 2 * K }, { 0 }, 0, 0 },
    { &v2_lite_absorbed, PREFILL, BF16, { 4 * K }, { 0 }, 0, 0 },
    { &v3_down, PROJECT, FLOATS, { 1, 2, 4, 8, 16, 32, 64 }, { 0 }, 0, 0 },
    { &llama_out, PROJECT, FLOATS, { 1, 2, 4, 8, 16, 32, 64 }, { 0 }, 0, 0 },
    { &latent_row, ENCODE_ROWS, LATENT_TYPES, { 64 * K }, { 0 }, 0, 0 },
    { &latent_row, DECODE_ROWS, LATENT_TYPES, { 64 * K }, { 0 }, 0, 0 },
    { &head_row, ENCODE_ROWS, HEAD_TYPES, { 256 * K }, { 0 }, 0, 0 },
    { &head_row, DECODE_ROWS, HEAD_TYPES, { 256 * K }, { 0 }, 0, 0 },
    { &odd_heads, DECODE, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
    { &odd_heads, PREFILL, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
    { &odd_latent, DECODE, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
    { &odd_latent, PREFILL, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
    { &odd_expanded, PREFILL, FLOATS, { 1 * K }, { 0 }, 0, 1 },
    { &odd_projection, PROJECT, FLOATS, { 1, 3, 13, 33 }, { 0 }, 0, 1 },
    { &odd_row, ENCODE_ROWS, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
    { &odd_row, DECODE_ROWS, MAIN_TYPES, { 1 * K }, { 0 }, 0, 1 },
};
enum { SWEEPS = sizeof sweeps / sizeof *sweeps };

static size_t type_count(const Sweep *s) {
    size_t count = 0;
    for (int type = 0; type < ROW_TYPE_COUNT; type++) count += s->types >> type & 1u;
    return count;
}

static RowType type_at(const Sweep *s, size_t i) {
    int type = 0;
    while (!(s->types >> type & 1) || i--) type++;
    return (RowType)type;
}

/* Entries before the first 0. */
static size_t used(const size_t *values, size_t most) {
    size_t count = 0;
    while (count < most && values[count]) count++;
    return count;
}

static size_t batch_count(const Sweep *s) {
    const size_t given = used(s->batches, BATCHES_MOST);
    return given ? given : 1;
}

static size_t sweep_cases(const Sweep *s) {
    return type_count(s) * used(s->lengths, LENGTHS_MOST) * batch_count(s);
}

static Case make_case(const Sweep *s, RowType type, size_t length, size_t batch) {
    const Shape *shape = s->shape;
    const bool rebuilt = shape->path && strcmp(shape->path, "expanded") == 0;
    Case c = { .work = rebuilt ? WORK_EXPANDED : phases[s->phase].work,
               .kind = shape->kind,
               .shape = shape->name,
               .path = shape->path,
               .phase = phases[s->phase].name,
               .type = type,
               .heads = shape->heads,
               .kv_heads = shape->kv_heads,
               .dk = shape->dk,
               .dv = shape->dv,
               .rank = shape->rank,
               .rope = shape->rope,
               .batch = batch,
               .ragged = s->ragged,
               .check_only = s->check_only };
    if (s->phase == PROJECT) {
        c.q_tokens = length;
        return c;
    }
    c.kv_tokens = length;
    if (shape->heads) c.q_tokens = s->phase == PREFILL ? length : 1;
    return c;
}

size_t case_count(void) {
    size_t count = 0;
    for (size_t i = 0; i < SWEEPS; i++) count += sweep_cases(&sweeps[i]);
    return count;
}

Case case_at(size_t i) {
    const Sweep *s = sweeps;
    for (; i >= sweep_cases(s); s++) i -= sweep_cases(s);
    const size_t batches = batch_count(s), lengths = used(s->lengths, LENGTHS_MOST);
    const size_t batch = s->batches[i % batches];
    return make_case(s, type_at(s, i / batches / lengths), s->lengths[i / batches % lengths],
                     batch ? batch : 1);
}

/* 4096 as 4k. */
static void length_text(size_t length, char *text, size_t size) {
    if (length >= K && length % K == 0)
        snprintf(text, size, "%zuk", length / K);
    else
        snprintf(text, size, "%zu", length);
}

void case_name(const Case *c, char *name, size_t size) {
    char length[32], batch[32] = "";
    const bool names_path = strcmp(c->kind, "mla") == 0;
    if (c->work == WORK_PROJECTION)
        snprintf(length, sizeof length, "m%zu", c->q_tokens);
    else
        length_text(c->kv_tokens, length, sizeof length);
    if (c->ragged)
        snprintf(batch, sizeof batch, "/ragged%zu", c->batch);
    else if (c->batch > 1)
        snprintf(batch, sizeof batch, "/b%zu", c->batch);
    snprintf(name, size, "%s/%s%s%s/%s/%s%s", c->phase, c->shape, names_path ? "/" : "",
             names_path ? c->path : "", row_type_name(c->type), length, batch);
}

size_t case_tokens(const Case *c, size_t s) {
    return c->ragged ? c->kv_tokens * (s + 1) / c->batch : c->kv_tokens;
}

bool case_is_cold(const Case *c) {
    return strcmp(c->phase, "prefill") != 0;
}

KvLayout case_layout(const Case *c, size_t block_tokens) {
    if (c->rank)
        return kv_layout(kv_type(c->type), 1, c->rank + c->rope, c->rank, true, block_tokens);
    return kv_layout(kv_type(c->type), c->kv_heads, c->dk, c->dv, false, block_tokens);
}

RowFormat case_row_format(const Case *c) {
    return c->rank ? row_format_latent(c->type, c->rank, c->rope) : row_format(c->type, c->dk);
}

size_t case_row_bytes(const Case *c) {
    if (!c->heads) return row_bytes(case_row_format(c));
    const KvLayout l = case_layout(c, 1);
    return l.block_bytes;
}

/* ---- costs ---- */

/* Pairs of a query token and a row that it sees, when the query tokens are the last of `held`. */
static double visible_pairs(double held, double queries) {
    return queries * (held - queries) + queries * (queries + 1) / 2;
}

static Cost attention_least(const Case *c) {
    const double width = (double)(c->dk + c->dv), heads = (double)c->heads;
    const double queries = (double)c->q_tokens;
    Cost cost = { 0 };
    for (size_t s = 0; s < c->batch; s++) {
        const double held = (double)case_tokens(c, s);
        cost.flops += 2 * width * heads * visible_pairs(held, queries);
        cost.bytes +=
            held * (double)case_row_bytes(c) + queries * heads * width * (double)sizeof(float);
        if (c->work == WORK_EXPANDED)
            cost.flops += 2 * (double)c->rank * heads * (width - (double)c->rope) * held;
    }
    if (c->work == WORK_EXPANDED)
        cost.bytes += (double)c->rank * heads * (width - (double)c->rope) * (double)sizeof(float);
    return cost;
}

static Cost projection_least(const Case *c) {
    const double in = (double)c->dk, out = (double)c->dv, rows = (double)c->q_tokens;
    return (Cost){ .flops = 2 * rows * in * out,
                   .bytes = (double)case_row_bytes(c) * out +
                            rows * (in + out) * (double)sizeof(float) };
}

static Cost codec_least(const Case *c) {
    const double rows = (double)c->kv_tokens;
    Cost cost = { .bytes = rows * (double)case_row_bytes(c) };
    if (c->work == WORK_ENCODE) cost.bytes += rows * (double)c->dk * (double)sizeof(float);
    return cost;
}

Cost case_cost(const Case *c) {
    switch (c->work) {
    case WORK_PROJECTION:
        return projection_least(c);
    case WORK_ENCODE:
    case WORK_DECODE:
        return codec_least(c);
    default:
        return attention_least(c);
    }
}
