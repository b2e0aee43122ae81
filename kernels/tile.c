/* tile.c -- the room that a tile takes, and the requests for the next one; see tile.h. */
#include "tile.h"

/* Floats of a cache line, and what a row may need besides its elements: scales and padding. */
enum { LINE = 16, LINE_BYTES = 64, ROW_EXTRA = 16 };

static size_t lines(size_t floats) {
    return (floats + LINE - 1) / LINE;
}

size_t tile_lanes(size_t m) {
    return (lines(m) | 1) * LINE;
}

size_t tile_query_floats(size_t m, size_t dk) {
    return (m + TILE_LANES - 1) / TILE_LANES * TILE_LANES * (dk + ROW_EXTRA);
}

size_t tile_row_floats(size_t n, size_t dk, size_t dv, bool v_in_k) {
    const size_t keys = (lines(dk + ROW_EXTRA) | 1) * LINE;
    const size_t values = v_in_k ? keys : (lines(dv + ROW_EXTRA) | 1) * LINE;
    return (n + ROW_EXTRA) * (keys + values);
}

static size_t key_bytes(const Tile *t) {
    return row_bytes(t->k);
}

static size_t value_bytes(const Tile *t) {
    return t->v_in_k ? 0 : row_bytes(t->v);
}

TileAhead tile_ahead(const Tile *t, size_t steps) {
    const size_t lines = key_bytes(t) / LINE_BYTES + value_bytes(t) / LINE_BYTES + 2;
    return (TileAhead){ .t = t, .lines = (t->next.n * lines + steps - 1) / (steps ? steps : 1) };
}

/* Into the second cache: the first is full of what is being computed. */
void tile_ask(TileAhead *ahead) {
    const TileRows *next = &ahead->t->next;
    const size_t keys = key_bytes(ahead->t), all = keys + value_bytes(ahead->t);
    for (size_t i = 0; i < ahead->lines && ahead->row < next->n; i++) {
        const size_t at = ahead->at;
        __builtin_prefetch(
            at < keys ? next->keys[ahead->row] + at : next->values[ahead->row] + (at - keys), 0, 2);
        ahead->at = at < keys && at + LINE_BYTES > keys ? keys : at + LINE_BYTES;
        if (ahead->at >= all) {
            ahead->at = 0;
            ahead->row++;
        }
    }
}
