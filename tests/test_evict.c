/* Eviction: who stays, that what stays is attended as if it were all there is, and that nobody is
 * nearer to the full attention than the oracle. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "evict.h"
#include "metrics.h"
#include "random.h"

enum { TOKENS = 203, HEADS = 6, KEPT_HEADS = 2, DIM = 8, ROW = (TOKENS + 7) / 8 };

/* A text of GQA: three query heads share a cached head. The first token draws attention. */
typedef struct {
    float q[TOKENS * HEADS * DIM], k[TOKENS * HEADS * DIM], v[TOKENS * HEADS * DIM];
    float out[TOKENS * HEADS * DIM];
    unsigned char kept[KEPT_HEADS * TOKENS * ROW];
    EvictionText text;
} Scene;

static Scene *scene_new(size_t queries) {
    Scene *s = calloc(1, sizeof *s);
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) {
        const size_t t = i / (HEADS * DIM), h = i / DIM % HEADS, d = i % DIM;
        const size_t shared = (t * KEPT_HEADS + h / (HEADS / KEPT_HEADS)) * DIM + d;
        s->q[i] = (float)(random_normal(1, 1, i) + (d == 0));
        s->k[i] = (float)(random_normal(1, 2, shared) + (t == 0 && d == 0 ? 5 : 0));
        s->v[i] = (float)random_normal(1, 3, shared);
    }
    s->text = (EvictionText){ .tokens = TOKENS,
                              .queries = queries,
                              .heads = HEADS,
                              .kept_heads = KEPT_HEADS,
                              .key_dim = DIM,
                              .value_dim = DIM,
                              .scale = 0.5,
                              .q = s->q,
                              .k = s->k,
                              .v = s->v };
    return s;
}

static Kernels kernels(void) {
    return kernels_select(kernels_detect());
}

static void run(Scene *s, EvictionKind kind, double share) {
    const Eviction e = { kind, share };
    const Kernels table = kernels();
    Error err;
    cr_assert_eq(evict_run(&e, &s->text, &table, s->kept, s->out, &err), OK);
}

static bool is_kept(const Scene *s, size_t g, size_t query, size_t token) {
    const unsigned char *row = s->kept + (g * s->text.queries + query) * ROW;
    return row[token / 8] >> token % 8 & 1;
}

static double *doubles(size_t n, const float *x) {
    double *copy = malloc(n * sizeof *copy);
    for (size_t i = 0; i < n; i++) copy[i] = x[i];
    return copy;
}

/* ---- choosing ---- */

Test(evict, the_largest_votes_are_chosen_and_ties_by_age) {
    enum { N = 97 };
    float votes[N], work[N];
    for (size_t m = 0; m <= N; m++) {
        unsigned char kept[(N + 7) / 8] = { 0 };
        for (size_t i = 0; i < N; i++) votes[i] = (float)(random_bits(4, m, i) % 11);
        evict_choose(N, votes, m, work, kept);
        size_t count = 0;
        float least = INFINITY, most = -INFINITY;
        size_t last_kept = 0, first_left = N;
        for (size_t i = 0; i < N; i++)
            if (kept[i / 8] >> i % 8 & 1)
                count++, least = fminf(least, votes[i]);
            else
                most = fmaxf(most, votes[i]);
        for (size_t i = 0; i < N; i++) {
            const bool in = kept[i / 8] >> i % 8 & 1;
            if (in && votes[i] == most) last_kept = i;
            if (!in && votes[i] == most && first_left == N) first_left = i;
        }
        cr_assert_eq(count, m);
        cr_assert(m == 0 || m == N || least >= most);
        if (least == most) cr_assert_lt(last_kept, first_left);
    }
}

static const EvictionKind kinds[] = { EVICT_STREAMING, EVICT_H2O, EVICT_SNAPKV, EVICT_ORACLE };
enum { KINDS = sizeof kinds / sizeof *kinds };

