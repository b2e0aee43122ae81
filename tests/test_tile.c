/* test_tile.c -- the tile of every tier against its definition: exact on whole numbers, within the
 * bound of what its operands are rounded to otherwise, and nothing written behind what is its own.
 *
 * A tier may compute a row type on a route that rounds queries, weights or rows to bf16 or int8;
 * what that costs a number is stated here, not taken from it. */
#define _DEFAULT_SOURCE
#include <float.h>
#include <stdlib.h>

#include "tiers.h"

typedef struct {
    size_t m, n, dk, dv;
    bool v_in_k;
    size_t group; /* query rows of a token: rows of later tokens see more; 0: all see all */
} Shape;

static const Shape shapes[] = {
    { 1, 1, 1, 1, false, 0 },     { 8, 6, 8, 8, false, 0 },      { 16, 12, 16, 16, false, 0 },
    { 5, 7, 9, 11, false, 0 },    { 17, 13, 33, 17, false, 0 },  { 70, 25, 24, 40, false, 0 },
    { 23, 96, 64, 48, false, 0 }, { 128, 30, 120, 96, true, 0 }, { 9, 50, 130, 100, true, 0 },
    { 6, 11, 300, 256, true, 0 }, { 40, 96, 16, 24, false, 1 },  { 65, 33, 20, 18, false, 3 },
    { 33, 20, 48, 32, true, 8 },  { 128, 19, 12, 70, false, 6 }, { 2, 144, 128, 128, false, 0 },
    { 4, 100, 70, 68, true, 1 },
};

/* What a route rounds its operands to. */
typedef enum { ROUTE_F32, ROUTE_BF16, ROUTE_INT8 } Route;

static Route route_of(const Kernels *tier, RowType type) {
    const TileKernels *k = tier->tile[type];
    if (k == tier->tile[ROW_F32]) return ROUTE_F32;
    return k == tier->tile[ROW_BF16] ? ROUTE_BF16 : ROUTE_INT8;
}

/* All a tile refers to, and what it must give. */
typedef struct {
    Tile t;
    RowFormat k, v;
    float *q, *decoded_k, *decoded_v;
    const float **query_rows;
    unsigned char *stored_k, *stored_v;
    const unsigned char **keys, **values;
    uint32_t *seen;
} Scene;

static void *room(size_t count, size_t size) {
    void *p = calloc(count + 1, size);
    cr_assert_not_null(p);
    return p;
}

static void store_row(const RowFormat *format, bool whole, unsigned char *row, float *decoded) {
    const Kernels ref = kernels_select(0);
    float x[1100];
    if (whole)
        fill_exact(format, x);
    else
        fill_floats(x, format->n, false);
    ref.encode[format->type](format, x, row);
    ref.decode[format->type](format, format->n, row, decoded);
}

static Scene scene_new(const Kernels *kernels, const Shape *shape, RowType type, bool whole) {
    Scene s = { 0 };
    state = 1;
    s.k = format_of(type, shape->dk, shape->v_in_k ? 1 : 0);
    s.v = shape->v_in_k ? s.k : format_of(type, shape->dv, 0);
    Tile *t = &s.t;
    *t = (Tile){ .kernels = kernels, .m = shape->m, .n = shape->n, .v_in_k = shape->v_in_k };
    t->dk = s.k.n;
    t->dv = shape->v_in_k ? shape->dv : s.v.n;
    t->k = s.k;
    t->v = s.v;
    t->scale = whole ? 1 : 1 / sqrtf((float)t->dk);
    s.q = room(t->m * t->dk, sizeof *s.q);
    s.query_rows = room(t->m, sizeof *s.query_rows);
    fill_floats(s.q, t->m * t->dk, whole);
    for (size_t i = 0; i < t->m; i++) s.query_rows[i] = s.q + i * t->dk;
    s.decoded_k = room(t->n * s.k.n, sizeof *s.decoded_k);
    s.decoded_v = room(t->n * s.v.n, sizeof *s.decoded_v);
    s.stored_k = room(t->n, row_bytes(s.k) + 1);
    s.stored_v = room(t->n, row_bytes(s.v) + 3);
    s.keys = room(t->n, sizeof *s.keys);
    s.values = room(t->n, sizeof *s.values);
    for (size_t j = 0; j < t->n; j++) {
        /* Neither in order nor aligned. */
        unsigned char *key = s.stored_k + (t->n - 1 - j) * (row_bytes(s.k) + 1);
        unsigned char *value = s.stored_v + j * (row_bytes(s.v) + 3);
        s.keys[j] = key;
        s.values[j] = value;
        store_row(&s.k, whole, key, s.decoded_k + j * s.k.n);
        if (!t->v_in_k) store_row(&s.v, whole, value, s.decoded_v + j * s.v.n);
    }
    if (t->v_in_k) memcpy(s.decoded_v, s.decoded_k, t->n * s.k.n * sizeof *s.decoded_k);
    t->stored = (TileRows){ t->n, s.keys, t->v_in_k ? NULL : s.values };
    s.seen = room(t->m, sizeof *s.seen);
    for (size_t i = 0; i < t->m && shape->group; i++) {
        const size_t seen = i / shape->group;
        s.seen[i] = (uint32_t)(seen < t->n ? seen : t->n);
    }
    t->seen = shape->group ? s.seen : NULL;
    return s;
}

