/* test_store_damage.c -- bits that flip in a store: found, or of no effect; never another number.
 * What is found is taken out when the run goes on. Stores of older layouts are brought up. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "database.h"
#include "store.h"

enum { POINTS = 24, METRICS = 3, SAMPLES = 5, FILE_MOST = 1 << 20, TEXT_MOST = 1 << 16 };

static const char study[] = "model: x\nseed: 1\nthreads: 2\n";
static char folder[64];
static Error err;

/* In memory where the system has a place for it: thousands of files are written. */
static void make_folder(void) {
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/kvlab-damage-XXXXXX", place);
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(store_damage, .init = make_folder, .fini = remove_folder, .timeout = 120);

/* ---- a store of some points ---- */

static Point point_of(size_t i) {
    Point p = { .phase = "error",
                .contender = "mla-512+64*int4-g32",
                .label = "MLA-512+64 int4-g32",
                .attention = "mla",
                .path = "absorbed",
                .kv_dtype = "bf16",
                .layer = "D 4096, H 32, C 512",
                .context_tokens = 4096 + i,
                .query_tokens = 1,
                .sequences = 2,
                .place = i,
                .host = "node-17",
                .rank = 3 };
    snprintf(p.key, sizeof p.key, "error/mla-512+64*int4-g32/absorbed/bf16/s=%zu", i);
    return p;
}

static void put(Store *store, size_t i) {
    double samples[METRICS][SAMPLES];
    Metric metrics[METRICS] = { { .name = "y_rel", .unit = "1", .kind = KIND_EXACT },
                                { .name = "attention_ns", .unit = "ns", .kind = KIND_MEASURED },
                                { .name = "users", .unit = "1", .kind = KIND_MODELLED } };
    for (size_t m = 0; m < METRICS; m++) {
        for (size_t s = 0; s < SAMPLES; s++) samples[m][s] = 1.0 / (double)(1 + i + m + s);
        metrics[m].value = samples[m][0] * 3 + 1000 * (double)i;
        metrics[m].low = -1 - (double)i;
        metrics[m].high = m == 2 ? NAN : 1e300;
        metrics[m].samples = samples[m];
        metrics[m].sample_count = m == 1 ? SAMPLES : 0;
    }
    const Point p = point_of(i);
    cr_assert_eq(store_put(store, &p, metrics, METRICS, &err), OK, "%s", err.text);
}

static void set_facts(Store *store) {
    char name[32];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "fact.%d", i);
        cr_assert_eq(store_set(store, name, "its value", &err), OK, "%s", err.text);
        cr_assert_eq(store_set_config(store, name, "its value", "default", &err), OK);
    }
}

static void make_store(void) {
    Store *store = NULL;
    cr_assert_eq(store_open(&store, folder, study, false, &err), OK, "%s", err.text);
    set_facts(store);
    for (size_t i = 0; i < POINTS; i++) put(store, i);
    store_close(store);
}

/* ---- its file and what it says ---- */

static unsigned char whole[FILE_MOST];
static size_t whole_size;

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void load_file(void) {
    FILE *file = fopen(path_of("results.sqlite"), "rb");
    cr_assert(file);
    whole_size = fread(whole, 1, sizeof whole, file);
    fclose(file);
    cr_assert(whole_size > 0 && whole_size < sizeof whole);
}

/* The file with one bit changed; SIZE_MAX: none. */
static void write_flipped(size_t bit) {
    if (bit < SIZE_MAX) whole[bit / 8] ^= (unsigned char)(1u << bit % 8);
    unlink(path_of("results.sqlite-wal"));
    unlink(path_of("results.sqlite-shm"));
    FILE *file = fopen(path_of("results.sqlite"), "wb");
    cr_assert(file && fwrite(whole, 1, whole_size, file) == whole_size && fclose(file) == 0);
    if (bit < SIZE_MAX) whole[bit / 8] ^= (unsigned char)(1u << bit % 8);
}

/* All that a reader sees of the points of a run, then of its facts and configuration: those come in
 * the order stored, which is another one where some were stored again. */
static size_t describe_points(const StoredRun *run, char *text) {
    size_t used = 0;
    for (size_t i = 0; i < run->point_count; i++) {
        const Point *p = &run->points[i].point;
        used += (size_t)snprintf(
            text + used, TEXT_MOST - used, "%s|%s|%s|%s|%s|%s|%s|%s|%d|%s|%zu|%zu|%zu|%zu|%s|%d\n",
            p->key, p->phase, p->contender, p->label, p->attention, p->path, p->kv_dtype, p->layer,
            (int)p->status, p->message, p->context_tokens, p->query_tokens, p->sequences, p->place,
            p->host, p->rank);
        for (size_t m = 0; m < run->points[i].metric_count; m++) {
            const Metric *x = &run->points[i].metrics[m];
            used +=
                (size_t)snprintf(text + used, TEXT_MOST - used, " %s %s %d %a %a %a %zu\n", x->name,
                                 x->unit, (int)x->kind, x->value, x->low, x->high, x->sample_count);
        }
    }
    return used;
}

