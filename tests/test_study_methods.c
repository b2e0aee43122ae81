/* test_study_methods.c -- a study of compression methods from its text to its figures. */
#include <math.h>

#include "configs.h"
#include "report.h"
#include "study_runs.h"

TestSuite(study_methods, .init = make_folder, .fini = remove_folder);

/* Llama-3.2-1B's layer divided by 8: D 256, MHA of 32 heads of 8, keys and values 256 wide each. */
static const char study[] =
    "model: Llama-3.2-1B\n"
    "phases: [bytes, decode, error]\n"
    "published: yes\n"
    "contenders: [mha, lowrank-joint-256, 'mha*int4-g32', 'mha@snapkv-1/16']\n"
    "bytes: { tokens: 128 }\n"
    "decode: { context: 128 }\n"
    "measure: { min_samples: 3, min_seconds: 0 }\n"
    "error: { shrink: 8, tokens: 128, queries: 32, calibration_tokens: 512, spectra: yes,\n"
    "  contenders: [mha, mqa, lowrank-joint-256, lowrank-joint-512, lowrank-separate-256,\n"
    "    'mha*int8-g8', 'mha@snapkv-1/16', 'mha@oracle-1/16'] }\n";

static double spectrum(const StoredPoint *p, const char *of, size_t rank) {
    char name[48];
    snprintf(name, sizeof name, "spectrum_%s_%zu", of, rank);
    return value(p, name);
}

Test(study_methods, spectra_fall_and_say_what_a_rank_loses) {
    StoredRun run = run_and_read(study, "run");
    static const char *const of[] = { "key", "key_rotated", "value", "both" };
    const StoredPoint *teacher = find(&run, "error", "mha", "materialised");
    for (size_t i = 0; i < 4; i++) {
        cr_assert_lt(spectrum(teacher, of[i], 1), 1);
        for (size_t rank = 1; rank < 128; rank *= 2)
            cr_assert_lt(spectrum(teacher, of[i], 2 * rank), spectrum(teacher, of[i], rank));
    }
    /* joint PCA to 256 / 8 and 512 / 8 loses the tail of [K | V] */
    const StoredPoint *joint = find(&run, "error", "lowrank-joint-256", "expanded");
    cr_assert_float_eq(value(joint, "fitted_loss"), sqrt(spectrum(teacher, "both", 32)), 1e-9);
    joint = find(&run, "error", "lowrank-joint-512", "expanded");
    cr_assert_float_eq(value(joint, "fitted_loss"), sqrt(spectrum(teacher, "both", 64)), 1e-9);
    /* RoPE turns keys within their pairs: as much energy, on more directions */
    cr_assert_gt(value(teacher, "key_rotated_ninety"), value(teacher, "key_ninety"));
    cr_assert_eq(value(teacher, "key_width"), 256);
    cr_assert_eq(value(teacher, "both_width"), 512);
    cr_assert_null(store_metric(joint, "spectrum_key_1"), "the teacher's point alone has them");
    store_run_free(&run);
}

Test(study_methods, what_is_read_is_told_apart_from_what_is_stored) {
    StoredRun run = run_and_read(study, "run");
    const StoredPoint *oracle = find(&run, "error", "mha@oracle-1/16", "materialised");
    cr_assert_eq(value(oracle, "ratio_to_mha"), 1);
    cr_assert_eq(value(oracle, "read_ratio_to_mha"), 16);
    const StoredPoint *mha = find(&run, "error", "mha", "materialised");
    cr_assert_eq(value(mha, "read_ratio_to_mha"), 1);
    store_run_free(&run);
}