static void scene_free(Scene *s) {
    free(s->q), free(s->decoded_k), free(s->decoded_v), free(s->seen);
    free(s->stored_k), free(s->stored_v);
    free(s->query_rows), free(s->keys), free(s->values);
}

enum { GUARDS = 8 };

/* Gives the tile its arrays, filled with NaN, and a guard behind each. */
static float *arrays_new(Tile *t, size_t *guards) {
    const size_t lanes = tile_lanes(t->m), ld_o = t->dv + 3;
    const size_t sizes[] = { tile_query_floats(t->m, t->dk),
                             tile_row_floats(t->n, t->dk, t->dv, t->v_in_k),
                             lanes * t->n,
                             lanes,
                             lanes,
                             lanes,
                             t->m * ld_o };
    float **const at[] = { &t->queries, &t->rows, &t->s, &t->max, &t->sum, &t->factor, &t->o };
    size_t total = 0;
    for (size_t i = 0; i < COUNT(sizes); i++) total += sizes[i] + GUARDS;
    float *all = room(total, sizeof *all);
    memset(all, 0xff, total * sizeof *all);
    for (size_t i = 0, from = 0; i < COUNT(sizes); i++) {
        *at[i] = all + from;
        guards[i] = from + sizes[i];
        from += sizes[i] + GUARDS;
    }
    t->ld_s = lanes;
    t->ld_o = ld_o;
    for (size_t i = 0; i < lanes; i++) t->max[i] = -INFINITY, t->sum[i] = 0;
    memset(t->o, 0, t->m * ld_o * sizeof *t->o);
    return all;
}

static bool sees(const Tile *t, size_t i, size_t j) {
    return !t->seen || j < t->seen[i];
}

static void check_guards(const Tile *t, const float *all, const size_t *guards, const char *name) {
    const unsigned char *bytes = (const unsigned char *)all;
    for (size_t g = 0; g < 7; g++)
        for (size_t b = 0; b < GUARDS * sizeof *all; b++)
            cr_assert_eq(bytes[guards[g] * sizeof *all + b], 0xff, "%s: array %zu of m %zu n %zu",
                         name, g, t->m, t->n);
}

/* Relative rounding of an operand on a route: half a step of bf16, or of int8 to the greatest. */
static double rounding(Route route) {
    return route == ROUTE_F32 ? FLT_EPSILON : route == ROUTE_BF16 ? 0x1p-8 : 1 / 127.0;
}

/* The size of a product's terms, to which errors are relative: on the int8 route each operand is
 * rounded in steps of its greatest element. */
static double score_bound(const Scene *s, Route route, size_t i, size_t j) {
    const Tile *t = &s->t;
    double terms = 0, q_most = 0, sum = 0;
    for (size_t e = 0; e < t->dk; e++) {
        const double q = s->q[i * t->dk + e], k = s->decoded_k[j * t->dk + e];
        terms += fabs(q * k);
        q_most = fmax(q_most, fabs(q));
        sum += fabs(k);
    }
    const double sums = (8 + (double)t->dk) * FLT_EPSILON * terms;
    if (route == ROUTE_INT8) return sums + q_most * sum / 254;
    return sums + (route == ROUTE_BF16 ? 2 * rounding(route) * terms : 0);
}

static double score_of(const Scene *s, size_t i, size_t j) {
    double sum = 0;
    for (size_t e = 0; e < s->t.dk; e++)
        sum += (double)s->q[i * s->t.dk + e] * s->decoded_k[j * s->t.dk + e];
    return sum;
}

/* Whole numbers are exact on every route: bf16 holds them, int8 if the greatest is 127 times a
 * power of two or the query has a scale that divides it; queries of the int8 route need not be. */
