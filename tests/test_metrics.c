/* test_metrics.c -- the error metrics: cases worked out by hand, and what must not change them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"
#include "small_layer.h"

/* Two tokens, one head, one dimension: every sum can be done on paper.
 * Logits of token 1: exact 0.5 * 2 * {1, 3} = {1, 3}. */
static double hand_q[] = { 1, 2 }, hand_k[] = { 1, 3 }, hand_v[] = { 3, 4 };
static double hand_out[] = { 3, 4 }, hand_y[] = { 0, 2 };

static Reference hand(void) {
    return (Reference){ .tokens = 2,
                        .queries = 2,
                        .heads = 1,
                        .kv_heads = 1,
                        .key_dim = 1,
                        .value_dim = 1,
                        .hidden = 1,
                        .scale = 0.5,
                        .q = hand_q,
                        .k = hand_k,
                        .v = hand_v,
                        .k_pre = hand_k,
                        .out = hand_out,
                        .y = hand_y };
}

static ErrorMetrics compute(const Reference *exact, const Approximation *approx) {
    ErrorMetrics m;
    Error err;
    cr_assert_eq(metrics_compute(&m, exact, approx, &err), OK, "%s", err.text);
    return m;
}

Test(metrics, relative_errors_are_ratios_of_frobenius_norms) {
    const Reference exact = hand();
    const float k[] = { 1, 2 }, v[] = { 3, 4.5f }, out[] = { 3, 3 }, y[] = { 1, 2 };
    const Approximation approx = { .k_pre = k, .v = v, .out = out, .y = y };
    const ErrorMetrics m = compute(&exact, &approx);
    cr_assert_float_eq(m.k_rel, 1 / sqrt(10), 1e-15);
    cr_assert_float_eq(m.v_rel, 0.1, 1e-15);
    cr_assert_float_eq(m.out_rel, 0.2, 1e-15);
    cr_assert_float_eq(m.y_rel, 0.5, 1e-15);
    cr_assert_float_eq(m.max_abs, 1, 1e-15);
    cr_assert_float_eq(m.cos_diff, 1 - 2 * (9 + 12.0) / (25 + 18), 1e-15);
    cr_assert_float_eq(m.out_cos, 0, 1e-15, "numbers of one sign point the same way");
    cr_assert(isnan(m.logit_rel) && isnan(m.attn_kl) && isnan(m.attn_tv));
}

Test(metrics, logits_are_centred_and_probabilities_compared_a_row_at_a_time) {
    const Reference exact = hand();
    /* Logits of token 1: {1, 3} exact, 1 * 2 * {1, 2} = {2, 4}... scaled: {2, 4} - mean = {-1, 1}:
     * the same as exact. With k = {1, 3.5}: {2, 7} - 4.5 = {-2.5, 2.5}. Token 0 sees itself. */
    const float q[] = { 1, 2 }, same[] = { 1, 2 }, other[] = { 1, 3.5f };
    Approximation approx = { .q_rot = q, .k_rot = same, .key_dim = 1, .scale = 1 };
    ErrorMetrics m = compute(&exact, &approx);
    cr_assert_float_eq(m.logit_rel, 0, 1e-15);
    cr_assert_float_eq(m.attn_kl, 0, 1e-15);
    cr_assert_float_eq(m.attn_tv, 0, 1e-15);
    cr_assert(isnan(m.y_rel) && isnan(m.out_rel) && isnan(m.k_rel) && isnan(m.p99_abs));

    approx.k_rot = other;
    m = compute(&exact, &approx);
    const double p = 1 / (1 + exp(-2)), a = 1 / (1 + exp(-5));
    const double kl = p * log(p / a) + (1 - p) * log((1 - p) / (1 - a));
    cr_assert_float_eq(m.logit_rel, 1.5, 1e-14, "|1.5, 1.5| over |1, 1|");
    cr_assert_float_eq(m.attn_kl, kl / 2, 1e-14, "mean over two queries");
    cr_assert_float_eq(m.attn_tv, (a - p) / 2, 1e-14);
}

