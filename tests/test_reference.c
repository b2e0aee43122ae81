/* test_reference.c -- the fp64 reference against formulas spelled out index by index, and against
 * each mistake that is easy to make: every one of them must be told apart. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"
#include "reference.h"
#include "small_layer.h"

enum { TOKENS = 11, HIDDEN_MOST = 32, HEAD_MOST = 32, RANK_MOST = 16 };

/* What can be got wrong in MLA; RIGHT is the definition. */
typedef enum {
    RIGHT,
    OTHER_PAIRS,      /* half-split taken for interleaved, or the reverse */
    VALUES_LAST,      /* kv_b read as all keys, then all values */
    MODEL_EPS,        /* latent norms with the model's rms_norm_eps */
    NO_MSCALE,        /* softmax scale without mscale */
    MSCALE_ONCE,      /* mscale not squared */
    MSCALE_ROPE_ONLY, /* mscale on the rotated part of the logit alone */
    RAW_LATENT,       /* the latent without its norm */
    ROPE_FIRST,       /* the rotated part taken to come first in the query */
    NO_ROTATION,
    SEES_NEXT, /* a mask that is one too wide */
    MISTAKES
} Mistake;

typedef struct {
    const Model *m;
    const LayerWeights *w;
    const float *x;
    Mistake mistake;
} Spelled;

static double row_dot(const float *row, const float *bias, size_t o, size_t n, const double *x) {
    double sum = bias ? bias[o] : 0;
    for (size_t i = 0; i < n; i++) sum += (double)row[o * n + i] * x[i];
    return sum;
}

static void norm(size_t n, double eps, const float *weight, double *x) {
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] * x[i] / (double)n;
    for (size_t i = 0; i < n; i++) x[i] *= weight[i] / sqrt(mean + eps);
}

/* x e^(j t f), pair by pair, with YaRN's frequencies as its paper's appendix has them. */
static void turn(const Spelled *s, size_t position, double *x) {
    const Rope *r = &s->m->rope;
    const double pi = 3.14159265358979323846;
    const double dim = (double)r->dim;
    const bool interleaved = r->interleaved != (s->mistake == OTHER_PAIRS);
    if (s->mistake == NO_ROTATION) return;
    for (size_t i = 0; i < r->dim / 2; i++) {
        double f = pow(r->theta, -2.0 * (double)i / dim);
        if (r->scaling == ROPE_YARN) {
            const double length = (double)r->original_tokens;
            const double low =
                fmax(floor(dim * log(length / (2 * pi * r->beta_fast)) / (2 * log(r->theta))), 0);
            double high = fmin(
                ceil(dim * log(length / (2 * pi * r->beta_slow)) / (2 * log(r->theta))), dim - 1);
            if (low == high) high += 0.001;
            const double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
            f = f / r->factor * ramp + f * (1 - ramp);
        }
        double *re = interleaved ? x + 2 * i : x + i;
        double *im = interleaved ? x + 2 * i + 1 : x + i + r->dim / 2;
        const double c = cos((double)position * f), d = sin((double)position * f);
        const double a = *re, b = *im;
        *re = a * c - b * d;
        *im = a * d + b * c;
    }
}

static double latent_eps(const Spelled *s) {
    return s->mistake == MODEL_EPS ? s->m->rms_norm_eps : 1e-6;
}

static void input(const Spelled *s, size_t t, double *x) {
    for (size_t i = 0; i < s->m->hidden; i++) x[i] = s->x[t * s->m->hidden + i];
}

/* The query of one head: P values, then R rotated ones. */
static void query(const Spelled *s, size_t t, size_t h, double *q) {
    const Model *m = s->m;
    double x[HIDDEN_MOST], low[RANK_MOST];
    input(s, t, x);
    for (size_t i = 0; i < m->q_lora_rank; i++)
        low[i] = row_dot(s->w->q_a, s->w->q_a_bias, i, m->hidden, x);
    if (m->q_lora_rank) norm(m->q_lora_rank, latent_eps(s), s->w->q_a_norm, low);
    for (size_t i = 0; i < m->key_dim; i++) {
        size_t row = h * m->key_dim + i;
        if (s->mistake == ROPE_FIRST)
            row = h * m->key_dim + (i < m->nope_dim ? m->rope_dim + i : i - m->nope_dim);
        q[i] = m->q_lora_rank ? row_dot(s->w->q_b, NULL, row, m->q_lora_rank, low)
                              : row_dot(s->w->q, s->w->q_bias, row, m->hidden, x);
    }
    turn(s, t, q + m->nope_dim);
}

