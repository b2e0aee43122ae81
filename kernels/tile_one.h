/* tile_one.h -- the tile of tile_few.h for one query row: decode of MHA. For that file alone.
 *
 * One query row is bound by memory alone. It reads token by token, just as rows lie, and asks for
 * what comes BYTES_AHEAD further on; eight keys side by side, which need fewer loads of the query,
 * confuse what the machine foresees (32 heads, bf16, cold: 12.6 GB/s against 15.1). */
#ifndef KVLAB_TILE_ONE_H
#define KVLAB_TILE_ONE_H

enum {
    BYTES_AHEAD = 1024, /* further on the first cache loses what it was asked for */
    TOKENS_TOGETHER = 2 /* of the values, that share a load of the sums */
};

/* For each of n rows the one that memory is asked for while it is read, BYTES_AHEAD further on:
 * behind the last row of a tile come the first ones of what is read next. */
static void rows_ahead(const unsigned char *const *rows, size_t n, RowFormat format,
                       const unsigned char *const *then, size_t then_n,
                       const unsigned char **ahead) {
    const size_t bytes = row_bytes(format), by = smaller_of((BYTES_AHEAD + bytes - 1) / bytes, n);
    for (size_t j = by; j < n; j++) ahead[j - by] = rows[j];
    for (size_t j = 0; j < by; j++) ahead[n - by + j] = then && j < then_n ? then[j] : rows[n - 1];
}

INLINE void ask_lines(const unsigned char *p, size_t bytes) {
    for (size_t at = 0; at < bytes; at += LINE_BYTES) __builtin_prefetch(p + at);
}

/* The products of a key with the query over whole steps, a register of sums. */
INLINE vec key_product(RowType type, size_t whole, const float *q, const unsigned char *key,
                       const unsigned char *ahead) {
    const size_t step = STEP * element_bytes(type);
    vec sums[4] = { vec_zero(), vec_zero(), vec_zero(), vec_zero() };
    size_t e = 0;
    for (; e + 2 * STEP <= whole; e += 2 * STEP, key += 2 * step, ahead += 2 * step) {
        ask_lines(ahead, 2 * step);
        UNROLL for (size_t c = 0; c < 4; c++) sums[c] = vec_fma(
            vec_load(q + e + c * WIDTH), load_half(type, key + c / 2 * step, c % 2), sums[c]);
    }
    if (e < whole) {
        ask_lines(ahead, step);
        UNROLL for (size_t c = 0; c < 2; c++) sums[c] =
            vec_fma(vec_load(q + e + c * WIDTH), load_half(type, key, c), sums[c]);
    }
    return vec_add(vec_add(sums[0], sums[1]), vec_add(sums[2], sums[3]));
}

INLINE void one_scores(RowType type, const Tile *t) {
    const size_t whole = whole_steps(t->dk), n = seen_before(t, 1);
    const unsigned char *const *keys = t->stored.keys, *ahead[TILE_TOKENS_MAX];
    if (t->v_in_k)
        rows_ahead(keys, t->n, t->k, t->next.keys, t->next.n, ahead);
    else
        rows_ahead(keys, t->n, t->k, t->stored.values, t->n, ahead);
    vec sums[4];
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        UNROLL for (size_t c = 0; c < 4; c++) sums[c] =
            key_product(type, whole, t->queries, keys[j + c], ahead[j + c]);
        vec_sum4(sums[0], sums[1], sums[2], sums[3], t->s + j);
    }
    for (; j < n; j++) t->s[j] = vec_sum(key_product(type, whole, t->queries, keys[j], ahead[j]));
    few_scores_rest(type, t);
}

/* Adds tokens from j to end, of a stripe of `steps` steps at element e, to sums in order of halves.
 */
INLINE void one_stripe(RowType type, const Tile *t, size_t steps, size_t e, size_t j, size_t end,
                       const unsigned char *const *ahead, float *sums_of_tile) {
    const size_t bytes = element_bytes(type);
    const unsigned char *const *values = t->v_in_k ? t->stored.keys : t->stored.values;
    float *out = sums_of_tile + e;
    vec sums[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < 2 * steps; c++) sums[c] = vec_load(out + c * WIDTH);
    for (; j < end; j++) {
        const unsigned char *p = values[j] + e * bytes;
        const vec weight = vec_all(t->s[j]);
        ask_lines(ahead[j] + e * bytes, steps * STEP * bytes);
        UNROLL for (size_t c = 0; c < steps; c++, p += STEP * bytes) {
            sums[2 * c] = vec_fma(weight, load_half(type, p, false), sums[2 * c]);
            sums[2 * c + 1] = vec_fma(weight, load_half(type, p, true), sums[2 * c + 1]);
        }
    }
    UNROLL for (size_t c = 0; c < 2 * steps; c++) vec_store(out + c * WIDTH, sums[c]);
}

/* A few tokens at a time, so that memory is read nearly as it lies; their sums wait in the room for
 * rows. */
INLINE void one_values(RowType type, const Tile *t) {
    const size_t whole = whole_steps(t->dv), n = seen_before(t, 1);
    const unsigned char *const *values = t->v_in_k ? t->stored.keys : t->stored.values;
    const unsigned char *ahead[TILE_TOKENS_MAX];
    float *sums = t->rows;
    rows_ahead(values, t->n, t->v, t->next.keys, t->next.n, ahead);
    memset(sums, 0, whole * sizeof *sums);
    for (size_t j = 0, end; j < n; j = end) {
        end = smaller_of(j + TOKENS_TOGETHER, n);
        size_t e = 0;
        for (; e + 4 * STEP <= whole; e += 4 * STEP) one_stripe(type, t, 4, e, j, end, ahead, sums);
        for (; e < whole; e += STEP) one_stripe(type, t, 1, e, j, end, ahead, sums);
    }
    const vec factor = vec_all(*t->factor);
    for (size_t e = 0; e < whole; e += STEP) {
        vec first = vec_load(sums + e), second = vec_load(sums + e + WIDTH);
        join_steps(type, &first, &second);
        vec_store(t->o + e, vec_fma(factor, vec_load(t->o + e), first));
        vec_store(t->o + e + WIDTH, vec_fma(factor, vec_load(t->o + e + WIDTH), second));
    }
    few_values_rest(type, t, whole);
}

#endif
