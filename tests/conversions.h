/* conversions.h -- small layers to convert, random text, and what a conversion loses, for tests. */
#ifndef KVLAB_CONVERSIONS_H
#define KVLAB_CONVERSIONS_H

#include <criterion/criterion.h>
#include <math.h>

#include "convert.h"
#include "random.h"
#include "reference.h"

enum { HIDDEN = 48, HEADS = 4, DIM = 16, TOKENS = 40, CALIBRATION = 160 };

/* MHA with 4 key/value heads, GQA with 2, MQA with 1. */
static inline Model teacher_model(size_t kv_heads, bool interleaved) {
    return (Model){ .name = "teacher",
                    .kind = kv_heads == HEADS ? ATTENTION_MHA
                            : kv_heads == 1   ? ATTENTION_MQA
                                              : ATTENTION_GQA,
                    .layers = 1,
                    .hidden = HIDDEN,
                    .heads = HEADS,
                    .kv_heads = kv_heads,
                    .key_dim = DIM,
                    .value_dim = DIM,
                    .rope_dim = DIM,
                    .rms_norm_eps = 1e-6,
                    .rope = { .theta = 10000, .dim = DIM, .interleaved = interleaved } };
}

static inline LayerWeights random_weights(const Model *m, uint64_t seed) {
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

/* Text number `stream`, with channels of different sizes. */
static inline void random_text(uint64_t stream, size_t tokens, float *x) {
    for (size_t i = 0; i < tokens * HIDDEN; i++)
        x[i] = (float)(random_normal(9, stream, i) * (0.3 + 2.0 * (double)(i % HIDDEN) / HIDDEN));
}

static inline Statistics calibrate(const Model *teacher, const LayerWeights *weights) {
    static float text[CALIBRATION * HIDDEN];
    Statistics s;
    Error err;
    random_text(2, CALIBRATION, text);
    cr_assert_eq(statistics_new(&s, teacher, STATISTICS_INPUT | STATISTICS_ROTATED, &err), OK, "%s",
                 err.text);
    statistics_add(&s, teacher, weights, CALIBRATION / 2, text);
    statistics_add(&s, teacher, weights, CALIBRATION / 2, text + CALIBRATION / 2 * HIDDEN);
    statistics_finish(&s);
    return s;
}

static inline Status try_convert(Conversion *c, const Model *teacher, const LayerWeights *weights,
                                 const char *recipe, Error *err) {
    Recipe r;
    Status status = recipe_parse(&r, recipe, teacher, err);
    if (status != OK) return status;
    Statistics statistics = calibrate(teacher, weights);
    const ConvertSource source = { .layer = teacher,
                                   .weights = weights,
                                   .statistics = &statistics,
                                   .context = TOKENS,
                                   .seed = 1 };
    status = convert_layer(c, &r, &source, err);
    statistics_free(&statistics);
    return status;
}

static inline Conversion convert(const Model *teacher, const LayerWeights *weights,
                                 const char *recipe) {
    Conversion c = { .loss = NAN };
    Error err;
    cr_assert_eq(try_convert(&c, teacher, weights, recipe, &err), OK, "%s", err.text);
    return c;
}

/* y_rel of a converted layer, both in fp64. */
static inline double loss(const Model *teacher, const LayerWeights *weights, const Conversion *c) {
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

static inline double loss_of(const Model *teacher, const LayerWeights *weights,
                             const char *recipe) {
    Conversion c = convert(teacher, weights, recipe);
    const double result = loss(teacher, weights, &c);
    convert_free(&c);
    return result;
}

#endif
