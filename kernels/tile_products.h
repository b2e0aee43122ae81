/* tile_products.h -- the tile of tile.h in floats, over the vocabulary of tiles.h.
 *
 * Bound by multiply-adds: a tile of 96 tokens and 128 rows of MLA is 27 Mflop on 220 KiB.
 *
 * One micro-kernel does both products: rows x vectors accumulators, a broadcast scalar times loaded
 * vectors, nothing but multiply-adds and loads in its loop (on AVX2 12 of the first and 8 of the
 * second, of which two run in a cycle each). Scores run over the whole width of a key in one go, so
 * that no partial sum is stored; values over the tokens of the tile.
 *
 * A panel is the query rows that lie side by side in the registers of a block: packed queries are
 * [panel][element][row of the panel]. While a panel of queries (36 KiB for MLA) streams through the
 * first cache, keys come from the second one; a stripe of values stays in the first cache while all
 * weights pass.
 *
 * Tried and dropped, on Zen 3, 128 rows of 576/512, shares of the FMA peak of both products: width
 * of keys cut in halves or quarters that fit the first cache beside them (0.93 and 0.92 against
 * 0.94: the scores have to be stored and loaded); rows of scores an even number of lines apart
 * (0.94 against 0.96: weights of a group fall into 8 of the 64 sets); tiles of 48 and 192 tokens
 * (0.94 and 0.95 against 0.96). */
#ifndef KVLAB_TILE_PRODUCTS_H
#define KVLAB_TILE_PRODUCTS_H

typedef enum { PRODUCT_SETS, PRODUCT_ADDS } ProductMode;

/* c [rows, vectors] = a b, or factor c + a b, summed over `depth` steps: a is a_row from row to row
 * and a_step from step to step, b a vector or more every b_step. */
