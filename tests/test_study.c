/* The pipeline from a study's text to stored points. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "study_runs.h"

TestSuite(study, .init = make_folder, .fini = remove_folder);

Test(study, held_bytes_are_those_of_the_published_models) {
    static const struct {
        const char *model, *path;
        double bytes_per_token, layers;
    } models[] = { { "DeepSeek-V3", "absorbed", 70272, 61 },
                   { "Llama-3.1-405B", "materialised", 516096, 126 },
                   { "Qwen2.5-72B", "materialised", 327680, 80 },
                   { "MiniCPM3-4B", "absorbed", 35712, 62 } };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "model: %s\nbytes: { tokens: 100 }\ncache: { block_tokens: 16 }\n",
                 models[i].model);
        StoredRun stored = run_and_read(text, models[i].model);
        const StoredPoint *p = find(&stored, "bytes", "model", models[i].path);
        cr_assert_eq(value(p, "cache_bytes_per_token"), models[i].bytes_per_token);
        cr_assert_eq(value(p, "held_bytes_per_token_layer") * models[i].layers,
                     models[i].bytes_per_token);
        cr_assert_eq(value(p, "payload_bytes"), 100 * value(p, "cache_bytes_per_token_layer"));
        cr_assert_eq(value(p, "block_waste_bytes"), 12 * value(p, "cache_bytes_per_token_layer"));
        cr_assert_eq(value(p, "table_bytes"), 7 * 4);
        cr_assert_geq(value(p, "resident_bytes"), value(p, "payload_bytes"));
        store_run_free(&stored);
    }
}

static const char small_errors[] = "model: Llama-3.2-1B\nphases: [error]\n"
                                   "error: { shrink: 8, tokens: 64, calibration_tokens: 128,"
                                   " contenders: [mha, gqa-8, mla-512+64], type: f32 }\n";

Test(study, the_teacher_itself_loses_only_rounding_and_contenders_more) {
    StoredRun stored = run_and_read(small_errors, "errors");
    const double mha = value(find(&stored, "error", "mha", "materialised"), "y_rel");
    const double gqa = value(find(&stored, "error", "gqa-8", "materialised"), "y_rel");
    const double mla = value(find(&stored, "error", "mla-512+64", "absorbed"), "y_rel");
    cr_assert_lt(mha, 5e-6);
    cr_assert_gt(gqa, 0.1);
    cr_assert_gt(mla, 0.001);
    cr_assert_lt(mla, gqa, "joint PCA must beat mean-pooling of nearly orthogonal heads");
    const StoredPoint *point = find(&stored, "error", "mla-512+64", "absorbed");
    cr_assert(strstr(point->point.layer, "true size / 8"), "%s", point->point.layer);
    store_run_free(&stored);
}

Test(study, the_same_seed_gives_the_same_errors_at_any_number_of_threads) {
    char one[512], two[512], other[512];
    snprintf(one, sizeof one, "%sthreads: 1\n", small_errors);
    snprintf(two, sizeof two, "%sthreads: 2\n", small_errors);
    snprintf(other, sizeof other, "%sthreads: 1\nseed: 2\n", small_errors);
    StoredRun a = run_and_read(one, "a"), b = run_and_read(one, "b"), c = run_and_read(two, "c"),
              d = run_and_read(other, "d");
    for (size_t i = 0; i < a.point_count; i++)
        for (size_t m = 0; m < a.points[i].metric_count; m++) {
            const double x = a.points[i].metrics[m].value;
            cr_assert_eq(x, b.points[i].metrics[m].value, "equal threads, equal bits");
            /* sums in another order move an output of up to 4 by its last bit */
            cr_assert_leq(fabs(x - c.points[i].metrics[m].value), 1e-5 * fabs(x) + 2 * FLT_EPSILON);
        }
    const double x = value(find(&a, "error", "gqa-8", "materialised"), "y_rel");
    const double y = value(find(&d, "error", "gqa-8", "materialised"), "y_rel");
    cr_assert_neq(x, y, "another seed, another text");
    store_run_free(&a);
    store_run_free(&b);
    store_run_free(&c);
    store_run_free(&d);
}

