/* attention_rows.c -- an item of few query rows: they read the cached rows where they lie, and what
 * a layout's own coding holds as floats, a tile at a time. */
#include <math.h>
#include <string.h>

#include "attention_parts.h"

enum {
    LINE_BYTES = 64,    /* a cache line */
    DIRECT_TOKENS = 32, /* of a tile read where it lies: it and the next fit the first cache */
    PIECE_TOKENS = 8    /* of such a tile between two requests to memory */
};

static void load_queries(const Item *item) {
    const size_t dk = item->a->layout.dk;
    for (size_t r = 0; r < item->block->rows; r++)
        memcpy(item->work + r * item->plan->k_ld, item->a->q + global_row(item, r) * dk,
               dk * sizeof(float));
}

/* ---- rows of a layout's own coding ---- */

static const RowFormat floats = { .type = ROW_F32 };

/* The floats of a tile's keys, and of its values. */
static float *coded_keys(const Item *item) {
    return item->work + item->plan->coded;
}

static float *coded_values(const Item *item) {
    return coded_keys(item) + (item->a->layout.v_in_k ? 0 : DIRECT_TOKENS * item->plan->k_ld);
}

static size_t coded_value_ld(const Item *item) {
    return item->a->layout.v_in_k ? item->plan->k_ld : item->plan->v_ld;
}

static void coded_scores(const Item *item, size_t from, size_t n) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    l->coding->decode(l->coding, item->kernels, &item->a->sequence[item->block->sequence],
                      item->block->head, from, n, coded_keys(item), plan->k_ld, coded_values(item),
                      plan->v_ld);
    item->kernels->scores[ROW_F32](&floats, item->block->rows, n, l->dk, item->work, plan->k_ld,
                                   coded_keys(item), plan->k_ld * sizeof(float),
                                   item->work + plan->s, DIRECT_TOKENS);
}

static void coded_sums(const Item *item, size_t n) {
    const Plan *plan = item->plan;
    item->kernels->values[ROW_F32](&floats, item->block->rows, n, item->a->layout.dv,
                                   item->work + plan->s, DIRECT_TOKENS, coded_values(item),
                                   coded_value_ld(item) * sizeof(float), item->part.o, plan->v_ld);
}

/* ---- rows where they lie ---- */

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

static void tile_scores(const Item *item, size_t from, size_t n) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    for (size_t j = 0, run; j < n; j += run) {
        run = piece_length(item, from + j, n - j);
        if (!l->v_in_k) prefetch(value_row(item, item->block->head, from + j), run * l->v_row);
        item->kernels->scores[l->k.type](&l->k, item->block->rows, run, l->dk, item->work,
                                         plan->k_ld, key_row(item, item->block->head, from + j),
                                         l->k_row, item->work + plan->s + j, DIRECT_TOKENS);
    }
}

static void tile_values(const Item *item, size_t from, size_t n) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    for (size_t j = 0, run; j < n; j += run) {
        run = piece_length(item, from + j, n - j);
        const size_t ahead = from + j + n;
        if (ahead < item->block->visible)
            prefetch(key_row(item, item->block->head, ahead),
                     piece_length(item, ahead, run) * l->k_row);
        item->kernels->values[l->v.type](
            &l->v, item->block->rows, run, l->dv, item->work + plan->s + j, DIRECT_TOKENS,
            value_row(item, item->block->head, from + j), l->v_row, item->part.o, plan->v_ld);
    }
}

void attend_by_rows(const Item *item, size_t begin, size_t end) {
    const Plan *plan = item->plan;
    const bool coded = item->a->layout.coding != NULL;
    LongSums sums = long_begin(item, end - begin);
    load_queries(item);
    for (size_t from = begin, n; from < end; from += n) {
        n = smaller(DIRECT_TOKENS, end - from);
        coded ? coded_scores(item, from, n) : tile_scores(item, from, n);
        for (size_t r = 0; r < item->block->rows; r++) {
            float *s = item->work + plan->s + r * DIRECT_TOKENS;
            for (size_t j = row_sees(item, r, from, n); j < n; j++) s[j] = -INFINITY;
            const float factor = item->kernels->softmax_step(
                n, item->a->scale, s, item->part.max + r, item->part.sum + r);
            if (factor != 1.0f)
                item->kernels->scale(item->a->layout.dv, factor, item->part.o + r * plan->v_ld);
        }
        coded ? coded_sums(item, n) : tile_values(item, from, n);
        long_add(&sums, item, n);
    }
    long_end(&sums, item);
}