/* The key and the value of one head. */
static void key_value(const Spelled *s, size_t t, size_t h, double *k, double *v) {
    const Model *m = s->m;
    const size_t C = m->kv_lora_rank, P = m->nope_dim, V = m->value_dim;
    double x[HIDDEN_MOST], row[RANK_MOST + HEAD_MOST];
    input(s, t, x);
    for (size_t i = 0; i < C + m->rope_dim; i++)
        row[i] = row_dot(s->w->kv_a, s->w->kv_a_bias, i, m->hidden, x);
    if (s->mistake != RAW_LATENT) norm(C, latent_eps(s), s->w->kv_a_norm, row);
    const bool last = s->mistake == VALUES_LAST;
    for (size_t i = 0; i < P; i++)
        k[i] = row_dot(s->w->kv_b, NULL, last ? h * P + i : h * (P + V) + i, C, row);
    for (size_t i = 0; i < V; i++)
        v[i] = row_dot(s->w->kv_b, NULL, last ? m->heads * P + h * V + i : h * (P + V) + P + i, C,
                       row);
    for (size_t i = 0; i < m->rope_dim; i++) k[P + i] = row[C + i];
    turn(s, t, k + P);
}

static double logit(const Spelled *s, const double *q, const double *k) {
    const Model *m = s->m;
    const double mscale =
        m->rope.scaling == ROPE_YARN ? 0.1 * m->rope.mscale_all_dim * log(m->rope.factor) + 1 : 1;
    double nope = 0, rope = 0;
    for (size_t i = 0; i < m->key_dim; i++) *(i < m->nope_dim ? &nope : &rope) += q[i] * k[i];
    const double root = 1 / sqrt((double)m->key_dim);
    switch (s->mistake) {
    case NO_MSCALE:
        return root * (nope + rope);
    case MSCALE_ONCE:
        return root * mscale * (nope + rope);
    case MSCALE_ROPE_ONLY:
        return root * (nope + mscale * mscale * rope);
    default:
        return root * mscale * mscale * (nope + rope);
    }
}

/* The whole layer's y [TOKENS, D]. */
static void spell_out(const Spelled *s, double *y) {
    const Model *m = s->m;
    for (size_t t = 0; t < TOKENS; t++) {
        const size_t seen = s->mistake == SEES_NEXT && t + 2 <= TOKENS ? t + 2 : t + 1;
        double outs[HIDDEN_MOST * 2] = { 0 };
        for (size_t h = 0; h < m->heads; h++) {
            double q[HEAD_MOST], k[HEAD_MOST], v[HEAD_MOST], sum = 0;
            query(s, t, h, q);
            for (size_t j = 0; j < seen; j++) {
                key_value(s, j, h, k, v);
                const double weight = exp(logit(s, q, k));
                for (size_t i = 0; i < m->value_dim; i++)
                    outs[h * m->value_dim + i] += weight * v[i];
                sum += weight;
            }
            for (size_t i = 0; i < m->value_dim; i++) outs[h * m->value_dim + i] /= sum;
        }
        for (size_t o = 0; o < m->hidden; o++)
            y[t * m->hidden + o] = row_dot(s->w->o, s->w->o_bias, o, m->heads * m->value_dim, outs);
    }
}

/* |a - b| / |b| of the reference against the formula with this mistake. */
static double distance(const Model *model, Mistake mistake) {
    LayerWeights weights = small_weights(model);
    float x[TOKENS * HIDDEN_MOST];
    double y[TOKENS * HIDDEN_MOST], difference = 0, size = 0;
    Reference exact;
    Error err;
    small_fill(TOKENS * model->hidden, 100, 0.05, x); /* so small that eps is seen */
    cr_assert_eq(reference_run(&exact, model, &weights, TOKENS, x, &err), OK);
    spell_out(&(Spelled){ model, &weights, x, mistake }, y);
    for (size_t i = 0; i < TOKENS * model->hidden; i++) {
        difference += (exact.y[i] - y[i]) * (exact.y[i] - y[i]);
        size += y[i] * y[i];
    }
    reference_free(&exact);
    weights_free(&weights);
    return sqrt(difference / size);
}

static Model mistaken_model(SmallLayer which) {
    Model m = small_model(which);
    m.rms_norm_eps = 1e-3;
    return m;
}

Test(reference, mla_is_what_the_formulas_say) {
    const Model factored = mistaken_model(SMALL_MLA), plain = mistaken_model(SMALL_MLA_PLAIN);
    cr_assert_lt(distance(&factored, RIGHT), 1e-12, "%g", distance(&factored, RIGHT));
    cr_assert_lt(distance(&plain, RIGHT), 1e-12, "%g", distance(&plain, RIGHT));
}

