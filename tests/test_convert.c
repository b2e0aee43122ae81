/* Conversions of a layer: laws that hold whatever the text. */
#include <stdio.h>
#include <string.h>

#include "conversions.h"

Test(convert, a_copy_loses_nothing) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    cr_assert_eq(loss_of(&teacher, &w, "mha"), 0);
    cr_assert_eq(loss_of(&teacher, &w, "model"), 0);
    weights_free(&w);
}

/* ---- groups of heads ---- */

Test(convert, pooling_equal_heads_loses_nothing) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    const size_t head = DIM * HIDDEN;
    for (size_t h = 1; h < HEADS; h += 2) { /* pairs of heads share keys and values */
        memcpy(w.k + h * head, w.k + (h - 1) * head, head * sizeof *w.k);
        memcpy(w.v + h * head, w.v + (h - 1) * head, head * sizeof *w.v);
    }
    cr_assert_lt(loss_of(&teacher, &w, "gqa-2"), 1e-6);
    cr_assert_gt(loss_of(&teacher, &w, "mqa"), 0.1);
    weights_free(&w);
}

/* Key heads g > 0 become head 0 with each pair turned and scaled (scale: else by phases alone). */
static void turn_heads(const Model *m, LayerWeights *w, bool scale) {
    const Rope *rope = &m->rope;
    for (size_t h = 1; h < m->kv_heads; h++)
        for (size_t f = 0; f < DIM / 2; f++) {
            const double phase = 6.28 * random_uniform(8, 1, h * DIM + f);
            const double size = scale ? 0.5 + random_uniform(8, 2, h * DIM + f) : 1;
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

/* Value heads g > 0 become head 0 times a rotation: a product of turns of neighbouring channels. */
static void rotate_values(const Model *m, LayerWeights *w) {
    for (size_t h = 1; h < m->kv_heads; h++) {
        float *v = w->v + h * DIM * HIDDEN;
        memcpy(v, w->v, DIM * HIDDEN * sizeof *v);
        for (size_t i = 0; i + 1 < DIM; i++) {
            const double angle = 6.28 * random_uniform(8, 3, h * DIM + i);
            for (size_t d = 0; d < HIDDEN; d++) {
                const double x = v[i * HIDDEN + d], y = v[(i + 1) * HIDDEN + d];
                v[i * HIDDEN + d] = (float)(cos(angle) * x - sin(angle) * y);
                v[(i + 1) * HIDDEN + d] = (float)(sin(angle) * x + cos(angle) * y);
            }
        }
    }
}

Test(convert, heads_equal_up_to_turns_are_pooled_without_loss_once_aligned) {
    for (size_t layout = 0; layout < 2; layout++) {
        const Model teacher = teacher_model(HEADS, layout);
        LayerWeights w = random_weights(&teacher, 6);
        turn_heads(&teacher, &w, false);
        rotate_values(&teacher, &w);
        cr_assert_lt(loss_of(&teacher, &w, "gqa-2-aligned"), 1e-5);
        cr_assert_lt(loss_of(&teacher, &w, "mqa-aligned"), 1e-5);
        cr_assert_gt(loss_of(&teacher, &w, "gqa-2"), 0.2);
        weights_free(&w);
    }
}

Test(convert, a_group_of_gqa_heads_aligns_too) {
    Model teacher = teacher_model(2, false);
    teacher.attention_bias = teacher.output_bias = true;
    LayerWeights w = random_weights(&teacher, 6);
    turn_heads(&teacher, &w, false);
    rotate_values(&teacher, &w);
    memset(w.k_bias, 0, 2 * DIM * sizeof *w.k_bias); /* not turned above */
    memset(w.v_bias, 0, 2 * DIM * sizeof *w.v_bias);
    cr_assert_lt(loss_of(&teacher, &w, "mqa-aligned"), 1e-5);
    weights_free(&w);
}

/* Relative squared errors of keys and values on the calibration text itself. */
static void key_value_errors(const Model *teacher, const LayerWeights *w, const char *recipe,
                             double *k_error, double *v_error) {
    enum { WIDEST = 2 * HEADS * DIM };
    static float x[CALIBRATION * HIDDEN], rows_k[CALIBRATION * WIDEST],
        rows_v[CALIBRATION * WIDEST], k[CALIBRATION * HEADS * DIM], v[CALIBRATION * HEADS * DIM];
    Conversion c = convert(teacher, w, recipe);
    Reference own, exact;
    Error err;
    random_text(2, CALIBRATION, x);
    cr_assert_eq(reference_run(&exact, teacher, w, CALIBRATION, x, &err), OK);
    cr_assert_eq(reference_run(&own, &c.model, &c.weights, CALIBRATION, x, &err), OK);
    const size_t rank = c.model.kv_lora_rank;
    for (size_t t = 0; t < CALIBRATION && rank; t++)
        for (size_t r = 0; r < rank; r++) {
            double sum = c.weights.kv_a_bias ? c.weights.kv_a_bias[r] : 0;
            for (size_t d = 0; d < HIDDEN; d++)
                sum += (double)c.weights.kv_a[r * HIDDEN + d] * x[t * HIDDEN + d];
            rows_k[t * rank + r] = (float)sum;
        }
    const size_t width = c.model.kv_heads * DIM;
    for (size_t i = 0; i < CALIBRATION * width && !rank; i++) {
        rows_k[i] = (float)own.k[i];
        rows_v[i] = (float)own.v[i];
    }
    cr_assert_eq(convert_back(&c, CALIBRATION, rows_k, rows_v, k, v, &err), OK);
    double dk = 0, dv = 0, sk = 0, sv = 0;
    for (size_t i = 0; i < CALIBRATION * teacher->kv_heads * DIM; i++) {
        dk += (k[i] - exact.k_pre[i]) * (k[i] - exact.k_pre[i]);
        dv += (v[i] - exact.v[i]) * (v[i] - exact.v[i]);
        sk += exact.k_pre[i] * exact.k_pre[i];
        sv += exact.v[i] * exact.v[i];
    }
    *k_error = dk / sk;
    *v_error = dv / sv;
    reference_free(&own);
    reference_free(&exact);
    convert_free(&c);
}

Test(convert, group_low_rank_loses_at_most_what_pooling_loses_of_keys_and_values) {
    const Model teacher = teacher_model(HEADS, true);
    LayerWeights w = random_weights(&teacher, 7);
    static const char *const pairs[][3] = { { "gqa-2", "gqa-2-aligned", "gqa-2-lowrank" },
                                            { "mqa", "mqa-aligned", "mqa-lowrank" } };
    for (size_t i = 0; i < 2; i++) {
        double mean_k, mean_v, turned_k, turned_v, low_k, low_v;
        key_value_errors(&teacher, &w, pairs[i][0], &mean_k, &mean_v);
        key_value_errors(&teacher, &w, pairs[i][1], &turned_k, &turned_v);
        key_value_errors(&teacher, &w, pairs[i][2], &low_k, &low_v);
        cr_assert_lt(turned_k, mean_k);
        cr_assert_lt(turned_v, mean_v);
        cr_assert_lt(low_k, turned_k);
        cr_assert_lt(low_v, turned_v);
        cr_assert_gt(low_k, 0.01);
    }
    weights_free(&w);
}

/* ---- low rank ---- */

static const char *const full[] = { "lowrank-separate-128", "lowrank-joint-128",
                                    "lowrank-balanced-128", "lowrank-whitened-128",
                                    "lowrank-weights-128",  "lowrank-aware-128",
                                    "lowrank-filled-128" };
/* The whitened one has at most as many components as the input has channels. */
static const char *const full_gqa[] = { "lowrank-separate-64", "lowrank-joint-64",
                                        "lowrank-balanced-64", "lowrank-whitened-64",
                                        "lowrank-weights-64",  "lowrank-aware-64",
                                        "lowrank-filled-64" };

Test(convert, full_rank_gives_the_layer_back) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 8);
    for (size_t i = 0; i < sizeof full / sizeof *full; i++)
        if (!strstr(full[i], "whitened"))
            cr_assert_lt(loss_of(&teacher, &w, full[i]), 1e-4, "%s", full[i]);
    cr_assert_lt(loss_of(&teacher, &w, "lowrank-whitened-96"), 1e-4);
    weights_free(&w);
}

