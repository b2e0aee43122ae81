/* avx512vnni.c -- the AVX-512 VNNI tier: tiles of int8 rows on vpdpbusd, which sums four products
 * of an unsigned and a signed byte in each dword: four times the rate of multiply-adds of floats.
 *
 * Bound by vpdpbusd by count of instructions, not yet by timing. Scores: a query row is quantised
 * to int8 with a scale for every 128 elements and packed once, four neighbouring elements in a
 * dword, rows side by side; keys are moved by 128 to be unsigned and broadcast as they lie, four
 * elements at a time. The move is taken back by sums that begin at -128 times the sum of the
 * query's group. Values: a weight times its row's scale is quantised to 8 bits with a scale for
 * each query row and tile, the greatest being 255; four neighbouring tokens in a dword meet values
 * interleaved by four tokens.
 *
 *   s[j][i]  = scale_j  sum over groups g of  scale_gi  (sum of (k + 128) q  -  128 sum of q)
 *   o[i][d] += unit_i   sum over j of  u_ij v_jd,       u_ij = round(weight_ij scale_j / unit_i)
 *
 * All sums of bytes are exact. A tile has 256 tokens, so that what ends a block (conversion, scale,
 * load, store of each of its 24 sums) is a few per cent of the 64 dot products of each. Groups of
 * 128 elements are 32 dot products to one addition in floats. */
#include "avx512.h"

#include <string.h>

#include "internal.h"
#include "rows.h"

enum { DWORD_TOKENS = 1 }; /* of the softmax, which leaves floats: bytes come behind it */
#define TILE_TOKENS  256
#define GROUP_DWORDS 32 /* 128 elements */

#include "vector.h"

static inline vec weight_exp(vec x) {
    return vec_exp_coarse(x);
}
static inline void store_weights(float *s, const vec *w, vec *total) {
    vec_store(s, w[0]);
    *total = vec_add(*total, w[0]);
}

#include "tile_softmax.h"

static size_t quads(size_t n) {
    return (n + 3) / 4;
}

static size_t padded_row(size_t floats) {
    return ((floats + 15) / 16 | 1) * 16;
}

/* Where things lie in t->rows, in floats: keys [n][ld_k] and interleaved values [n/4][ld_v] of four
 * bytes a float, scales of the rows, units of the weights. */
typedef struct {
    size_t ld_k, ld_v, values, key_scales, value_scales, units;
} Room;

static Room tile_room(const Tile *t) {
    Room r = { .ld_k = padded_row(quads(t->dk)), .ld_v = padded_row(t->dv) };
    r.values = t->n * r.ld_k;
    r.key_scales = r.values + quads(t->n) * r.ld_v;
    r.value_scales = r.key_scales + padded_row(t->n);
    r.units = r.value_scales + padded_row(t->n);
    return r;
}

/* ---- queries: of each panel [dword][row], then [group][row] first sums and scales ---- */

static size_t groups(size_t dk) {
    return (quads(dk) + GROUP_DWORDS - 1) / GROUP_DWORDS;
}

static size_t panel_dwords(size_t dk) {
    return quads(dk) + 2 * groups(dk);
}

/* Quantises n <= 128 numbers into bytes, padded with zeros to whole dwords; gives their scale. */
static float quantise(const float *x, size_t n, int8_t *bytes, int32_t *sum) {
    float greatest = 0;
    for (size_t e = 0; e < n; e++) greatest = fabsf(x[e]) > greatest ? fabsf(x[e]) : greatest;
    const float scale = greatest / 127;
    const vec inverse = vec_all(scale > 0 ? 1 / scale : 0);
    memset(bytes, 0, 4 * GROUP_DWORDS);
    for (size_t e = 0; e < n; e += WIDTH) {
        const size_t left = n - e < WIDTH ? n - e : WIDTH;
        const vec part = left < WIDTH ? vec_load_part(x + e, left) : vec_load(x + e);
        const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(part, inverse));
        _mm_storeu_si128((void *)(bytes + e), _mm512_cvtepi32_epi8(whole));
    }
    *sum = 0;
    for (size_t e = 0; e < 4 * GROUP_DWORDS; e++) *sum += bytes[e];
    return isfinite(greatest) ? scale : NAN;
}

static void pack_row(const Tile *t, const float *row, float *panel, size_t i, size_t width) {
    float *first_sums = panel + quads(t->dk) * width, *scales = first_sums + groups(t->dk) * width;
    for (size_t g = 0; g < groups(t->dk); g++) {
        int8_t bytes[4 * GROUP_DWORDS];
        int32_t sum;
        const size_t from = g * 4 * GROUP_DWORDS, left = t->dk - from;
        const size_t n = left < 4 * GROUP_DWORDS ? left : 4 * GROUP_DWORDS;
        scales[g * width + i] = quantise(row + from, n, bytes, &sum);
        sum *= -128;
        memcpy(first_sums + g * width + i, &sum, sizeof sum);
        for (size_t q = 0; q < quads(n); q++)
            memcpy(panel + (g * GROUP_DWORDS + q) * width + i, bytes + 4 * q, 4);
    }
}