Test(reference, every_easy_mistake_would_be_seen) {
    const Model factored = mistaken_model(SMALL_MLA), plain = mistaken_model(SMALL_MLA_PLAIN);
    for (Mistake mistake = RIGHT + 1; mistake < MISTAKES; mistake++) {
        const double error = distance(&factored, mistake);
        cr_assert_gt(error, 1e-3, "mistake %d is only %g away", mistake, error);
    }
    cr_assert_gt(distance(&plain, OTHER_PAIRS), 1e-3);
    cr_assert_gt(distance(&plain, VALUES_LAST), 1e-3);
}

Test(reference, grouped_heads_share_keys_biases_and_norms_count) {
    /* One token sees itself alone: out is its value, of the head's group. */
    const Model m = small_model(SMALL_GQA);
    LayerWeights w = small_weights(&m);
    float x[19];
    double in[19];
    Reference r;
    Error err;
    small_fill(19, 100, 1, x);
    for (size_t i = 0; i < 19; i++) in[i] = x[i];
    cr_assert_eq(reference_run(&r, &m, &w, 1, x, &err), OK);
    for (size_t h = 0; h < 6; h++)
        for (size_t i = 0; i < 10; i++)
            cr_assert_float_eq(r.out[h * 10 + i], row_dot(w.v, w.v_bias, h / 3 * 10 + i, 19, in),
                               1e-12);
    double key[10];
    for (size_t i = 0; i < 10; i++) key[i] = row_dot(w.k, w.k_bias, 10 + i, 19, in);
    norm(10, m.rms_norm_eps, w.k_norm, key);
    for (size_t i = 0; i < 10; i++) {
        cr_assert_float_eq(r.k_pre[10 + i], key[i], 1e-12);
        cr_assert_float_eq(r.k[10 + i], key[i], 1e-12, "position 0 turns by nothing");
    }
    reference_free(&r);
    weights_free(&w);
}

Test(reference, only_the_rotated_part_of_a_head_turns) {
    const Model m = small_model(SMALL_GQA); /* 6 of 10, half-split */
    LayerWeights w = small_weights(&m);
    float x[4 * 19];
    Reference r;
    Error err;
    small_fill(4 * 19, 100, 1, x);
    cr_assert_eq(reference_run(&r, &m, &w, 4, x, &err), OK);
    const double *pre = r.k_pre + 3 * 20, *key = r.k + 3 * 20;
    for (size_t i = 0; i < 3; i++) {
        const double angle = 3 * pow(100, -2.0 * (double)i / 6);
        cr_assert_float_eq(key[i], pre[i] * cos(angle) - pre[i + 3] * sin(angle), 1e-12);
        cr_assert_float_eq(key[i + 3], pre[i] * sin(angle) + pre[i + 3] * cos(angle), 1e-12);
    }
    for (size_t i = 6; i < 10; i++) cr_assert_eq(key[i], pre[i]);
    reference_free(&r);
    weights_free(&w);
}

Test(reference, attention_of_equal_keys_is_the_mean_of_what_is_seen) {
    const double q[3] = { 1, 2, 3 }, k[5] = { 4, 4, 4, 4, 4 }, v[5] = { 1, 3, 5, 7, 9 };
    double out[3];
    reference_attention(3, 2, 1, 1, 1, 1, 0.5, q, k, v, out);
    cr_assert_float_eq(out[0], 3, 1e-14, "the first query sees three");
    cr_assert_float_eq(out[1], 4, 1e-14);
    cr_assert_float_eq(out[2], 5, 1e-14);
}

Test(reference, huge_scores_neither_overflow_nor_lose_the_winner) {
    const double q[1] = { 1e6 }, k[3] = { -1, 1, 0.5 }, v[3] = { 10, 20, 30 };
    double out[1];
    reference_attention(1, 2, 1, 1, 1, 1, 1, q, k, v, out);
    cr_assert_float_eq(out[0], 20, 1e-12);
}

Test(reference, two_scores_share_as_the_logistic_function_says) {
    const double q[1] = { 2 }, k[2] = { 0, 1 }, v[2] = { 0, 1 };
    double out[1];
    reference_attention(1, 1, 1, 1, 1, 1, 0.25, q, k, v, out);
    cr_assert_float_eq(out[0], 1 / (1 + exp(-0.5)), 1e-15);
}

Test(reference, a_sequence_does_not_see_what_comes_later) {
    const Model m = small_model(SMALL_MQA);
    LayerWeights w = small_weights(&m);
    float x[9 * 19];
    Reference all, first;
    Error err;
    small_fill(9 * 19, 100, 1, x);
    cr_assert_eq(reference_run(&all, &m, &w, 9, x, &err), OK);
    cr_assert_eq(reference_run(&first, &m, &w, 5, x, &err), OK);
    for (size_t i = 0; i < 5 * 19; i++) cr_assert_float_eq(all.y[i], first.y[i], 1e-12);
    reference_free(&all);
    reference_free(&first);
    weights_free(&w);
}
