/* Errors of conversions of real tensors are those of tokens that nothing was fitted to. */
#include <unistd.h>

#include "conversions.h"
#include "hf_config.h"
#include "safetensors.h"
#include "study_runs.h"

enum { HALF = 24, ALL = 2 * HALF };

static Tensor tensor(const char *name, const float *data, size_t rows, size_t columns) {
    return (Tensor){ .name = name,
                     .type = TENSOR_F32,
                     .elements = rows * columns,
                     .rank = 2,
                     .shape = { rows, columns },
                     .data = data };
}

static void write_file(const char *name, size_t count, const Tensor *tensors) {
    char path[128];
    Error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(safetensors_write(path, count, tensors, 0, NULL, &err), OK, "%s", err.text);
}

static void write_config(const Model *m) {
    char path[128];
    Json *json;
    Error err;
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(hf_config_write(m, &json, &err), OK, "%s", err.text);
    cr_assert_eq(json_write(json, file, &err), OK, "%s", err.text);
    cr_assert_eq(fclose(file), 0);
    json_free(json);
}

/* A model of one layer, its inputs of 48 tokens, and each half of them by itself. */
static void setup(void) {
    const Model m = teacher_model(2, false);
    LayerWeights w = random_weights(&m, 5);
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    Tensor tensors[WEIGHT_SHAPES_MOST];
    char names[WEIGHT_SHAPES_MOST][64];
    float x[ALL * HIDDEN];
    make_folder();
    write_config(&m);
    const size_t count = weights_shapes(&m, shapes);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "self_attn.%s", shapes[i].name);
        tensors[i] = tensor(names[i], *weights_at(&w, &shapes[i]), shapes[i].rows, shapes[i].cols);
    }
    write_file("model.safetensors", count, tensors);
    random_text(1, ALL, x);
    const Tensor all = tensor("hidden_states", x, ALL, HIDDEN);
    const Tensor first = tensor("hidden_states", x, HALF, HIDDEN);
    const Tensor last = tensor("hidden_states", x + HALF * HIDDEN, HALF, HIDDEN);
    write_file("all.safetensors", 1, &all);
    write_file("first.safetensors", 1, &first);
    write_file("last.safetensors", 1, &last);
    for (size_t i = 0; i < ALL * HIDDEN; i++) x[i] *= 1e7f;
    write_file("great.safetensors", 1, &all);
    weights_free(&w);
}

TestSuite(split, .init = setup, .fini = remove_folder);

/* A latent of `rank` values over inputs, fitted to another file where one is named. */
static void study_text(char *text, size_t size, size_t rank, const char *inputs,
                       const char *calibration) {
    snprintf(
        text, size,
        "model: %s\nphases: [error]\n"
        "tensors: { weights: %s/model.safetensors, hidden_states: %s/%s.safetensors%s%s%s%s }\n"
        "error: { tokens: %d, calibration_tokens: %d, type: f32,"
        " contenders: lowrank-joint-%zu }\n",
        folder, folder, folder, inputs, calibration ? ", calibration: " : "",
        calibration ? folder : "", calibration ? "/" : "", calibration ? calibration : "", HALF,
        HALF, rank);
}

static double error_of(const char *name, size_t rank, const char *inputs, const char *calibration) {
    char text[1024];
    study_text(text, sizeof text, rank, inputs, calibration);
    StoredRun stored = run_and_read(text, name);
    const double error = value(&stored.points[0], "v_rel");
    store_run_free(&stored);
    return error;
}

/* A latent of as many values as tokens were fitted to holds those tokens whole, and no others. */
Test(split, the_tokens_that_a_basis_was_fitted_to_are_not_scored) {
    const double seen = error_of("seen", HALF, "first", "first.safetensors");
    const double apart = error_of("apart", HALF, "last", "first.safetensors");
    const double split = error_of("split", HALF, "all", NULL);
    cr_expect_lt(seen, 1e-5);
    cr_expect_gt(split, 0.1);
    cr_expect_float_eq(split, apart, 1e-9, "the second half is what is scored: %g, %g", split,
                       apart);
}