Test(evict, every_query_keeps_its_share_and_nothing_that_comes_later) {
    for (size_t n = 0; n < KINDS; n++)
        for (size_t queries = 40; queries <= TOKENS; queries += TOKENS - 40) {
            Scene *s = scene_new(queries);
            run(s, kinds[n], 0.15);
            for (size_t g = 0; g < KEPT_HEADS; g++)
                for (size_t i = 0; i < queries; i++) {
                    const size_t visible = TOKENS - queries + i + 1;
                    size_t count = 0;
                    for (size_t t = 0; t < TOKENS; t++) {
                        count += is_kept(s, g, i, t);
                        cr_assert(t < visible || !is_kept(s, g, i, t));
                    }
                    cr_assert_eq(count, (size_t)ceil(0.15 * (double)visible));
                }
            free(s);
        }
}

Test(evict, streaming_keeps_the_first_four_and_the_newest) {
    Scene *s = scene_new(TOKENS);
    run(s, EVICT_STREAMING, 0.1);
    const size_t kept = 21; /* of 203 */
    for (size_t t = 0; t < TOKENS; t++)
        cr_assert_eq(is_kept(s, 1, TOKENS - 1, t), t < 4 || t >= TOKENS - (kept - 4), "%zu", t);
    free(s);
}

/* Probabilities in double of all heads of a group for one query, added up. */
static void add_probabilities(const Scene *s, size_t g, size_t query, double *sums) {
    for (size_t h = g * 3; h < g * 3 + 3; h++) {
        double p[TOKENS], sum = 0;
        for (size_t t = 0; t <= query; t++) {
            double dot = 0;
            for (size_t d = 0; d < DIM; d++)
                dot +=
                    (double)s->q[(query * HEADS + h) * DIM + d] * s->k[(t * HEADS + h) * DIM + d];
            sum += p[t] = exp(0.5 * dot);
        }
        for (size_t t = 0; t <= query; t++) sums[t] += p[t] / sum;
    }
}

/* Are the kept ones among the first `early` tokens those of largest sums? */
static void expect_largest(const Scene *s, size_t g, size_t query, size_t early,
                           const double *sums) {
    double least = INFINITY, most = 0;
    for (size_t t = 0; t < early; t++)
        if (is_kept(s, g, query, t))
            least = fmin(least, sums[t]);
        else
            most = fmax(most, sums[t]);
    cr_assert_geq(least, most - 1e-5);
}

Test(evict, h2o_keeps_what_all_earlier_queries_looked_at) {
    Scene *s = scene_new(TOKENS);
    run(s, EVICT_H2O, 0.2);
    for (size_t g = 0; g < KEPT_HEADS; g++) {
        double sums[TOKENS] = { 0 };
        for (size_t i = 0; i < TOKENS; i++) {
            const size_t kept = (size_t)ceil(0.2 * (double)(i + 1)), late = (kept + 1) / 2;
            for (size_t t = i + 1 - late; t <= i; t++) cr_assert(is_kept(s, g, i, t));
            expect_largest(s, g, i, i + 1 - late, sums);
            add_probabilities(s, g, i, sums);
        }
    }
    free(s);
}

Test(evict, snapkv_keeps_what_the_last_64_queries_looked_at_and_their_neighbours) {
    Scene *s = scene_new(30);
    run(s, EVICT_SNAPKV, 0.2);
    for (size_t g = 0; g < KEPT_HEADS; g++)
        for (size_t i = 0; i < 30; i++) {
            const size_t position = TOKENS - 30 + i;
            const size_t kept = (size_t)ceil(0.2 * (double)(position + 1)), late = (kept + 1) / 2;
            const size_t early = position + 1 - late;
            double sums[TOKENS + 4] = { 0 }, pooled[TOKENS] = { 0 };
            for (size_t q = position - 64; q < position; q++) add_probabilities(s, g, q, sums + 2);
            for (size_t t = early; t < TOKENS; t++) sums[t + 2] = 0;
            for (size_t t = 0; t < early; t++)
                for (size_t j = 0; j < 5; j++) pooled[t] += sums[t + j] / 5;
            for (size_t t = early; t <= position; t++) cr_assert(is_kept(s, g, i, t));
            expect_largest(s, g, i, early, pooled);
        }
    free(s);
}

