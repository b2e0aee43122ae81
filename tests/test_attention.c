/* test_attention.c -- the attention driver against a plain triple loop in double, over every tier
 * that this machine runs or emulates, every row type and all ways to page, batch, mask and cut. */
#define _DEFAULT_SOURCE
#include <float.h>
#include <stdlib.h>

#include "attention.h"
#include "tiers.h"

enum { MOST_SEQUENCES = 4 };

/* A call and all it refers to. */
typedef struct {
    Attention a;
    KvSequence sequence[MOST_SEQUENCES];
    size_t queries; /* query tokens in all */
    unsigned char *pool;
    uint32_t *table;
    float *q, *out, *lse;
} Call;

typedef struct {
    const char *name;
    size_t heads, kv_heads, dk, dv;
    bool v_in_k;
    size_t block_tokens, sequences;
    size_t cached[MOST_SEQUENCES], fresh[MOST_SEQUENCES]; /* tokens before and in this call */
} Shape;

static const Shape shapes[] = {
    { "mha decode", 4, 4, 32, 32, false, 16, 1, { 100 }, { 1 } },
    { "gqa decode", 8, 2, 64, 64, false, 16, 1, { 70 }, { 1 } },
    { "mqa decode", 6, 1, 16, 24, false, 64, 1, { 33 }, { 1 } },
    { "latent decode", 16, 1, 72, 64, true, 64, 1, { 150 }, { 1 } },
    { "mha prefill", 3, 3, 24, 16, false, 16, 1, { 0 }, { 130 } },
    { "gqa prefill", 8, 2, 16, 16, false, 64, 1, { 0 }, { 77 } },
    { "latent prefill", 16, 1, 40, 32, true, 16, 1, { 0 }, { 37 } },
    { "blocks of one token", 4, 2, 17, 19, false, 1, 1, { 40 }, { 3 } },
    { "latent blocks of one token", 9, 1, 33, 31, true, 1, 1, { 120 }, { 2 } },
    { "a chunk of a prefill", 5, 5, 20, 20, false, 16, 1, { 50 }, { 20 } },
    { "ragged batch", 4, 2, 32, 16, false, 16, 4, { 0, 700, 3, 41 }, { 5, 1, 0, 9 } },
    { "ragged latent batch", 12, 1, 48, 40, true, 64, 3, { 600, 0, 65 }, { 1, 30, 2 } },
    { "many context chunks", 8, 2, 16, 16, false, 64, 1, { 3000 }, { 1 } },
    { "latent in many chunks", 80, 1, 24, 16, true, 16, 1, { 2100 }, { 1 } },
    { "nothing cached, one token", 2, 1, 8, 8, false, 16, 1, { 0 }, { 1 } },
    { "latent of whole groups", 16, 1, 160, 128, true, 16, 1, { 90 }, { 1 } },
    { "latent of two tiles and an odd key", 40, 1, 289, 256, true, 16, 2, { 40, 7 }, { 2, 1 } },
    { "latent read as it lies", 4, 1, 192, 128, true, 64, 1, { 70 }, { 1 } },
    { "more queries than a block and a tile", 2, 1, 8, 8, false, 16, 1, { 9 }, { 300 } },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Every type, and keys and values of different ones. */
static const KvType types[] = {
    { ROW_F32, ROW_F32 },           { ROW_BF16, ROW_BF16 },   { ROW_F16, ROW_F16 },
    { ROW_FP8, ROW_FP8 },           { ROW_INT8, ROW_INT8 },   { ROW_INT4, ROW_INT4 },
    { ROW_Q8_0, ROW_Q8_0 },         { ROW_Q4_0, ROW_Q4_0 },   { ROW_FP8_DS_MLA, ROW_FP8_DS_MLA },
    { ROW_FP8_E5M2, ROW_FP8_E5M2 }, { ROW_MXFP4, ROW_MXFP4 }, { ROW_NVFP4, ROW_NVFP4 },
    { ROW_BF16, ROW_INT8 },         { ROW_INT8, ROW_INT4 },   { ROW_Q8_0, ROW_F32 },
};
enum { TYPES = sizeof types / sizeof *types };

/* Can rows of the shape be stored so? A latent has one type. */
static bool fits(const Shape *shape, KvType type) {
    if (shape->v_in_k)
        return type.k == type.v &&
               !row_format_misfit(row_format_latent(type.k, shape->dv, shape->dk - shape->dv));
    return !row_format_misfit(row_format(type.k, shape->dk)) &&
           !row_format_misfit(row_format(type.v, shape->dv));
}

static void *room(size_t count, size_t size) {
    void *p = calloc(count + 1, size);
    cr_assert_not_null(p);
    return p;
}

static void store_rows(const Call *c, const Kernels *k, size_t s, size_t j, float amplitude) {
    const KvLayout *l = &c->a.layout;
    float row[1024];
    const uint32_t block = c->sequence[s].table[j / l->block_tokens];
    unsigned char *base = c->pool + block * l->block_bytes;
    const size_t slot = j % l->block_tokens;
    for (size_t g = 0; g < l->kv_heads; g++) {
        for (size_t e = 0; e < l->dk; e++) row[e] = amplitude * draw();
        k->encode[l->k.type](&l->k, row, base + l->k_offset + g * l->k_head + slot * l->k_row);
        if (l->v_in_k) continue;
        for (size_t e = 0; e < l->dv; e++) row[e] = draw();
        k->encode[l->v.type](&l->v, row, base + l->v_offset + g * l->v_head + slot * l->v_row);
    }
}

/* Blocks are dealt in a shuffled order out of one pool; what no token fills holds NaN, which would
 * show in the output if it were ever read. */
static Call call_new(const Shape *shape, KvType type, float amplitude) {
    Call c = { 0 };
    const Kernels ref = kernels_select(0);
    state = 1;
    c.a.layout =
        kv_layout(type, shape->kv_heads, shape->dk, shape->dv, shape->v_in_k, shape->block_tokens);
    c.a.heads = shape->heads;
    c.a.scale = 1 / sqrtf((float)shape->dk);
    c.a.sequences = shape->sequences;
    size_t blocks = 0, at = 0;
    for (size_t s = 0; s < shape->sequences; s++)
        blocks += (shape->cached[s] + shape->fresh[s]) / shape->block_tokens + 1;
    c.pool = room(blocks, c.a.layout.block_bytes);
    memset(c.pool, 0xff, blocks * c.a.layout.block_bytes);
    c.table = room(blocks, sizeof *c.table);
    for (size_t b = 0; b < blocks; b++) c.table[b] = (uint32_t)b;
    for (size_t b = blocks; b-- > 1;) {
        const size_t other = (size_t)(fabsf(draw()) * (float)b);
        const uint32_t kept = c.table[b];
        c.table[b] = c.table[other];
        c.table[other] = kept;
    }
    for (size_t s = 0; s < shape->sequences; s++) {
        const size_t tokens = shape->cached[s] + shape->fresh[s];
        c.sequence[s] = (KvSequence){ .pool = c.pool,
                                      .table = c.table + at,
                                      .tokens = tokens,
                                      .q_tokens = shape->fresh[s],
                                      .q_position = shape->cached[s] };
        at += tokens / shape->block_tokens + 1;
        for (size_t j = 0; j < tokens; j++) store_rows(&c, &ref, s, j, amplitude);
        c.queries += shape->fresh[s];
    }
    c.q = room(c.queries * shape->heads * shape->dk, sizeof *c.q);
    c.out = room(c.queries * shape->heads * shape->dv, sizeof *c.out);
    c.lse = room(c.queries * shape->heads, sizeof *c.lse);
    for (size_t i = 0; i < c.queries * shape->heads * shape->dk; i++) c.q[i] = amplitude * draw();
    c.a.q = c.q;
    c.a.out = c.out;
    c.a.lse = c.lse;
    return c;
}

static void call_free(Call *c) {
    free(c->pool);
    free(c->table);
    free(c->q);
    free(c->out);
    free(c->lse);
}

static void run_by(const Kernels *kernels, Call *c, int threads) {
    c->a.sequence = c->sequence;
    const size_t floats = attention_workspace(&c->a, threads);
    float *workspace = room(floats, sizeof *workspace);
    memset(workspace, 0xff, floats * sizeof *workspace);
    attention_run(kernels, &c->a, threads, workspace);
    free(workspace);
}

/* By all that this machine has. */
static void run(Call *c, int threads) {
    const Kernels kernels = kernels_select(kernels_detect());
    run_by(&kernels, c, threads);
}

static void load_row(const Call *c, size_t s, size_t g, size_t j, bool key, float *row) {
    const KvLayout *l = &c->a.layout;
    const Kernels ref = kernels_select(0);
    const unsigned char *base =
        c->pool + c->sequence[s].table[j / l->block_tokens] * l->block_bytes;
    const size_t slot = j % l->block_tokens;
    if (key || l->v_in_k)
        ref.decode[l->k.type](&l->k, key ? l->dk : l->dv,
                              base + l->k_offset + g * l->k_head + slot * l->k_row, row);
    else
        ref.decode[l->v.type](&l->v, l->dv, base + l->v_offset + g * l->v_head + slot * l->v_row,
                              row);
}

/* What a computation may round its operands to: f32 alone; bf16 or int8, where the kernels have a
 * route of their own for the type (tile.h). */
typedef enum { ROUTE_F32, ROUTE_BF16, ROUTE_INT8 } Route;

static Route route_of(const Kernels *kernels, const KvLayout *l) {
    const TileKernels *k = kernels->tile[l->k.type];
    if (k == kernels->tile[ROW_F32] || k != kernels->tile[l->v.type]) return ROUTE_F32;
    return k == kernels->tile[ROW_BF16] ? ROUTE_BF16 : ROUTE_INT8;
}

/* The sums that bounds are made of. */
typedef struct {
    double terms;    /* the greatest sum of sizes of a score's terms, scaled */
    double spread;   /* the same with each element of the query its greatest */
    double weights;  /* of all tokens, the greatest weight being 1 */
    double greatest; /* value */
    double tokens;
} Sizes;

/* The error of a score scales the weights: eps times the sum of its terms' sizes, or half a step of
 * the query's bytes; the sums of the output add a few eps of the largest value. Weights in bytes
 * are off by half a 255th of the greatest, times the ratio of the rows' scales, here below 1.5. */
static double bound_of(Route route, const Sizes *s) {
    const double most = fmax(s->greatest, 1), f32 = FLT_EPSILON * (2 * s->terms + 16);
    if (route == ROUTE_BF16) return (f32 + 0x1p-8 * (2 * s->terms + 3)) * most;
    if (route == ROUTE_INT8)
        return (f32 + 2 * s->spread / 254 + 1.5 * s->tokens / (510 * s->weights) + 1e-4) * most;
    return f32 * most;
}

/* One query row in double over rows [from, to): its output, log-sum-exp and the sizes that bound
 * the error of a computation. */
static void expect_row(const Call *c, size_t s, size_t g, size_t from, size_t to, const float *q,
                       double *out, double *lse, Sizes *sizes) {
    const KvLayout *l = &c->a.layout;
    float row[1024];
    double *scores = room(to, sizeof *scores);
    double max = -INFINITY, sum = 0, terms = 0, spread = 0, greatest = 0, q_most = 0;
    for (size_t e = 0; e < l->dk; e++) q_most = fmax(q_most, fabs((double)q[e]));
    for (size_t j = from; j < to; j++) {
        load_row(c, s, g, j, true, row);
        double size = 0, keys = 0;
        scores[j] = 0;
        for (size_t e = 0; e < l->dk; e++) {
            scores[j] += (double)q[e] * row[e];
            size += fabs((double)q[e] * row[e]);
            keys += fabs((double)row[e]);
        }
        scores[j] *= c->a.scale;
        max = fmax(max, scores[j]);
        terms = fmax(terms, size * c->a.scale);
        spread = fmax(spread, q_most * keys * c->a.scale);
    }
    for (size_t e = 0; e < l->dv; e++) out[e] = 0;
    for (size_t j = from; j < to; j++) {
        load_row(c, s, g, j, false, row);
        const double weight = exp(scores[j] - max);
        sum += weight;
        for (size_t e = 0; e < l->dv; e++) {
            out[e] += weight * row[e];
            greatest = fmax(greatest, fabs((double)row[e]));
        }
    }
    for (size_t e = 0; e < l->dv && sum > 0; e++) out[e] /= sum;
    *lse = sum > 0 ? max + log(sum) : -INFINITY;
    *sizes = (Sizes){ terms, spread, sum, greatest, (double)(to - from) };
    free(scores);
}

static void check_route(const Call *c, const char *name, Route route) {
    const KvLayout *l = &c->a.layout;
    const size_t group = c->a.heads / l->kv_heads;
    double expected[1024], lse;
    size_t token = 0;
    for (size_t s = 0; s < c->a.sequences; s++) {
        const KvSequence *q = &c->sequence[s];
        for (size_t t = 0; t < q->q_tokens; t++, token++) {
            const size_t end = q->q_position + t + 1;
            size_t seen = end > q->position ? end - q->position : 0;
            if (seen > q->tokens) seen = q->tokens;
            for (size_t h = 0; h < c->a.heads; h++) {
                const size_t row = token * c->a.heads + h;
                Sizes sizes;
                expect_row(c, s, h / group, 0, seen, c->q + row * l->dk, expected, &lse, &sizes);
                const double bound = bound_of(route, &sizes);
                for (size_t e = 0; e < l->dv; e++)
                    cr_assert(fabs(c->out[row * l->dv + e] - expected[e]) <= bound,
                              "%s: sequence %zu token %zu head %zu element %zu: %g, not %g (%g)",
                              name, s, t, h, e, (double)c->out[row * l->dv + e], expected[e],
                              bound);
                if (seen)
                    cr_assert(fabs(c->lse[row] - lse) <= bound + FLT_EPSILON * fabs(lse),
                              "%s: lse %g, not %g", name, (double)c->lse[row], lse);
                else
                    cr_assert(c->lse[row] == -INFINITY && c->out[row * l->dv] == 0);
            }
        }
    }
}

static void check(const Call *c, const char *name) {
    check_route(c, name, ROUTE_F32);
}

FOR_EACH_TILE_SUBJECT(attention, equals_the_triple_loop_in_double) {
    const Kernels kernels = table_of(*subject);
    for (size_t shape = 0; shape < SHAPES; shape++) {
        for (size_t t = 0; t < TYPES; t++) {
            if (!fits(&shapes[shape], types[t])) continue;
            Call c = call_new(&shapes[shape], types[t], 1);
            const Route route = route_of(&kernels, &c.a.layout);
            if (*subject < SUBJECTS || route != ROUTE_F32) { /* else no other than below */
                run_by(&kernels, &c, 2);
                check_route(&c, shapes[shape].name, route);
            }
            call_free(&c);
        }
    }
}

Test(attention, of_the_reference_equals_the_triple_loop_in_double) {
    const Kernels ref = kernels_select(0);
    for (size_t shape = 0; shape < SHAPES; shape++) {
        Call c = call_new(&shapes[shape], kv_type(ROW_F32), 1);
        run_by(&ref, &c, 2);
        check(&c, shapes[shape].name);
        call_free(&c);
    }
}

ParameterizedTestParameters(attention, gives_the_same_bits_with_any_number_of_threads) {
    static size_t index[SHAPES];
    for (size_t i = 0; i < SHAPES; i++) index[i] = i;
    return cr_make_param_array(size_t, index, SHAPES);
}

ParameterizedTest(size_t *index, attention, gives_the_same_bits_with_any_number_of_threads) {
    Call one = call_new(&shapes[*index], kv_type(ROW_BF16), 1);
    run(&one, 1);
    for (int threads = 2; threads <= 5; threads++) {
        Call many = call_new(&shapes[*index], kv_type(ROW_BF16), 1);
        run(&many, threads);
        const size_t rows = one.queries * one.a.heads;
        cr_assert_arr_eq(one.out, many.out, rows * one.a.layout.dv * sizeof(float));
        cr_assert_arr_eq(one.lse, many.lse, rows * sizeof(float));
        call_free(&many);
    }
    call_free(&one);
}

Test(attention, takes_scores_far_beyond_the_range_of_exp) {
    Call c = call_new(&shapes[1], kv_type(ROW_F32), 60);
    run(&c, 1);
    for (size_t i = 0; i < c.queries * c.a.heads; i++) cr_assert(isfinite(c.lse[i]));
    check(&c, "large scores");
    call_free(&c);
}

Test(attention, gives_zero_for_rows_that_see_nothing) {
    Call c = call_new(&shapes[9], kv_type(ROW_F32), 1);
    c.sequence[0].position = 60; /* the queries are tokens 50 to 69: half of them see no row */
    run(&c, 2);
    check(&c, "rows that see nothing");
    cr_assert_eq(c.lse[0], -INFINITY);
    cr_assert(isfinite(c.lse[19 * c.a.heads]));
    call_free(&c);
}

Test(attention, of_a_context_in_two_parts_merges_to_the_whole) {
    const Shape shape = { "whole", 6, 2, 32, 24, false, 16, 1, { 95 }, { 1 } };
    Call whole = call_new(&shape, kv_type(ROW_F16), 1), low = call_new(&shape, kv_type(ROW_F16), 1);
    Call high = call_new(&shape, kv_type(ROW_F16), 1);
    run(&whole, 1);
    low.sequence[0].tokens = 48;
    high.sequence[0].table += 3;
    high.sequence[0].tokens -= 48;
    high.sequence[0].position = 48;
    run(&low, 1);
    run(&high, 1);
    attention_merge(6, 24, low.out, low.lse, high.out, high.lse);
    for (size_t i = 0; i < 6 * 24; i++) cr_assert_float_eq(low.out[i], whole.out[i], 1e-6);
    for (size_t i = 0; i < 6; i++) cr_assert_float_eq(low.lse[i], whole.lse[i], 1e-6);
    call_free(&whole);
    call_free(&low);
    call_free(&high);
}

Test(attention_merge, leaves_a_result_alone_when_the_part_saw_nothing) {
    float out[2] = { 3, 4 }, lse = 1.5f;
    const float part[2] = { 0, 0 }, nothing = -INFINITY;
    attention_merge(1, 2, out, &lse, part, &nothing);
    cr_assert(out[0] == 3 && out[1] == 4 && lse == 1.5f);
}

Test(attention_merge, takes_the_part_when_the_result_saw_nothing) {
    float out[2] = { 0, 0 }, lse = -INFINITY;
    const float part[2] = { 3, 4 }, seen = 1.5f;
    attention_merge(1, 2, out, &lse, part, &seen);
    cr_assert(out[0] == 3 && out[1] == 4 && lse == 1.5f);
}

Test(attention, of_equal_scores_is_the_mean_of_the_values) {
    const Shape shape = { "mean", 2, 1, 8, 8, false, 16, 1, { 31 }, { 1 } };
    Call c = call_new(&shape, kv_type(ROW_F32), 1);
    memset(c.q, 0, 2 * 8 * sizeof *c.q);
    run(&c, 1);
    for (size_t e = 0; e < 8; e++) {
        double mean = 0;
        for (size_t j = 0; j < 32; j++) {
            float row[8];
            load_row(&c, 0, 0, j, false, row);
            mean += row[e] / 32.0;
        }
        cr_assert_float_eq(c.out[e], mean, 1e-7);
    }
    cr_assert_float_eq(c.lse[0], log(32), 1e-6);
    call_free(&c);
}

/* Items of more tokens than sums in floats are kept for, with few query rows and many. */
Test(attention, long_items_equal_the_triple_loop_in_double) {
    static const Shape long_shapes[] = {
        { "long, few rows", 16, 8, 16, 24, false, 64, 2, { 13000, 1500 }, { 1, 3 } },
        { "long, many rows", 40, 4, 16, 16, false, 16, 1, { 21000 }, { 2 } },
    };
    static const KvType some[] = { { ROW_F32, ROW_F32 },
                                   { ROW_BF16, ROW_BF16 },
                                   { ROW_INT8, ROW_INT8 } };
    for (size_t shape = 0; shape < sizeof long_shapes / sizeof *long_shapes; shape++)
        for (size_t t = 0; t < sizeof some / sizeof *some; t++) {
            if (!fits(&long_shapes[shape], some[t])) continue;
            Call c = call_new(&long_shapes[shape], some[t], 1);
            const Kernels kernels = kernels_select(kernels_detect());
            run_by(&kernels, &c, 2);
            check_route(&c, long_shapes[shape].name, route_of(&kernels, &c.a.layout));
            call_free(&c);
        }
}

/* The error of all outputs of a decode step, relative to their norm. */
static double relative_error(const Kernels *kernels, size_t tokens, size_t heads, KvType type) {
    const Shape shape = { "long", heads, 8, 32, 32, false, 64, 1, { tokens - 1 }, { 1 } };
    Call c = call_new(&shape, type, 1);
    run_by(kernels, &c, 2);
    double wrong = 0, all = 0, expected[32], lse;
    for (size_t h = 0; h < heads; h++) {
        Sizes sizes;
        expect_row(&c, 0, h / (heads / 8), 0, tokens, c.q + h * 32, expected, &lse, &sizes);
        for (size_t e = 0; e < 32; e++) {
            const double off = c.out[h * 32 + e] - expected[e];
            wrong += off * off, all += expected[e] * expected[e];
        }
    }
    call_free(&c);
    return sqrt(wrong / all);
}

/* Outputs shrink with the tokens that they are a mean of, and their errors as much. Two errors of a
 * few roundings are told apart by more than a tenth. */
Test(attention, does_not_lose_accuracy_with_length) {
    static const RowType plain[] = { ROW_F32, ROW_BF16, ROW_F16 };
    const Kernels tables[] = { kernels_select(0), kernels_select(kernels_detect()) };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
            for (size_t heads = 8; heads <= 32; heads *= 4) {
                const KvType type = kv_type(plain[i]);
                const double near = relative_error(&tables[k], 1024, heads, type);
                const double far = relative_error(&tables[k], 32 * 1024, heads, type);
                cr_assert(far <= 1.1 * near, "table %zu, %s, %zu heads: %g at 32K, %g at 1K", k,
                          row_type_name(plain[i]), heads, far, near);
            }
}

Test(attention_cost, counts_visible_pairs_and_each_row_once) {
    const Shape shape = { "cost", 8, 2, 64, 32, false, 16, 2, { 10, 0 }, { 1, 4 } };
    Call c = call_new(&shape, kv_type(ROW_BF16), 1);
    c.a.sequence = c.sequence;
    const Cost cost = attention_cost(&c.a);
    const double pairs = 11 + (1 + 2 + 3 + 4);
    cr_assert_eq(cost.flops, 2.0 * (64 + 32) * 8 * pairs);
    cr_assert_eq(cost.bytes, 2.0 * 2 * (64 + 32) * (11 + 4) + 5.0 * 8 * (64 + 32) * 4);
    call_free(&c);
}

Test(attention_cost, of_the_latent_reads_its_rows_once) {
    const Shape shape = { "cost", 128, 1, 576, 512, true, 64, 1, { 4095 }, { 1 } };
    Call c = call_new(&shape, kv_type(ROW_BF16), 1);
    c.a.sequence = c.sequence;
    const Cost cost = attention_cost(&c.a);
    cr_assert_eq(cost.flops, 278528.0 * 4096);
    cr_assert_eq(cost.bytes, 1152.0 * 4096 + 128.0 * 1088 * 4);
    call_free(&c);
}

Test(kv_layout, lays_heads_one_after_the_other_and_values_behind_the_keys) {
    const KvLayout l = kv_layout(kv_type(ROW_BF16), 8, 128, 64, false, 16);
    cr_assert(l.k_row == 256 && l.k_head == 16 * 256 && l.v_offset == 8 * 16 * 256);
    cr_assert(l.v_row == 128 && l.v_head == 16 * 128 && l.block_bytes == 8 * 16 * (256 + 128));
}

Test(kv_layout, of_the_latent_keeps_values_inside_the_keys) {
    const KvLayout l = kv_layout(kv_type(ROW_F32), 1, 576, 512, true, 64);
    cr_assert(l.v_offset == 0 && l.v_row == l.k_row && l.v_head == l.k_head);
    cr_assert(l.k_row == 2304 && l.block_bytes == 64 * 2304);
}
