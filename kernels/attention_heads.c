/* attention_heads.c -- an item of heads that have one query row each: decode of MHA.
 *
 * Bound by memory: a cached element serves one multiply-add, so all that counts is that memory is
 * read in the order in which it lies, without a pause. Within a block the keys of its heads follow
 * one another, and so do their values: tiles end where a block does, and all heads of the item take
 * their turn at a tile. Where a head's rows end the kernel asks for those that are read next.
 *
 * Tried and dropped, on Zen 3, 32 heads of 128 in bf16, cold, 1 thread: head after head over the
 * whole item (15.1 GB/s, 17.1 so); each key read along with seven others, and the next tile asked
 * for as a whole (14.2 and 16.0). */
#include "attention_parts.h"

/* Tokens of the tile at `from`: of one block. */
static size_t tile_tokens(const Item *item, const TileKernels *kernels, size_t from, size_t end) {
    return smaller(kernels->tokens, run_length(item, from, end - from));
}

static void pack_queries(const Item *item, Tile *t, const TileKernels *kernels) {
    for (size_t i = 0; i < item->block->heads; i++) {
        const float *row = item->a->q + global_row(item, i) * t->dk;
        t->queries = item->work + i * item->plan->k_ld;
        kernels->queries(t, &row);
    }
}

void attend_by_heads(const Item *item, size_t begin, size_t end) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    const Block *b = item->block;
    const TileKernels *kernels = item->kernels->few[l->k.type];
    Tile t = { .kernels = item->kernels, .k = l->k, .v = l->v, .m = 1, .dk = l->dk, .dv = l->dv };
    t.v_in_k = l->v_in_k;
    t.scale = item->a->scale;
    t.rows = item->work + plan->rows;
    t.s = item->work + plan->s;
    t.ld_s = tile_few_lanes(1);
    t.factor = item->work + plan->factor;
    t.ld_o = plan->v_ld;
    pack_queries(item, &t, kernels);
    RowPointers pointers[2];
    int side = 0;
    LongSums sums = long_begin(item, end - begin);
    size_t n = tile_tokens(item, kernels, begin, end);
    t.next = find_rows(item, b->head, begin, n, pointers);
    for (size_t from = begin; from < end; from += t.n) {
        t.n = n;
        for (size_t i = 0; i < b->heads; i++) {
            const bool last = i + 1 == b->heads;
            const size_t then = last ? from + t.n : from;
            n = last ? tile_tokens(item, kernels, then, end) : t.n;
            t.stored = t.next;
            side = !side;
            t.next = find_rows(item, b->head + (last ? 0 : i + 1), then, n, pointers + side);
            t.queries = item->work + i * plan->k_ld;
            t.o = item->part.o + i * plan->v_ld;
            t.max = item->part.max + i;
            t.sum = item->part.sum + i;
            kernels->scores(&t);
            kernels->softmax(&t);
            kernels->values(&t);
        }
        long_add(&sums, item, t.n);
    }
    long_end(&sums, item);
}
