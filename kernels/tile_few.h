/* tile_few.h -- the tile of tile.h for at most FEW_ROWS_MAX query rows, of rows of f32, bf16 or
 * f16: decode of MHA, of GQA, of MLA with few heads.
 *
 * Bound by memory up to about four query rows, by multiply-adds from there on: there are too few
 * rows to pay for a copy of the cached ones, so they are read where they lie. A score is a product
 * along the row, its lanes added up four scores at a time; a key serves four query rows and a
 * query three keys. Values keep four query rows by two registers over all tokens of the tile.
 *
 * bf16 is read as pairs: a shift leaves the even elements of a dword and a mask the odd ones, one
 * operation a register, where widening in order takes two to three. Queries are brought into that
 * order once, outputs back from it at the end of a tile: of each step of 2*WIDTH elements first the
 * even ones, then the odd ones.
 *
 * The next tile's keys are asked for while this one's are scored, its values while these are added
 * up, so that memory never waits for arithmetic: a line or a few a turn of the inner loops, in the
 * order of memory, for bursts delay what the second cache serves.
 *
 * Tried and dropped, on Zen 3: values of four rows by three registers (half of the speed); queries
 * as memory operands of each multiply-add (15 loads for 12); inner loops unrolled (scores at 0.80
 * of the peak, at 1.00 rolled up, sums across lanes aside); two tokens in the halves of a register,
 * which halves those sums (0.68 for 0.84); whole rows asked for every few tokens; requests into the
 * first cache. */
#ifndef KVLAB_TILE_FEW_H
#define KVLAB_TILE_FEW_H

enum { FEW_TOKENS = 64, STEP = 2 * WIDTH, LINE_BYTES = 64 };

/* Elements of a row in whole steps; what is left is kept in order. */
static inline size_t whole_steps(size_t d) {
    return d / STEP * STEP;
}

/* Of the 2*WIDTH elements at p one half: of bf16 the even or the odd ones, of others the first or
 * the last. */
INLINE vec load_half(RowType type, const unsigned char *p, bool second) {
    if (type == ROW_BF16) return second ? vec_odd_bf16(p) : vec_even_bf16(p);
    return load_element(type, second ? p + WIDTH * element_bytes(type) : p);
}

/* The same where all registers hold something else. */
INLINE vec load_key_half(RowType type, const unsigned char *p, bool second) {
    return type == ROW_BF16 && second ? vec_odd_bf16_lean(p) : load_half(type, p, second);
}

/* Two halves as 2*WIDTH elements in order. */
INLINE void join_steps(RowType type, vec *first, vec *second) {
    if (type == ROW_BF16) vec_zip(first, second);
}

static inline void order_query(RowType type, size_t d, const float *row, float *out) {
    const size_t whole = type == ROW_BF16 ? whole_steps(d) : 0;
    for (size_t e = 0; e < whole; e += STEP) {
        for (size_t i = 0; i < WIDTH; i++) {
            out[e + i] = row[e + 2 * i];
            out[e + WIDTH + i] = row[e + 2 * i + 1];
        }
    }
    memcpy(out + whole, row + whole, (d - whole) * sizeof *out);
}

/* ---- requests for the next tile ---- */

/* A walk over memory, `step` bytes a request: rows of a block lie side by side. Where a block ends
 * on the way, what lies behind it is asked for in vain. */
typedef struct {
    const unsigned char *at;
    size_t step;
} Requests;

/* As many requests as lines hold `bytes`, what a turn of a loop reads. Where several groups of
 * query rows share the walk, each goes in smaller steps. Into the second cache: from there the
 * first one is served in time, and it takes more requests. */
INLINE void request(Requests *r, size_t bytes) {
    UNROLL for (size_t at = 0; at < bytes; at += LINE_BYTES, r->at += r->step)
        __builtin_prefetch(r->at, 0, 2);
}