/* A random exact layer and an approximation of it, perturbed by `noise`. */
typedef struct {
    Model model;
    LayerWeights weights;
    Reference exact;
    float *q, *k, *k_pre, *v, *out, *y; /* q, k: [tokens, heads, key] */
    Approximation approx;
} Pair;

enum { TOKENS = 13 };

static float *perturbed(size_t n, const double *exact, double noise, uint64_t stream) {
    float *copy = malloc(n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = (float)(exact[i] + noise * random_normal(5, stream, i));
    return copy;
}

static void pair_new(Pair *p, SmallLayer which, double noise) {
    Error err;
    float x[TOKENS * 32];
    p->model = small_model(which);
    p->weights = small_weights(&p->model);
    small_fill(TOKENS * p->model.hidden, 100, 1, x);
    cr_assert_eq(reference_run(&p->exact, &p->model, &p->weights, TOKENS, x, &err), OK);
    const Reference *e = &p->exact;
    const size_t heads = TOKENS * e->heads, kv_heads = TOKENS * e->kv_heads;
    p->q = perturbed(heads * e->key_dim, e->q, noise, 0);
    p->k_pre = perturbed(kv_heads * e->key_dim, e->k_pre, noise, 1);
    p->v = perturbed(kv_heads * e->value_dim, e->v, noise, 2);
    p->out = perturbed(heads * e->value_dim, e->out, noise, 3);
    p->y = perturbed(TOKENS * e->hidden, e->y, noise, 4);
    p->k = malloc(heads * e->key_dim * sizeof *p->k);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t h = 0; h < e->heads; h++)
            for (size_t d = 0; d < e->key_dim; d++) {
                const size_t g = h / (e->heads / e->kv_heads);
                const size_t i = (t * e->heads + h) * e->key_dim + d;
                p->k[i] = (float)(e->k[(t * e->kv_heads + g) * e->key_dim + d] +
                                  noise * random_normal(5, 5, i));
            }
    p->approx = (Approximation){ .k_pre = p->k_pre,
                                 .v = p->v,
                                 .out = p->out,
                                 .y = p->y,
                                 .q_rot = p->q,
                                 .k_rot = p->k,
                                 .key_dim = e->key_dim,
                                 .scale = e->scale };
}

static void pair_free(Pair *p) {
    free(p->q), free(p->k), free(p->k_pre), free(p->v), free(p->out), free(p->y);
    reference_free(&p->exact);
    weights_free(&p->weights);
}

Test(metrics, what_is_the_same_differs_by_rounding_at_most) {
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        Pair p;
        pair_new(&p, which, 0);
        const ErrorMetrics m = compute(&p.exact, &p.approx);
        const double relative[] = { m.y_rel, m.out_rel, m.k_rel, m.v_rel, m.logit_rel };
        for (size_t i = 0; i < 5; i++) cr_assert_lt(relative[i], 2e-7, "%zu: %g", i, relative[i]);
        cr_assert_lt(fabs(m.attn_kl), 1e-12);
        cr_assert_lt(m.attn_tv, 1e-6);
        cr_assert_lt(fabs(m.out_cos), 1e-13);
        cr_assert_lt(m.cos_diff, 1e-13);
        cr_assert_lt(m.max_abs, 1e-6);
        pair_free(&p);
    }
}