Test(split, a_rank_above_the_calibration_tokens_is_refused_before_anything_runs) {
    char text[1024], path[128];
    StudySummary summary;
    Error err;
    study_text(text, sizeof text, HALF + 1, "all", NULL);
    cr_expect_eq(run(text, "few", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_expect(strstr(err.text, "study.yaml:4:69: error.contenders: lowrank-joint-25: a rank of 25 "
                               "needs at least as many calibration tokens, not 24"),
              "%s", err.text);
    snprintf(path, sizeof path, "%s/few", folder);
    cr_expect_neq(access(path, F_OK), 0, "nothing is written");
}

Test(split, tensors_that_make_no_layer_are_refused_before_anything_runs) {
    char text[512];
    StudySummary summary;
    Error err;
    snprintf(text, sizeof text,
             "model: %s\nphases: [error]\ntensors: { weights: %s/model.safetensors }\n"
             "error: { tokens: 8, contenders: model }\n",
             folder, folder);
    cr_expect_eq(run(text, "half", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_expect(strstr(err.text, "tensors.hidden_states is missing"), "%s", err.text);
}

/* How many tokens a file holds is seen when it is read. */
Test(split, a_point_that_fails_is_stored_and_the_rest_goes_on) {
    char text[1024];
    StudySummary summary;
    Error err;
    snprintf(text, sizeof text,
             "model: %s\nphases: [error]\ntensors: { weights: %s/model.safetensors,"
             " hidden_states: %s/all.safetensors, calibration: %s/first.safetensors }\n"
             "error: { tokens: %d, calibration_tokens: %d, type: f32,"
             " contenders: [lowrank-joint-%d, model] }\n",
             folder, folder, folder, folder, HALF, ALL, HALF + 1);
    cr_assert_eq(run(text, "fails", (StudyOptions){ 0 }, &summary, &err), OK, "%s", err.text);
    cr_expect_eq(summary.failed, 1);
    cr_expect_eq(summary.done, 1);
    StoredRun stored = read_run("fails");
    cr_assert_eq(stored.point_count, 2);
    cr_expect(strstr(stored.points[0].point.message, "at least as many calibration tokens, not 24"),
              "%s", stored.points[0].point.message);
    store_run_free(&stored);
}

/* Steps of integers and norms are f16: what is beyond is no number, and no result. */
Test(split, what_a_codec_cannot_store_is_a_failed_point) {
    char text[1024];
    StudySummary summary;
    Error err;
    snprintf(text, sizeof text,
             "model: %s\nphases: [error]\ntensors: { weights: %s/model.safetensors,"
             " hidden_states: %s/great.safetensors }\nerror: { tokens: %d,"
             " calibration_tokens: %d, type: f32, contenders: [model, 'model*int4-token'] }\n",
             folder, folder, folder, HALF, HALF);
    cr_assert_eq(run(text, "great", (StudyOptions){ 0 }, &summary, &err), OK, "%s", err.text);
    StoredRun stored = read_run("great");
    cr_assert_eq(stored.point_count, 2);
    cr_expect_eq(stored.points[0].point.status, POINT_DONE);
    cr_expect(strstr(stored.points[1].point.message, "model*int4-token: rows do not come back"),
              "%s", stored.points[1].point.message);
    store_run_free(&stored);
}

Test(split, inputs_too_short_for_both_are_refused) {
    char text[1024];
    StudySummary summary;
    Error err;
    study_text(text, sizeof text, 4, "last", NULL);
    run(text, "short", (StudyOptions){ 0 }, &summary, &err);
    StoredRun stored = read_run("short");
    cr_expect(strstr(stored.points[0].point.message, "24 to calibrate on and 24 to score"), "%s",
              stored.points[0].point.message);
    store_run_free(&stored);
}