Test(convert, so_it_does_for_gqa_with_biases_and_heads_rotated_in_part) {
    Model teacher = teacher_model(2, true);
    teacher.attention_bias = teacher.output_bias = true;
    teacher.rope_dim = teacher.rope.dim = DIM / 2;
    LayerWeights w = random_weights(&teacher, 8);
    for (size_t i = 0; i < sizeof full_gqa / sizeof *full_gqa; i++)
        cr_assert_lt(loss_of(&teacher, &w, full_gqa[i]), 1e-4, "%s", full_gqa[i]);
    weights_free(&w);
}

Test(convert, the_input_of_mha_is_rank_enough) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 8);
    cr_assert_lt(loss_of(&teacher, &w, "lowrank-joint-48"), 1e-4, "2 H d = 128, D = 48");
    cr_assert_gt(loss_of(&teacher, &w, "lowrank-separate-48"), 0.05);
    weights_free(&w);
}

Test(convert, whitening_and_pca_are_the_same_layer) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 9);
    const double pca = loss_of(&teacher, &w, "lowrank-separate-40");
    cr_assert_float_eq(loss_of(&teacher, &w, "lowrank-whitened-40"), pca, 1e-4);
    cr_assert_gt(loss_of(&teacher, &w, "lowrank-weights-40"), pca);
    weights_free(&w);
}