/* Bytes from request to request where `bytes` are asked for in a turn of a loop. */
INLINE size_t request_step(size_t bytes) {
    return bytes / ((bytes + LINE_BYTES - 1) / LINE_BYTES);
}

/* Rows of the tile that follows; where there is none as long as this one, this one's again. */
static inline const unsigned char *const *rows_after(const Tile *t, const unsigned char *const *own,
                                                     const unsigned char *const *next) {
    return next && t->next.n >= t->n ? next : own;
}

/* ---- scores ---- */

/* A group of query rows [rows][ld] of `whole` elements in steps, and the tile that it is scored
 * against. */
typedef struct {
    const float *q;
    size_t ld, whole;
    const unsigned char *const *keys;
    float *s;
    size_t ld_s;
} FewScores;

/* Adds to rows x tokens sums the products of the first or the second halves of all steps. Sums fill
 * the registers: a pass over either needs no more. */
INLINE void add_half(RowType type, const FewScores *g, size_t rows, size_t tokens, bool second,
                     const unsigned char *const *keys, Requests *next, vec *sums) {
    const size_t bytes = element_bytes(type), whole = g->whole, ld = g->ld;
    vec key[BLOCK_MAX];
    for (size_t e = 0; e < whole; e += STEP) {
        request(next, tokens * STEP / 2 * bytes);
        UNROLL for (size_t c = 0; c < tokens; c++) key[c] =
            load_key_half(type, keys[c] + e * bytes, second);
        UNROLL for (size_t i = 0; i < rows; i++) {
            const vec x = vec_held(vec_load(g->q + i * ld + e + (second ? WIDTH : 0)));
            UNROLL for (size_t c = 0; c < tokens; c++) sums[c * rows + i] =
                vec_fma(x, key[c], sums[c * rows + i]);
        }
    }
}

/* The same of both halves in one pass: keys are loaded once. */
INLINE void add_halves(RowType type, const FewScores *g, size_t rows, size_t tokens,
                       const unsigned char *const *keys, Requests *next, vec *sums) {
    const size_t bytes = element_bytes(type), whole = g->whole, ld = g->ld;
    vec first[BLOCK_MAX], second[BLOCK_MAX];
    for (size_t e = 0; e < whole; e += STEP) {
        request(next, tokens * STEP * bytes);
        UNROLL for (size_t i = 0; i < rows; i++) {
            first[i] = vec_load(g->q + i * ld + e);
            second[i] = vec_load(g->q + i * ld + e + WIDTH);
        }
        UNROLL for (size_t c = 0; c < tokens; c++) {
            const vec a = load_half(type, keys[c] + e * bytes, false),
                      b = load_half(type, keys[c] + e * bytes, true);
            UNROLL for (size_t i = 0; i < rows; i++) {
                vec *sum = sums + c * rows + i;
                *sum = vec_fma(second[i], b, vec_fma(first[i], a, *sum));
            }
        }
    }
}

/* The scores of rows x tokens over whole steps, from token j on. */
INLINE void few_scores_block(RowType type, const FewScores *g, size_t rows, size_t j, size_t tokens,
                             Requests next) {
    const size_t last = rows * tokens - 1, ld_s = g->ld_s;
    const unsigned char *keys[BLOCK_MAX];
    vec sums[BLOCK_MAX];
    float totals[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < tokens; c++) keys[c] = g->keys[j + c];
    UNROLL for (size_t c = 0; c <= last; c++) sums[c] = vec_zero();
    if (rows < 4) {
        add_halves(type, g, rows, tokens, keys, &next, sums);
    } else {
        add_half(type, g, rows, tokens, false, keys, &next, sums);
        add_half(type, g, rows, tokens, true, keys, &next, sums);
    }
    float *s = g->s + j * ld_s;
    UNROLL for (size_t c = 0; c <= last; c += 4)
        vec_sum4(sums[c], sums[c + 1 < last ? c + 1 : last], sums[c + 2 < last ? c + 2 : last],
                 sums[c + 3 < last ? c + 3 : last], rows == 4 ? s + c / 4 * ld_s : totals + c);
    UNROLL for (size_t c = 0; c < tokens && rows != 4; c++)
        memcpy(s + c * ld_s, totals + c * rows, rows * sizeof *totals);
}