Test(metrics, more_noise_is_more_error_in_every_metric) {
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        Pair less, more;
        pair_new(&less, which, 0.01);
        pair_new(&more, which, 0.1);
        const ErrorMetrics a = compute(&less.exact, &less.approx);
        const ErrorMetrics b = compute(&more.exact, &more.approx);
        const double small[] = { a.y_rel,     a.out_rel, a.k_rel,   a.v_rel,
                                 a.logit_rel, a.attn_kl, a.attn_tv, a.out_cos,
                                 a.cos_diff,  a.max_abs, a.p99_abs };
        const double large[] = { b.y_rel,     b.out_rel, b.k_rel,   b.v_rel,
                                 b.logit_rel, b.attn_kl, b.attn_tv, b.out_cos,
                                 b.cos_diff,  b.max_abs, b.p99_abs };
        for (size_t i = 0; i < sizeof small / sizeof *small; i++)
            cr_assert(0 < small[i] && small[i] < large[i], "layer %d, metric %zu: %g, %g", which, i,
                      small[i], large[i]);
        cr_assert_leq(b.attn_tv, 1);
        cr_assert_leq(b.p99_abs, b.max_abs);
        pair_free(&less);
        pair_free(&more);
    }
}

Test(metrics, a_shift_of_all_keys_changes_no_metric_of_logits) {
    Pair p;
    pair_new(&p, SMALL_GQA, 0.05);
    const ErrorMetrics before = compute(&p.exact, &p.approx);
    for (size_t t = 0; t < TOKENS; t++) /* every row of logits moves by its own <q, 3> */
        for (size_t i = 0; i < p.exact.heads * p.exact.key_dim; i++)
            p.k[t * p.exact.heads * p.exact.key_dim + i] += 3;
    const ErrorMetrics after = compute(&p.exact, &p.approx);
    cr_assert_float_eq(after.logit_rel, before.logit_rel, 1e-6);
    cr_assert_float_eq(after.attn_kl, before.attn_kl, 1e-6);
    cr_assert_float_eq(after.attn_tv, before.attn_tv, 1e-6);
    pair_free(&p);
}

Test(metrics, the_scale_of_the_approximation_is_its_own) {
    Pair p;
    pair_new(&p, SMALL_MLA, 0.05);
    const ErrorMetrics before = compute(&p.exact, &p.approx);
    for (size_t i = 0; i < TOKENS * p.exact.heads * p.exact.key_dim; i++) p.q[i] *= 4;
    p.approx.scale /= 4;
    const ErrorMetrics after = compute(&p.exact, &p.approx);
    cr_assert_float_eq(after.logit_rel, before.logit_rel, 1e-12);
    pair_free(&p);
}

Test(metrics, the_order_of_heads_changes_nothing) {
    Pair p;
    pair_new(&p, SMALL_MHA, 0.1);
    const ErrorMetrics before = compute(&p.exact, &p.approx);
    const size_t d = p.exact.key_dim;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < d; i++) {
            const size_t a = t * 3 * d + i, b = a + 2 * d;
            double *const exact[] = { p.exact.q, p.exact.k, p.exact.v, p.exact.k_pre, p.exact.out };
            float *const approx[] = { p.q, p.k, p.v, p.k_pre, p.out };
            for (size_t n = 0; n < 5; n++) {
                const double e = exact[n][a];
                const float f = approx[n][a];
                exact[n][a] = exact[n][b], exact[n][b] = e;
                approx[n][a] = approx[n][b], approx[n][b] = f;
            }
        }
    const ErrorMetrics after = compute(&p.exact, &p.approx);
    cr_assert_float_eq(after.logit_rel, before.logit_rel, 1e-12);
    cr_assert_float_eq(after.attn_kl, before.attn_kl, 1e-12);
    cr_assert_float_eq(after.out_rel, before.out_rel, 1e-12);
    cr_assert_float_eq(after.out_cos, before.out_cos, 1e-12);
    pair_free(&p);
}

Test(metrics, attention_that_is_elsewhere_costs_a_bounded_divergence) {
    /* Exact: all on key 1. Approximate: all on key 0, where p^ underflows to 0 and is clamped. */
    double q[] = { 0, 1 }, k[] = { 0, 2000 };
    const float q_rot[] = { 0, 1 }, k_rot[] = { 2000, 0 };
    Reference exact = hand();
    exact.q = q;
    exact.k = k;
    exact.scale = 1;
    const Approximation approx = { .q_rot = q_rot, .k_rot = k_rot, .key_dim = 1, .scale = 1 };
    const ErrorMetrics m = compute(&exact, &approx);
    cr_assert_float_eq(m.attn_kl, log(1e30) / 2, 1e-9);
    cr_assert_float_eq(m.attn_tv, 0.5, 1e-12, "1 for the query that sees two, 0 for the other");
    cr_assert_float_eq(m.logit_rel, 2, 1e-12);
}