static void check_scores(const Scene *s, Route route, bool whole, const char *name) {
    const Tile *t = &s->t;
    for (size_t i = 0; i < t->m; i++) {
        for (size_t j = 0; j < t->n; j++) {
            if (!sees(t, i, j)) continue;
            const double expected = score_of(s, i, j), got = t->s[j * t->ld_s + i];
            const bool exact = whole && route != ROUTE_INT8;
            const double bound = exact ? 0 : score_bound(s, route, i, j);
            cr_assert(fabs(got - expected) <= bound,
                      "%s %s m %zu n %zu dk %zu: s[%zu][%zu] %g, not %g (%g)", name,
                      row_type_name(s->k.type), t->m, t->n, t->dk, j, i, got, expected, bound);
        }
    }
}

/* The softmax and the weighted sum over the scores that the tier gave: its own rounding alone. */
static void check_outputs(const Scene *s, const float *scores, Route route, const char *name) {
    const Tile *t = &s->t;
    for (size_t i = 0; i < t->m; i++) {
        double max = -INFINITY, sum = 0;
        for (size_t j = 0; j < t->n && sees(t, i, j); j++)
            max = fmax(max, (double)t->scale * scores[j * t->ld_s + i]);
        const double offset = isinf(max) ? 0 : max;
        for (size_t j = 0; j < t->n && sees(t, i, j); j++)
            sum += exp((double)t->scale * scores[j * t->ld_s + i] - offset);
        const double step = route == ROUTE_F32 ? 2e-6 : route == ROUTE_BF16 ? 0x1p-8 : 1e-4;
        cr_assert(isinf(max) ? t->max[i] == max : fabs(t->max[i] - max) <= 1e-6 * (1 + fabs(max)));
        cr_assert(fabs(t->sum[i] - sum) <= step * sum, "%s: sum %g, not %g", name,
                  (double)t->sum[i], sum);
        for (size_t d = 0; d < t->dv; d++) {
            double expected = 0, terms = 0, most = 0, greatest = 0;
            for (size_t j = 0; j < t->n && sees(t, i, j); j++) {
                const double p = exp((double)t->scale * scores[j * t->ld_s + i] - offset);
                const double v = s->decoded_v[j * s->v.n + d];
                expected += p * v;
                terms += p * fabs(v);
                most = fmax(most, fabs(v));
                greatest = fmax(greatest, p);
            }
            /* A byte of a weight is within half a unit, the greatest (times its row's scale) 255.
             */
            double bound =
                (2e-6 + (double)t->n * FLT_EPSILON) * terms + FLT_MIN * most * (double)t->n;
            if (route == ROUTE_BF16) bound += 2 * 0x1p-8 * terms;
            if (route == ROUTE_INT8) bound += 1e-4 * terms + (double)t->n * most * 2.1 / 510;
            const double got = t->o[i * t->ld_o + d];
            cr_assert(fabs(got - expected) <= bound,
                      "%s %s m %zu n %zu dv %zu: o[%zu][%zu] %g, not %g (%g)", name,
                      row_type_name(s->k.type), t->m, t->n, t->dv, i, d, got, expected, bound);
        }
    }
}

static void check_tile(const Kernels *tier, const TileKernels *kernels, Route route,
                       const char *name, const Shape *shape, RowType type, bool whole) {
    Scene s = scene_new(tier, shape, type, whole);
    Tile *t = &s.t;
    size_t guards[7];
    float *all = arrays_new(t, guards), *scores = room(tile_lanes(t->m) * t->n, sizeof *scores);
    if (kernels == tier->few[type]) t->ld_s = tile_few_lanes(t->m);
    kernels->queries(t, s.query_rows);
    kernels->scores(t);
    check_scores(&s, route, whole, name);
    memcpy(scores, t->s, t->ld_s * t->n * sizeof *scores);
    kernels->softmax(t);
    kernels->values(t);
    check_outputs(&s, scores, route, name);
    check_guards(t, all, guards, name);
    free(scores);
    free(all);
    scene_free(&s);
}

FOR_EACH_TILE_SUBJECT(tile, of_a_tier_is_the_tile_of_the_definition) {
    const Kernels tier = table_of(*subject);
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (int type = 0; type < ROW_TYPE_COUNT; type++)
            for (int whole = 0; whole < 2; whole++) {
                if (type == ROW_FP8_DS_MLA && !shapes[shape].v_in_k) continue;
                check_tile(&tier, tier.tile[type], route_of(&tier, (RowType)type),
                           subjects[*subject], &shapes[shape], (RowType)type, whole);
            }
}

FOR_EACH_TILE_SUBJECT(tile, of_few_rows_read_in_place_is_that_of_the_definition) {
    const Kernels tier = table_of(*subject);
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (int type = 0; type < ROW_TYPE_COUNT; type++)
            for (size_t m = 1; m <= FEW_ROWS_MAX && tier.few[type]; m++)
                for (int whole = 0; whole < 2; whole++) {
                    Shape few = shapes[shape];
                    few.m = m;
                    check_tile(&tier, tier.few[type], ROUTE_F32, subjects[*subject], &few,
                               (RowType)type, whole);
                }
}