/* Adds the products of what is behind the last whole step. */
INLINE void few_scores_rest(RowType type, const Tile *t) {
    const size_t ld = padded_row(t->dk);
    for (size_t e = whole_steps(t->dk), n; e < t->dk; e += n) {
        n = smaller_of(WIDTH, t->dk - e);
        for (size_t i = 0; i < t->m; i++) {
            const vec x = floats_at(t->queries + i * ld, e + n, e);
            for (size_t j = 0; j < seen_before(t, i + 1); j++)
                t->s[j * t->ld_s + i] += vec_sum(
                    vec_mul(x, load_some(type, t->stored.keys[j] + e * element_bytes(type), n)));
        }
    }
}

/* As many groups of `rows` query rows as are left, two at most; gives where they end. The first
 * ones of a tile each ask for their share of the next keys. */
INLINE size_t few_scores_rows(RowType type, const Tile *t, size_t first, size_t rows,
                              size_t tokens) {
    const size_t groups = (t->m - first) / rows, ld = padded_row(t->dk), shift = groups > 1;
    const size_t turn = STEP * element_bytes(type) / (rows < 4 ? 1 : 2);
    const unsigned char *const *then = rows_after(t, t->stored.keys, first ? NULL : t->next.keys);
    for (size_t i = 0; i < groups; i++, first += rows) {
        const FewScores g = { .q = t->queries + first * ld,
                              .ld = ld,
                              .whole = whole_steps(t->dk),
                              .keys = t->stored.keys,
                              .s = t->s + first,
                              .ld_s = t->ld_s };
        const size_t seen = seen_before(t, first + rows);
        const unsigned char *const *asked = then + (i * t->n >> shift);
        Requests next = { .step = request_step(tokens * turn) >> shift };
        size_t j = 0;
        for (; j + tokens <= seen; j += tokens) {
            next.at = asked[j >> shift];
            few_scores_block(type, &g, rows, j, tokens, next);
        }
        next.step = request_step(turn) >> shift;
        for (; j < seen; j++) {
            next.at = asked[j >> shift];
            few_scores_block(type, &g, rows, j, 1, next);
        }
    }
    return first;
}

INLINE void few_scores(RowType type, const Tile *t) {
    size_t first = 0;
#define ROWS(rows, tokens) first = few_scores_rows(type, t, first, rows, tokens)
    FEW_SCORES(ROWS);
#undef ROWS
    few_scores_rest(type, t);
}

/* ---- values ---- */

/* A group of query rows and the tile whose values it takes. */
typedef struct {
    const unsigned char *const *values;
    const float *s, *factor;
    size_t n, ld_s, ld_o;
    float *o;
} FewValues;

/* A stripe of values, `steps` from element e on. */
INLINE void few_values_block(RowType type, const FewValues *g, size_t rows, size_t steps, size_t e,
                             Requests next) {
    const size_t bytes = STEP * element_bytes(type), at = e * element_bytes(type);
    const size_t n = g->n, ld_s = g->ld_s, ld_o = g->ld_o;
    const unsigned char *const *values = g->values;
    const float *s = g->s, *factor = g->factor;
    vec sums[BLOCK_MAX];
    UNROLL for (size_t c = 0; c < 2 * rows * steps; c++) sums[c] = vec_zero();
    for (size_t j = 0; j < n; j++, s += ld_s) {
        const unsigned char *p = values[j] + at;
        request(&next, steps * bytes);
        UNROLL for (size_t c = 0; c < steps; c++, p += bytes) {
            const vec v = load_half(type, p, false), w = load_half(type, p, true);
            UNROLL for (size_t i = 0; i < rows; i++) {
                const vec weight = vec_all(s[i]);
                vec *sum = sums + 2 * (i * steps + c);
                sum[0] = vec_fma(weight, v, sum[0]);
                sum[1] = vec_fma(weight, w, sum[1]);
            }
        }
    }
    float *o = g->o + e;
    UNROLL for (size_t i = 0; i < rows; i++, o += ld_o) {
        const vec kept = vec_all(factor[i]);
        UNROLL for (size_t c = 0; c < steps; c++) {
            float *out = o + c * STEP;
            vec *sum = sums + 2 * (i * steps + c);
            join_steps(type, sum, sum + 1);
            vec_store(out, vec_fma(kept, vec_load(out), sum[0]));
            vec_store(out + WIDTH, vec_fma(kept, vec_load(out + WIDTH), sum[1]));
        }
    }
}

