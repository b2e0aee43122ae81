/* test_jobs.c -- the same study by one worker, by several, in shards, with workers killed: the same
 * store. */
#include <signal.h>
#include <unistd.h>

#include "buffer.h"
#include "store_merge.h"
#include "store_read.h"
#include "study_runs.h"

TestSuite(jobs, .init = make_folder, .fini = remove_folder);

static const char mixed[] =
    "model: Llama-3.2-1B\nphases: [bytes, decode, error]\nthreads: 1\n"
    "contenders: [mha, gqa-8, mqa, mla-64+32]\ncache: { block_tokens: [16, 64] }\n"
    "decode: { context: [64, 128] }\nmeasure: { min_seconds: 0, min_samples: 3 }\n"
    "error: { shrink: 8, tokens: [16, 32], calibration_tokens: 64, contenders: [mha, gqa-8],"
    " type: [bf16, f32] }\n";

static StudySummary run_named(const char *name, StudyOptions options) {
    StudySummary summary;
    Error err;
    cr_assert_eq(run(mixed, name, options, &summary, &err), OK, "%s", err.text);
    return summary;
}

Test(jobs, any_number_of_workers_gives_the_same_store_in_the_same_order) {
    static const size_t jobs[] = { 2, 5 };
    run_named("one", (StudyOptions){ .jobs = 1 });
    const StoredRun one = read_run("one");
    for (size_t i = 0; i < 2; i++) {
        const char *name = i ? "five" : "two";
        run_named(name, (StudyOptions){ .jobs = jobs[i] });
        StoredRun many = read_run(name);
        expect_equal_runs(&one, &many);
        store_run_free(&many);
    }
    StoredRun whole = one;
    store_run_free(&whole);
}

Test(jobs, shards_merge_into_the_store_of_one_run) {
    char paths[3][128];
    const char *folders[3];
    run_named("one", (StudyOptions){ 0 });
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "part%zu", i);
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, name);
        folders[i] = paths[i];
        run_named(name, (StudyOptions){ .shard = i, .shards = 3 });
    }
    const char *const order[] = { folders[2], folders[0], folders[1] };
    char merged[128];
    MergeSummary summary;
    Error err;
    snprintf(merged, sizeof merged, "%s/merged", folder);
    cr_assert_eq(store_merge(merged, 3, order, &summary, &err), OK, "%s", err.text);
    StoredRun one = read_run("one"), whole = read_run("merged");
    expect_equal_runs(&one, &whole);
    cr_assert_eq(summary.points, one.point_count);
    for (size_t i = 0; i < whole.point_count; i++)
        for (size_t m = 0; m < whole.points[i].metric_count; m++)
            cr_assert_eq(whole.points[i].metrics[m].sample_count > 0,
                         one.points[i].metrics[m].sample_count > 0, "samples come along");
    cr_assert_eq(store_merge(merged, 3, order, &summary, &err), ERR_INPUT,
                 "a run is there already");
    store_run_free(&one);
    store_run_free(&whole);
}

static void expect_refused(size_t count, const char *const *names, const char *message) {
    char out[128], paths[4][128];
    const char *folders[4];
    MergeSummary summary;
    Error err = { 0 };
    for (size_t i = 0; i < count; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
        folders[i] = paths[i];
    }
    snprintf(out, sizeof out, "%s/out", folder);
    cr_assert_eq(store_merge(out, count, folders, &summary, &err), ERR_INPUT, "%s", message);
    cr_assert(strstr(err.text, message), "%s", err.text);
    snprintf(out, sizeof out, "%s/out/results.sqlite", folder);
    cr_assert_neq(access(out, F_OK), 0, "nothing is written");
}

/* Changes a fact of a stored run. */
static void set_fact(const char *name, const char *fact, const char *value) {
    char path[128], *study = NULL;
    Store *store = NULL;
    Error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(store_read_study(path, &study, &err), OK, "%s", err.text);
    cr_assert_eq(store_open(&store, path, study, true, &err), OK, "%s", err.text);
    cr_assert_eq(store_set(store, fact, value, &err), OK, "%s", err.text);
    store_close(store);
    buffer_free(study);
}

Test(jobs, what_does_not_belong_together_is_not_merged) {
    static const char a[] = "model: Llama-3.2-1B\nbytes: { tokens: [8, 9, 10] }\n";
    static const char b[] = "model: Llama-3.2-1B\nbytes: { tokens: [8, 9, 10] }\nseed: 2\n";
    StudySummary summary;
    Error err;
    cr_assert_eq(run(a, "a1", (StudyOptions){ .shards = 2 }, &summary, &err), OK);
    cr_assert_eq(run(a, "a2", (StudyOptions){ .shard = 1, .shards = 2 }, &summary, &err), OK);
    cr_assert_eq(run(b, "b2", (StudyOptions){ .shard = 1, .shards = 2 }, &summary, &err), OK);
    cr_assert_eq(run(a, "c3", (StudyOptions){ .shard = 2, .shards = 3 }, &summary, &err), OK);
    expect_refused(2, (const char *[]){ "a1", "b2" }, "stored \"seed: 1\", now \"seed: 2\"");
    expect_refused(2, (const char *[]){ "a1", "c3" }, "shard 3/3");
    expect_refused(2, (const char *[]){ "a1", "a1" }, "both shard 1/2");
    expect_refused(1, (const char *[]){ "a2" }, "shard 1/2 is missing");
    expect_refused(2, (const char *[]){ "a1", "nowhere" }, "no run here");
    set_fact("a1", "finished", "no");
    expect_refused(2, (const char *[]){ "a1", "a2" }, "--resume");
    set_fact("a1", "finished", "yes");
    set_fact("a2", "version", "9.9");
    expect_refused(2, (const char *[]){ "a1", "a2" }, "\"9.9\"");
}

