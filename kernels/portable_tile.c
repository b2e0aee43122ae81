/* portable_tile.c -- the tile of tile.h in plain C: loops over LANES neighbours that compilers turn
 * into the vectors of any machine.
 *
 * Queries are packed [panel of LANES rows][element][row]; a block of four tokens or rows by LANES
 * floats stays in registers. */
#include <math.h>

#include "internal.h"
#include "portable_exp.h"

enum { LANES = 8, ROWS = 4 };

static size_t seen_before(const Tile *t, size_t end) {
    return t->seen ? t->seen[(end < t->m ? end : t->m) - 1] : t->n;
}

static void queries(const Tile *t, const float *const *rows) {
    for (size_t first = 0; first < t->m; first += LANES) {
        float *out = t->queries + first * t->dk;
        for (size_t e = 0; e < t->dk; e++)
            for (size_t i = 0; i < LANES; i++)
                out[e * LANES + i] = first + i < t->m ? rows[first + i][e] : 0;
    }
}

/* sums [rows][LANES] = a b over `depth` steps: a is a_row from row to row and a_step from step to
 * step, b a vector every b_step. */
static inline void product(size_t rows, size_t depth, const float *a, size_t a_row, size_t a_step,
                           const float *b, size_t b_step, float sums[ROWS][LANES]) {
    for (size_t i = 0; i < rows; i++)
        for (size_t lane = 0; lane < LANES; lane++) sums[i][lane] = 0;
    for (size_t step = 0; step < depth; step++) {
        for (size_t i = 0; i < rows; i++) {
            const float scalar = a[i * a_row];
#pragma omp simd
            for (size_t lane = 0; lane < LANES; lane++) sums[i][lane] += scalar * b[lane];
        }
        a += a_step;
        b += b_step;
    }
}

static void scores(const Tile *t) {
    float sums[ROWS][LANES];
    for (size_t j = 0; j < t->n; j++)
        t->kernels->decode[t->k.type](&t->k, t->dk, t->stored.keys[j], t->rows + j * t->dk);
    for (size_t first = 0; first < t->m; first += LANES) {
        const float *panel = t->queries + first * t->dk;
        const size_t seen = seen_before(t, first + LANES);
        for (size_t j = 0; j < seen; j += ROWS) {
            const float *keys = t->rows + j * t->dk;
            const size_t count = seen - j < ROWS ? seen - j : ROWS;
            if (count == ROWS)
                product(ROWS, t->dk, keys, t->dk, 1, panel, LANES, sums);
            else
                product(count, t->dk, keys, t->dk, 1, panel, LANES, sums);
            for (size_t i = 0; i < count; i++)
                memcpy(t->s + (j + i) * t->ld_s + first, sums[i], sizeof sums[i]);
        }
    }
}

/* A score that lane sees, else -INFINITY. */
static inline float masked(float s, size_t j, size_t bound) {
    return j < bound ? s : -INFINITY;
}

static void softmax_lanes(const Tile *t, size_t first) {
    float max[LANES], offset[LANES], total[LANES], *s = t->s + first;
    size_t bound[LANES];
    const size_t seen = seen_before(t, first + LANES), ld = t->ld_s;
    for (size_t lane = 0; lane < LANES; lane++) {
        max[lane] = t->max[first + lane];
        bound[lane] = seen_before(t, first + lane + 1);
        total[lane] = 0;
    }
    for (size_t j = 0; j < seen; j++) {
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++) {
            const float scaled = t->scale * masked(s[j * ld + lane], j, bound[lane]);
            max[lane] = scaled > max[lane] ? scaled : max[lane];
        }
    }
    for (size_t lane = 0; lane < LANES; lane++)
        offset[lane] = max[lane] == -INFINITY ? 0 : max[lane];
    for (size_t j = 0; j < seen; j++) {
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++) {
            const float score = masked(s[j * ld + lane], j, bound[lane]);
            s[j * ld + lane] = exp_small(t->scale * score - offset[lane]);
            total[lane] += s[j * ld + lane];
        }
    }
    for (size_t j = seen; j < t->n; j++) memset(s + j * ld, 0, LANES * sizeof *s);
    for (size_t lane = 0; lane < LANES; lane++) {
        const size_t i = first + lane;
        t->factor[i] = exp_small(t->max[i] - offset[lane]);
        t->sum[i] = t->factor[i] * t->sum[i] + total[lane];
        t->max[i] = max[lane];
    }
}

static void softmax(const Tile *t) {
    for (size_t first = 0; first < t->m; first += LANES) softmax_lanes(t, first);
}

static void add_scaled(const Tile *t, size_t i, size_t d, size_t width, const float *sums) {
    float *o = t->o + i * t->ld_o + d;
    for (size_t e = 0; e < width; e++) o[e] = t->factor[i] * o[e] + sums[e];
}

static void values(const Tile *t) {
    float *const v = t->v_in_k ? t->rows : t->rows + t->n * t->dk;
    const size_t stride = t->v_in_k ? t->dk : t->dv;
    for (size_t j = 0; j < t->n && !t->v_in_k; j++)
        t->kernels->decode[t->v.type](&t->v, t->dv, t->stored.values[j], v + j * stride);
    float sums[ROWS][LANES];
    const size_t whole = t->dv - t->dv % LANES;
    for (size_t d = 0; d < whole; d += LANES) {
        for (size_t i = 0; i < t->m; i += ROWS) {
            const size_t count = t->m - i < ROWS ? t->m - i : ROWS;
            const size_t seen = seen_before(t, i + count);
            if (count == ROWS)
                product(ROWS, seen, t->s + i, 1, t->ld_s, v + d, stride, sums);
            else
                product(count, seen, t->s + i, 1, t->ld_s, v + d, stride, sums);
            for (size_t r = 0; r < count; r++) add_scaled(t, i + r, d, LANES, sums[r]);
        }
    }
    for (size_t i = 0; i < t->m && whole < t->dv; i++) {
        float tail[LANES] = { 0 };
        for (size_t j = 0; j < seen_before(t, i + 1); j++)
            for (size_t d = whole; d < t->dv; d++)
                tail[d - whole] += t->s[j * t->ld_s + i] * v[j * stride + d];
        add_scaled(t, i, whole, t->dv - whole, tail);
    }
}

const TileKernels tile_portable = {
    .tokens = 96,
    .queries = queries,
    .scores = scores,
    .softmax = softmax,
    .values = values,
};
