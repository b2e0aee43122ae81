/* avx512bf16.c -- the AVX-512 BF16 tier: tiles of bf16, f16 and fp8 rows on vdpbf16ps, which sums
 * two products of bf16 in each dword at the rate of one multiply-add of floats.
 *
 * Bound by vdpbf16ps by count of instructions, not yet by timing. Queries are rounded to bf16 and
 * packed once, pairs of neighbouring elements in a dword, rows side by side; so a key needs no
 * packing: two neighbouring elements of the row are broadcast as they lie. Weights are rounded to
 * bf16, pairs of neighbouring tokens in a dword, and meet values interleaved by pairs of tokens:
 * the one packing left, 32 shuffles for two tokens of 512 values against 4352 dot products of 128
 * query rows. Sums are in f32, and the sum of weights is that of the rounded ones. Rows in f16 or
 * fp8 are rounded to bf16 a tile at a time.
 *
 * A register block is 24 accumulators: in a step of scores 4 loads and 6 broadcasts, of which the
 * machine does as many as fit beside 24 dot products twice over. A tile of 144 tokens of MLA (keys
 * 162 KiB, values 148 KiB, weights 81 KiB, outputs 264 KiB, queries 144 KiB) lies in a second cache
 * of 1 MiB. e^x of weights is a polynomial of degree 4: 4e-5, where rounding costs 4e-3. */
#include "avx512.h"

#include <string.h>

#include "internal.h"

enum { DWORD_TOKENS = 2, ASKS_AHEAD = 1 };
#define TILE_TOKENS 144

#include "vector.h"

static inline vec multiply_add(vec scalar, vec loaded, vec sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)scalar, (__m512bh)loaded);
}

static inline vec weight_exp(vec x) {
    return vec_exp_coarse(x);
}

