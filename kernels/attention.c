/* attention.c -- the driver of attention: cuts the work into items, walks the tiles of each,
 * merges.
 *
 *   block   the rows of a block are (query token, head of the group) pairs of one kv head: they all
 *           look at the same cached rows. For absorbed MLA that is all heads of a query token.
 *   chunk   a stretch of the context that a block looks at; more than one where blocks alone would
 *           be too few or too unequal to keep many cores busy.
 *   item    a block and a chunk: what one thread takes at a time.
 *   tile    as many cached tokens as fit the second cache as floats. Scores, online softmax and
 *           weighted values run tile by tile; nothing of the size of the context is ever stored.
 *
 * When a block has rows enough to pay for it the cached rows of a tile are decoded to floats once
 * and serve all rows; otherwise the kernels read them where they lie, in their stored type.
 *
 * How work is cut depends on shapes alone. Each item is computed by one thread in one order, and
 * partial results of the chunks are merged in order: any number of threads gives the same bits. */
#include "attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum {
    LINE_BYTES = 64, /* a cache line */
    FLOATS_OF_LINE = LINE_BYTES / sizeof(float),
    TILE_BYTES = 224 * 1024,  /* of decoded rows: with a block's queries within the second cache */
    TILE_TOKENS_STEP = 24,    /* a multiple of the kernels' token groups and vectors */
    TILE_TOKENS_MAX = 96,     /* scores of a block stay in the first cache */
    QUERY_BYTES = 160 * 1024, /* of the query rows of a block */
    BLOCK_ROWS_MAX = 64,      /* more would waste on the diagonal of a prefill */
    BLOCK_ROWS_MIN = 8,
    DECODE_ROWS = 8,        /* from so many rows on a tile is decoded once for all of them */
    DIAGONAL_ROWS = 12,     /* rows that share one bound on the diagonal */
    DIRECT_TOKENS = 32,     /* of a tile read where it lies: it and the next fit the first cache */
    PIECE_TOKENS = 8,       /* of such a tile between two requests to memory */
    CHUNK_TOKENS_MIN = 512, /* shorter chunks would be dearer to merge than to compute */
    ITEMS_WANTED = 64
};

/* Rows of a decoded tile. */
static const RowFormat float_rows = { .type = ROW_F32 };

/* How a call is cut and where things lie in a thread's workspace (offsets in floats). */
typedef struct {
    size_t group;                                       /* query heads of a kv head */
    size_t block_rows;                                  /* at most */
    size_t tile;                                        /* tokens, at most */
    size_t chunk;                                       /* tokens, at most */
    size_t k_ld, v_ld;                                  /* padded widths of a key and a value row */
    size_t o, s, max, sum, keys, values, thread_floats; /* queries lie at 0 */
} Plan;

/* One block while walking over all of them in order, with what has gone before it. */
typedef struct {
    size_t sequence, head, first; /* first of its rows, out of q_tokens * group */
    size_t rows;                  /* 0 at the end */
    size_t visible;               /* tokens that its last row sees */
    size_t chunks, chunk_tokens;
    size_t query;      /* query tokens of the sequences before */
    size_t first_item; /* items before */
    size_t part;       /* floats of partial results before */
} Block;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}
static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* Rows an odd number of cache lines apart spread over all sets of the first cache. */
static size_t padded(size_t floats) {
    return (ceil_div(floats, FLOATS_OF_LINE) | 1) * FLOATS_OF_LINE;
}

KvLayout kv_layout(KvType type, size_t kv_heads, size_t dk, size_t dv, bool v_in_k,
                   size_t block_tokens) {
    KvLayout layout = { .kv_heads = kv_heads, .dk = dk, .dv = dv, .v_in_k = v_in_k };
    layout.k = v_in_k ? row_format_latent(type.k, dv, dk - dv) : row_format(type.k, dk);
    layout.v = v_in_k ? layout.k : row_format(type.v, dv);
    layout.block_tokens = block_tokens;
    layout.k_row = row_bytes(layout.k);
    layout.k_head = block_tokens * layout.k_row;
    layout.block_bytes = kv_heads * layout.k_head;
    if (v_in_k) {
        layout.v_row = layout.k_row;
        layout.v_head = layout.k_head;
        return layout;
    }
    layout.v_offset = layout.block_bytes;
    layout.v_row = row_bytes(layout.v);
    layout.v_head = block_tokens * layout.v_row;
    layout.block_bytes += kv_heads * layout.v_head;
    return layout;
}