#define OVER_PANELS(vectors, call)                                                                 \
    for (; first + (vectors)*WIDTH <= t->m || ((vectors) == 1 && first < t->m);                    \
         first += (vectors)*WIDTH)                                                                 \
    call

static void pack_panel(const Tile *t, const float *const *rows, size_t first, size_t width) {
    float *panel = t->queries + first * panel_dwords(t->dk);
    memset(panel, 0, width * panel_dwords(t->dk) * sizeof *panel);
    for (size_t i = 0; i < width && first + i < t->m; i++)
        pack_row(t, rows[first + i], panel, i, width);
}

static void tile_queries(const Tile *t, const float *const *rows) {
    size_t first = 0;
#define PACK(vectors, tokens) OVER_PANELS(vectors, pack_panel(t, rows, first, (vectors)*WIDTH))
    PANELS(PACK);
#undef PACK
}

/* ---- scores ---- */

INLINE __m512i all_dwords(const void *p) {
    int32_t dword;
    memcpy(&dword, p, sizeof dword);
    return _mm512_set1_epi32(dword);
}

/* Scores of tokens x vectors over one group: set for the first group, added to for others. */
INLINE void score_group(size_t tokens, size_t vectors, size_t depth, const float *keys, size_t ld_k,
                        const float *queries, const float *first_sums, const float *scales,
                        const float *key_scales, bool first, float *s, size_t ld_s) {
    const size_t width = vectors * WIDTH;
    __m512i sums[BLOCK_MAX], loaded[BLOCK_MAX];
    UNROLL for (size_t v = 0; v < vectors; v++) {
        const __m512i begin = _mm512_loadu_si512(first_sums + v * WIDTH);
        UNROLL for (size_t j = 0; j < tokens; j++) sums[j * vectors + v] = begin;
    }
    for (size_t q = 0; q < depth; q++) {
        UNROLL for (size_t v = 0; v < vectors; v++) loaded[v] =
            _mm512_loadu_si512(queries + q * width + v * WIDTH);
        UNROLL for (size_t j = 0; j < tokens; j++) {
            const __m512i key = all_dwords(keys + j * ld_k + q);
            UNROLL for (size_t v = 0; v < vectors; v++) sums[j * vectors + v] =
                _mm512_dpbusd_epi32(sums[j * vectors + v], key, loaded[v]);
        }
    }
    UNROLL for (size_t j = 0; j < tokens; j++) {
        const vec key_scale = vec_all(key_scales[j]);
        UNROLL for (size_t v = 0; v < vectors; v++) {
            float *out = s + j * ld_s + v * WIDTH;
            const vec scale = vec_mul(vec_load(scales + v * WIDTH), key_scale);
            const vec sum = _mm512_cvtepi32_ps(sums[j * vectors + v]);
            vec_store(out, vec_fma(scale, sum, first ? vec_zero() : vec_load(out)));
        }
    }
}

INLINE void score_panel(const Tile *t, const Room *r, size_t first, size_t vectors, size_t tokens,
                        TileAhead *ahead) {
    const size_t width = vectors * WIDTH, depth = quads(t->dk),
                 seen = seen_before(t, first + width);
    const float *queries = t->queries + first * panel_dwords(t->dk);
    const float *first_sums = queries + depth * width, *scales = first_sums + groups(t->dk) * width;
    size_t j = 0;
#define SCORE(at_once)                                                                             \
    for (; j + (at_once) <= seen; j += (at_once)) {                                                \
        tile_ask(ahead);                                                                           \
        for (size_t g = 0; g < groups(t->dk); g++) {                                               \
            const size_t from = g * GROUP_DWORDS, left = depth - from;                             \
            score_group(at_once, vectors, left < GROUP_DWORDS ? left : GROUP_DWORDS,               \
                        t->rows + j * r->ld_k + from, r->ld_k, queries + from * width,             \
                        first_sums + g * width, scales + g * width, t->rows + r->key_scales + j,   \
                        g == 0, t->s + j * t->ld_s + first, t->ld_s);                              \
        }                                                                                          \
    }
    SCORE(tokens);
    SCORE(2);
    SCORE(1);
#undef SCORE
}

/* The bytes of an int8 row moved by 128; behind the last are zeros' places. */
static void load_key(const unsigned char *row, size_t dk, float *out) {
    unsigned char *bytes = (unsigned char *)out;
    const __m512i move = _mm512_set1_epi8((char)0x80);
    size_t e = 0;
    for (; e + 64 <= dk; e += 64)
        _mm512_storeu_si512(bytes + e,
                            _mm512_xor_si512(_mm512_loadu_si512(row + ROW_SCALE_BYTES + e), move));
    for (; e < dk; e++) bytes[e] = row[ROW_SCALE_BYTES + e] ^ 0x80;
    for (; e < 4 * quads(dk); e++) bytes[e] = 0x80;
}

