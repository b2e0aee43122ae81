/* attention_tiles.c -- an item of many query rows: tile by tile, by the kernels of tile.h.
 *
 * Bound by arithmetic: a cached element serves all rows of the block. Scores, softmax and weighted
 * values run tile by tile; nothing of the size of the context is ever stored. Where the causal
 * diagonal runs through a tile its kernels skip what no row sees. They are told the rows of the
 * next tile, to ask for them where that pays. */
#include <string.h>

#include "attention_parts.h"

static bool takes(const TileKernels *kernels, const Tile *t) {
    return !kernels->takes || (kernels->takes(&t->k) && kernels->takes(&t->v));
}

/* The route of a type and so many query rows; where keys and values go different ones, that of
 * floats takes any type. */
static const TileKernels *route(const Tile *t) {
    if (tile_is_few(t->kernels, t->k.type, t->v.type, t->m)) return t->kernels->few[t->k.type];
    const TileKernels *k = t->kernels->tile[t->k.type], *v = t->kernels->tile[t->v.type];
    return k == v && takes(k, t) ? k : t->kernels->tile[ROW_F32];
}

static Tile item_tile(const Item *item) {
    const Plan *plan = item->plan;
    const KvLayout *l = &item->a->layout;
    return (Tile){ .kernels = item->kernels,
                   .k = l->coding ? row_format(ROW_F32, l->dk) : l->k,
                   .v = l->coding ? row_format(ROW_F32, l->dv) : l->v,
                   .m = item->block->rows,
                   .dk = l->dk,
                   .dv = l->dv,
                   .v_in_k = l->v_in_k,
                   .scale = item->a->scale,
                   .queries = item->work,
                   .rows = item->work + plan->rows,
                   .s = item->work + plan->s,
                   .ld_s = tile_lanes(item->block->rows),
                   .max = item->part.max,
                   .sum = item->part.sum,
                   .factor = item->work + plan->factor,
                   .o = item->part.o,
                   .ld_o = plan->v_ld };
}

static void pack_queries(const Item *item, const Tile *t, const TileKernels *kernels) {
    const float *rows[BLOCK_ROWS_MAX];
    for (size_t r = 0; r < t->m; r++) rows[r] = item->a->q + global_row(item, r) * t->dk;
    kernels->queries(t, rows);
}

/* Rows of a layout's own coding become floats first. */
static TileRows decode_coded(const Item *item, size_t from, size_t n, RowPointers *pointers) {
    const KvLayout *l = &item->a->layout;
    const Plan *plan = item->plan;
    float *keys = item->work + plan->coded, *values = keys + TILE_TOKENS_MAX * plan->k_ld;
    l->coding->decode(l->coding, item->kernels, &item->a->sequence[item->block->sequence],
                      item->block->head, from, n, keys, plan->k_ld, values, plan->v_ld);
    for (size_t j = 0; j < n; j++) {
        pointers->keys[j] = (const void *)(keys + j * plan->k_ld);
        pointers->values[j] = (const void *)(values + j * plan->v_ld);
    }
    return (TileRows){ n, pointers->keys, l->v_in_k ? NULL : pointers->values };
}

void attend_by_tiles(const Item *item, size_t begin, size_t end) {
    Tile t = item_tile(item);
    const TileKernels *kernels = route(&t);
    const bool coded = item->a->layout.coding != NULL;
    uint32_t seen[BLOCK_ROWS_MAX];
    RowPointers pointers[2]; /* of this tile and the next */
    if (kernels == t.kernels->few[t.k.type]) t.ld_s = tile_few_lanes(t.m);
    pack_queries(item, &t, kernels);
    LongSums sums = long_begin(item, end - begin);
    int side = 0;
    if (!coded)
        t.next = find_rows(item, item->block->head, begin, smaller(kernels->tokens, end - begin),
                           pointers);
    for (size_t from = begin; from < end; from += t.n) {
        t.n = smaller(kernels->tokens, end - from);
        if (coded) {
            t.stored = decode_coded(item, from, t.n, pointers);
        } else {
            const size_t after = from + t.n;
            t.stored = t.next;
            side = !side;
            t.next = find_rows(item, item->block->head, after,
                               smaller(kernels->tokens, end - after), pointers + side);
        }
        t.seen = NULL;
        if (row_sees(item, 0, from, t.n) < t.n) {
            for (size_t r = 0; r < t.m; r++) seen[r] = (uint32_t)row_sees(item, r, from, t.n);
            t.seen = seen;
        }
        kernels->scores(&t);
        kernels->softmax(&t);
        kernels->values(&t);
        long_add(&sums, item, t.n);
    }
    long_end(&sums, item);
}
