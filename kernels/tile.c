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

size_t tile_few_lanes(size_t m) {
    size_t lanes = 1;
    while (lanes < m) lanes *= 2;
    return lanes;
}

size_t tile_query_floats(size_t m, size_t dk) {
    return (m + TILE_LANES - 1) / TILE_LANES * TILE_LANES * (dk + ROW_EXTRA);
}

size_t tile_row_floats(size_t n, size_t dk, size_t dv, bool v_in_k) {
    const size_t keys = (lines(dk + ROW_EXTRA) | 1) * LINE;
    const size_t values = v_in_k ? keys : (lines(dv + ROW_EXTRA) | 1) * LINE;
    return (n + ROW_EXTRA) * (keys + values);
}

TileAhead tile_ahead(const Tile *t, size_t steps) {
    const size_t keys = row_bytes(t->k), values = t->v_in_k ? 0 : row_bytes(t->v);
    const size_t lines = keys / LINE_BYTES + values / LINE_BYTES + 2;
    return (TileAhead){ .next = &t->next,
                        .key_bytes = keys,
                        .row_bytes = keys + values,
                        .lines = (t->next.n * lines + steps - 1) / steps };
}
