/* test_store.c -- what is put is what is read; kills, second writers, full disks and damaged files
 * lose no finished point and are told apart. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"

static char folder[64];
static Error err;

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-store-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(store, .init = make_folder, .fini = remove_folder);

static Store *opened(bool resume) {
    Store *store = NULL;
    cr_assert_eq(store_open(&store, folder, "a: 1\nb: 2\n", resume, &err), OK, "%s", err.text);
    return store;
}

static Point point_of(const char *key) {
    Point p = { .phase = "decode",
                .contender = "mla-512+64",
                .label = "MLA-512+64",
                .attention = "mla",
                .path = "absorbed",
                .kv_dtype = "bf16",
                .layer = "D 8",
                .context_tokens = 4096,
                .query_tokens = 1,
                .sequences = 2 };
    snprintf(p.key, sizeof p.key, "%s", key);
    return p;
}

static const double samples[] = { 3.0, 1.0 / 3.0, 2.0 };

static Metric time_of(double value) {
    return (Metric){ .name = "attention_ns",
                     .unit = "ns",
                     .value = value,
                     .kind = KIND_MEASURED,
                     .low = 0.1,
                     .high = 1e300,
                     .sample_count = 3,
                     .samples = samples };
}

static void put(Store *store, const char *key, double value) {
    const Point p = point_of(key);
    const Metric m = time_of(value);
    cr_assert_eq(store_put(store, &p, &m, 1, &err), OK, "%s", err.text);
}

static char *file_text(const char *name) {
    static char text[65536];
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* Overwrites bytes of the database file. */
static void patch(long offset, const void *bytes, size_t count) {
    char path[128];
    snprintf(path, sizeof path, "%s/results.sqlite", folder);
    FILE *file = fopen(path, "r+b");
    cr_assert(file);
    cr_assert_eq(fseek(file, offset, SEEK_SET), 0);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

Test(store, what_is_put_is_read_back_to_the_bit) {
    Store *store = opened(false);
    Point p = point_of("decode/1");
    p.status = POINT_LEFT_OUT;
    snprintf(p.message, sizeof p.message, "would need \"9\", bytes");
    const Metric metrics[] = { time_of(1.0 / 3.0),
                               { .name = "y_rel", .unit = "1", .value = NAN, .kind = KIND_EXACT },
                               { .name = "roofline_ns",
                                 .unit = "ns",
                                 .value = 5e-324,
                                 .low = -1,
                                 .high = 2,
                                 .kind = KIND_MODELLED } };
    cr_assert_eq(store_put(store, &p, metrics, 3, &err), OK, "%s", err.text);
    put(store, "decode/0", 2);
    cr_assert_eq(store_set(store, "cpu", "old", &err), OK);
    cr_assert_eq(store_set(store, "cpu", "new", &err), OK);
    cr_assert_eq(store_set_config(store, "model.heads", "128", "x.yaml:3:4", &err), OK);
    store_close(store);

    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, 2);
    cr_assert_str_eq(run.points[0].point.key, "decode/1", "the order is that of storing");
    const Point *r = &run.points[0].point;
    cr_assert_str_eq(r->phase, p.phase);
    cr_assert_str_eq(r->contender, p.contender);
    cr_assert_str_eq(r->label, p.label);
    cr_assert_str_eq(r->attention, p.attention);
    cr_assert_str_eq(r->path, p.path);
    cr_assert_str_eq(r->kv_dtype, p.kv_dtype);
    cr_assert_str_eq(r->layer, p.layer);
    cr_assert_str_eq(r->message, p.message);
    cr_assert_eq(r->context_tokens, 4096);
    cr_assert_eq(r->query_tokens, 1);
    cr_assert_eq(r->sequences, 2);
    cr_assert_eq(r->status, POINT_LEFT_OUT);
    cr_assert_eq(run.points[0].metric_count, 3);
    const Metric *time = store_metric(&run.points[0], "attention_ns");
    cr_assert(time && time->value == 1.0 / 3.0 && time->low == 0.1 && time->high == 1e300);
    cr_assert_eq(time->sample_count, 3);
    cr_assert_eq(time->kind, KIND_MEASURED);
    cr_assert(isnan(store_metric(&run.points[0], "y_rel")->value));
    cr_assert_eq(store_metric(&run.points[0], "roofline_ns")->kind, KIND_MODELLED);
    cr_assert_eq(store_metric(&run.points[0], "roofline_ns")->value, 5e-324);
    cr_assert_null(store_metric(&run.points[0], "absent"));
    cr_assert_eq(run.fact_count, 1);
    cr_assert_str_eq(store_fact(&run, "cpu"), "new");
    cr_assert_str_eq(store_fact(&run, "absent"), "");
    cr_assert_eq(run.config_count, 1);
    cr_assert_str_eq(run.config[0].value, "128");
    cr_assert_str_eq(run.config[0].source, "x.yaml:3:4");
    store_run_free(&run);
}