/* The elements from e on, behind the last whole step. */
INLINE void few_values_rest(RowType type, const Tile *t, size_t e) {
    const unsigned char *const *values = t->v_in_k ? t->stored.keys : t->stored.values;
    for (size_t n; e < t->dv; e += n) {
        n = smaller_of(WIDTH, t->dv - e);
        for (size_t i = 0; i < t->m; i++) {
            vec sum = vec_zero();
            for (size_t j = 0; j < seen_before(t, i + 1); j++)
                sum = vec_fma(vec_all(t->s[j * t->ld_s + i]),
                              load_some(type, values[j] + e * element_bytes(type), n), sum);
            float *out = t->o + i * t->ld_o;
            sum = vec_fma(vec_all(t->factor[i]), floats_at(out, e + n, e), sum);
            store_floats_at(out, e + n, e, sum);
        }
    }
}

/* A stripe of values meets all groups of rows before the next one does. The first ones of a tile
 * each ask for their share of the next values. */
INLINE size_t few_values_rows(RowType type, const Tile *t, size_t first, size_t rows,
                              size_t steps) {
    const size_t groups = (t->m - first) / rows, n = t->n, dv = t->dv, whole = whole_steps(dv);
    const unsigned char *const *values = t->v_in_k ? t->stored.keys : t->stored.values;
    const unsigned char *const *then = rows_after(t, values, first ? NULL : t->next.values);
    FewValues g[FEW_ROWS_MAX];
    for (size_t i = 0; i < groups; i++, first += rows)
        g[i] = (FewValues){ .values = values,
                            .s = t->s + first,
                            .factor = t->factor + first,
                            .n = seen_before(t, first + rows),
                            .ld_s = t->ld_s,
                            .ld_o = t->ld_o,
                            .o = t->o + first * t->ld_o };
    Requests next;
    size_t e = 0;
#define STRIPES(count)                                                                             \
    next.step = request_step((count)*STEP * element_bytes(type)) / groups;                         \
    for (; e + (count)*STEP <= whole; e += (count)*STEP)                                           \
        for (size_t i = 0; i < groups; i++) {                                                      \
            next.at = then[(e + (count)*STEP * i / groups) * n / dv];                              \
            few_values_block(type, g + i, rows, count, e, next);                                   \
        }
    if (groups) {
        STRIPES(steps);
        STRIPES(1);
    }
#undef STRIPES
    return first;
}

INLINE void few_values(RowType type, const Tile *t) {
    size_t first = 0;
#define ROWS(rows, steps) first = few_values_rows(type, t, first, rows, steps)
    FEW_VALUES(ROWS);
#undef ROWS
    few_values_rest(type, t, whole_steps(t->dv));
}

#include "tile_one.h"

/* ---- softmax ---- */

/* Scores of all rows lie side by side, `ld_s` to a token, and fill registers: of several tokens, or
 * part of a token's. Lane l is of row l modulo ld_s. */
typedef struct {
    size_t lanes, tokens; /* rows, and tokens, of a register */
    size_t step, count;   /* floats from register to register, and how many there are */
} FewLanes;

