/* tile_f32.h -- the tile of tile.h in floats.
 *
 * Bound by multiply-adds: a tile of 96 tokens and 128 rows of MLA is 27 Mflop on 220 KiB. On AVX2 a
 * step of the micro-kernel is 12 multiply-adds and 8 loads, of which two run in a cycle each.
 * Scores run over the whole width of a key in one go, so that no partial sum is stored: a panel of
 * queries of MLA, 36 KiB, streams through the first cache.
 *
 * Tried and dropped, on Zen 3, 128 rows of 576/512, a tile timed alone; each was slower: width of
 * keys cut in halves or quarters that fit the first cache (scores have to be stored and loaded);
 * rows of scores an even number of lines apart (the weights of a group fall into 8 of the 64 sets);
 * tiles of 48 and 192 tokens; four steps a turn of the loop; each group of keys decoded right
 * before it is scored (every group starts the streams of reads and writes anew). In prefill:
 * the rows of the next tile asked for (2 to 5 % of the time: the machine foresees rows that lie
 * side by side); values copied a stripe at a time, before or while the first rows meet it (1 %
 * or 2); the greatest scores kept by the product, not sought by the softmax (no difference). */
#ifndef KVLAB_TILE_F32_H
#define KVLAB_TILE_F32_H

enum { DWORD_TOKENS = 1, ASKS_AHEAD = 0 };

INLINE vec multiply_add(vec scalar, vec loaded, vec sum) {
    return vec_fma(scalar, loaded, sum);
}
INLINE vec weight_exp(vec x) {
    return vec_exp(x);
}
INLINE void store_weights(float *s, const vec *w, vec *total) {
    vec_store(s, w[0]);
    *total = vec_add(*total, w[0]);
}

#include "tile_products.h"

/* A panel of `width` rows from `first` on; rows behind the last are zeros. */
static void pack_panel(const Tile *t, const float *const *rows, size_t first, size_t width) {
    enum { AT_ONCE = 16 }; /* elements: what is written of them stays in the first cache */
    float *out = t->queries + first * t->dk;
    for (size_t e = 0, end; e < t->dk; e = end) {
        end = smaller_of(e + AT_ONCE, t->dk);
        for (size_t i = 0; i < width; i++) {
            const float *row = first + i < t->m ? rows[first + i] : NULL;
            if (first + width + i < t->m) __builtin_prefetch(rows[first + width + i] + e);
            for (size_t j = e; j < end; j++) out[j * width + i] = row ? row[j] : 0;
        }
    }
}

static void tile_queries(const Tile *t, const float *const *rows) {
    size_t first = 0;
#define PACK(vectors, tokens)                                                                      \
    OVER_PANELS(vectors, tokens, pack_panel(t, rows, first, (vectors)*WIDTH))
    PANELS(PACK);
#undef PACK
}

/* Rows of floats an equal and odd number of cache lines apart need no copy; ld is 0 where these are
 * not. */
static DwordRows rows_in_place(const RowFormat *format, size_t n,
                               const unsigned char *const *rows) {
    const DwordRows none = { 0 };
    if (format->type != ROW_F32 || (uintptr_t)rows[0] % sizeof(float)) return none;
    const ptrdiff_t line = 64, step = n > 1 ? rows[1] - rows[0] : line;
    if (step <= 0 || step % line || step / line % 2 == 0) return none;
    for (size_t j = 1; j < n; j++)
        if (rows[j] - rows[j - 1] != step) return none;
    return (DwordRows){ (const void *)rows[0], (size_t)step / sizeof(float) };
}

static DwordRows rows_decoded(const Tile *t, const RowFormat *format, size_t d,
                              const unsigned char *const *rows, float *room) {
    const DwordRows there = rows_in_place(format, t->n, rows);
    if (there.ld) return there;
    const size_t ld = padded_row(d);
    for (size_t j = 0; j < t->n; j++)
        t->kernels->decode[format->type](format, d, rows[j], room + j * ld);
    return (DwordRows){ room, ld };
}

/* Floats are read where they lie; other types, and floats that lie askew, are decoded. */
static void tile_scores(const Tile *t) {
    const size_t ld = padded_row(t->dk);
    const float *keys[TILE_TOKENS_MAX];
    for (size_t j = 0; j < t->n; j++) {
        const unsigned char *row = t->stored.keys[j];
        keys[j] = t->rows + j * ld;
        if (t->k.type == ROW_F32 && (uintptr_t)row % sizeof(float) == 0)
            keys[j] = (const void *)row;
        else
            t->kernels->decode[t->k.type](&t->k, t->dk, row, t->rows + j * ld);
    }
    score_tile(t, keys);
}

/* The values of a latent that is not of floats were decoded with its keys. */
static void tile_values(const Tile *t) {
    const size_t ld_k = padded_row(t->dk);
    if (!t->v_in_k)
        value_tile(t, rows_decoded(t, &t->v, t->dv, t->stored.values, t->rows + t->n * ld_k));
    else if (t->k.type == ROW_F32)
        value_tile(t, rows_decoded(t, &t->v, t->dv, t->stored.keys, t->rows));
    else
        value_tile(t, (DwordRows){ t->rows, ld_k });
}

static const TileKernels tile_f32 = {
    .tokens = TILE_TOKENS,
    .queries = tile_queries,
    .scores = tile_scores,
    .softmax = tile_softmax,
    .values = tile_values,
};

#endif