Test(tile, of_the_reference_is_its_own_definition) {
    const Kernels ref = kernels_select(0);
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        check_tile(&ref, ref.tile[ROW_F32], ROUTE_F32, "ref", &shapes[shape], ROW_F32, false);
}

/* A second tile weighs what the first left by the factor; whole weights make it exact. */
FOR_EACH_TILE_SUBJECT(tile, goes_on_from_the_tile_before) {
    const Kernels tier = table_of(*subject);
    const Shape shape = { 20, 24, 32, 32, false, 0 };
    Scene s = scene_new(&tier, &shape, ROW_F32, true);
    Tile *t = &s.t;
    size_t guards[7];
    float *all = arrays_new(t, guards);
    memset(s.q, 0, t->m * t->dk * sizeof *s.q); /* all weights are 1 */
    const TileKernels *kernels = tier.tile[ROW_F32];
    kernels->queries(t, s.query_rows);
    for (int tile = 0; tile < 2; tile++) {
        kernels->scores(t);
        kernels->softmax(t);
        kernels->values(t);
    }
    for (size_t i = 0; i < t->m; i++) {
        cr_assert_eq(t->sum[i], 48);
        for (size_t d = 0; d < t->dv; d++) {
            double sum = 0;
            for (size_t j = 0; j < t->n; j++) sum += 2.0 * s.decoded_v[j * s.v.n + d];
            cr_assert_eq(t->o[i * t->ld_o + d], sum);
        }
    }
    free(all);
    scene_free(&s);
}

/* Scores far apart make every weight 0 or 1, which each route holds: sums of whole values then are
 * exact, to the last bit but for the unit of a byte. */
FOR_EACH_TILE_SUBJECT(tile, picks_the_value_of_the_greatest_score) {
    const Kernels tier = table_of(*subject);
    const Shape shape = { 33, 48, 16, 40, false, 0 };
    for (int type = 0; type < ROW_TYPE_COUNT; type++) {
        if (type == ROW_FP8_DS_MLA) continue;
        Scene s = scene_new(&tier, &shape, (RowType)type, true);
        Tile *t = &s.t;
        size_t guards[7];
        float *all = arrays_new(t, guards);
        t->scale = 1000;
        const TileKernels *kernels = tier.tile[type];
        kernels->queries(t, s.query_rows);
        kernels->scores(t);
        float *scores = room(t->ld_s * t->n, sizeof *scores);
        memcpy(scores, t->s, t->ld_s * t->n * sizeof *scores);
        kernels->softmax(t);
        kernels->values(t);
        for (size_t i = 0; i < t->m; i++) {
            float best = -INFINITY, next = -INFINITY;
            size_t at = 0;
            for (size_t j = 0; j < t->n; j++) {
                const float score = scores[j * t->ld_s + i];
                if (score > best)
                    next = best, best = score, at = j;
                else if (score > next)
                    next = score;
            }
            if (best - next < 0.5f) continue;
            cr_assert_eq(t->sum[i], 1);
            for (size_t d = 0; d < t->dv; d++) {
                const double expected = s.decoded_v[at * s.v.n + d];
                cr_assert(fabs(t->o[i * t->ld_o + d] - expected) <=
                          (route_of(&tier, (RowType)type) == ROUTE_INT8
                               ? 2 * FLT_EPSILON * fabs(expected)
                               : 0));
            }
        }
        free(scores);
        free(all);
        scene_free(&s);
    }
}

FOR_EACH_TILE_SUBJECT(tile, shows_nan_of_a_key_in_the_rows_that_see_it) {
    const Kernels tier = table_of(*subject);
    const Shape shape = { 18, 9, 16, 16, false, 2 };
    Scene s = scene_new(&tier, &shape, ROW_F32, false);
    Tile *t = &s.t;
    size_t guards[7];
    float *all = arrays_new(t, guards), nan = NAN;
    unsigned char *key = s.stored_k + (t->n - 1 - 5) * (row_bytes(s.k) + 1);
    memcpy(key, &nan, sizeof nan);
    const TileKernels *kernels = tier.tile[ROW_F32];
    kernels->queries(t, s.query_rows);
    kernels->scores(t);
    kernels->softmax(t);
    kernels->values(t);
    for (size_t i = 0; i < t->m; i++) {
        cr_assert_eq(!!isnan(t->o[i * t->ld_o]), s.seen[i] > 5, "row %zu sees %u", i, s.seen[i]);
        cr_assert_eq(!!isnan(t->sum[i]), s.seen[i] > 5);
    }
    free(all);
    scene_free(&s);
}