Test(metrics, the_percentile_is_the_smallest_that_99_in_100_do_not_exceed) {
    enum { N = 250 };
    double out[N] = { 0 };
    float approx_out[N];
    Reference exact = hand();
    exact.tokens = exact.queries = N;
    exact.out = out;
    /* Differences 1..250 out of order, signs mixed: rank ceil(247.5) = 248. */
    for (size_t i = 0; i < N; i++) approx_out[i] = (float)(1 + i * 77 % N) * (i % 2 ? 1.0f : -1.0f);
    const Approximation approx = { .out = approx_out };
    const ErrorMetrics m = compute(&exact, &approx);
    cr_assert_eq(m.p99_abs, 248);
    cr_assert_eq(m.max_abs, 250);

    exact.tokens = exact.queries = 100; /* where 99 in 100 is a whole rank: 99 of 1..100 */
    for (size_t i = 0; i < 100; i++) approx_out[i] = (float)(1 + i * 77 % 100);
    cr_assert_eq(compute(&exact, &approx).p99_abs, 99);
}

Test(metrics, the_cosine_is_taken_a_query_at_a_time) {
    /* Opposite, orthogonal, both nothing, one of them nothing: losses 2, 1, 0, 1. */
    double out[] = { 1, 0, 1, 0, 0, 0, 1, 1 };
    const float approx_out[] = { -5, 0, 0, 2, 0, 0, 0, 0 };
    Reference exact = hand();
    exact.tokens = exact.queries = 4;
    exact.value_dim = 2;
    exact.out = out;
    const Approximation approx = { .out = approx_out };
    cr_assert_float_eq(compute(&exact, &approx).out_cos, 1, 1e-15);
}

Test(metrics, nothing_against_nothing_is_no_error_and_nan_is_never_hidden) {
    const float zero[] = { 0, 0 }, bad[] = { NAN, 1 };
    const double none[] = { 0, 0 }, some[] = { 0, 1 };
    cr_assert_eq(metrics_relative(2, zero, none), 0);
    cr_assert(isinf(metrics_relative(2, (const float[]){ 1, 0 }, none)));
    cr_assert(isnan(metrics_relative(2, bad, some)));
    cr_assert(isnan(metrics_max_abs(2, bad, some)));
}

/* ---- pooling, few queries, evicted tokens ---- */

static void expect_alike(const ErrorMetrics *a, const ErrorMetrics *b, double within) {
    const double first[] = { a->y_rel,     a->out_rel, a->k_rel,   a->v_rel,
                             a->logit_rel, a->attn_kl, a->attn_tv, a->out_cos,
                             a->cos_diff,  a->max_abs, a->p99_abs };
    const double second[] = { b->y_rel,     b->out_rel, b->k_rel,   b->v_rel,
                              b->logit_rel, b->attn_kl, b->attn_tv, b->out_cos,
                              b->cos_diff,  b->max_abs, b->p99_abs };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        cr_expect_float_eq(first[i], second[i], within * fabs(second[i]), "metric %zu", i);
}

Test(metrics, a_layer_pooled_with_itself_has_the_errors_of_one) {
    Pair p;
    Error err;
    pair_new(&p, SMALL_GQA, 0.1);
    const ErrorMetrics once = compute(&p.exact, &p.approx);
    ErrorSums sums = { 0 };
    for (int i = 0; i < 3; i++) cr_assert_eq(metrics_add(&sums, &p.exact, &p.approx, &err), OK);
    const ErrorMetrics pooled = metrics_of(&sums);
    expect_alike(&pooled, &once, 1e-14);
    metrics_free(&sums);
    pair_free(&p);
}