static void tile_scores(const Tile *t) {
    const Room r = tile_room(t);
    for (size_t j = 0; j < t->n; j++) {
        load_key(t->stored.keys[j], t->dk, t->rows + j * r.ld_k);
        t->rows[r.key_scales + j] = load_f32(t->stored.keys[j]);
    }
    TileAhead ahead = tile_ahead(t, t->n * t->m / (24 * WIDTH) + 1);
    size_t first = 0;
#define SCORE(vectors, tokens)                                                                     \
    OVER_PANELS(vectors, score_panel(t, &r, first, vectors, tokens, &ahead))
    PANELS(SCORE);
#undef SCORE
}

/* ---- values ---- */

/* Weights times the scales of their rows to bytes, four tokens in a dword, over the scores that
 * have been read; one register of query rows. */
static void quantise_weights(const Tile *t, const Room *r, size_t first) {
    float *s = t->s + first;
    const float *scales = t->rows + r->value_scales;
    vec greatest = vec_zero();
    for (size_t j = 0; j < t->n; j++)
        greatest = vec_max(greatest, vec_mul(vec_all(scales[j]), vec_load(s + j * t->ld_s)));
    const vec some = vec_where_less(vec_zero(), greatest, greatest, vec_all(1));
    vec_store(t->rows + r->units + first, vec_mul(greatest, vec_all(1.0f / 255)));
    const vec inverse = _mm512_div_ps(vec_all(255), some);
    for (size_t j = 0; j < t->n; j += 4) {
        __m512i dword = _mm512_setzero_si512();
        for (size_t k = 0; k < 4 && j + k < t->n; k++) {
            const vec weight = vec_mul(vec_all(scales[j + k]), vec_load(s + (j + k) * t->ld_s));
            const __m512i byte = _mm512_cvtps_epi32(vec_mul(weight, inverse));
            dword = _mm512_or_si512(dword, _mm512_slli_epi32(byte, (unsigned)(8 * k)));
        }
        _mm512_storeu_si512(s + j / 4 * t->ld_s, dword);
    }
}

/* Interleaves 64 values of four tokens: bytes by pairs of tokens, pairs by pairs of pairs; then the
 * quarters of the registers, four times four, into the order of the values. */
static void interleave_64(const unsigned char *const *rows, size_t at, float *out) {
    __m512i x[4], y[4];
    for (size_t k = 0; k < 4; k++) x[k] = _mm512_loadu_si512(rows[k] + at);
    y[0] = _mm512_unpacklo_epi8(x[0], x[1]), y[1] = _mm512_unpackhi_epi8(x[0], x[1]);
    y[2] = _mm512_unpacklo_epi8(x[2], x[3]), y[3] = _mm512_unpackhi_epi8(x[2], x[3]);
    x[0] = _mm512_unpacklo_epi16(y[0], y[2]), x[1] = _mm512_unpackhi_epi16(y[0], y[2]);
    x[2] = _mm512_unpacklo_epi16(y[1], y[3]), x[3] = _mm512_unpackhi_epi16(y[1], y[3]);
    y[0] = _mm512_shuffle_i32x4(x[0], x[1], 0x44), y[1] = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
    y[2] = _mm512_shuffle_i32x4(x[0], x[1], 0xee), y[3] = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
    _mm512_storeu_si512(out, _mm512_shuffle_i32x4(y[0], y[1], 0x88));
    _mm512_storeu_si512(out + 16, _mm512_shuffle_i32x4(y[0], y[1], 0xdd));
    _mm512_storeu_si512(out + 32, _mm512_shuffle_i32x4(y[2], y[3], 0x88));
    _mm512_storeu_si512(out + 48, _mm512_shuffle_i32x4(y[2], y[3], 0xdd));
}

/* d values of four tokens from j on; tokens behind the last are zeros. */
static void interleave(const Tile *t, size_t j, float *out) {
    const unsigned char *const *stored = t->v_in_k ? t->stored.keys : t->stored.values;
    const unsigned char *rows[4];
    const size_t count = t->n - j < 4 ? t->n - j : 4;
    for (size_t k = 0; k < count; k++) rows[k] = stored[j + k] + ROW_SCALE_BYTES;
    size_t d = 0;
    for (; count == 4 && d + 64 <= t->dv; d += 64) interleave_64(rows, d, out + d);
    for (; d < t->dv; d++) {
        unsigned char dword[4] = { 0 };
        for (size_t k = 0; k < count; k++) dword[k] = rows[k][d];
        memcpy(out + d, dword, sizeof dword);
    }
}

