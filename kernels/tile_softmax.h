/* tile_softmax.h -- the online softmax of a tile, query rows in the lanes of a register.
 *
 * Before including it a file says how a weight is computed and kept:
 *
 *   DWORD_TOKENS                        tokens whose weights share a dword: 1, 2 or 4
 *   weight_exp(x)                       e^x
 *   store_weights(s, w, total)          the weights w[DWORD_TOKENS] of as many tokens to s, and
 * onto *total
 *
 * Weights of dword j/DWORD_TOKENS take the place of scores that have been read before. */
#ifndef KVLAB_TILE_SOFTMAX_H
#define KVLAB_TILE_SOFTMAX_H

#include "vector.h"

/* The score of token j where a lane sees it: where j is below the lane's bound. */
INLINE vec masked_score(const float *s, size_t j, vec bounds) {
    return vec_where_less(vec_all((float)j), bounds, vec_load(s), vec_all(-INFINITY));
}

/* The greatest of old maxima and scaled scores: all lanes see the tokens before `common`, none
 * those from `seen` on. Two chains, so that no step waits for the one before. */
INLINE vec greatest_scores(const Tile *t, size_t first, size_t common, size_t seen, vec bounds) {
    const float *s = t->s + first;
    vec even = vec_all(-INFINITY), odd = even;
    size_t j = 0;
    for (; j + 2 <= common; j += 2) {
        even = vec_max(vec_load(s + j * t->ld_s), even);
        odd = vec_max(vec_load(s + (j + 1) * t->ld_s), odd);
    }
    for (; j < seen; j++) even = vec_max(masked_score(s + j * t->ld_s, j, bounds), even);
    return vec_max(vec_mul(vec_all(t->scale), vec_max(odd, even)), vec_load(t->max + first));
}

/* The rows of one register. */
INLINE void softmax_lanes(const Tile *t, size_t first, size_t common, size_t seen, vec bounds) {
    const vec scale = vec_all(t->scale), old_max = vec_load(t->max + first);
    const vec max = greatest_scores(t, first, common, seen, bounds);
    float *s = t->s + first;
    const size_t ld = t->ld_s;
    /* As long as nothing was seen the maximum is -INFINITY: then weights are e^-INFINITY, not
     * e^(INFINITY - INFINITY). */
    const vec none = vec_all(-INFINITY);
    const vec offset = vec_where_less(none, max, vec_mul(max, vec_all(-1)), vec_zero());
    const vec factor = weight_exp(vec_add(old_max, offset));
    vec total = vec_zero(), w[DWORD_TOKENS];
    size_t j = 0;
    for (; j + DWORD_TOKENS <= common; j += DWORD_TOKENS) {
        UNROLL for (size_t k = 0; k < DWORD_TOKENS; k++) w[k] =
            weight_exp(vec_fma(scale, vec_load(s + (j + k) * ld), offset));
        store_weights(s + j / DWORD_TOKENS * ld, w, &total);
    }
    for (; j < t->n; j += DWORD_TOKENS) {
        for (size_t k = 0; k < DWORD_TOKENS; k++) {
            w[k] = vec_zero();
            if (j + k < seen)
                w[k] = weight_exp(
                    vec_fma(scale, masked_score(s + (j + k) * ld, j + k, bounds), offset));
        }
        store_weights(s + j / DWORD_TOKENS * ld, w, &total);
    }
    vec_store(t->sum + first, vec_fma(factor, vec_load(t->sum + first), total));
    vec_store(t->max + first, max);
    vec_store(t->factor + first, factor);
}

/* Tokens that some row before `end` sees. */
static inline size_t seen_before(const Tile *t, size_t end) {
    return t->seen ? t->seen[(end < t->m ? end : t->m) - 1] : t->n;
}

static void tile_softmax(const Tile *t) {
    for (size_t first = 0; first < t->m; first += WIDTH) {
        float bounds[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) bounds[i] = (float)seen_before(t, first + i + 1);
        const size_t common = t->seen ? t->seen[first] : t->n;
        softmax_lanes(t, first, common, seen_before(t, first + WIDTH), vec_load(bounds));
    }
}

#endif