Test(study, draws_pool_what_runs_of_their_seeds_give_and_tell_the_least_and_the_most) {
    double difference = 0, size = 0, least = INFINITY, most = 0;
    char text[600];
    for (int seed = 1; seed <= 3; seed++) {
        char name[32];
        snprintf(text, sizeof text, "%sseed: %d\n", small_errors, seed);
        snprintf(name, sizeof name, "s%d", seed);
        StoredRun one = run_and_read(text, name);
        const StoredPoint *p = find(&one, "error", "gqa-8", "materialised");
        const double own = value(p, "y_rel");
        difference += value(p, "y_rel_difference");
        size += value(p, "y_rel_size");
        least = fmin(least, own);
        most = fmax(most, own);
        store_run_free(&one);
    }
    snprintf(text, sizeof text, "%s", small_errors);
    strcpy(strstr(text, "type: f32 }"), "type: f32, draws: 3 }\n");
    StoredRun all = run_and_read(text, "all");
    const Metric *y = store_metric(find(&all, "error", "gqa-8", "materialised"), "y_rel");
    cr_assert_float_eq(y->value, sqrt(difference / size), 1e-12);
    cr_assert_float_eq(y->low, least, 1e-12);
    cr_assert_float_eq(y->high, most, 1e-12);
    cr_assert_lt(least, most);
    store_run_free(&all);
}

static const char small_latency[] =
    "model: Llama-3.2-1B\nphases: [decode, prefill, projections]\ncontenders: [mha, mla-64+32]\n"
    "decode: { context: [128, 256], path: [absorbed, expanded, materialised] }\n"
    "prefill: { tokens: 32 }\nprojections: { tokens: 2 }\nmeasure: { min_seconds: 0.01 }\n";

Test(study, every_timed_point_has_its_samples_and_its_roof) {
    StoredRun stored = run_and_read(small_latency, "latency");
    size_t decode = 0;
    for (size_t i = 0; i < stored.point_count; i++) {
        const StoredPoint *p = &stored.points[i];
        cr_assert_eq(p->point.status, POINT_DONE, "%s", p->point.message);
        decode += strcmp(p->point.phase, "decode") == 0;
        const bool projections = strcmp(p->point.phase, "projections") == 0;
        const Metric *ns = store_metric(p, projections ? "projection_ns" : "attention_ns");
        cr_assert_not_null(ns);
        cr_assert_geq(ns->sample_count, 10);
        cr_assert(ns->low > 0 && ns->low <= ns->value && ns->value <= ns->high);
        cr_assert_eq(ns->kind, KIND_MEASURED);
        cr_assert_float_eq(value(p, "roofline_fraction"), value(p, "roofline_ns") / ns->value,
                           1e-12);
    }
    cr_assert_eq(decode, 8, "MHA has one path, MLA three, at two contexts; not %zu", decode);
    cr_assert_gt(atof(store_fact(&stored, "fma_f32_gflops")), 0);
    store_run_free(&stored);
}

Test(study, what_does_not_fit_is_refused_or_left_out_with_its_bytes) {
    static const char big[] = "model: Llama-2-7b-hf\nphases: [decode]\ncontenders: [mha, mqa]\n"
                              "measure: { min_seconds: 0.01 }\ndecode:\n  context: [64, 16M]\n";
    StudySummary summary;
    Error err;
    cr_assert_eq(run(big, "refused", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "study.yaml:6:"), "%s", err.text);
    cr_assert(strstr(err.text, "limits.memory"), "%s", err.text);
    char path[128], text[512];
    snprintf(path, sizeof path, "%s/refused", folder);
    struct stat there;
    cr_assert_neq(stat(path, &there), 0, "nothing is written for a refused study");

    snprintf(text, sizeof text, "%slimits: { memory: 1GiB }\n", big);
    StoredRun stored = run_and_read(text, "left");
    size_t left_out = 0;
    for (size_t i = 0; i < stored.point_count; i++)
        if (stored.points[i].point.status == POINT_LEFT_OUT) {
            left_out++;
            cr_assert(strstr(stored.points[i].point.message, "would need"));
        }
    cr_assert_eq(left_out, 2);
    cr_assert_eq(stored.point_count, 4);
    store_run_free(&stored);
}