/* ---- what is left of attention ---- */

Test(evict, keeping_everything_is_full_attention) {
    Scene *s = scene_new(50);
    double *q = doubles(TOKENS * HEADS * DIM, s->q), *k = doubles(TOKENS * HEADS * DIM, s->k),
           *v = doubles(TOKENS * HEADS * DIM, s->v), out[50 * HEADS * DIM];
    reference_attention(50, TOKENS - 50, HEADS, HEADS, DIM, DIM, 0.5,
                        q + (TOKENS - 50) * HEADS * DIM, k, v, out);
    for (size_t n = 0; n < KINDS; n++) {
        run(s, kinds[n], 1);
        cr_assert_lt(metrics_relative(50 * HEADS * DIM, s->out, out), 1e-6);
    }
    free(q), free(k), free(v), free(s);
}

Test(evict, kept_probabilities_sum_to_one) {
    Scene *s = scene_new(TOKENS);
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) s->v[i] = 1;
    for (size_t n = 0; n < KINDS; n++) {
        run(s, kinds[n], 0.05);
        for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) cr_assert_float_eq(s->out[i], 1, 2e-6);
    }
    free(s);
}

Test(evict, one_kept_token_gives_its_value) {
    Scene *s = scene_new(TOKENS);
    run(s, EVICT_STREAMING, 1e-6);
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++)
        cr_assert_float_eq(s->out[i], s->v[i], 1e-6, "the newest is the one that is kept");
    free(s);
}

/* Total variation from the full attention, as the metrics see it. */
static double variation(Scene *s, EvictionKind kind, double share) {
    run(s, kind, share);
    const size_t n = s->text.queries, first = TOKENS - n;
    double *q = doubles(TOKENS * HEADS * DIM, s->q), *k = doubles(TOKENS * HEADS * DIM, s->k);
    Reference exact = { .tokens = TOKENS,
                        .queries = n,
                        .heads = HEADS,
                        .kv_heads = HEADS,
                        .key_dim = DIM,
                        .value_dim = DIM,
                        .scale = 0.5,
                        .q = q + first * HEADS * DIM,
                        .k = k };
    const Approximation approx = { .q_rot = s->q + first * HEADS * DIM,
                                   .k_rot = s->k,
                                   .key_dim = DIM,
                                   .scale = 0.5,
                                   .kept = s->kept,
                                   .kept_heads = KEPT_HEADS };
    ErrorMetrics m;
    Error err;
    cr_assert_eq(metrics_compute(&m, &exact, &approx, &err), OK);
    free(q), free(k);
    return m.attn_tv;
}

Test(evict, no_method_comes_nearer_to_full_attention_than_the_oracle) {
    Scene *s = scene_new(TOKENS);
    for (double share = 0.02; share < 1; share *= 2) {
        const double oracle = variation(s, EVICT_ORACLE, share);
        cr_assert_gt(oracle, 0);
        for (size_t n = 0; n < KINDS; n++)
            cr_assert_leq(oracle, variation(s, kinds[n], share) + 1e-7, "%s at %g",
                          eviction_name(kinds[n]), share);
    }
    free(s);
}

Test(evict, the_number_of_threads_changes_no_bit) {
    Scene *one = scene_new(TOKENS), *many = scene_new(TOKENS);
    for (size_t n = 0; n < KINDS; n++) {
        omp_set_num_threads(1);
        run(one, kinds[n], 0.1);
        omp_set_num_threads(5);
        run(many, kinds[n], 0.1);
        cr_assert_arr_eq(one->out, many->out, sizeof one->out);
        cr_assert_arr_eq(one->kept, many->kept, sizeof one->kept);
    }
    free(one), free(many);
}