Test(convert, joint_loses_less_of_keys_and_values_than_separate_at_the_same_width) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 9);
    double k, v, joint_k, joint_v;
    key_value_errors(&teacher, &w, "lowrank-separate-40", &k, &v);
    key_value_errors(&teacher, &w, "lowrank-balanced-40-gamma1", &joint_k, &joint_v);
    cr_assert_lt(joint_k + joint_v, k + v, "balanced: both count alike");
    weights_free(&w);
}

Test(convert, the_eigenvalues_say_what_is_lost) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 9);
    double k, v;
    Conversion c = convert(&teacher, &w, "lowrank-balanced-40-gamma1");
    key_value_errors(&teacher, &w, "lowrank-balanced-40-gamma1", &k, &v);
    cr_assert_float_eq(c.loss, sqrt((k + v) / 2), 1e-5, "keys and values have one norm then");
    convert_free(&c);
    weights_free(&w);
}

/* |y^ - y|F / |y|F on the calibration text itself, on which a gamma is chosen. */
static double fitted_loss(const Model *teacher, const LayerWeights *weights,
                          const Conversion *conversion) {
    static float text[CALIBRATION * HIDDEN];
    Reference exact, other;
    Error err;
    random_text(2, CALIBRATION, text);
    cr_assert_eq(reference_run(&exact, teacher, weights, CALIBRATION, text, &err), OK);
    cr_assert_eq(
        reference_run(&other, &conversion->model, &conversion->weights, CALIBRATION, text, &err),
        OK);
    double difference = 0, size = 0;
    for (size_t i = 0; i < CALIBRATION * HIDDEN; i++) {
        difference += (other.y[i] - exact.y[i]) * (other.y[i] - exact.y[i]);
        size += exact.y[i] * exact.y[i];
    }
    reference_free(&exact);
    reference_free(&other);
    return sqrt(difference / size);
}

Test(convert, the_best_gamma_loses_least_of_those_tried) {
    static const char *const tried[] = { "0", "0.25", "0.5", "0.75", "1" };
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 9);
    for (size_t i = 0; i < teacher.kv_heads * DIM * HIDDEN; i++) w.k[i] *= 6;
    Conversion best = convert(&teacher, &w, "lowrank-balanced-24");
    const double least = fitted_loss(&teacher, &w, &best);
    double losses[5];
    for (size_t i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "lowrank-balanced-24-gamma%s", tried[i]);
        Conversion c = convert(&teacher, &w, name);
        losses[i] = fitted_loss(&teacher, &w, &c);
        cr_expect_leq(least, losses[i] * (1 + 1e-9), "gamma %s: %g", tried[i], losses[i]);
        if (strtod(tried[i], NULL) == best.recipe.gamma) cr_expect_eq(losses[i], least);
        convert_free(&c);
    }
    cr_expect_neq(losses[0], losses[4], "gamma matters here");
    cr_assert_float_eq(loss_of(&teacher, &w, "lowrank-balanced-40-gamma0"),
                       loss_of(&teacher, &w, "lowrank-joint-40"), 1e-6);
    convert_free(&best);
    weights_free(&w);
}

Test(convert, spectra_are_kept_from_rank_to_rank) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 9);
    Statistics statistics = calibrate(&teacher, &w);
    Spectra spectra = { .asked = 0 };
    const ConvertSource source = { .layer = &teacher,
                                   .weights = &w,
                                   .statistics = &statistics,
                                   .spectra = &spectra,
                                   .context = TOKENS,
                                   .seed = 1 };
    static const char *const names[] = { "lowrank-separate-20", "lowrank-separate-60",
                                         "lowrank-aware-20",    "lowrank-joint-20",
                                         "lowrank-weights-20",  "lowrank-separate-20" };
    double losses[6];
    for (size_t i = 0; i < 6; i++) {
        Recipe r;
        Conversion c;
        Error err;
        cr_assert_eq(recipe_parse(&r, names[i], &teacher, &err), OK);
        cr_assert_eq(convert_layer(&c, &r, &source, &err), OK);
        losses[i] = loss(&teacher, &w, &c);
        convert_free(&c);
        cr_assert_eq(losses[i], loss_of(&teacher, &w, names[i]), "as without: %s", names[i]);
    }
    cr_assert_eq(losses[0], losses[5]);
    spectra_free(&spectra);
    statistics_free(&statistics);
    weights_free(&w);
}

/* ---- MLA ---- */

/* Heads whose rotated parts agree up to a phase need one complex component a frequency: the shared
 * key then holds all of them, and a latent of full rank holds the values. */