Test(study, a_cache_that_cannot_be_held_is_refused_or_left_out) {
    static const char big[] = "model: Llama-2-7b-hf\ncontenders: [mha, mqa]\n"
                              "bytes: { tokens: 16M }\n";
    StudySummary summary;
    Error err;
    char text[256];
    cr_assert_eq(run(big, "refused", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_assert(
        strstr(err.text, "study.yaml:3:18: bytes.tokens: 16777216 tokens of MHA need 256 GiB"),
        "%s", err.text);

    snprintf(text, sizeof text, "%slimits: { memory: 1MiB }\n", big);
    StoredRun stored = run_and_read(text, "left");
    cr_assert_eq(stored.point_count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(stored.points[i].point.status, POINT_LEFT_OUT);
        cr_assert(strstr(stored.points[i].point.message, "GiB of memory"));
    }
    store_run_free(&stored);
}

static void kill_after_two(void *context, const Progress *progress, const char *line,
                           bool important) {
    (void)context;
    (void)line;
    (void)important;
    if (progress->finished >= 2) raise(SIGKILL);
}

Test(study, a_killed_run_resumes_to_what_an_undisturbed_one_gives) {
    static const char text[] = "model: DeepSeek-V3\ncontenders: [mha, gqa-8, mqa, mla-512+64]\n"
                               "bytes: { tokens: 20 }\n";
    StudySummary summary;
    StoredRun before;
    size_t stored = 0;
    char path[128];
    Error err;
    snprintf(path, sizeof path, "%s/killed", folder);
    fflush(NULL);
    const pid_t child = fork(); /* before this process has threads of its own */
    cr_assert_geq(child, 0);
    if (child == 0) {
        run(text, "killed", (StudyOptions){ .progress = kill_after_two }, &summary, &err);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(store_read_facts(&before, path, &stored, &err), OK, "%s", err.text);
    store_run_free(&before);
    cr_assert_geq(stored, 2, "what was told of as finished is stored");
    cr_assert_eq(run(text, "killed", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "resume"), "%s", err.text);
    cr_assert_eq(run(text, "killed", (StudyOptions){ .resume = true }, &summary, &err), OK, "%s",
                 err.text);
    cr_assert_eq(summary.done, 4 - stored);
    StoredRun whole = run_and_read(text, "whole");
    StoredRun resumed;
    cr_assert_eq(store_read(&resumed, path, &err), OK);
    cr_assert_eq(resumed.point_count, whole.point_count);
    for (size_t i = 0; i < whole.point_count; i++) {
        cr_assert_str_eq(resumed.points[i].point.key, whole.points[i].point.key);
        cr_assert_eq(value(&resumed.points[i], "payload_bytes"),
                     value(&whole.points[i], "payload_bytes"));
    }
    store_run_free(&whole);
    store_run_free(&resumed);
}

Test(study, another_study_does_not_resume_in_the_same_folder) {
    StudySummary summary;
    Error err;
    cr_assert_eq(
        run("model: DeepSeek-V3\nbytes: { tokens: 8 }\n", "x", (StudyOptions){ 0 }, &summary, &err),
        OK);
    cr_assert_eq(run("model: DeepSeek-V3\nbytes: { tokens: 9 }\n", "x",
                     (StudyOptions){ .resume = true }, &summary, &err),
                 ERR_INPUT);
    cr_assert(strstr(err.text, "bytes.tokens"), "%s", err.text);
}

Test(study, contenders_the_model_cannot_have_are_refused_before_anything_is_written) {
    StudySummary summary;
    Error err;
    cr_assert_eq(run("model: Llama-2-7b-hf\ncontenders: [gqa-3]\n", "y", (StudyOptions){ 0 },
                     &summary, &err),
                 ERR_INPUT);
    cr_assert(strstr(err.text, "gqa-3"), "%s", err.text);
}

Test(study, tensors_that_are_missing_or_drawn_again_are_refused_before_anything_is_written) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "model: Llama-3.2-1B\nphases: [error]\ntensors:\n  weights: /nowhere/w.safetensors\n"
          "  hidden_states: /nowhere/h.npy\n",
          "study.yaml:4:12: tensors.weights: /nowhere/w.safetensors: " },
        { "model: Llama-3.2-1B\nphases: [error]\nerror: { draws: 2 }\ntensors: { keys: k.npy, "
          "values: v.npy }\n",
          "study.yaml:3:17: error.draws: 2: tensors are given, nothing is drawn; allowed: 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StudySummary summary;
        Error err;
        char path[128];
        cr_assert_eq(run(cases[i].text, "none", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
        cr_assert_eq(strncmp(err.text, cases[i].message, strlen(cases[i].message)), 0, "%s",
                     err.text);
        snprintf(path, sizeof path, "%s/none", folder);
        cr_assert_neq(access(path, F_OK), 0, "nothing is written");
    }
}