static void expect_file(const char *name, const char *wanted) {
    static char text[1 << 16];
    char path[128];
    snprintf(path, sizeof path, "%s/run/plots/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cr_assert(strstr(text, wanted), "%s lacks %s:\n%s", name, wanted, text);
}

Test(study_methods, a_run_has_its_figures) {
    static const char *const figures[] = { "pareto",  "sixteen", "threeway",
                                           "spectra", "rank",    "published" };
    StoredRun run = run_and_read(study, "run");
    cr_assert_neq(store_fact(&run, "published.0")[0], '\0');
    for (size_t i = 0; i < run.point_count; i++)
        if (run.points[i].point.status == POINT_FAILED)
            cr_assert_fail("%s: %s", run.points[i].point.key, run.points[i].point.message);
    store_run_free(&run);
    char path[128];
    ReportSummary summary = { 0 };
    Error err;
    snprintf(path, sizeof path, "%s/run", folder);
    cr_assert_eq(report_write(path, &summary, &err), OK, "%s", err.text);
    cr_assert_str_eq(summary.note, "");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.svg", figures[i]);
        expect_file(name, "</svg>");
    }
    expect_file("pareto.tsv", "joint-512");
    expect_file("pareto.tsv", "MHA oracle-1/16\t16\t");
    expect_file("rank.tsv", "1\tjoint\t32\t");
    expect_file("threeway.tsv", "MHA snapkv-1/16\t");
    expect_file("published.tsv", "fxmeng/TransMLA");
}

Test(study_methods, spectra_without_the_teacher_are_refused_with_their_place) {
    static const char text[] = "model: Llama-3.2-1B\nphases: [error]\n"
                               "error: { shrink: 8, spectra: yes, contenders: [mqa] }\n";
    StudySummary summary;
    Error err;
    cr_assert_eq(run(text, "none", (StudyOptions){ 0 }, &summary, &err), ERR_INPUT);
    cr_assert_str_eq(err.text, "study.yaml:3:30: error.spectra: spectra are stored with the "
                               "teacher: mha or model must be among error.contenders");
}

/* A sweep of plans is another kind of file (test_sweep.c). */
Test(study_methods, the_studies_that_ship_are_right) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const size_t count = configs_names("studies", ".yaml", names);
    cr_assert_gt(count, 8);
    for (size_t i = 0; i < count; i++) {
        char path[512];
        ConfigFile *config = NULL;
        Model model;
        Error err;
        if (strcmp(names[i], "plan_sweep") == 0) continue;
        cr_assert_eq(configs_find("studies", names[i], ".yaml", path, sizeof path, &err), OK);
        cr_assert_eq(config_read(&config, path, 0, NULL, &err), OK, "%s", err.text);
        cr_assert_eq(study_check(config, &model, &err), OK, "%s: %s", names[i], err.text);
        config_free(config);
    }
}

/* Against the count of the held cache: a point whose bytes differ fails. */
Test(study_methods, evictions_keep_rows_of_the_type_of_the_study) {
    static const char text[] =
        "model: Llama-3.2-1B\nphases: [bytes, error]\ncontenders: [mha, 'mha@streaming-1/4',"
        " 'mha@h2o-1/4', 'mha@snapkv-1/4', 'mha@oracle-1/4', 'mla-448+64@streaming-1/4']\n"
        "bytes: { tokens: 100 }\ncache: { type: [f32, bf16, int8, fp8] }\n"
        "error: { shrink: 2, tokens: 100, queries: 8, calibration_tokens: 256, type: [f32, int8],"
        " contenders: [mha, 'mha@streaming-1/4', 'mha@h2o-1/4', 'mha@snapkv-1/4',"
        " 'mha@oracle-1/4'] }\n";
    StudySummary summary;
    Error err;
    cr_assert_eq(run(text, "types", (StudyOptions){ 0 }, &summary, &err), OK, "%s", err.text);
    cr_expect_eq(summary.failed, 0);
    cr_expect_eq(summary.done, 34);
    StoredRun stored = read_run("types");
    for (size_t i = 0; i < stored.point_count; i++) {
        const StoredPoint *p = &stored.points[i];
        cr_expect(p->point.message[0] == '\0', "%s: %s", p->point.key, p->point.message);
        if (strcmp(p->point.phase, "bytes") || strcmp(p->point.contender, "mha@snapkv-1/4"))
            continue;
        const char *type = p->point.kv_dtype;
        const size_t row = strcmp(type, "f32") == 0 ? 256 : strcmp(type, "bf16") == 0 ? 128 : 0;
        if (row) /* 32 heads keep 25 tokens, a key, a value and a position each */
            cr_expect_eq(value(p, "cache_bytes_per_token_layer"),
                         32.0 * 25 * (2 * (double)row + 4) / 100);
    }
    store_run_free(&stored);
}
