/* attention_parts.h -- what the files of attention share: attention_plan.c (how work is cut),
 * attention_tiles.c, attention_heads.c and attention_rows.c (an item, by what its rows are),
 * attention_long.c (the sums of a long one), attention.c (the call). Nobody else's. */
#ifndef KVLAB_ATTENTION_PARTS_H
#define KVLAB_ATTENTION_PARTS_H

#include "attention.h"

enum {
    BLOCK_ROWS_MAX = 128,  /* query rows of a block: of MLA all heads, at 128 of them */
    HEADS_TOGETHER = 8,    /* heads of a block, where each has one row */
    CHUNKS_MOST = 64,      /* of a block; items that a call is cut into, about */
    STRETCH_TOKENS = 1024, /* tokens whose sums are floats, attention_long.c; fewer ... */
    ONE_ROW_STRETCH = 256  /* ... where a head has one row: its chunks may be so short too */
};

/* How a call is cut and where things lie in a thread's workspace (offsets in floats). */
typedef struct {
    size_t group;      /* query heads of a kv head */
    size_t block_rows; /* at most */
    size_t chunk;      /* tokens, at most */
    bool one_row;      /* is there a sequence whose heads have one row each? */
    size_t k_ld, v_ld; /* padded widths of query and output */
    size_t s, factor, rows, coded, part, longer, thread_floats; /* queries lie at 0 */
} Plan;

/* One block while walking over all of them in order, with what has gone before it. */
typedef struct {
    size_t sequence, head, first; /* first of its rows, out of q_tokens * group */
    size_t heads;                 /* from `head` on; more than one have a row each */
    size_t rows;                  /* of all its heads; 0 at the end */
    size_t visible;               /* tokens that its last row sees */
    size_t chunks, chunk_tokens;
    size_t query;      /* query tokens of the sequences before */
    size_t first_item; /* items before */
    size_t part;       /* floats of partial results before */
} Block;

/* The result of an item before it is divided: sums of weighted values [rows][v_ld], the greatest
 * score and the sum of the weights of each row. */
typedef struct {
    float *o, *max, *sum;
} Part;

/* What a thread works on. */
typedef struct {
    const Kernels *kernels;
    const Attention *a;
    const Plan *plan;
    const Block *block;
    float *work; /* this thread's */
    Part part;   /* where the result goes */
} Item;

static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}
static inline size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* How many of the sequence's cached tokens its query token t sees. */
static inline size_t visible_tokens(const KvSequence *s, size_t t) {
    const size_t end = s->q_position + t + 1;
    return end <= s->position ? 0 : smaller(end - s->position, s->tokens);
}

/* ---- attention_plan.c ---- */

Plan attention_plan(const Attention *a);

/* A part in memory of so many floats. */
size_t part_floats(const Plan *plan, size_t rows);
Part part_at(const Plan *plan, size_t rows, float *floats);

/* The first block, and from one to the next. */
Block block_begin(const Attention *a, const Plan *plan);
void block_next(const Attention *a, const Plan *plan, Block *b);

/* ---- an item: rows of a block, and tokens from `begin` to `end` ---- */

/* By tiles: rows enough that a tile is decoded for all of them, or kernels of few rows for it. By
 * heads: of such kernels, where each head has one row. By rows: the others. All add to the part,
 * which begins as nothing seen: o and sum 0, max -INFINITY. */
void attend_by_tiles(const Item *item, size_t begin, size_t end);
void attend_by_heads(const Item *item, size_t begin, size_t end);
void attend_by_rows(const Item *item, size_t begin, size_t end);

/* ---- attention_long.c: the sums of an item of more tokens than a stretch ---- */

typedef struct {
    double *o, *max, *sum; /* as of a part; o NULL: the item is short */
    size_t tokens;         /* in the part now, and at most */
    size_t stretch;
} LongSums;

/* Floats of workspace that a thread needs for them. */
size_t long_floats(const Plan *plan, size_t rows);

/* Before the first of so many tokens, after each tile, and after the last. */
LongSums long_begin(const Item *item, size_t tokens);
void long_add(LongSums *sums, const Item *item, size_t tokens);
void long_end(LongSums *sums, const Item *item);

/* ---- where the rows of an item lie, and what they see ---- */

static inline const unsigned char *block_of(const Item *item, size_t token) {
    const KvSequence *s = &item->a->sequence[item->block->sequence];
    const KvLayout *l = &item->a->layout;
    return s->pool + (size_t)s->table[token / l->block_tokens] * l->block_bytes;
}

static inline const unsigned char *key_row(const Item *item, size_t head, size_t token) {
    const KvLayout *l = &item->a->layout;
    return block_of(item, token) + l->k_offset + head * l->k_head +
           token % l->block_tokens * l->k_row;
}

static inline const unsigned char *value_row(const Item *item, size_t head, size_t token) {
    const KvLayout *l = &item->a->layout;
    return block_of(item, token) + l->v_offset + head * l->v_head +
           token % l->block_tokens * l->v_row;
}

/* The tokens from `token` on that lie in the same block, at most n. */
static inline size_t run_length(const Item *item, size_t token, size_t n) {
    const size_t block_tokens = item->a->layout.block_tokens;
    return smaller(n, block_tokens - token % block_tokens);
}

/* Where the rows of a head of a sequence of the block lie: pointers to n of them. A latent has no
 * values of its own. */
typedef struct {
    const unsigned char *keys[TILE_TOKENS_MAX], *values[TILE_TOKENS_MAX];
} RowPointers;

static inline TileRows find_rows(const Item *item, size_t head, size_t from, size_t n,
                                 RowPointers *at) {
    const KvLayout *l = &item->a->layout;
    for (size_t j = 0, run; j < n; j += run) {
        run = run_length(item, from + j, n - j);
        const unsigned char *key = key_row(item, head, from + j),
                            *value = value_row(item, head, from + j);
        for (size_t i = 0; i < run; i++) {
            at->keys[j + i] = key + i * l->k_row;
            at->values[j + i] = value + i * l->v_row;
        }
    }
    return (TileRows){ n, at->keys, l->v_in_k ? NULL : at->values };
}

/* Where row r of the block lies among the rows of q, out and lse, in rows. */
static inline size_t global_row(const Item *item, size_t r) {
    const Block *b = item->block;
    const size_t each = b->rows / b->heads, group = item->plan->group;
    const size_t row = b->first + r % each, head = b->head + r / each;
    return (b->query + row / group) * item->a->heads + head * group + row % group;
}

/* How many of the n tokens from `from` on row r of the block sees. */
static inline size_t row_sees(const Item *item, size_t r, size_t from, size_t n) {
    const size_t token = (item->block->first + r) / item->plan->group;
    const size_t visible = visible_tokens(&item->a->sequence[item->block->sequence], token);
    return visible <= from ? 0 : smaller(visible - from, n);
}

#endif
