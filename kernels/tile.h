/* tile.h -- many query rows against a tile of cached rows: attention where arithmetic bounds it.
 *
 * A tile is m query rows by n cached tokens that they all look at: all heads of absorbed MLA, the
 * heads of a group times some query tokens. Queries are packed once for all tiles that they meet,
 * cached rows are decoded once for all queries:
 *
 *   queries   q [m, dk]  -> packed, once for many tiles; then, tile after tile:
 *   scores    keys       -> s[j][i] = sum_e q[i][e] k[j][e]
 *   softmax   s          -> weights, max, sum and factor: an online softmax of each query row
 *   values    values     -> o[i][d] = factor[i] o[i][d] + sum_j weight[j][i] v[j][d]
 *
 * Scores lie token by token, [n][ld_s], with the query rows in the lanes of a register. So both
 * products are the same: a scalar, broadcast, times a vector (an element of a key times the packed
 * queries; a weight times a value row), no sum ever runs across lanes, and rows need no
 * transposing. How queries, rows and, behind softmax, weights are laid out is the tier's own
 * affair. */
#ifndef KVLAB_TILE_H
#define KVLAB_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec.h"

enum {
    TILE_TOKENS_MAX = 256, /* n is at most */
    FEW_ROWS_MAX = 8,      /* query rows of the kernels of few rows */
    TILE_LANES = 16        /* arrays over query rows are padded to a multiple of this */
};

struct Kernels;

/* Stored rows of some cached tokens, wherever they lie: [n] pointers each. For a latent, whose
 * values are part of its keys, values is NULL. */
typedef struct {
    size_t n;
    const unsigned char *const *keys, *const *values;
} TileRows;

typedef struct {
    const struct Kernels *kernels; /* to decode rows by */
    RowFormat k, v;                /* how a key and a value row is stored */
    TileRows stored;               /* the n tokens of the tile */
    TileRows next; /* those of the tile that will follow, for kernels that ask for them ahead */

    size_t m, n;
    size_t dk, dv;
    bool v_in_k; /* values are the first dv elements of the keys */
    float scale; /* of scores, above 0 */

    /* Of the n tokens row i sees the first seen[i]: [m], never falling, the last at most n. NULL
     * where all rows see all tokens. */
    const uint32_t *seen;

    float *queries;            /* tile_query_floats(m, dk) */
    float *rows;               /* tile_row_floats(n, dk, dv, v_in_k) */
    float *s;                  /* [n][ld_s], behind softmax the weights */
    size_t ld_s;               /* tile_lanes(m); of kernels of few rows tile_few_lanes(m) */
    float *max, *sum, *factor; /* [m] padded; max begins as -INFINITY, sum as 0 */
    float *o;                  /* [m][ld_o], begins as 0; divided by sum at the end */
    size_t ld_o;
} Tile;

/* The products of one route (what the operands are rounded to) of a tier. */
typedef struct {
    size_t tokens; /* the best n; a multiple of the tokens of a register block */

    /* Can it take keys and values stored so? NULL: any of its types. */
    bool (*takes)(const RowFormat *format);

    /* rows: [m] pointers to the query rows, of dk floats each. */
    void (*queries)(const Tile *t, const float *const *rows);

    /* Decodes the keys that are not read where they lie; of a latent the values may be among them.
     * Scores that no row sees may be left unset. */
    void (*scores)(const Tile *t);

    /* A score of -INFINITY weighs 0; a row without any other keeps max -INFINITY and sum 0. */
    void (*softmax)(const Tile *t);
    void (*values)(const Tile *t);
} TileKernels;

/* Room that suffices every route, in floats. */
size_t tile_lanes(size_t m);     /* an odd number of cache lines: columns spread over all sets */
size_t tile_few_lanes(size_t m); /* m rounded up to a power of two */
size_t tile_query_floats(size_t m, size_t dk);
size_t tile_row_floats(size_t n, size_t dk, size_t dv, bool v_in_k);

/* A walk over the memory of the next rows, a few cache lines at each of `steps` steps. */
typedef struct {
    const TileRows *next;
    size_t key_bytes, row_bytes; /* row_bytes: key and value row */
    size_t row, at;              /* byte `at` of row `row`: its key, then its value */
    size_t lines;                /* of a step */
} TileAhead;

TileAhead tile_ahead(const Tile *t, size_t steps);

/* Into the second cache: the first is full of what is being computed. */
static inline void tile_ask(TileAhead *ahead) {
    const TileRows *next = ahead->next;
    const size_t keys = ahead->key_bytes, line = 64;
    for (size_t left = ahead->lines; left && ahead->row < next->n;) {
        const size_t at = ahead->at, end = at < keys ? keys : ahead->row_bytes;
        const unsigned char *p =
            at < keys ? next->keys[ahead->row] + at : next->values[ahead->row] + (at - keys);
        const size_t bytes = left * line < end - at ? left * line : end - at;
        for (size_t i = 0; i < bytes; i += line) __builtin_prefetch(p + i, 0, 2);
        left -= (bytes + line - 1) / line;
        ahead->at += bytes;
        if (ahead->at == ahead->row_bytes) ahead->at = 0, ahead->row++;
    }
}

#endif