/* How many of the sequence's cached tokens its query token t sees. */
static size_t visible_tokens(const KvSequence *s, size_t t) {
    const size_t end = s->q_position + t + 1;
    return end <= s->position ? 0 : smaller(end - s->position, s->tokens);
}

/* ---- the plan ---- */

static size_t sequence_rows(const Attention *a, const Plan *plan, size_t sequence) {
    return a->sequence[sequence].q_tokens * plan->group;
}

/* Completes a block whose sequence, head and first row are set. */
static void block_measure(const Attention *a, const Plan *plan, Block *b) {
    b->rows = smaller(plan->block_rows, sequence_rows(a, plan, b->sequence) - b->first);
    const size_t last_token = (b->first + b->rows - 1) / plan->group;
    b->visible = visible_tokens(&a->sequence[b->sequence], last_token);
    b->chunks = larger(1, ceil_div(b->visible, plan->chunk));
    b->chunk_tokens = ceil_div(b->visible, b->chunks);
}

/* Goes to the next sequence that has queries, this one included. */
static void block_enter(const Attention *a, const Plan *plan, Block *b) {
    for (; b->sequence < a->sequences; b->sequence++) {
        if (sequence_rows(a, plan, b->sequence)) {
            block_measure(a, plan, b);
            return;
        }
    }
    b->rows = 0;
}

static Block block_begin(const Attention *a, const Plan *plan) {
    Block b = { 0 };
    block_enter(a, plan, &b);
    return b;
}

/* A part is the rows of a chunk's result and their log-sum-exp. */
static size_t part_floats(const Attention *a, const Block *b) {
    return b->rows * (a->layout.dv + 1);
}

static void block_next(const Attention *a, const Plan *plan, Block *b) {
    b->first_item += b->chunks;
    if (b->chunks > 1) b->part += b->chunks * part_floats(a, b);
    b->first += b->rows;
    if (b->first == sequence_rows(a, plan, b->sequence)) {
        b->first = 0;
        if (++b->head == a->layout.kv_heads) {
            b->head = 0;
            b->query += a->sequence[b->sequence++].q_tokens;
            block_enter(a, plan, b);
            return;
        }
    }
    block_measure(a, plan, b);
}

static void place_workspace(const Attention *a, Plan *plan) {
    const size_t line = FLOATS_OF_LINE;
    size_t at = plan->block_rows * plan->k_ld;
    plan->o = at, at += plan->block_rows * plan->v_ld;
    plan->s = at, at += ceil_div(plan->block_rows * plan->tile, line) * line;
    plan->max = at, at += ceil_div(plan->block_rows, line) * line;
    plan->sum = at, at += ceil_div(plan->block_rows, line) * line;
    plan->keys = at, at += plan->tile * plan->k_ld;
    plan->values = a->layout.v_in_k ? plan->keys : at;
    if (!a->layout.v_in_k) at += plan->tile * plan->v_ld;
    plan->thread_floats = at;
}

static Plan make_plan(const Attention *a) {
    const KvLayout *l = &a->layout;
    Plan plan = { .group = a->heads / l->kv_heads, .k_ld = padded(l->dk), .v_ld = padded(l->dv) };
    const size_t floats = plan.k_ld + (l->v_in_k ? 0 : plan.v_ld);
    const size_t steps = TILE_BYTES / (floats * sizeof(float) * TILE_TOKENS_STEP);
    plan.tile = smaller(larger(steps, 1) * TILE_TOKENS_STEP, TILE_TOKENS_MAX);

    size_t most_rows = 1;
    for (size_t i = 0; i < a->sequences; i++)
        most_rows = larger(most_rows, sequence_rows(a, &plan, i));
    plan.block_rows = BLOCK_ROWS_MAX;
    while (plan.block_rows > BLOCK_ROWS_MIN &&
           plan.block_rows * plan.k_ld * sizeof(float) > QUERY_BYTES)
        plan.block_rows /= 2;
    plan.block_rows = smaller(plan.block_rows, most_rows);

    plan.chunk = SIZE_MAX;
    size_t total = 0;
    for (Block b = block_begin(a, &plan); b.rows; block_next(a, &plan, &b)) total += b.visible;
    plan.chunk = larger(CHUNK_TOKENS_MIN, ceil_div(total, ITEMS_WANTED));
    place_workspace(a, &plan);
    return plan;
}

/* ---- an item ---- */

typedef struct {
    const Kernels *kernels;
    const Attention *a;
    const Plan *plan;
    const Block *block;
    float *work; /* this thread's */
} Item;