/* 32 numbers to bf16, those of `low` first. */
static inline __m512i rounded(vec low, vec high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static const uint16_t pairs_of_halves[32] = { 0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                              21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                              11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };

static inline void store_weights(float *s, const vec *w, vec *total) {
    const __m512i order = _mm512_loadu_si512(pairs_of_halves);
    const __m512i pairs = _mm512_permutexvar_epi16(order, rounded(w[0], w[1]));
    const __m512i ones = _mm512_set1_epi16(0x3f80);
    _mm512_storeu_si512(s, pairs);
    *total = _mm512_dpbf16_ps(*total, (__m512bh)pairs, (__m512bh)ones);
}

#include "tile_products.h"

/* ---- queries ---- */

/* A pair of elements of a query row, the first in the low half. */
static uint32_t query_pair(const float *row, size_t e, size_t dk) {
    const uint32_t high = e + 1 < dk ? f32_to_bf16(row[e + 1]) : 0;
    return f32_to_bf16(row[e]) | high << 16;
}

static void pack_panel(const Tile *t, const float *const *rows, size_t first, size_t width) {
    float *out = t->queries + first * dwords(t->dk);
    for (size_t i = 0; i < width; i++) {
        for (size_t e = 0; e < t->dk; e += 2) {
            const uint32_t pair = first + i < t->m ? query_pair(rows[first + i], e, t->dk) : 0;
            memcpy(out + e / 2 * width + i, &pair, sizeof pair);
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

/* ---- rows ---- */

/* Where things of a tile lie in t->rows, in floats. */
typedef struct {
    size_t ld_k, ld_v;
    size_t values, even, odd, floats; /* pairs of values; two rows of bf16; a row of floats */
} Room;

static Room tile_room(const Tile *t) {
    const size_t widest = t->dk > t->dv ? t->dk : t->dv;
    Room r = { .ld_k = padded_row(dwords(t->dk)), .ld_v = padded_row(t->dv) };
    r.values = t->n * r.ld_k;
    r.even = r.values + dwords(t->n) * r.ld_v;
    r.odd = r.even + padded_row(dwords(widest));
    r.floats = r.odd + padded_row(dwords(widest));
    return r;
}

/* The first d values of a stored row to bf16, with a zero behind an odd one. */
static void round_row(const Tile *t, const RowFormat *format, size_t d, const unsigned char *row,
                      float *scratch, void *out) {
    unsigned char *halves = out;
    const uint16_t zero = 0;
    if (d % 2) memcpy(halves + 2 * d, &zero, sizeof zero);
    if (format->type == ROW_BF16) {
        memcpy(halves, row, 2 * d);
        return;
    }
    t->kernels->decode[format->type](format, d, row, scratch);
    size_t e = 0;
    for (; e + 2 * WIDTH <= d; e += 2 * WIDTH)
        _mm512_storeu_si512(halves + 2 * e,
                            rounded(vec_load(scratch + e), vec_load(scratch + e + WIDTH)));
    for (; e < d; e++) {
        const uint16_t half = f32_to_bf16(scratch[e]);
        memcpy(halves + 2 * e, &half, sizeof half);
    }
}

/* Rows of bf16 that fill dwords are read where they lie. */
static void tile_scores(const Tile *t) {
    const Room room = tile_room(t);
    const float *keys[TILE_TOKENS_MAX];
    for (size_t j = 0; j < t->n; j++) {
        const unsigned char *row = t->stored.keys[j];
        keys[j] = t->rows + j * room.ld_k;
        if (t->k.type == ROW_BF16 && t->dk % 2 == 0 && (uintptr_t)row % sizeof(float) == 0)
            keys[j] = (const void *)row;
        else
            round_row(t, &t->k, t->dk, row, t->rows + room.floats, t->rows + j * room.ld_k);
    }
    score_tile(t, keys);
}

/* Interleaves d values of two tokens; the second may be none. */
static void pair_rows(size_t d, const unsigned char *even, const unsigned char *odd, float *out) {
    static const uint16_t from_both[2][32] = {
        { 0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47 },
        { 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
          24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63 }
    };
    const __m512i first = _mm512_loadu_si512(from_both[0]);
    const __m512i second = _mm512_loadu_si512(from_both[1]);
    size_t e = 0;
    for (; odd && e + 2 * WIDTH <= d; e += 2 * WIDTH) {
        const __m512i a = _mm512_loadu_si512(even + 2 * e), b = _mm512_loadu_si512(odd + 2 * e);
        _mm512_storeu_si512(out + e, _mm512_permutex2var_epi16(a, first, b));
        _mm512_storeu_si512(out + e + WIDTH, _mm512_permutex2var_epi16(a, second, b));
    }
    for (; e < d; e++) {
        uint16_t pair[2] = { 0 };
        memcpy(&pair[0], even + 2 * e, sizeof pair[0]);
        if (odd) memcpy(&pair[1], odd + 2 * e, sizeof pair[1]);
        memcpy(out + e, pair, sizeof pair);
    }
}

/* The values of token j as bf16: where they lie, or rounded into `room`. A latent's were rounded
 * with its keys. */
static const unsigned char *value_row(const Tile *t, const Room *r, size_t j, float *room) {
    const RowFormat *format = t->v_in_k ? &t->k : &t->v;
    const unsigned char *row = t->v_in_k ? t->stored.keys[j] : t->stored.values[j];
    if (format->type == ROW_BF16) return row;
    if (t->v_in_k) return (const void *)(t->rows + j * r->ld_k);
    round_row(t, format, t->dv, row, t->rows + r->floats, room);
    return (const void *)room;
}

static void tile_values(const Tile *t) {
    const Room r = tile_room(t);
    float *pairs = t->rows + r.values;
    for (size_t j = 0; j < t->n; j += 2) {
        const unsigned char *even = value_row(t, &r, j, t->rows + r.even);
        const unsigned char *odd = j + 1 < t->n ? value_row(t, &r, j + 1, t->rows + r.odd) : NULL;
        pair_rows(t->dv, even, odd, pairs + j / 2 * r.ld_v);
    }
    value_tile(t, (DwordRows){ pairs, r.ld_v });
}

static const TileKernels tile_bf16 = {
    .tokens = TILE_TOKENS,
    .queries = tile_queries,
    .scores = tile_scores,
    .softmax = tile_softmax,
    .values = tile_values,
};

/* ---- the peak ---- */

static float dot_bf16_rounds(size_t rounds, double *flops) {
    enum { CHAINS = 12 }; /* more than its latency */
    const __m512i half = _mm512_set1_epi16(0x3f00);
    vec chain[CHAINS];
    UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] = vec_all((float)c + 0.5f);
    for (size_t r = 0; r < rounds; r++) {
        UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] =
            _mm512_dpbf16_ps(chain[c], (__m512bh)half, (__m512bh)half);
    }
    vec sum = vec_zero();
    UNROLL for (size_t c = 0; c < CHAINS; c++) sum = vec_add(sum, chain[c]);
    *flops = 4.0 * CHAINS * WIDTH * (double)rounds;
    return vec_sum(sum);
}

void kernels_fill_avx512bf16(Kernels *kernels) {
    kernels->tile[ROW_BF16] = &tile_bf16;
    kernels->tile[ROW_F16] = &tile_bf16;
    kernels->tile[ROW_FP8] = &tile_bf16;
    kernels->tile[ROW_FP8_DS_MLA] = &tile_bf16;
    kernels->dot_bf16_rounds = dot_bf16_rounds;
}