static FewLanes few_lanes(const Tile *t) {
    FewLanes l = { .lanes = smaller_of(t->ld_s, WIDTH) };
    l.tokens = WIDTH / l.lanes;
    l.step = l.tokens * t->ld_s;
    l.count = (t->n + l.tokens - 1) / l.tokens;
    return l;
}

/* What weighs nothing: tokens that a row does not see, and what is left of the last register. */
static void few_blank(const Tile *t, const FewLanes *l) {
    for (size_t i = 0; t->seen && i < t->m; i++)
        for (size_t j = t->seen[i]; j < t->n; j++) t->s[j * t->ld_s + i] = -INFINITY;
    for (size_t i = t->n * t->ld_s; i < l->count * l->step; i++) t->s[i] = -INFINITY;
}

/* Each row's value in all of its lanes. */
static vec few_spread(const float *rows, const FewLanes *l) {
    float lane[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) lane[i] = rows[i & (l->lanes - 1)];
    return vec_load(lane);
}

static void few_softmax_lanes(const Tile *t, size_t first, const FewLanes *l) {
    const vec scale = vec_all(t->scale), none = vec_all(-INFINITY);
    float *s = t->s + first, *max = t->max + first, *sum = t->sum + first, lane[WIDTH];
    vec greatest = none, total = vec_zero();
    for (size_t i = 0; i < l->count; i++) greatest = vec_max(vec_load(s + i * l->step), greatest);
    vec_store(lane, vec_mul(scale, greatest));
    const vec old_max = few_spread(max, l);
    for (size_t i = 0; i < WIDTH; i++)
        if (lane[i] > max[i & (l->lanes - 1)]) max[i & (l->lanes - 1)] = lane[i];
    const vec new_max = few_spread(max, l);
    const vec offset = vec_where_less(none, new_max, vec_mul(new_max, vec_all(-1)), vec_zero());
    for (size_t i = 0; i < l->count; i++) {
        const vec w = vec_exp(vec_fma(scale, vec_load(s + i * l->step), offset));
        vec_store(s + i * l->step, w);
        total = vec_add(total, w);
    }
    const vec factor = vec_exp(vec_add(old_max, offset));
    vec_store(lane, factor);
    for (size_t i = 0; i < l->lanes; i++) sum[i] *= t->factor[first + i] = lane[i];
    vec_store(lane, total);
    for (size_t i = 0; i < WIDTH; i++) sum[i & (l->lanes - 1)] += lane[i];
}

static void few_softmax(const Tile *t) {
    const FewLanes lanes = few_lanes(t);
    few_blank(t, &lanes);
    for (size_t first = 0; first < t->ld_s; first += WIDTH) few_softmax_lanes(t, first, &lanes);
}

/* ---- the route of a type ---- */

#define FEW(name, type)                                                                            \
    static void few_queries_##name(const Tile *t, const float *const *rows) {                      \
        for (size_t i = 0; i < t->m; i++)                                                          \
            order_query(type, t->dk, rows[i], t->queries + i * padded_row(t->dk));                 \
    }                                                                                              \
    static void few_scores_##name(const Tile *t) {                                                 \
        t->m == 1 ? one_scores(type, t) : few_scores(type, t);                                     \
    }                                                                                              \
    static void few_values_##name(const Tile *t) {                                                 \
        t->m == 1 ? one_values(type, t) : few_values(type, t);                                     \
    }                                                                                              \
    static const TileKernels few_##name = { .tokens = FEW_TOKENS,                                  \
                                            .queries = few_queries_##name,                         \
                                            .scores = few_scores_##name,                           \
                                            .softmax = few_softmax,                                \
                                            .values = few_values_##name };
FEW(f32, ROW_F32)
FEW(bf16, ROW_BF16)
FEW(f16, ROW_F16)
#undef FEW

#endif