static const unsigned char *block_of(const Item *item, size_t token) {
    const KvSequence *s = &item->a->sequence[item->block->sequence];
    const KvLayout *l = &item->a->layout;
    return s->pool + (size_t)s->table[token / l->block_tokens] * l->block_bytes;
}

static const unsigned char *key_row(const Item *item, size_t token) {
    const KvLayout *l = &item->a->layout;
    return block_of(item, token) + l->k_offset + item->block->head * l->k_head +
           token % l->block_tokens * l->k_row;
}

static const unsigned char *value_row(const Item *item, size_t token) {
    const KvLayout *l = &item->a->layout;
    return block_of(item, token) + l->v_offset + item->block->head * l->v_head +
           token % l->block_tokens * l->v_row;
}

/* Where row r of the block lies among the rows of q, out and lse, in rows. */
static size_t global_row(const Item *item, size_t r) {
    const size_t row = item->block->first + r, group = item->plan->group;
    const size_t token = item->block->query + row / group;
    return token * item->a->heads + item->block->head * group + row % group;
}

static void load_queries(const Item *item) {
    const size_t dk = item->a->layout.dk;
    for (size_t r = 0; r < item->block->rows; r++)
        memcpy(item->work + r * item->plan->k_ld, item->a->q + global_row(item, r) * dk,
               dk * sizeof(float));
}

/* The tile's rows as floats, keys and values. */
static void decode_tile(const Item *item, size_t from, size_t n) {
    const KvLayout *l = &item->a->layout;
    float *keys = item->work + item->plan->keys, *values = item->work + item->plan->values;
    if (l->coding) {
        l->coding->decode(l->coding, item->kernels, &item->a->sequence[item->block->sequence],
                          item->block->head, from, n, keys, item->plan->k_ld, values,
                          item->plan->v_ld);
        return;
    }
    for (size_t j = 0; j < n; j++)
        item->kernels->decode[l->k.type](&l->k, l->dk, key_row(item, from + j),
                                         keys + j * item->plan->k_ld);
    for (size_t j = 0; j < n && !l->v_in_k; j++)
        item->kernels->decode[l->v.type](&l->v, l->dv, value_row(item, from + j),
                                         values + j * item->plan->v_ld);
}

/* The tokens from `token` on that lie in the same block, at most n. */
static size_t run_length(const Item *item, size_t token, size_t n) {
    const size_t block_tokens = item->a->layout.block_tokens;
    return smaller(n, block_tokens - token % block_tokens);
}

/* The same of a piece of a tile read where it lies. */
static size_t piece_length(const Item *item, size_t token, size_t n) {
    return run_length(item, token, smaller(n, PIECE_TOKENS));
}

/* Asks for rows that a later piece reads. Keys and values of a head lie in runs of a block each: no
 * cache foresees the jump from one to the next. So while a piece of keys is scored the values of
 * its tokens are on their way, and while these are summed the keys of the next tile. */
static void prefetch(const unsigned char *rows, size_t bytes) {
    for (size_t at = 0; at < bytes; at += LINE_BYTES) __builtin_prefetch(rows + at);
}

/* Scores of some rows of the block against n tokens, from the decoded tile or where they lie. */
static void tile_scores(const Item *item, size_t row, size_t rows, size_t from, size_t n,
                        bool decoded) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    const float *q = item->work + row * plan->k_ld;
    float *s = item->work + plan->s + row * plan->tile;
    if (decoded) {
        item->kernels->scores[ROW_F32](&float_rows, rows, n, l->dk, q, plan->k_ld,
                                       item->work + plan->keys, plan->k_ld * sizeof(float), s,
                                       plan->tile);
        return;
    }
    for (size_t j = 0, run; j < n; j += run) {
        run = piece_length(item, from + j, n - j);
        if (!l->v_in_k) prefetch(value_row(item, from + j), run * l->v_row);
        item->kernels->scores[l->k.type](&l->k, rows, run, l->dk, q, plan->k_ld,
                                         key_row(item, from + j), l->k_row, s + j, plan->tile);
    }
}