Test(metrics, numerators_and_denominators_are_pooled_and_no_ratios) {
    /* |1| of |3, 4| and |2| of |30, 40|: sqrt(1 + 4) / sqrt(25 + 2500). */
    const Reference small = hand();
    Reference large = hand();
    double v[] = { 30, 40 };
    large.v = v;
    const float near[] = { 3, 5 }, far[] = { 30, 42 };
    const Approximation first = { .v = near }, second = { .v = far };
    ErrorSums sums = { 0 };
    Error err;
    cr_assert_eq(metrics_add(&sums, &small, &first, &err), OK);
    cr_assert_eq(metrics_add(&sums, &large, &second, &err), OK);
    cr_assert_float_eq(metrics_of(&sums).v_rel, sqrt(5.0 / 2525), 1e-15);
    cr_assert(isnan(metrics_of(&sums).y_rel));
    metrics_free(&sums);
}

Test(metrics, the_last_queries_alone_give_the_metrics_of_their_rows) {
    enum { LAST = 4 };
    for (SmallLayer which = 0; which < SMALL_COUNT; which++) {
        Pair p;
        pair_new(&p, which, 0.1);
        Reference *e = &p.exact;
        Reference last;
        Error err;
        float x[TOKENS * 32];
        small_fill(TOKENS * p.model.hidden, 100, 1, x);
        cr_assert_eq(reference_run_last(&last, &p.model, &p.weights, TOKENS, LAST, x, &err), OK);
        const size_t first = TOKENS - LAST, q = first * e->heads * e->key_dim,
                     out = first * e->heads * e->value_dim, y = first * e->hidden;
        for (size_t i = 0; i < LAST * e->heads * e->value_dim; i++)
            cr_assert_float_eq(last.out[i], e->out[out + i], 1e-12);
        Approximation tail = p.approx;
        tail.q_rot += q, tail.out += out, tail.y += y;
        Reference view = *e;
        view.queries = LAST, view.q += q, view.out += out, view.y += y;
        const ErrorMetrics ran = compute(&last, &tail), sliced = compute(&view, &tail);
        expect_alike(&ran, &sliced, 1e-9);
        reference_free(&last);
        pair_free(&p);
    }
}

Test(metrics, evicted_tokens_leave_their_probability_to_the_others) {
    /* Token 1 sees logits {1, 3}; only key 0 is kept: p^ = {1, 0}, p = {1 - a, a}. */
    const Reference exact = hand();
    const float q[] = { 1, 2 }, k[] = { 1, 2 };
    const unsigned char kept[] = { 1, 1 };
    const Approximation approx = {
        .q_rot = q, .k_rot = k, .key_dim = 1, .scale = 1, .kept = kept, .kept_heads = 1
    };
    const ErrorMetrics m = compute(&exact, &approx);
    const double a = 1 / (1 + exp(-2));
    cr_assert_float_eq(m.attn_tv, a / 2, 1e-14);
    cr_assert_float_eq(m.attn_kl, ((1 - a) * log(1 - a) + a * log(a / 1e-30)) / 2, 1e-12);
    cr_assert_float_eq(m.logit_rel, 0, 1e-15, "what is stored is exact");
}

Test(metrics, a_query_whose_tokens_are_all_evicted_has_probabilities_of_nothing) {
    const Reference exact = hand();
    const float q[] = { 1, 2 }, k[] = { 1, 2 };
    const unsigned char kept[] = { 0, 0 };
    const Approximation approx = {
        .q_rot = q, .k_rot = k, .key_dim = 1, .scale = 1, .kept = kept, .kept_heads = 1
    };
    const ErrorMetrics m = compute(&exact, &approx);
    cr_assert_float_eq(m.attn_tv, 0.5, 1e-14, "half of sum p, and p^ sums to nothing");
    cr_assert(isfinite(m.attn_kl));
}