INLINE void product(size_t rows, size_t vectors, size_t depth, const float *a, size_t a_row,
                    size_t a_step, const float *b, size_t b_step, ProductMode mode,
                    const float *factor, float *c, size_t ld_c) {
    vec sums[BLOCK_MAX], loaded[BLOCK_MAX];
    UNROLL for (size_t i = 0; i < rows * vectors; i++) sums[i] = vec_zero();
    if (mode == PRODUCT_ADDS) {
        UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(c + i * ld_c, 1);
    }
    for (size_t step = 0; step < depth; step++) {
        UNROLL for (size_t v = 0; v < vectors; v++) loaded[v] = vec_load(b + v * WIDTH);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec scalar = vec_all(a[i * a_row]);
            UNROLL for (size_t v = 0; v < vectors; v++) sums[i * vectors + v] =
                vec_fma(scalar, loaded[v], sums[i * vectors + v]);
        }
        a += a_step;
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

/* ---- queries and rows ---- */

enum { SCORED_AT_ONCE = 12 }; /* tokens x vectors of a register block of scores */

static size_t padded_row(size_t elements) {
    const size_t line = 64 / sizeof(float);
    return ((elements + line - 1) / line | 1) * line;
}

/* A panel of `width` rows from `first` on; rows behind the last are zeros. */
static void pack_panel(const Tile *t, const float *const *rows, size_t first, size_t width) {
    float *out = t->queries + first * t->dk;
    for (size_t i = 0; i < width; i++) {
        const float *row = first + i < t->m ? rows[first + i] : NULL;
        for (size_t e = 0; e < t->dk; e++) out[e * width + i] = row ? row[e] : 0;
    }
}

/* For each panel of t->m rows, widest first: `first` is its first row. */
#define OVER_PANELS(vectors, tokens, call)                                                         \
    for (; first + (vectors)*WIDTH <= t->m || ((vectors) == 1 && first < t->m);                    \
         first += (vectors)*WIDTH)                                                                 \
    call

static void tile_queries(const Tile *t, const float *const *rows) {
    size_t first = 0;
#define PACK(vectors, tokens)                                                                      \
    OVER_PANELS(vectors, tokens, pack_panel(t, rows, first, (vectors)*WIDTH))
    PANELS(PACK);
#undef PACK
}

/* Rows of floats, `ld` apart. */
typedef struct {
    const float *at;
    size_t ld;
} FloatRows;

/* Rows of floats an equal and odd number of cache lines apart need no copy; ld is 0 where these are
 * not. */
static FloatRows rows_in_place(const RowFormat *format, size_t n,
                               const unsigned char *const *rows) {
    const FloatRows none = { 0 };
    if (format->type != ROW_F32 || (uintptr_t)rows[0] % sizeof(float)) return none;
    const ptrdiff_t line = 64, step = n > 1 ? rows[1] - rows[0] : line;
    if (step <= 0 || step % line || step / line % 2 == 0) return none;
    for (size_t j = 1; j < n; j++)
        if (rows[j] - rows[j - 1] != step) return none;
    return (FloatRows){ (const void *)rows[0], (size_t)step / sizeof(float) };
}

static FloatRows rows_decoded(const Tile *t, const RowFormat *format, size_t d,
                              const unsigned char *const *rows, float *room) {
    const FloatRows there = rows_in_place(format, t->n, rows);
    if (there.ld) return there;
    const size_t ld = padded_row(d);
    for (size_t j = 0; j < t->n; j++)
        t->kernels->decode[format->type](format, d, rows[j], room + j * ld);
    return (FloatRows){ room, ld };
}

/* Those of a latent were decoded with its keys. */
static FloatRows tile_value_rows(const Tile *t) {
    const size_t ld_k = padded_row(t->dk);
    if (!t->v_in_k) return rows_decoded(t, &t->v, t->dv, t->stored.values, t->rows + t->n * ld_k);
    const FloatRows there = rows_in_place(&t->k, t->n, t->stored.keys);
    return there.ld ? there : (FloatRows){ t->rows, ld_k };
}

/* ---- scores ---- */

/* Tokens that some row before `end` sees. */
static size_t seen_before(const Tile *t, size_t end) {
    return t->seen ? t->seen[(end < t->m ? end : t->m) - 1] : t->n;
}

/* The tokens that a panel sees, `tokens` at a time, then fewer. */
INLINE void score_panel(const Tile *t, FloatRows keys, size_t first, size_t vectors, size_t tokens,
                        TileAhead *ahead) {
    const size_t width = vectors * WIDTH, seen = seen_before(t, first + width);
    const float *queries = t->queries + first * t->dk;
    size_t j = 0;
#define SCORE(at_once)                                                                             \
    for (; j + (at_once) <= seen; j += (at_once)) {                                                \
        tile_ask(ahead);                                                                           \
        product(at_once, vectors, t->dk, keys.at + j * keys.ld, keys.ld, 1, queries, width,        \
                PRODUCT_SETS, NULL, t->s + j * t->ld_s + first, t->ld_s);                          \
    }
    SCORE(tokens);
    SCORE(2);
    SCORE(1);
#undef SCORE
}

static void tile_scores(const Tile *t) {
    const FloatRows keys = rows_decoded(t, &t->k, t->dk, t->stored.keys, t->rows);
    TileAhead ahead = tile_ahead(t, t->n * t->m / (SCORED_AT_ONCE * WIDTH) + 1);
    size_t first = 0;
#define SCORE(vectors, tokens)                                                                     \
    OVER_PANELS(vectors, tokens, score_panel(t, keys, first, vectors, tokens, &ahead))
    PANELS(SCORE);
#undef SCORE
}

/* ---- softmax ---- */

/* Of the tokens from `from` to `to` each lane sees those before its own bound. */
INLINE vec masked_score(const float *s, size_t j, vec bounds) {
    return vec_where_less(vec_all((float)j), bounds, vec_load(s), vec_all(-INFINITY));
}

/* The rows of one register: all tokens before `common` are seen by all of them, none behind
 * `seen` by any. */
INLINE void softmax_lanes(const Tile *t, size_t first, size_t common, size_t seen, vec bounds) {
    const vec scale = vec_all(t->scale), old_max = vec_load(t->max + first);
    float *s = t->s + first;
    const size_t ld = t->ld_s;
    vec max = old_max;
    size_t j = 0;
    for (; j < common; j++) max = vec_max(vec_mul(scale, vec_load(s + j * ld)), max);
    for (; j < seen; j++) max = vec_max(vec_mul(scale, masked_score(s + j * ld, j, bounds)), max);
    /* As long as nothing was seen the maximum is -INFINITY: then weights are e^-INFINITY, not
     * e^(INFINITY - INFINITY). */
    const vec none = vec_all(-INFINITY);
    const vec offset = vec_where_less(none, max, vec_mul(max, vec_all(-1)), vec_zero());
    const vec factor = vec_exp(vec_add(old_max, offset));
    vec total = vec_zero();
    for (j = 0; j < common; j++) {
        const vec weight = vec_exp(vec_fma(scale, vec_load(s + j * ld), offset));
        vec_store(s + j * ld, weight);
        total = vec_add(total, weight);
    }
    for (; j < seen; j++) {
        const vec weight = vec_exp(vec_fma(scale, masked_score(s + j * ld, j, bounds), offset));
        vec_store(s + j * ld, weight);
        total = vec_add(total, weight);
    }
    for (; j < t->n; j++) vec_store(s + j * ld, vec_zero());
    vec_store(t->sum + first, vec_fma(factor, vec_load(t->sum + first), total));
    vec_store(t->max + first, max);
    vec_store(t->factor + first, factor);
}

static void tile_softmax(const Tile *t) {
    for (size_t first = 0; first < t->m; first += WIDTH) {
        if (!t->seen) {
            softmax_lanes(t, first, t->n, t->n, vec_zero());
            continue;
        }
        float bounds[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) bounds[i] = (float)seen_before(t, first + i + 1);
        softmax_lanes(t, first, t->seen[first], seen_before(t, first + WIDTH), vec_load(bounds));
    }
}

/* ---- values ---- */

/* Elements of the outputs behind the last whole register, one row at a time. */
static void values_tail(const Tile *t, size_t from, const float *v, size_t ld_v) {
    const size_t cut = t->dv - from;
    for (size_t i = 0; i < t->m && cut; i++) {
        vec sum = vec_zero();
        for (size_t j = 0; j < seen_before(t, i + 1); j++)
            sum = vec_fma(vec_all(t->s[j * t->ld_s + i]), vec_load_part(v + j * ld_v + from, cut),
                          sum);
        float *out = t->o + i * t->ld_o + from;
        vec_store_part(out, cut, vec_fma(vec_all(t->factor[i]), vec_load_part(out, cut), sum));
    }
}

/* As many groups of `rows` query rows as fit before m, from `first` on; gives where they end. A
 * stripe of values meets all groups before the next one does. */
INLINE size_t value_groups(const Tile *t, size_t first, size_t rows, size_t vectors, const float *v,
                           size_t ld_v) {
    const size_t end = first + (t->m - first) / rows * rows;
    size_t d = 0;
#define VALUES(count)                                                                              \
    for (; d + (count)*WIDTH <= t->dv; d += (count)*WIDTH)                                         \
        for (size_t i = first; i < end; i += rows)                                                 \
    product(rows, count, seen_before(t, i + rows), t->s + i, 1, t->ld_s, v + d, ld_v,              \
            PRODUCT_ADDS, t->factor + i, t->o + i * t->ld_o + d, t->ld_o)
    VALUES(vectors);
    VALUES(1);
#undef VALUES
    return end;
}

static void tile_values(const Tile *t) {
    const FloatRows v = tile_value_rows(t);
    size_t first = 0;
#define VALUES(rows, vectors) first = value_groups(t, first, rows, vectors, v.at, v.ld)
    BLOCKS(VALUES);
#undef VALUES
    values_tail(t, t->dv - t->dv % WIDTH, v.at, v.ld);
}

static const TileKernels tile_f32 = {
    .tokens = TILE_TOKENS,
    .queries = tile_queries,
    .scores = tile_scores,
    .softmax = tile_softmax,
    .values = tile_values,
};

#endif
