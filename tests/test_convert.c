/* Conversions from an MHA teacher: laws that hold whatever the text. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "metrics.h"
#include "random.h"
#include "reference.h"

enum { HIDDEN = 48, HEADS = 4, DIM = 16, TOKENS = 40, CALIBRATION = 160 };

static Model teacher_model(bool interleaved) {
    Model m = { .name = "teacher",
                .kind = ATTENTION_MHA,
                .layers = 1,
                .hidden = HIDDEN,
                .heads = HEADS,
                .kv_heads = HEADS,
                .key_dim = DIM,
                .value_dim = DIM,
                .rope_dim = DIM,
                .rms_norm_eps = 1e-6,
                .rope = { .theta = 10000, .dim = DIM, .interleaved = interleaved } };
    return m;
}

static LayerWeights random_weights(const Model *m, uint64_t seed) {
    LayerWeights w;
    Error err;
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    cr_assert_eq(weights_alloc(&w, m, &err), OK);
    const size_t count = weights_shapes(m, shapes);
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < shapes[s].rows * shapes[s].cols; i++)
            (*weights_at(&w, &shapes[s]))[i] =
                (float)(random_normal(seed, s + 10, i) / sqrt((double)shapes[s].cols));
    return w;
}

static void random_text(uint64_t stream, size_t tokens, float *x) {
    for (size_t i = 0; i < tokens * HIDDEN; i++) x[i] = (float)random_normal(9, stream, i);
}

static Conversion convert(const Model *teacher, const LayerWeights *weights, const char *contender,
                          Error *err, Status expected) {
    static float calibration[CALIBRATION * HIDDEN];
    random_text(2, CALIBRATION, calibration);
    Model model;
    cr_assert_eq(model_contender(&model, teacher, contender, err), OK, "%s", err->text);
    Conversion c = { 0 };
    const Calibration text = { CALIBRATION, calibration, TOKENS, 1 };
    cr_assert_eq(convert_layer(&c, teacher, weights, &model, &text, err), expected, "%s",
                 err->text);
    return c;
}

/* y_rel of a converted layer, both in fp64. */
static double loss(const Model *teacher, const LayerWeights *weights, const Conversion *c) {
    static float x[TOKENS * HIDDEN];
    random_text(1, TOKENS, x);
    Reference exact, other;
    Error err;
    cr_assert_eq(reference_run(&exact, teacher, weights, TOKENS, x, &err), OK);
    cr_assert_eq(reference_run(&other, &c->model, &c->weights, TOKENS, x, &err), OK);
    double above = 0, below = 0;
    for (size_t i = 0; i < TOKENS * HIDDEN; i++) {
        above += (other.y[i] - exact.y[i]) * (other.y[i] - exact.y[i]);
        below += exact.y[i] * exact.y[i];
    }
    reference_free(&exact);
    reference_free(&other);
    return sqrt(above / below);
}

static double loss_of(const char *contender, bool interleaved) {
    const Model teacher = teacher_model(interleaved);
    LayerWeights weights = random_weights(&teacher, 5);
    Error err;
    Conversion c = convert(&teacher, &weights, contender, &err, OK);
    const double result = loss(&teacher, &weights, &c);
    convert_free(&c);
    weights_free(&weights);
    return result;
}

Test(convert, mha_to_mha_loses_nothing) {
    cr_assert_eq(loss_of("mha", false), 0);
}

Test(convert, pooling_equal_heads_loses_nothing) {
    const Model teacher = teacher_model(false);
    LayerWeights w = random_weights(&teacher, 5);
    const size_t head = DIM * HIDDEN;
    for (size_t h = 1; h < HEADS; h += 2) { /* pairs of heads share keys and values */
        memcpy(w.k + h * head, w.k + (h - 1) * head, head * sizeof *w.k);
        memcpy(w.v + h * head, w.v + (h - 1) * head, head * sizeof *w.v);
    }
    Error err;
    Conversion two = convert(&teacher, &w, "gqa-2", &err, OK);
    cr_assert_lt(loss(&teacher, &w, &two), 1e-6);
    Conversion one = convert(&teacher, &w, "mqa", &err, OK);
    cr_assert_gt(loss(&teacher, &w, &one), 0.1);
    convert_free(&two);
    convert_free(&one);
    weights_free(&w);
}

/* Heads whose rotated parts agree up to a phase need one complex component a frequency: the shared
 * key then holds all of them, and a latent of full rank holds the values. */
static void make_heads_agree(const Model *teacher, LayerWeights *w) {
    const Rope *rope = &teacher->rope;
    for (size_t h = 1; h < HEADS; h++)
        for (size_t f = 0; f < DIM / 2; f++) {
            const double phase = 6.28 * random_uniform(8, 1, h * DIM + f);
            const double size = 0.5 + random_uniform(8, 2, h * DIM + f);
            const size_t re = rope->interleaved ? 2 * f : f;
            const size_t im = rope->interleaved ? 2 * f + 1 : f + DIM / 2;
            for (size_t d = 0; d < HIDDEN; d++) {
                const double x = w->k[re * HIDDEN + d], y = w->k[im * HIDDEN + d];
                w->k[(h * DIM + re) * HIDDEN + d] =
                    (float)(size * (cos(phase) * x - sin(phase) * y));
                w->k[(h * DIM + im) * HIDDEN + d] =
                    (float)(size * (sin(phase) * x + cos(phase) * y));
            }
        }
}