static void tile_values(const Item *item, size_t row, size_t rows, size_t from, size_t n,
                        bool decoded) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    const float *p = item->work + plan->s + row * plan->tile;
    float *o = item->work + plan->o + row * plan->v_ld;
    if (decoded) {
        const size_t ld = l->v_in_k ? plan->k_ld : plan->v_ld;
        item->kernels->values[ROW_F32](&float_rows, rows, n, l->dv, p, plan->tile,
                                       item->work + plan->values, ld * sizeof(float), o,
                                       plan->v_ld);
        return;
    }
    for (size_t j = 0, run; j < n; j += run) {
        run = piece_length(item, from + j, n - j);
        const size_t ahead = from + j + n;
        if (ahead < item->block->visible)
            prefetch(key_row(item, ahead), piece_length(item, ahead, run) * l->k_row);
        item->kernels->values[l->v.type](&l->v, rows, run, l->dv, p + j, plan->tile,
                                         value_row(item, from + j), l->v_row, o, plan->v_ld);
    }
}

/* How many of the n tokens from `from` on row r of the block sees. */
static size_t row_sees(const Item *item, size_t r, size_t from, size_t n) {
    const size_t token = (item->block->first + r) / item->plan->group;
    const size_t visible = visible_tokens(&item->a->sequence[item->block->sequence], token);
    return visible <= from ? 0 : smaller(visible - from, n);
}

/* Some rows of the block over the n tokens from `from` on, of which the last row sees all. */
static void attend(const Item *item, size_t row, size_t rows, size_t from, size_t n, bool decoded) {
    const Plan *plan = item->plan;
    tile_scores(item, row, rows, from, n, decoded);
    for (size_t r = row; r < row + rows; r++) {
        float *s = item->work + plan->s + r * plan->tile;
        for (size_t j = row_sees(item, r, from, n); j < n; j++) s[j] = -INFINITY;
        const float factor = item->kernels->softmax_step(
            n, item->a->scale, s, item->work + plan->max + r, item->work + plan->sum + r);
        if (factor != 1.0f)
            item->kernels->scale(item->a->layout.dv, factor, item->work + plan->o + r * plan->v_ld);
    }
    tile_values(item, row, rows, from, n, decoded);
}

/* The whole block over one tile. Where the causal diagonal runs through it, few rows at a time
 * share the bound of the last of them, so that little is computed to be masked. */
static void attend_tile(const Item *item, size_t from, size_t n, bool decoded) {
    const size_t rows = item->block->rows;
    if (row_sees(item, 0, from, n) == n) {
        attend(item, 0, rows, from, n, decoded);
        return;
    }
    for (size_t row = 0; row < rows; row += DIAGONAL_ROWS) {
        const size_t count = smaller(DIAGONAL_ROWS, rows - row);
        const size_t seen = row_sees(item, row + count - 1, from, n);
        if (seen) attend(item, row, count, from, seen, decoded);
    }
}

/* Divides by the sums and writes a row of the result: out and lse of row r. */
static void finish_row(const Item *item, size_t r, float *out, float *lse) {
    const size_t dv = item->a->layout.dv;
    float *o = item->work + item->plan->o + r * item->plan->v_ld;
    const float max = item->work[item->plan->max + r], sum = item->work[item->plan->sum + r];
    const bool blind = max == -INFINITY && sum == 0;
    item->kernels->scale(dv, blind ? 0.0f : 1 / sum, o);
    memcpy(out, o, dv * sizeof(float));
    if (lse) *lse = blind ? -INFINITY : max + logf(sum);
}

/* Computes one chunk of a block: into the caller's arrays when it is the only one, else into the
 * block's parts: [chunks][rows][dv], then [chunks][rows] log-sum-exp. */
static void run_item(const Item *item, size_t chunk, float *parts) {
    const Attention *a = item->a;
    const Plan *plan = item->plan;
    const Block *b = item->block;
    const size_t dv = a->layout.dv;
    load_queries(item);
    memset(item->work + plan->o, 0, b->rows * plan->v_ld * sizeof(float));
    for (size_t r = 0; r < b->rows; r++) {
        item->work[plan->max + r] = -INFINITY;
        item->work[plan->sum + r] = 0;
    }
    const bool decoded = b->rows >= DECODE_ROWS || a->layout.coding;
    const size_t begin = smaller(chunk * b->chunk_tokens, b->visible);
    const size_t end = smaller(begin + b->chunk_tokens, b->visible);
    const size_t tile = decoded ? plan->tile : smaller(plan->tile, DIRECT_TOKENS);
    for (size_t from = begin, n; from < end; from += n) {
        n = smaller(tile, end - from);
        if (decoded) decode_tile(item, from, n);
        attend_tile(item, from, n, decoded);
    }
    float *lse_parts = parts + b->part + b->chunks * b->rows * dv;
    for (size_t r = 0; r < b->rows; r++) {
        const size_t row = b->chunks > 1 ? chunk * b->rows + r : global_row(item, r);
        if (b->chunks > 1)
            finish_row(item, r, parts + b->part + row * dv, lse_parts + row);
        else
            finish_row(item, r, a->out + row * dv, a->lse ? a->lse + row : NULL);
    }
}