/* Rows, positions and, to go on, h2o's votes: what the accountant says, to the byte. */
static void expect_bytes(const Cache *cache, const Eviction *e, size_t kept) {
    const CacheShape shape = { .kv_heads = KEPT_HEADS, .key_dim = DIM, .value_dim = DIM };
    const Method m = { .codec = { .kind = CODEC_ROWS, .name = "f32", .bits = 32, .group = 1 },
                       .eviction = *e };
    const bool oracle = e->kind == EVICT_ORACLE;
    const MethodBytes counted = method_bytes(&m, &shape, TOKENS, 16);
    const CacheBytes bytes = cache_bytes(cache);
    const size_t listed = e->kind == EVICT_H2O || e->kind == EVICT_SNAPKV;
    const size_t index =
        KEPT_HEADS * kept * (listed * sizeof(uint32_t) + (e->kind == EVICT_H2O) * sizeof(float));
    if (oracle) { /* stores all, and reads these */
        cr_assert_eq(counted.read_bytes, bytes.payload_bytes);
        return;
    }
    cr_assert_eq(counted.stored_bytes, bytes.payload_bytes + index);
    cr_assert_eq(counted.held_bytes,
                 bytes.payload_bytes + index + bytes.block_waste_bytes + bytes.table_bytes);
    cr_assert_eq(counted.kept_tokens, kept);
}

/* The rows that stay, of every cached head its own, in a cache of their own. */
static Cache *held(const Scene *s, const Kernels *table, const uint32_t *positions, size_t kept) {
    float k[TOKENS * KEPT_HEADS * DIM], v[TOKENS * KEPT_HEADS * DIM];
    for (size_t j = 0; j < kept; j++)
        for (size_t g = 0; g < KEPT_HEADS; g++) {
            const size_t from = (positions[g * kept + j] * HEADS + g * 3) * DIM;
            memcpy(k + (j * KEPT_HEADS + g) * DIM, s->k + from, DIM * sizeof *k);
            memcpy(v + (j * KEPT_HEADS + g) * DIM, s->v + from, DIM * sizeof *v);
        }
    const CacheParams params = { .type = kv_type(ROW_F32), .block_tokens = 16 };
    const CacheShape shape = { .kv_heads = KEPT_HEADS, .key_dim = DIM, .value_dim = DIM };
    Cache *cache;
    size_t sequence;
    Error err;
    cr_assert_eq(cache_new(&cache, &params, &shape, 1, kept, &err), OK);
    cr_assert_eq(cache_open(cache, &sequence, &err), OK);
    cr_assert_eq(cache_append(cache, table, 1, sequence, kept, k, v, &err), OK);
    return cache;
}

Test(evict, kernels_over_the_rows_that_are_held_give_the_output_that_is_scored) {
    const Kernels table = kernels();
    for (size_t n = 0; n < KINDS; n++) {
        Scene *s = scene_new(7);
        uint32_t positions[KEPT_HEADS * TOKENS];
        const Eviction e = { kinds[n], 0.25 };
        run(s, e.kind, e.keep);
        evict_positions(&e, &s->text, s->kept, positions);
        Cache *cache = held(s, &table, positions, eviction_kept(&e, TOKENS));
        expect_bytes(cache, &e, eviction_kept(&e, TOKENS));
        KvSequence view = cache_sequence(cache, 0);
        view.q_tokens = 1;
        view.q_position = view.tokens - 1;
        float out[HEADS * DIM];
        Attention a = { .layout = cache_layout(cache),
                        .heads = HEADS,
                        .scale = 0.5f,
                        .sequences = 1,
                        .sequence = &view,
                        .q = s->q + (TOKENS - 1) * HEADS * DIM,
                        .out = out };
        float *work = malloc(attention_workspace(&a, 1) * sizeof *work);
        attention_run(&table, &a, 1, work);
        for (size_t i = 0; i < HEADS * DIM; i++)
            cr_assert_float_eq(out[i], s->out[6 * HEADS * DIM + i], 2e-6);
        free(work);
        cache_free(cache);
        free(s);
    }
}