Test(store, a_point_put_again_replaces_the_old_one) {
    Store *store = opened(false);
    put(store, "a", 1);
    put(store, "a", 2);
    store_close(store);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), OK);
    cr_assert_eq(run.point_count, 1);
    cr_assert_eq(run.points[0].metric_count, 1);
    cr_assert_eq(run.points[0].metrics[0].value, 2);
    cr_assert_eq(run.points[0].metrics[0].sample_count, 3);
    store_run_free(&run);
}

Test(store, done_and_left_out_points_are_had_and_failed_ones_are_not) {
    static const bool expected[] = { true, false, true };
    Store *store = opened(false);
    for (int status = POINT_DONE; status <= POINT_LEFT_OUT; status++) {
        Point p = point_of("k");
        bool has = !expected[status];
        p.status = (PointStatus)status;
        cr_assert_eq(store_put(store, &p, NULL, 0, &err), OK, "%s", err.text);
        cr_assert_eq(store_has(store, "k", &has, &err), OK);
        cr_assert_eq(has, expected[status], "status %d", status);
    }
    bool has = true;
    cr_assert_eq(store_has(store, "another", &has, &err), OK);
    cr_assert_not(has);
    store_close(store);
}

Test(store, a_folder_that_holds_a_run_is_refused_unless_resumed) {
    store_close(opened(false));
    Store *store = NULL;
    cr_assert_eq(store_open(&store, folder, "a: 1\nb: 2\n", false, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "--resume"), "%s", err.text);
    cr_assert_null(store);
    store_close(opened(true));
}

Test(store, a_link_in_the_place_of_the_store_is_refused) {
    Store *store = NULL;
    char link[96], target[96];
    snprintf(link, sizeof link, "%s/results.sqlite", folder);
    snprintf(target, sizeof target, "%s/elsewhere", folder);
    cr_assert_eq(symlink(target, link), 0);
    cr_assert_eq(store_open(&store, folder, "a: 1\n", true, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "results.sqlite: a symbolic link"), "%s", err.text);
    cr_assert_neq(access(target, F_OK), 0, "nothing is made where it points");
}

Test(store, resuming_another_study_names_the_line_that_differs) {
    static const char *const studies[] = { "a: 1\nb: 3\n", "a: 1\n", "a: 1\nb: 2\nc: 3\n" };
    static const char *const lines[] = { "line 2", "line 2", "line 3" };
    store_close(opened(false));
    for (size_t i = 0; i < 3; i++) {
        Store *store = NULL;
        cr_assert_eq(store_open(&store, folder, studies[i], true, &err), ERR_INPUT);
        cr_assert(strstr(err.text, lines[i]), "%s", err.text);
    }
}

Test(store, parents_of_the_folder_are_made) {
    char deep[96];
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    Store *store = NULL;
    cr_assert_eq(store_open(&store, deep, "", false, &err), OK, "%s", err.text);
    store_close(store);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, deep, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, 0);
    store_run_free(&run);
}

Test(store, a_second_writer_is_refused_while_a_reader_is_not) {
    Store *store = opened(false);
    put(store, "a", 1);
    Store *second = NULL;
    cr_assert_eq(store_open(&second, folder, "a: 1\nb: 2\n", true, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "another run"), "%s", err.text);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, 1);
    store_run_free(&run);
    put(store, "b", 1);
    store_close(store);
}

Test(store, a_kill_loses_no_finished_point_and_the_run_resumes) {
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        Store *store = NULL;
        Point p = point_of("one");
        const Metric m = time_of(1);
        if (store_open(&store, folder, "a: 1\nb: 2\n", false, &err) != OK) _exit(1);
        if (store_put(store, &p, &m, 1, &err) != OK) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    Store *store = opened(true);
    bool has = false;
    cr_assert_eq(store_has(store, "one", &has, &err), OK);
    cr_assert(has);
    put(store, "two", 2);
    store_close(store);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, 2);
    store_run_free(&run);
}