static void check_exact_latent(bool interleaved) {
    const Model teacher = teacher_model(interleaved);
    LayerWeights w = random_weights(&teacher, 6);
    make_heads_agree(&teacher, &w);
    Error err;
    Conversion full = convert(&teacher, &w, "mla-64+16", &err, OK); /* V has rank 48 at most */
    cr_assert_lt(loss(&teacher, &w, &full), 1e-5);
    convert_free(&full);
    weights_free(&w);
}

Test(convert, heads_equal_up_to_phases_become_mla_without_loss) {
    check_exact_latent(false);
}
Test(convert, so_do_interleaved_ones) {
    check_exact_latent(true);
}

/* The mean over all causal pairs of exp(j t f), t their distance, pair by pair. */
static void mean_turn(double frequency, double *re, double *im) {
    *re = *im = 0;
    for (size_t query = 0; query < TOKENS; query++)
        for (size_t key = 0; key <= query; key++) {
            *re += cos((double)(query - key) * frequency) / (TOKENS * (TOKENS + 1) / 2.0);
            *im += sin((double)(query - key) * frequency) / (TOKENS * (TOKENS + 1) / 2.0);
        }
}

/* Rows 3 and 11 of head 1 are a pair of the teacher's query; the contender's head is 24 wide. */
static void check_plain_queries(const Rope *rope, double amplitude) {
    enum { HEAD = 1, PAIR = 3, KEY = 24 };
    Model teacher = teacher_model(false);
    teacher.rope = *rope;
    LayerWeights w = random_weights(&teacher, 5);
    Error err;
    Conversion c = convert(&teacher, &w, "mla-32+8", &err, OK);
    double frequencies[DIM / 2], re, im;
    rope_frequencies(rope, frequencies);
    mean_turn(frequencies[PAIR], &re, &im);
    const double scale = sqrt((double)KEY / DIM) * amplitude * amplitude;
    for (size_t d = 0; d < HIDDEN; d++) {
        const double x = w.q[(HEAD * DIM + PAIR) * HIDDEN + d];
        const double y = w.q[(HEAD * DIM + PAIR + DIM / 2) * HIDDEN + d];
        const float *turned = c.weights.q + (HEAD * KEY + PAIR) * HIDDEN + d;
        cr_assert_float_eq(turned[0], scale * (re * x - im * y), 1e-6);
        cr_assert_float_eq(turned[DIM / 2 * HIDDEN], scale * (im * x + re * y), 1e-6);
    }
    convert_free(&c);
    weights_free(&w);
}

Test(convert, queries_of_unrotated_keys_turn_by_the_mean_over_causal_pairs) {
    const Rope plain = { .theta = 10000, .dim = DIM };
    check_plain_queries(&plain, 1);
    const Rope yarn = { .theta = 10000,
                        .dim = DIM,
                        .scaling = ROPE_YARN,
                        .factor = 4,
                        .original_tokens = 16,
                        .beta_fast = 32,
                        .beta_slow = 1 };
    check_plain_queries(&yarn, 0.1 * log(4) + 1);
}

Test(convert, more_latent_loses_less) {
    const double narrow = loss_of("mla-8+8", false), wide = loss_of("mla-32+8", false);
    cr_assert_lt(wide, narrow);
    cr_assert_gt(wide, 0.01, "random heads do not fit one shared key");
}

Test(convert, cached_rows_lead_back_to_the_teachers_keys_and_values) {
    const Model teacher = teacher_model(true);
    LayerWeights w = random_weights(&teacher, 6);
    make_heads_agree(&teacher, &w);
    Error err;
    Conversion c = convert(&teacher, &w, "mla-64+16", &err, OK);
    static float x[TOKENS * HIDDEN], rows[TOKENS * 80], k[TOKENS * HEADS * DIM],
        v[TOKENS * HEADS * DIM], table[TOKENS * DIM];
    random_text(1, TOKENS, x);
    rope_table(&c.model.rope, 0, TOKENS, table);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t r = 0; r < 80; r++) {
            double sum = 0;
            for (size_t d = 0; d < HIDDEN; d++)
                sum += (double)c.weights.kv_a[r * HIDDEN + d] * x[t * HIDDEN + d];
            rows[t * 80 + r] = (float)sum;
        }
        rope_rotate(&c.model.rope, table + t * DIM, rows + t * 80 + 64);
    }
    cr_assert_eq(convert_back(&c, TOKENS, rows, NULL, k, v, &err), OK);
    Reference exact;
    cr_assert_eq(reference_run(&exact, &teacher, &w, TOKENS, x, &err), OK);
    cr_assert_lt(metrics_relative(TOKENS * HEADS * DIM, k, exact.k_pre), 1e-5);
    cr_assert_lt(metrics_relative(TOKENS * HEADS * DIM, v, exact.v), 1e-5);
    reference_free(&exact);
    convert_free(&c);
    weights_free(&w);
}

Test(convert, what_cannot_be_converted_is_said) {
    const Model teacher = teacher_model(false);
    LayerWeights w = random_weights(&teacher, 5);
    Error err;
    convert(&teacher, &w, "mla-200+8", &err, ERR_INPUT); /* 160 calibration tokens */
    cr_assert(strstr(err.text, "calibration tokens"), "%s", err.text);
    convert(&teacher, &w, "mla-32+12", &err, ERR_INPUT);
    cr_assert(strstr(err.text, "must divide"), "%s", err.text);
    Model mqa;
    cr_assert_eq(model_contender(&mqa, &teacher, "mqa", &err), OK);
    Conversion c;
    cr_assert_eq(convert_layer(&c, &mqa, &w, &teacher, NULL, &err), ERR_INPUT);
    weights_free(&w);
}