void attention_merge(size_t rows, size_t dv, float *out, float *lse, const float *part_out,
                     const float *part_lse) {
    for (size_t r = 0; r < rows; r++) {
        if (part_lse[r] == -INFINITY) continue;
        const float high = lse[r] > part_lse[r] ? lse[r] : part_lse[r];
        const float mine = expf(lse[r] - high), other = expf(part_lse[r] - high);
        const float sum = mine + other;
        const float keep = mine / sum, add = other / sum;
        float *o = out + r * dv;
        const float *p = part_out + r * dv;
        for (size_t d = 0; d < dv; d++) o[d] = keep * o[d] + add * p[d];
        lse[r] = high + logf(sum);
    }
}

/* Merges the parts of a block in order and writes its rows. */
static void merge_block(const Item *item, float *parts) {
    const Attention *a = item->a;
    const Block *b = item->block;
    const size_t dv = a->layout.dv, rows = b->rows;
    float *out = parts + b->part, *lse = out + b->chunks * rows * dv;
    for (size_t c = 1; c < b->chunks; c++)
        attention_merge(rows, dv, out, lse, out + c * rows * dv, lse + c * rows);
    for (size_t r = 0; r < rows; r++) {
        const size_t row = global_row(item, r);
        memcpy(a->out + row * dv, out + r * dv, dv * sizeof(float));
        if (a->lse) a->lse[row] = lse[r];
    }
}

/* ---- the call ---- */

/* Items and floats of partial results of the whole call: where the walk over the blocks ends. */
static Block block_end(const Attention *a, const Plan *plan) {
    Block b = block_begin(a, plan);
    while (b.rows) block_next(a, plan, &b);
    return b;
}

size_t attention_workspace(const Attention *a, int threads) {
    const Plan plan = make_plan(a);
    const size_t workers = threads > 1 ? (size_t)threads : 1;
    return workers * plan.thread_floats + block_end(a, &plan).part;
}

void attention_run(const Kernels *kernels, const Attention *a, int threads, float *workspace) {
    const Plan plan = make_plan(a);
    const Block end = block_end(a, &plan);
    const int workers = threads > 1 ? threads : 1;
    float *parts = workspace + (size_t)workers * plan.thread_floats;

#pragma omp parallel num_threads(workers)
    {
        Item item = { .kernels = kernels, .a = a, .plan = &plan };
        item.work = workspace + (size_t)omp_get_thread_num() * plan.thread_floats;
        /* A thread is given its items in growing order, so its walk only goes forward. */
        Block b = block_begin(a, &plan);
        item.block = &b;
#pragma omp for schedule(monotonic : dynamic, 1)
        for (size_t i = 0; i < end.first_item; i++) {
            while (i >= b.first_item + b.chunks) block_next(a, &plan, &b);
            run_item(&item, i - b.first_item, parts);
        }
        b = block_begin(a, &plan);
#pragma omp for schedule(monotonic : dynamic, 1)
        for (size_t i = 0; i < end.first_item; i++) {
            while (i >= b.first_item + b.chunks) block_next(a, &plan, &b);
            if (b.chunks > 1 && i == b.first_item) merge_block(&item, parts);
        }
    }
}

Cost attention_cost(const Attention *a) {
    const KvLayout *l = &a->layout;
    const double heads = (double)a->heads, kv_heads = (double)l->kv_heads;
    const double row = (double)row_bytes(l->k) + (l->v_in_k ? 0 : (double)row_bytes(l->v));
    const double token = l->coding ? l->coding->token_bytes : kv_heads * row;
    Cost cost = { 0 };
    for (size_t i = 0; i < a->sequences; i++) {
        const KvSequence *s = &a->sequence[i];
        double pairs = 0;
        for (size_t t = 0; t < s->q_tokens; t++) pairs += (double)visible_tokens(s, t);
        const double seen = s->q_tokens ? (double)visible_tokens(s, s->q_tokens - 1) : 0;
        cost.flops += 2 * (double)(l->dk + l->dv) * heads * pairs;
        cost.bytes +=
            token * seen + (double)s->q_tokens * heads * (double)(l->dk + l->dv) * sizeof(float);
    }
    return cost;
}