static int compare_facts(const void *a, const void *b) {
    return strcmp(((const StoredFact *)a)->name, ((const StoredFact *)b)->name);
}

static void describe(const StoredRun *run, char *text) {
    size_t used = describe_points(run, text);
    qsort(run->facts, run->fact_count, sizeof *run->facts, compare_facts);
    qsort(run->config, run->config_count, sizeof *run->config, compare_facts);
    for (size_t i = 0; i < run->fact_count; i++)
        used += (size_t)snprintf(text + used, TEXT_MOST - used, "%s=%s\n", run->facts[i].name,
                                 run->facts[i].value);
    for (size_t i = 0; i < run->config_count; i++)
        used += (size_t)snprintf(text + used, TEXT_MOST - used, "%s=%s (%s)\n", run->config[i].name,
                                 run->config[i].value, run->config[i].source);
    cr_assert_lt(used, TEXT_MOST);
}

static Status read_text(char *text) {
    StoredRun run = { 0 };
    const Status status = store_read(&run, folder, &err);
    if (status == OK) describe(&run, text);
    store_run_free(&run);
    return status;
}

/* Pseudo-random, the same each time. */
static size_t draw(size_t below) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (size_t)(state % below);
}

/* ---- the laws ---- */

Test(store_damage, a_flipped_bit_is_found_or_changes_nothing_that_is_read) {
    static char before[TEXT_MOST], after[TEXT_MOST];
    size_t found = 0, harmless = 0;
    make_store();
    load_file();
    cr_assert_eq(read_text(before), OK, "%s", err.text);
    for (int n = 0; n < 1500; n++) {
        const size_t bit = draw(8 * whole_size);
        write_flipped(bit);
        if (read_text(after) == OK) {
            harmless++;
            cr_assert_str_eq(after, before, "bit %zu of byte %zu", bit % 8, bit / 8);
            continue;
        }
        found++;
        cr_assert(strstr(err.text, "results.sqlite") && !strchr(err.text, '\n'), "%s", err.text);
    }
    cr_assert(found > 150, "%zu found, %zu harmless", found, harmless);
}

Test(store_damage, a_run_that_goes_on_mends_what_was_found_or_says_what_to_do) {
    static char before[TEXT_MOST], after[TEXT_MOST];
    size_t mended = 0;
    make_store();
    load_file();
    cr_assert_eq(read_text(before), OK, "%s", err.text);
    for (int n = 0; n < 700; n++) {
        Store *store = NULL;
        const size_t bit = draw(8 * whole_size);
        write_flipped(bit);
        if (store_open(&store, folder, study, true, &err) != OK) {
            cr_assert(strstr(err.text, "results.sqlite"), "%s", err.text);
            continue;
        }
        mended += store_mended(store);
        set_facts(store);
        for (size_t i = 0; i < POINTS; i++) {
            const Point p = point_of(i);
            bool has = false;
            cr_assert_eq(store_has(store, p.key, &has, &err), OK, "%s", err.text);
            if (!has) put(store, i);
        }
        store_close(store);
        cr_assert_eq(read_text(after), OK, "bit %zu of byte %zu: %s", bit % 8, bit / 8, err.text);
        cr_assert_str_eq(after, before, "bit %zu of byte %zu", bit % 8, bit / 8);
    }
    cr_assert_gt(mended, 25);
}

/* The number of a metric, where it lies in the file. */
static size_t find_number(double value) {
    unsigned char bytes[8];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(bits >> (56 - 8 * i));
    for (size_t at = 0; at + 8 <= whole_size; at++)
        if (memcmp(whole + at, bytes, 8) == 0) return at;
    cr_assert_fail("the number is not in the file");
    return 0;
}

Test(store_damage, a_damaged_point_is_named_and_run_again_and_the_others_stay) {
    make_store();
    load_file();
    write_flipped(8 * find_number(3.0 / 8 + 7000) + 3); /* y_rel of point 7 */
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "s=7\"") && strstr(err.text, "--resume runs it again"), "%s",
              err.text);
    Store *store = NULL;
    cr_assert_eq(store_open(&store, folder, study, true, &err), OK, "%s", err.text);
    cr_assert_eq(store_mended(store), 1);
    for (size_t i = 0; i < POINTS; i++) {
        const Point p = point_of(i);
        bool has = false;
        cr_assert_eq(store_has(store, p.key, &has, &err), OK);
        cr_assert_eq(has, i != 7, "point %zu", i);
    }
    store_close(store);
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, POINTS - 1);
    store_run_free(&run);
}