Test(jobs, what_was_begun_otherwise_is_not_gone_on_with) {
    static const char a[] = "model: Llama-3.2-1B\nbytes: { tokens: [8, 9, 10] }\n";
    static const struct {
        const char *name;
        size_t shard, shards;
        const char *why;
    } cases[] = { { "half", 1, 2, "it holds shard 1/2 and shard 2/2 is asked for" },
                  { "half", 0, 0, "it holds shard 1/2 and the whole study is asked for" },
                  { "whole", 0, 2, "it holds the whole study and shard 1/2 is asked for" } };
    StudySummary summary;
    Error err;
    cr_assert_eq(run(a, "half", (StudyOptions){ .shards = 2 }, &summary, &err), OK);
    cr_assert_eq(run(a, "whole", (StudyOptions){ 0 }, &summary, &err), OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const StudyOptions again = { .shard = cases[i].shard,
                                     .shards = cases[i].shards,
                                     .resume = true };
        cr_expect_eq(run(a, cases[i].name, again, &summary, &err), ERR_INPUT);
        cr_expect(strstr(err.text, cases[i].why), "%s", err.text);
    }
    set_fact("whole", "version", "9.9");
    cr_expect_eq(run(a, "whole", (StudyOptions){ .resume = true }, &summary, &err), ERR_INPUT);
    cr_expect(strstr(err.text, "begun by version 9.9"), "%s", err.text);
}

/* Kills every child of this process. */
static int kill_children(void) {
    char path[64], line[256];
    int killed = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const size_t got = fread(line, 1, sizeof line - 1, file);
    line[got] = '\0';
    fclose(file);
    for (char *at = line, *end; *at; at = end) {
        const long pid = strtol(at, &end, 10);
        if (end == at) break;
        if (kill((pid_t)pid, SIGKILL) == 0) killed++;
    }
    return killed;
}

typedef struct {
    int lines, killed;
} Murder;

/* Every third line the workers die. */
static void kill_now_and_then(void *context, const Progress *progress, const char *line,
                              bool important) {
    Murder *murder = context;
    (void)progress;
    (void)important;
    if (line && ++murder->lines % 3 == 0 && murder->lines < 9) murder->killed += kill_children();
}

Test(jobs, points_of_a_killed_worker_are_run_again_and_none_is_lost) {
    Murder murder = { 0 };
    run_named("one", (StudyOptions){ 0 });
    const StudySummary summary = run_named(
        "killed", (StudyOptions){ .jobs = 2, .progress = kill_now_and_then, .context = &murder });
    if (!murder.killed) cr_skip_test("no list of children here");
    cr_assert_geq(summary.lost, 2);
    cr_assert_eq(summary.failed, 0);
    StoredRun one = read_run("one"), killed = read_run("killed");
    expect_equal_runs(&one, &killed);
    store_run_free(&one);
    store_run_free(&killed);
}

/* The worker dies of each point that it begins. */
static void kill_always(void *context, const Progress *progress, const char *line, bool important) {
    (void)progress;
    (void)important;
    if (!line || strstr(line, "failed")) *(int *)context += kill_children();
}

Test(jobs, a_point_that_kills_its_workers_is_stored_as_failed) {
    int killed = 0;
    StudySummary summary;
    Error err;
    static const char text[] = "model: Llama-2-7b-hf\nphases: [error]\nthreads: 1\n"
                               "error: { tokens: 512, contenders: [mha] }\n";
    cr_assert_eq(run(text, "dies", (StudyOptions){ .progress = kill_always, .context = &killed },
                     &summary, &err),
                 OK, "%s", err.text);
    if (!killed) cr_skip_test("no list of children here");
    cr_assert_eq(summary.failed, 1);
    cr_assert_eq(summary.lost, 3);
    StoredRun stored = read_run("dies");
    cr_assert_eq(stored.points[0].point.status, POINT_FAILED);
    cr_assert(strstr(stored.points[0].point.message, "signal 9"), "%s",
              stored.points[0].point.message);
    store_run_free(&stored);
}

Test(jobs, threads_and_jobs_do_not_multiply) {
    StudySummary summary;
    Error err;
    static const char text[] = "model: Llama-3.2-1B\nthreads: 1000\n";
    cr_assert_eq(run(text, "x", (StudyOptions){ .jobs = 2 }, &summary, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "2 points of 1000 threads"), "%s", err.text);
}

Test(jobs, a_study_says_what_it_takes_before_it_runs) {
    ConfigFile *config = NULL;
    StudyPreview one, two;
    Error err;
    cr_assert_eq(config_parse(&config, "s.yaml", mixed, strlen(mixed), &err), OK);
    cr_assert_eq(study_preview(config, &(StudyOptions){ .folder = folder }, &one, &err), OK, "%s",
                 err.text);
    cr_assert_eq(study_preview(config, &(StudyOptions){ .folder = folder, .jobs = 2 }, &two, &err),
                 OK, "%s", err.text);
    cr_assert_eq(one.points, 8 + 16 + 8);
    cr_assert_eq(one.phase_points[PHASE_DECODE], 16);
    cr_assert(one.seconds > 0 && one.memory_bytes > 0 && one.disk_bytes > 0);
    cr_assert_lt(one.disk_bytes, one.disk_free_bytes);
    cr_assert_leq(one.memory_bytes, one.memory_limit_bytes);
    cr_assert_float_eq(two.seconds - two.timed_seconds, two.other_seconds / 2, 1e-9);
    run_named("after", (StudyOptions){ 0 });
    StoredRun stored = read_run("after");
    cr_assert_eq(stored.point_count, one.points);
    store_run_free(&stored);
    config_free(config);
}