static void check_exact_latent(bool interleaved) {
    const Model teacher = teacher_model(HEADS, interleaved);
    LayerWeights w = random_weights(&teacher, 6);
    turn_heads(&teacher, &w, true);
    cr_assert_lt(loss_of(&teacher, &w, "mla-64+16"), 1e-5, "V has rank 48 at most");
    cr_assert_gt(loss_of(&teacher, &w, "mla-64+16-real"), 0.05);
    weights_free(&w);
}

Test(convert, heads_equal_up_to_phases_become_mla_without_loss) {
    check_exact_latent(false);
}
Test(convert, so_do_interleaved_ones) {
    check_exact_latent(true);
}

Test(convert, one_key_head_becomes_mla_without_loss) {
    Model teacher = teacher_model(1, false);
    teacher.attention_bias = teacher.output_bias = true;
    LayerWeights w = random_weights(&teacher, 6);
    cr_assert_lt(loss_of(&teacher, &w, "mla-16+16"), 1e-5);
    cr_assert_lt(loss_of(&teacher, &w, "mla-16+16-real"), 1e-5);
    weights_free(&w);
}

Test(convert, a_head_rotated_in_part_becomes_mla_without_loss) {
    Model teacher = teacher_model(1, true);
    teacher.rope_dim = teacher.rope.dim = DIM / 2;
    LayerWeights w = random_weights(&teacher, 6);
    cr_assert_lt(loss_of(&teacher, &w, "mla-24+8"), 1e-5);
    weights_free(&w);
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
    Model teacher = teacher_model(HEADS, false);
    teacher.rope = *rope;
    LayerWeights w = random_weights(&teacher, 5);
    Conversion c = convert(&teacher, &w, "mla-32+8");
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
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    const double narrow = loss_of(&teacher, &w, "mla-8+8"),
                 wide = loss_of(&teacher, &w, "mla-32+8");
    cr_assert_lt(wide, narrow);
    cr_assert_gt(wide, 0.01, "random heads do not fit one shared key");
    weights_free(&w);
}

Test(convert, the_kept_norm_undoes_what_it_divides_by_on_average) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    Conversion c = convert(&teacher, &w, "mla-48+16-norm");
    cr_assert(c.weights.kv_a_norm);
    const double plain = loss_of(&teacher, &w, "mla-48+16");
    const double normed = loss(&teacher, &w, &c);
    cr_assert_gt(normed, plain);
    cr_assert_lt(normed, plain + 0.3, "%g over %g", normed, plain);
    convert_free(&c);
    weights_free(&w);
}

Test(convert, cached_rows_lead_back_to_the_teachers_keys_and_values) {
    const Model teacher = teacher_model(HEADS, true);
    LayerWeights w = random_weights(&teacher, 6);
    turn_heads(&teacher, &w, true);
    Error err;
    Conversion c = convert(&teacher, &w, "mla-64+16");
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
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) {
        cr_assert_float_eq(k[i], exact.k_pre[i], 1e-4);
        cr_assert_float_eq(v[i], exact.v[i], 1e-4);
    }
    reference_free(&exact);
    convert_free(&c);
    weights_free(&w);
}

/* ---- mistakes ---- */

Test(convert, too_little_text_for_a_rank_is_said) {
    const Model teacher = teacher_model(HEADS, false);
    LayerWeights w = random_weights(&teacher, 5);
    static float text[20 * HIDDEN];
    static const char *const wide[] = { "mla-32+8", "lowrank-joint-21", "lowrank-separate-42",
                                        "lowrank-whitened-42", "lowrank-filled-21" };
    Statistics few;
    Error err;
    random_text(2, 20, text);
    cr_assert_eq(statistics_new(&few, &teacher, 0, &err), OK);
    statistics_add(&few, &teacher, &w, 20, text);
    statistics_finish(&few);
    const ConvertSource source = {
        .layer = &teacher, .weights = &w, .statistics = &few, .context = TOKENS
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        Recipe r;
        Conversion c;
        cr_assert_eq(recipe_parse(&r, wide[i], &teacher, &err), OK);
        cr_assert_eq(convert_layer(&c, &r, &source, &err), ERR_INPUT, "%s", wide[i]);
        cr_assert(strstr(err.text, "calibration tokens, not 20"), "%s", err.text);
    }
    statistics_free(&few);
    weights_free(&w);
}

Test(convert, layers_that_no_map_of_keys_passes_through_are_refused) {
    Model teacher = teacher_model(HEADS, false);
    Statistics s;
    Error err;
    teacher.qk_norm = true;
    cr_assert_eq(statistics_new(&s, &teacher, 0, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "norms of key heads"), "%s", err.text);
}
