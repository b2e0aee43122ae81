/* tile_products.h -- the two products of a tile (tile.h), written once for all element types.
 *
 * One micro-kernel does both: rows x vectors accumulators, a broadcast scalar times loaded vectors,
 * nothing but multiply-adds and loads in its loop. Elements are dwords: one float, or as many
 * narrower values as fill one; what a dword of each operand adds to a sum is the file's
 * multiply_add(scalar, loaded, sum), to be defined before. DWORD_TOKENS of them stand for as many
 * elements of a key or tokens of a value. ASKS_AHEAD: are the rows of the next tile asked for while
 * this one is scored?
 *
 * A panel is the query rows that lie side by side in the registers of a block: packed queries are
 * [panel][dword of the row][row of the panel]. PANELS(panel) names the shapes of a tier,
 * panel(vectors, tokens), widest first and one vector last, TILE_TOKENS the tokens of a tile. While
 * a panel of queries streams through the first cache, keys come from the second one; a stripe of
 * values stays in the first cache while all weights pass. */
#ifndef KVLAB_TILE_PRODUCTS_H
#define KVLAB_TILE_PRODUCTS_H

#include "tile_softmax.h"

/* Rows of dwords, `ld` apart. */
typedef struct {
    const float *at;
    size_t ld;
} DwordRows;

typedef enum { PRODUCT_SETS, PRODUCT_ADDS } ProductMode;

/* The first operand of a product: rows of scalars wherever they lie, a scalar a step, or, where
 * `rows` is NULL, the scalars of a step side by side, those of the next one `ld` further on. */
typedef struct {
    const float *const *rows;
    const float *steps;
    size_t ld;
} Scalars;

/* c [rows, vectors] = a b, or factor c + a b, summed over `depth` steps: b is a vector or more
 * every b_step. */
INLINE void product(size_t rows, size_t vectors, size_t depth, Scalars a, const float *b,
                    size_t b_step, ProductMode mode, const float *factor, float *c, size_t ld_c) {
    vec sums[BLOCK_MAX], loaded[BLOCK_MAX];
    UNROLL for (size_t i = 0; i < rows * vectors; i++) sums[i] = vec_zero();
    if (mode == PRODUCT_ADDS) {
        UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(c + i * ld_c, 1);
    }
    for (size_t step = 0; step < depth; step++) {
        UNROLL for (size_t v = 0; v < vectors; v++) loaded[v] = vec_load(b + v * WIDTH);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec scalar = vec_all(a.rows ? a.rows[i][step] : a.steps[i]);
            UNROLL for (size_t v = 0; v < vectors; v++) sums[i * vectors + v] =
                multiply_add(scalar, loaded[v], sums[i * vectors + v]);
        }
        if (!a.rows) a.steps += a.ld;
        b += b_step;
    }
    UNROLL for (size_t i = 0; i < rows; i++) {
        const vec kept = mode == PRODUCT_ADDS ? vec_all(factor[i]) : vec_zero();
        UNROLL for (size_t v = 0; v < vectors; v++) {
            float *out = c + i * ld_c + v * WIDTH;
            vec sum = sums[i * vectors + v];
            if (mode == PRODUCT_ADDS) sum = vec_fma(kept, vec_load(out), sum);
            vec_store(out, sum);
        }
    }
}

enum { SCORED_AT_ONCE = 12 }; /* tokens x vectors of a register block of scores */

static inline size_t dwords(size_t values) {
    return (values + DWORD_TOKENS - 1) / DWORD_TOKENS;
}

/* An odd number of cache lines: columns spread over all sets of the first cache. */
static inline size_t padded_row(size_t count) {
    const size_t line = 16;
    return ((count + line - 1) / line | 1) * line;
}

/* For each panel of t->m rows, widest first: `first` is its first row. */
#define OVER_PANELS(vectors, tokens, call)                                                         \
    for (; first + (vectors)*WIDTH <= t->m || ((vectors) == 1 && first < t->m);                    \
         first += (vectors)*WIDTH)                                                                 \
    call

/* The tokens that a panel sees, `tokens` at a time, then fewer. */
INLINE void score_panel(const Tile *t, const float *const *keys, size_t first, size_t vectors,
                        size_t tokens, TileAhead *ahead) {
    const size_t width = vectors * WIDTH, depth = dwords(t->dk),
                 seen = seen_before(t, first + width);
    const float *queries = t->queries + first * depth;
    size_t j = 0;
#define SCORE(at_once)                                                                             \
    for (; j + (at_once) <= seen; j += (at_once)) {                                                \
        if (ASKS_AHEAD) tile_ask(ahead);                                                           \
        product(at_once, vectors, depth, (Scalars){ .rows = keys + j }, queries, width,            \
                PRODUCT_SETS, NULL, t->s + j * t->ld_s + first, t->ld_s);                          \
    }
    SCORE(tokens);
    SCORE(2);
    SCORE(1);
#undef SCORE
}

/* keys: pointers to rows of dwords. */
static inline void score_tile(const Tile *t, const float *const *keys) {
    TileAhead ahead = { 0 };
    if (ASKS_AHEAD) ahead = tile_ahead(t, t->n * t->m / (SCORED_AT_ONCE * WIDTH) + 1);
    size_t first = 0;
#define SCORE(vectors, tokens)                                                                     \
    OVER_PANELS(vectors, tokens, score_panel(t, keys, first, vectors, tokens, &ahead))
    PANELS(SCORE);
#undef SCORE
}

/* Elements of the outputs behind the last whole register, one row at a time. */
static inline void values_tail(const Tile *t, DwordRows v) {
    const size_t from = t->dv - t->dv % WIDTH, cut = t->dv - from;
    for (size_t i = 0; i < t->m && cut; i++) {
        vec sum = vec_zero();
        for (size_t j = 0; j < dwords(seen_before(t, i + 1)); j++)
            sum = multiply_add(vec_all(t->s[j * t->ld_s + i]),
                               vec_load_part(v.at + j * v.ld + from, cut), sum);
        float *out = t->o + i * t->ld_o + from;
        vec_store_part(out, cut, vec_fma(vec_all(t->factor[i]), vec_load_part(out, cut), sum));
    }
}

/* As many groups of `rows` query rows as fit before m, from `first` on; gives where they end. A
 * stripe of values meets all groups before the next one does. */
INLINE size_t value_groups(const Tile *t, size_t first, size_t rows, size_t vectors, DwordRows v) {
    const size_t end = first + (t->m - first) / rows * rows;
    size_t d = 0;
#define VALUES(count)                                                                              \
    for (; d + (count)*WIDTH <= t->dv; d += (count)*WIDTH)                                         \
        for (size_t i = first; i < end; i += rows)                                                 \
    product(rows, count, dwords(seen_before(t, i + rows)),                                         \
            (Scalars){ .steps = t->s + i, .ld = t->ld_s }, v.at + d, v.ld, PRODUCT_ADDS,           \
            t->factor + i, t->o + i * t->ld_o + d, t->ld_o)
    VALUES(vectors);
    VALUES(1);
#undef VALUES
    return end;
}

/* values: a row of dwords for each DWORD_TOKENS tokens. */
static inline void value_tile(const Tile *t, DwordRows v) {
    size_t first = 0;
#define VALUES(rows, vectors) first = value_groups(t, first, rows, vectors, v)
    BLOCKS(VALUES);
#undef VALUES
    values_tail(t, v);
}

#endif