/* A limit on file sizes stands in for a disk without room. */
Test(store, a_disk_without_room_fails_the_point_and_keeps_the_finished_ones) {
    Store *store = opened(false);
    put(store, "first", 1);
    struct rlimit old;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = { 256 * 1024, old.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    Status status = OK;
    size_t kept = 1;
    for (; kept < 100000 && status == OK; kept++) {
        char key[32];
        snprintf(key, sizeof key, "%zu", kept);
        const Point p = point_of(key);
        const Metric m = time_of(1);
        status = store_put(store, &p, &m, 1, &err);
    }
    cr_assert_eq(status, ERR_MACHINE);
    cr_assert(strstr(err.text, "results.sqlite"), "%s", err.text);
    store_close(store);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, kept - 1, "%zu stored", run.point_count);
    store_run_free(&run);
    store_close(opened(true));
}

Test(store, what_is_not_a_database_is_called_damaged) {
    store_close(opened(false));
    patch(0, "not a database at all", 21);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "damaged"), "%s", err.text);
    Store *store = NULL;
    cr_assert_eq(store_open(&store, folder, "a: 1\nb: 2\n", true, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "damaged"), "%s", err.text);
}

Test(store, a_page_overwritten_within_is_called_damaged) {
    Store *store = opened(false);
    for (int i = 0; i < 200; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d", i);
        put(store, key, i);
    }
    store_close(store);
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    patch(4096 * 7, junk, sizeof junk);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "damaged"), "%s", err.text);
}

/* The file header holds user_version at byte 60 and application_id at byte 68, big-endian. */
Test(store, another_layout_is_refused_by_its_number) {
    store_close(opened(false));
    patch(60, "\0\0\0\7", 4);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "layout 7"), "%s", err.text);
}

Test(store, a_database_of_another_program_is_refused) {
    store_close(opened(false));
    patch(68, "\0\0\0\7", 4);
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "not of kvlab"), "%s", err.text);
}

Test(store, a_folder_without_a_run_is_wrong_input) {
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "no run here"), "%s", err.text);
    cr_assert_eq(store_read(&run, "/nowhere/at/all", &err), ERR_INPUT);
}

Test(store, the_table_is_tidy_and_quoted) {
    Store *store = opened(false);
    Point p = point_of("k,1");
    snprintf(p.message, sizeof p.message, "say \"no\"");
    const Metric metrics[] = {
        { .name = "y_rel", .unit = "1", .value = 0.1, .low = 0.1, .high = NAN, .kind = KIND_EXACT }
    };
    cr_assert_eq(store_put(store, &p, metrics, 1, &err), OK);
    p = point_of("out");
    p.status = POINT_LEFT_OUT;
    cr_assert_eq(store_put(store, &p, NULL, 0, &err), OK);
    cr_assert_eq(store_write_csv(store, &err), OK, "%s", err.text);
    cr_assert_str_eq(
        file_text("results.csv"),
        "key,phase,contender,label,attention,path,kv_dtype,layer,context_tokens,query_tokens,"
        "sequences,status,message,metric,unit,kind,value,low,high,samples\n"
        "\"k,1\",decode,mla-512+64,MLA-512+64,mla,absorbed,bf16,D 8,4096,1,2,done,"
        "\"say \"\"no\"\"\",y_rel,1,exact,0.10000000000000001,0.10000000000000001,,0\n"
        "out,decode,mla-512+64,MLA-512+64,mla,absorbed,bf16,D 8,4096,1,2,left out,,,,,,,,\n");
    store_close(store);
}

Test(store, a_table_that_cannot_be_written_leaves_the_old_one) {
    Store *store = opened(false);
    cr_assert_eq(store_write_csv(store, &err), OK);
    char before[512];
    snprintf(before, sizeof before, "%s", file_text("results.csv"));
    for (int i = 0; i < 50; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d", i);
        put(store, key, i);
    }
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const rlim_t old = limit.rlim_cur;
    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = 1024;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(store_write_csv(store, &err), ERR_MACHINE);
    limit.rlim_cur = old;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_str_eq(file_text("results.csv"), before);
    char partial[128];
    snprintf(partial, sizeof partial, "%s/results.csv.partial", folder);
    cr_assert_neq(access(partial, F_OK), 0);
    store_close(store);
}