/* o [rows, vectors or `cut` lanes of one] = factor o + unit times the sum of weights times values
 * over `depth` dwords. */
INLINE void value_block(size_t rows, size_t vectors, size_t cut, size_t depth, const float *p,
                        size_t ld_p, const float *v, size_t ld_v, const float *factor,
                        const float *units, float *o, size_t ld_o) {
    __m512i sums[BLOCK_MAX], loaded[BLOCK_MAX];
    UNROLL for (size_t i = 0; i < rows * vectors; i++) sums[i] = _mm512_setzero_si512();
    UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(o + i * ld_o, 1);
    for (size_t q = 0; q < depth; q++) {
        UNROLL for (size_t c = 0; c < vectors; c++) loaded[c] =
            cut ? _mm512_castps_si512(vec_load_part(v + q * ld_v, cut))
                : _mm512_loadu_si512(v + q * ld_v + c * WIDTH);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const __m512i weight = all_dwords(p + q * ld_p + i);
            UNROLL for (size_t c = 0; c < vectors; c++) sums[i * vectors + c] =
                _mm512_dpbusd_epi32(sums[i * vectors + c], weight, loaded[c]);
        }
    }
    UNROLL for (size_t i = 0; i < rows; i++) {
        const vec kept = vec_all(factor[i]), unit = vec_all(units[i]);
        UNROLL for (size_t c = 0; c < vectors; c++) {
            float *out = o + i * ld_o + c * WIDTH;
            const vec sum = vec_mul(unit, _mm512_cvtepi32_ps(sums[i * vectors + c]));
            if (cut)
                vec_store_part(out, cut, vec_fma(kept, vec_load_part(out, cut), sum));
            else
                vec_store(out, vec_fma(kept, vec_load(out), sum));
        }
    }
}

INLINE size_t value_groups(const Tile *t, const Room *r, size_t first, size_t rows,
                           size_t vectors) {
    const size_t end = first + (t->m - first) / rows * rows, cut = t->dv % WIDTH;
    const float *v = t->rows + r->values, *units = t->rows + r->units;
    size_t d = 0;
#define VALUES(count, lanes)                                                                       \
    for (size_t i = first; i < end; i += rows)                                                     \
    value_block(rows, count, lanes, quads(seen_before(t, i + rows)), t->s + i, t->ld_s, v + d,     \
                r->ld_v, t->factor + i, units + i, t->o + i * t->ld_o + d, t->ld_o)
    for (; d + vectors * WIDTH <= t->dv; d += vectors * WIDTH) VALUES(vectors, 0);
    for (; d + WIDTH <= t->dv; d += WIDTH) VALUES(1, 0);
    if (cut) VALUES(1, cut);
#undef VALUES
    return end;
}

static void tile_values(const Tile *t) {
    const Room r = tile_room(t);
    for (size_t j = 0; j < t->n; j++)
        t->rows[r.value_scales + j] = load_f32(t->v_in_k ? t->stored.keys[j] : t->stored.values[j]);
    for (size_t j = 0; j < t->n; j += 4) interleave(t, j, t->rows + r.values + j / 4 * r.ld_v);
    for (size_t i = 0; i < t->m; i += WIDTH) quantise_weights(t, &r, i);
    size_t first = 0;
#define VALUES(rows, vectors) first = value_groups(t, &r, first, rows, vectors)
    BLOCKS(VALUES);
#undef VALUES
}

/* A latent whose rotated key stays in bf16 is not all bytes. */
static bool takes(const RowFormat *format) {
    return format->coded == format->n;
}

static const TileKernels tile_int8 = {
    .tokens = TILE_TOKENS,
    .takes = takes,
    .queries = tile_queries,
    .scores = tile_scores,
    .softmax = tile_softmax,
    .values = tile_values,
};

/* ---- the peak ---- */

static float dot_int8_rounds(size_t rounds, double *flops) {
    enum { CHAINS = 12 }; /* more than its latency */
    const __m512i one = _mm512_set1_epi8(1);
    __m512i chain[CHAINS];
    UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] = _mm512_set1_epi32((int)c);
    for (size_t r = 0; r < rounds; r++) {
        UNROLL for (size_t c = 0; c < CHAINS; c++) chain[c] =
            _mm512_dpbusd_epi32(chain[c], one, one);
    }
    vec sum = vec_zero();
    UNROLL for (size_t c = 0; c < CHAINS; c++) sum = vec_add(sum, _mm512_cvtepi32_ps(chain[c]));
    *flops = 8.0 * CHAINS * WIDTH * (double)rounds;
    return vec_sum(sum);
}

void kernels_fill_avx512vnni(Kernels *kernels) {
    kernels->tile[ROW_INT8] = &tile_int8;
    kernels->dot_int8_rounds = dot_int8_rounds;
}