Test(store_damage, a_flipped_sample_is_found_though_it_is_only_counted) {
    make_store();
    load_file();
    write_flipped(8 * (find_number(1.0 / 29) + 7)); /* the last sample of the last point */
    StoredRun run = { 0 };
    cr_assert_eq(store_read(&run, folder, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "s=23\""), "%s", err.text);
}

/* ---- older layouts ---- */

static const char layout_1[] =
    "CREATE TABLE study(text TEXT NOT NULL);"
    "CREATE TABLE fact(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE config(key TEXT PRIMARY KEY, value TEXT NOT NULL, source TEXT NOT NULL);"
    "CREATE TABLE point(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, phase TEXT NOT NULL,"
    " contender TEXT NOT NULL, label TEXT NOT NULL, attention TEXT NOT NULL, path TEXT NOT NULL,"
    " kv_dtype TEXT NOT NULL, layer TEXT NOT NULL, context_tokens INTEGER NOT NULL,"
    " query_tokens INTEGER NOT NULL, sequences INTEGER NOT NULL, status TEXT NOT NULL,"
    " message TEXT NOT NULL);"
    "CREATE TABLE metric(id INTEGER PRIMARY KEY,"
    " point INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " unit TEXT NOT NULL, kind TEXT NOT NULL, value REAL, low REAL, high REAL,"
    " UNIQUE(point, name));"
    "CREATE TABLE sample(metric INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE,"
    " place INTEGER NOT NULL, value REAL, PRIMARY KEY(metric, place)) WITHOUT ROWID;"
    "PRAGMA application_id = 1802923106; PRAGMA user_version = 1;"
    "INSERT INTO study VALUES('model: x' || char(10));"
    "INSERT INTO fact VALUES('cpu', 'some');"
    "INSERT INTO config VALUES('seed', '1', 'default');"
    "INSERT INTO point VALUES(1, 'k1', 'decode', 'mha', 'MHA', 'mha', 'materialised', 'bf16',"
    " 'D 8', 64, 1, 1, 'done', '');"
    "INSERT INTO point VALUES(2, 'k2', 'decode', 'mqa', 'MQA', 'mqa', 'materialised', 'bf16',"
    " 'D 8', 64, 1, 1, 'left out', 'would need more');"
    "INSERT INTO metric VALUES(1, 1, 'attention_ns', 'ns', 'measured', 2.5, 2, 3);"
    "INSERT INTO sample VALUES(1, 0, 2.5), (1, 1, 2.25);";

/* What a layout stored, into the folder. */
static void make_old_store(const char *more) {
    Database db;
    cr_assert_eq(database_open(&db, path_of("results.sqlite"), true, &err), OK, "%s", err.text);
    cr_assert_eq(database_run(&db, layout_1, &err), OK, "%s", err.text);
    cr_assert_eq(database_run(&db, more, &err), OK, "%s", err.text);
    database_close(&db);
}

static void expect_brought_up(void) {
    StoredRun run = { 0 };
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
        cr_assert_eq(run.point_count, 2);
        cr_assert_str_eq(run.points[0].point.key, "k1", "the order is that of storing");
        cr_assert_str_eq(run.points[1].point.message, "would need more");
        cr_assert_eq(run.points[0].metrics[0].value, 2.5);
        cr_assert_eq(run.points[0].metrics[0].sample_count, 2);
        cr_assert_str_eq(store_fact(&run, "cpu"), "some");
        cr_assert_str_eq(run.config[0].source, "default");
        store_run_free(&run);
    }
    Store *store = NULL;
    bool has = false;
    cr_assert_eq(store_open(&store, folder, "model: x\n", true, &err), OK, "%s", err.text);
    cr_assert_eq(store_mended(store), 0);
    cr_assert_eq(store_has(store, "k1", &has, &err), OK);
    cr_assert(has);
    put(store, 5);
    store_close(store);
    cr_assert_eq(store_read(&run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(run.point_count, 3);
    store_run_free(&run);
}

Test(store_damage, a_store_of_layout_1_is_brought_up_and_goes_on) {
    make_old_store("");
    expect_brought_up();
}

Test(store_damage, a_store_of_layout_2_is_brought_up_and_goes_on) {
    make_old_store("ALTER TABLE point ADD COLUMN place INTEGER NOT NULL DEFAULT 0;"
                   "ALTER TABLE point ADD COLUMN host TEXT NOT NULL DEFAULT '';"
                   "ALTER TABLE point ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;"
                   "UPDATE point SET place = id; CREATE INDEX point_place ON point(place);"
                   "PRAGMA user_version = 2;");
    expect_brought_up();
}
