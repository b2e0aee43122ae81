/* attention_plan.c -- how a call is cut into items.
 *
 *   block   query rows that look at the same cached rows: (query token, head of the group) pairs of
 *           one kv head. For absorbed MLA that is all heads of a query token. Where heads have
 *           one row each, as in decode of MHA, some of them that lie side by side in memory.
 *   chunk   a stretch of the context that a block looks at; more than one where blocks alone would
 *           be too few or too unequal to keep many cores busy.
 *   item    a block and a chunk: what one thread takes at a time.
 *
 * The cut depends on shapes alone, never on the number of threads. */
#include "attention_parts.h"

enum {
    FLOATS_OF_LINE = 16,
    CHUNK_STEP = 32,        /* chunks are alike to so many tokens */
    CHUNK_TOKENS = 1024,    /* shorter chunks cost a few percent of their work to merge, ... */
    CHUNK_TOKENS_MIN = 256, /* ... which pays where there would be fewer items than ITEMS_LEAST */
    ITEMS_LEAST = 4
};

/* Rows an odd number of cache lines apart spread over all sets of the first cache. */
static size_t padded(size_t floats) {
    return (ceil_div(floats, FLOATS_OF_LINE) | 1) * FLOATS_OF_LINE;
}

static size_t sequence_rows(const Attention *a, const Plan *plan, size_t sequence) {
    return a->sequence[sequence].q_tokens * plan->group;
}

/* Completes a block whose sequence, head and first row are set. */
static void block_measure(const Attention *a, const Plan *plan, Block *b) {
    const size_t rows = sequence_rows(a, plan, b->sequence);
    b->heads = rows == 1 ? smaller(HEADS_TOGETHER, a->layout.kv_heads - b->head) : 1;
    b->rows = rows == 1 ? b->heads : smaller(plan->block_rows, rows - b->first);
    const size_t last_token = rows == 1 ? 0 : (b->first + b->rows - 1) / plan->group;
    b->visible = visible_tokens(&a->sequence[b->sequence], last_token);
    b->chunks = larger(1, ceil_div(b->visible, plan->chunk));
    b->chunk_tokens = ceil_div(ceil_div(b->visible, b->chunks), CHUNK_STEP) * CHUNK_STEP;
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

Block block_begin(const Attention *a, const Plan *plan) {
    Block b = { 0 };
    block_enter(a, plan, &b);
    return b;
}

size_t part_floats(const Plan *plan, size_t rows) {
    return rows * plan->v_ld + 2 * tile_lanes(rows);
}

Part part_at(const Plan *plan, size_t rows, float *floats) {
    float *max = floats + rows * plan->v_ld;
    return (Part){ floats, max, max + tile_lanes(rows) };
}

void block_next(const Attention *a, const Plan *plan, Block *b) {
    b->first_item += b->chunks;
    if (b->chunks > 1) b->part += b->chunks * part_floats(plan, b->rows);
    b->first += b->rows / b->heads;
    if (b->first == sequence_rows(a, plan, b->sequence)) {
        b->first = 0;
        b->head += b->heads;
        if (b->head == a->layout.kv_heads) {
            b->head = 0;
            b->query += a->sequence[b->sequence++].q_tokens;
            block_enter(a, plan, b);
            return;
        }
    }
    block_measure(a, plan, b);
}

static void place_workspace(const Attention *a, Plan *plan) {
    const KvLayout *l = &a->layout;
    const size_t rows = plan->block_rows, lanes = tile_lanes(rows);
    size_t at = larger(tile_query_floats(rows, l->dk), rows * plan->k_ld);
    plan->s = at, at += lanes * TILE_TOKENS_MAX;
    plan->factor = at, at += lanes;
    plan->rows = at, at += tile_row_floats(TILE_TOKENS_MAX, l->dk, l->dv, l->v_in_k);
    plan->coded = at;
    if (l->coding) at += TILE_TOKENS_MAX * (plan->k_ld + (l->v_in_k ? 0 : plan->v_ld));
    plan->part = at, at += part_floats(plan, rows);
    plan->longer = at, at += long_floats(plan, rows);
    plan->thread_floats = at;
}

Plan attention_plan(const Attention *a) {
    const KvLayout *l = &a->layout;
    Plan plan = { .group = a->heads / l->kv_heads, .k_ld = padded(l->dk), .v_ld = padded(l->dv) };
    size_t most_rows = 1;
    for (size_t i = 0; i < a->sequences; i++) {
        most_rows = larger(most_rows, sequence_rows(a, &plan, i));
        plan.one_row = plan.one_row || sequence_rows(a, &plan, i) == 1;
    }
    plan.block_rows = smaller(BLOCK_ROWS_MAX, larger(most_rows, HEADS_TOGETHER));

    plan.chunk = SIZE_MAX;
    size_t total = 0;
    for (Block b = block_begin(a, &plan); b.rows; block_next(a, &plan, &b)) total += b.visible;
    const size_t few = larger(CHUNK_TOKENS_MIN, ceil_div(total, ITEMS_LEAST));
    plan.chunk = larger(smaller(CHUNK_TOKENS, few), ceil_div(total, CHUNKS_MOST));
    place_workspace(a, &plan);
    return plan;
}
