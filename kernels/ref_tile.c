/* ref_tile.c -- the tile of tile.h by its definition: rows as they are, sums in double. */
#include <math.h>

#include "internal.h"

static bool sees(const Tile *t, size_t i, size_t j) {
    return !t->seen || j < t->seen[i];
}

static void queries(const Tile *t, const float *const *rows) {
    for (size_t i = 0; i < t->m; i++)
        for (size_t e = 0; e < t->dk; e++) t->queries[i * t->dk + e] = rows[i][e];
}

static void scores(const Tile *t) {
    for (size_t j = 0; j < t->n; j++) {
        t->kernels->decode[t->k.type](&t->k, t->dk, t->stored.keys[j], t->rows + j * t->dk);
        for (size_t i = 0; i < t->m; i++) {
            double sum = 0;
            for (size_t e = 0; e < t->dk; e++)
                sum += (double)t->queries[i * t->dk + e] * t->rows[j * t->dk + e];
            t->s[j * t->ld_s + i] = (float)sum;
        }
    }
}

static void softmax(const Tile *t) {
    for (size_t i = 0; i < t->m; i++) {
        const float old_max = t->max[i];
        float max = old_max;
        for (size_t j = 0; j < t->n && sees(t, i, j); j++) {
            const float scaled = t->scale * t->s[j * t->ld_s + i];
            if (scaled > max) max = scaled;
        }
        const double offset = max == -INFINITY ? 0 : max;
        double total = 0;
        for (size_t j = 0; j < t->n; j++) {
            float *s = &t->s[j * t->ld_s + i];
            *s = sees(t, i, j) ? (float)exp((double)t->scale * *s - offset) : 0;
            total += *s;
        }
        const double factor = exp(old_max - offset);
        t->sum[i] = (float)(factor * t->sum[i] + total);
        t->max[i] = max;
        t->factor[i] = (float)factor;
    }
}

static void values(const Tile *t) {
    float *const v = t->v_in_k ? t->rows : t->rows + t->n * t->dk;
    const size_t stride = t->v_in_k ? t->dk : t->dv;
    for (size_t j = 0; j < t->n && !t->v_in_k; j++)
        t->kernels->decode[t->v.type](&t->v, t->dv, t->stored.values[j], v + j * stride);
    for (size_t i = 0; i < t->m; i++) {
        for (size_t d = 0; d < t->dv; d++) {
            double sum = 0;
            for (size_t j = 0; j < t->n && sees(t, i, j); j++)
                sum += (double)t->s[j * t->ld_s + i] * v[j * stride + d];
            float *o = &t->o[i * t->ld_o + d];
            *o = (float)(t->factor[i] * (double)*o + sum);
        }
    }
}

const TileKernels tile_ref = {
    .tokens = 96,
    .queries = queries,
    .scores = scores,
    .softmax = softmax,
    .values = values,
};
