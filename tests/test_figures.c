/* test_figures.c -- figures of compression methods: they hold what the store holds, and the Pareto
 * front is one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "losses.h"
#include "methods.h"
#include "report.h"
#include "store.h"

static char folder[64];
static Error err;
static Store *store;

static void make_run(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-figures-XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(store_open(&store, folder, "methods", false, &err), OK, "%s", err.text);
    cr_assert_eq(store_set(store, "title", "Methods", &err), OK);
}

static void remove_run(void) {
    char command[128];
    if (store) store_close(store);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(figures, .init = make_run, .fini = remove_run);

static Metric number(const char *name, double value) {
    Metric m = { .value = value, .low = value, .high = value, .kind = KIND_MEASURED };
    snprintf(m.name, sizeof m.name, "%s", name);
    snprintf(m.unit, sizeof m.unit, "1");
    return m;
}

static Point point(const char *phase, const char *contender, size_t layer) {
    Point p = { .context_tokens = 4096, .query_tokens = 0, .sequences = 1 };
    snprintf(p.phase, sizeof p.phase, "%s", phase);
    snprintf(p.contender, sizeof p.contender, "%s", contender);
    snprintf(p.label, sizeof p.label, "%.47s", contender);
    snprintf(p.attention, sizeof p.attention, "%s", strncmp(contender, "mha", 3) ? "mla" : "mha");
    snprintf(p.path, sizeof p.path, "absorbed");
    snprintf(p.kv_dtype, sizeof p.kv_dtype, "bf16");
    snprintf(p.layer, sizeof p.layer, "D 512, H 8, d 64");
    snprintf(p.key, sizeof p.key, "%s/%s/layer=%zu", phase, contender, layer);
    return p;
}

static void put(const Point *p, const Metric *metrics, size_t count) {
    cr_assert_eq(store_put(store, p, metrics, count, &err), OK, "%s", err.text);
}

/* An error point: y_rel of one layer and what it is a ratio of. */
static void put_error(const char *contender, size_t layer, double ratio, double difference,
                      double size) {
    const Point p = point("error", contender, layer);
    const Metric metrics[] = {
        number("y_rel", sqrt(difference / size)),
        number("y_rel_difference", difference),
        number("y_rel_size", size),
        number("ratio_to_mha", ratio),
        number("read_ratio_to_mha", ratio * 2),
        number("layer_index", (double)layer),
    };
    put(&p, metrics, 6);
}

static void write_report(void) {
    ReportSummary summary = { 0 };
    store_close(store);
    store = NULL;
    cr_assert_eq(report_write(folder, &summary, &err), OK, "%s", err.text);
    cr_assert_str_eq(summary.note, "", "%s", summary.note);
}

static char *text_of(const char *name) {
    static char text[1 << 16];
    char path[160];
    snprintf(path, sizeof path, "%s/plots/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s is missing", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static bool exists(const char *name) {
    char path[160];
    snprintf(path, sizeof path, "%s/plots/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

#define HOLDS(name, wanted) cr_assert(strstr(text_of(name), wanted), "%s", text_of(name))
#define LACKS(name, wanted) cr_assert_not(strstr(text_of(name), wanted), "%s", text_of(name))

/* ---- methods ---- */

Test(methods, a_name_says_its_family) {
    static const struct {
        const char *name;
        MethodFamily family;
    } cases[] = { { "mha", FAMILY_TEACHER },
                  { "model", FAMILY_TEACHER },
                  { "gqa-8", FAMILY_HEADS },
                  { "mqa", FAMILY_HEADS },
                  { "gqa-2-lowrank", FAMILY_HEADS },
                  { "mla-448+64-real", FAMILY_MLA },
                  { "lowrank-joint-512", FAMILY_LOWRANK },
                  { "mha*kivi-2", FAMILY_CODED },
                  { "model*fp8_ds_mla", FAMILY_CODED },
                  { "mha@h2o-1/16", FAMILY_EVICTED },
                  { "mha*int4@h2o-1/16", FAMILY_STACK },
                  { "lowrank-joint-512*int4-g32-hadamard", FAMILY_STACK } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(method_family(cases[i].name), cases[i].family, "%s", cases[i].name);
}

Test(methods, those_of_a_kind_differ_in_size_alone) {
    static const char *const same[][2] = { { "lowrank-joint-512", "lowrank-joint-64" },
                                           { "mha@h2o-1/16", "mha@h2o-1/4" },
                                           { "mla-448+64*int4-g32", "mla-192+64*int4-g32" } };
    static const char *const other[][2] = { { "lowrank-joint-512", "lowrank-separate-512" },
                                            { "mha*int4-g32", "mha*int2-g32" },
                                            { "mha@h2o-1/16", "mha@snapkv-1/16" } };
    char a[METHOD_KIND], b[METHOD_KIND];
    for (size_t i = 0; i < 3; i++) {
        method_kind(same[i][0], a);
        method_kind(same[i][1], b);
        cr_assert_str_eq(a, b);
        method_kind(other[i][0], a);
        method_kind(other[i][1], b);
        cr_assert_str_neq(a, b);
    }
}

/* ---- the front ---- */

static Losses losses_of_run(View *view, StoredRun *run) {
    Losses losses;
    store_close(store);
    store = NULL;
    cr_assert_eq(store_read(run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(view_open(view, run, &err), OK);
    cr_assert_eq(losses_read(&losses, view, &err), OK);
    return losses;
}

static bool rivals(const Loss *a, const Loss *b) {
    return a->ratio >= b->ratio && a->error <= b->error &&
           (a->ratio > b->ratio || a->error < b->error);
}

/* Any methods: nothing beats one of the front, and one of the front beats each that is beaten. */
Test(figures, the_pareto_front_is_what_nothing_beats) {
    unsigned state = 12345;
    for (size_t i = 0; i < 40; i++) {
        char name[48];
        snprintf(name, sizeof name, "lowrank-joint-%zu*int4", i + 1);
        state = state * 1664525 + 1013904223;
        const double ratio = 1 + (state >> 20) % 16; /* few values: ties of either kind */
        state = state * 1664525 + 1013904223;
        put_error(name, 0, ratio, 1 + (state >> 20) % 8, 100);
    }
    put_error("mha@oracle-1/16", 0, 40, 0.5, 100); /* no method: beats nothing */
    View view;
    StoredRun run;
    Losses losses = losses_of_run(&view, &run);
    size_t front = 0;
    cr_assert_eq(losses.count, 41);
    for (size_t i = 0; i < losses.count; i++) {
        const Loss *l = &losses.loss[i];
        bool beaten = false, by_front = false;
        for (size_t j = 0; j < losses.count; j++) {
            const Loss *other = &losses.loss[j];
            if (other->bound || !rivals(other, l)) continue;
            beaten = true;
            by_front |= !other->beaten;
        }
        cr_assert_eq(l->beaten, beaten);
        cr_assert_eq(by_front, beaten);
        front += !l->bound && !l->beaten;
    }
    cr_assert_gt(front, 1);
    cr_assert_lt(front, 40);
    losses_free(&losses);
    view_close(&view);
    store_run_free(&run);
}

Test(figures, beaten_marks_are_hollow_and_the_stair_joins_the_others) {
    put_error("mha", 0, 1, 1e-6, 1);
    put_error("mha*int4", 0, 3.2, 0.01, 1);
    put_error("mha*int8", 0, 1.9, 0.04, 1); /* less compression and more error than int4 */
    put_error("lowrank-joint-64", 0, 16, 0.09, 1);
    write_report();
    HOLDS("pareto.tsv", "1\tmha*int4\t3.2\t0.1\t13983232\t7\t1\n");
    HOLDS("pareto.tsv", "1\tmha*int8\t1.9\t0.2\t13983232\t4\t0\n");
    HOLDS("pareto.tsv", "2\t\t3.2\t0.1\t");
    HOLDS("pareto.tsv", "2\t\t3.2\t0.3\t"); /* the corner: beyond 3.2x the error of 16x */
    HOLDS("pareto.tsv", "2\t\t16\t0.3\t");
    LACKS("pareto.tsv", "2\t\t1.9\t");
    HOLDS("pareto.gp", "Near 16x lowrank-joint-64 loses least: y_rel 0.3");
    cr_assert(exists("pareto.svg"));
    cr_assert_not(exists("error.tsv"));
}

Test(figures, runs_without_methods_keep_the_plain_figure_of_errors) {
    put_error("mha", 0, 1, 1e-6, 1);
    put_error("mla-448+64", 0, 16, 0.09, 1);
    write_report();
    cr_assert(exists("error.tsv"));
    cr_assert_not(exists("pareto.tsv"));
}

Test(figures, errors_of_layers_are_pooled_as_sums) {
    put_error("mha*int4", 3, 3.2, 1, 100);
    put_error("mha*int4", 7, 3.2, 8, 300);
    put_error("mha*int4", 11, 3.2, 0, 500); /* sqrt(9 / 900), no mean of 0.1, 0.16 and 0 */
    put_error("mha*int2", 3, 5.3, 4, 100);
    put_error("mha*int2", 7, 5.3, 16, 300);
    write_report();
    HOLDS("pareto.tsv", "1\tmha*int4\t3.2\t0.1\t");
    HOLDS("layers.tsv", "1\tmha*int4\t3\t0.1\t");
    HOLDS("layers.tsv", "2\tmha*int2\t7\t0.230940108\t");
    HOLDS("layers.gp", "Layer 7 loses most, with mha*int2: y_rel 0.23");
}

/* ---- sixteen and three ways ---- */

static void put_bytes(const char *contender, double bytes, double ratio) {
    const Point p = point("bytes", contender, 0);
    const Metric metrics[] = { number("cache_bytes_per_token", bytes),
                               number("read_bytes_per_token", bytes / 2),
                               number("ratio_to_mha", ratio),
                               number("read_ratio_to_mha", ratio * 2) };
    put(&p, metrics, 4);
}

static void put_decode(const char *contender, double ns) {
    Point p = point("decode", contender, 0);
    p.query_tokens = 1;
    const Metric metrics[] = { number("attention_ns", ns) };
    put(&p, metrics, 1);
}

static void put_three(const char *contender, double bytes, double ratio, double ns, double error) {
    put_bytes(contender, bytes, ratio);
    if (ns > 0) put_decode(contender, ns);
    put_error(contender, 0, ratio, error * error, 1);
}

Test(figures, of_each_kind_the_one_nearest_to_16x_has_a_row) {
    put_three("mha", 16384, 1, 4e6, 0.001);
    put_three("lowrank-joint-256", 512, 32, 3e6, 0.4);
    put_three("lowrank-joint-512", 1024, 16, 3e6, 0.2);
    put_three("mha*int2", 3072, 5.33, 2e6, 0.3); /* the only one of its kind */
    put_three("mha@h2o-1/16", 1040, 15.75, 0, 0.25);
    write_report();
    HOLDS("sixteen.tsv", "lowrank-joint-512\t");
    LACKS("sixteen.tsv", "lowrank-joint-256\t");
    LACKS("sixteen.tsv", "mha\t");
    HOLDS("sixteen.tsv", "3,072 B  5.33x");
    HOLDS("sixteen.tsv", "1,040 B  15.8x\t-1\tnot measured\t0.25\t0.25");
    HOLDS("sixteen.gp", "Near 16x lowrank-joint-512 loses least: y_rel 0.2 at 16.0x");
}

Test(figures, what_was_not_timed_is_in_no_three_way_figure) {
    put_three("mha", 16384, 1, 4e6, 0.001);
    put_three("lowrank-joint-512", 1024, 16, 3e6, 0.2);
    put_three("mha@h2o-1/16", 1040, 15.75, 0, 0.25);
    write_report();
    HOLDS("threeway.tsv", "lowrank-joint-512\t16\t3\t3\t3\t0.2\t");
    LACKS("threeway.tsv", "h2o");
}

/* ---- ranks and spectra ---- */

static void put_rank(const char *contender, double rank, double rows, double eigenvalues) {
    const Point p = point("error", contender, 0);
    const Metric metrics[] = {
        number("y_rel", rows),          number("y_rel_difference", rows * rows),
        number("y_rel_size", 1),        number("ratio_to_mha", 1024 / rank),
        number("latent_rank", rank),    number("fitted_loss", eigenvalues),
        number("k_rel_difference", 3),  number("k_rel_size", 60),
        number("v_rel_difference", 13), number("v_rel_size", 40),
    };
    put(&p, metrics, 10);
}

Test(figures, errors_by_rank_stand_beside_what_the_eigenvalues_say) {
    put_rank("lowrank-joint-256", 256, 0.125, 0.375);
    put_rank("lowrank-joint-64", 64, 0.25, 0.5);
    put_rank("lowrank-aware-64", 64, 0.0625, 0.5); /* one rank is no series */
    put_rank("lowrank-balanced-64", 64, 0.2, 0.5);
    put_rank("lowrank-balanced-128", 128, 0.1, 0.4); /* another measure: no line */
    write_report();
    HOLDS("rank.tsv", "1\tlowrank\t64\t0.4\t0.5\t0.25\n1\tlowrank\t256\t0.4\t0.375\t0.125\n");
    HOLDS("rank.tsv", "2\tlowrank\t64\t0.4\tNaN\t0.2\n2\tlowrank\t128\t0.4\tNaN\t0.1\n");
    LACKS("rank.tsv", "0.0625");
}

Test(figures, several_layers_of_one_rank_are_no_series) {
    for (size_t layer = 0; layer < 3; layer++) {
        Point p = point("error", "lowrank-joint-64", layer);
        const Metric metrics[] = { number("y_rel", 0.1), number("ratio_to_mha", 16),
                                   number("latent_rank", 64) };
        put(&p, metrics, 3);
    }
    write_report();
    cr_assert(exists("pareto.tsv"));
    cr_assert_not(exists("rank.tsv"));
}

Test(figures, spectra_are_drawn_as_they_are_stored) {
    const Point p = point("error", "mha", 0);
    const Metric metrics[] = {
        number("y_rel", 0.001),         number("ratio_to_mha", 1),
        number("spectrum_key_1", 0.5),  number("spectrum_key_2", 0.25),
        number("spectrum_key_4", 1e-9), number("spectrum_key_rotated_1", 0.75),
        number("key_ninety", 3),        number("key_rotated_ninety", 41),
        number("key_width", 512),
    };
    put(&p, metrics, 9);
    write_report();
    HOLDS("spectra.tsv", "1\tK before RoPE, r90 3\t1\t0.5\t");
    HOLDS("spectra.tsv", "1\tK before RoPE, r90 3\t2\t0.25\t");
    LACKS("spectra.tsv", "1e-09");
    HOLDS("spectra.tsv", "2\tK after RoPE, r90 41\t1\t0.75\t");
    HOLDS("spectra.gp", "3 components hold 90 % of the keys before RoPE, 41 after");
}

/* ---- papers ---- */

Test(figures, what_papers_report_stands_apart_with_its_source) {
    put_error("mha*int4", 0, 3.2, 0.01, 1);
    cr_assert_eq(store_set(store, "published.0", "Method 1+2\tModel\t8\t12\t4\tA paper", &err), OK);
    write_report();
    HOLDS("published.tsv", "1\tmha*int4\t3.2\t0.1\t13983232\t7\tthis run\n");
    HOLDS("published.tsv", "2\tMethod 1+2 Model\t8\t3\t6710886\t2\tA paper\n");
    HOLDS("published.gp", "Published, untrained: Model at 8.0x, 3.0 times the perplexity");
    LACKS("pareto.tsv", "Method 1+2");
}

Test(figures, papers_are_drawn_only_where_the_run_has_them) {
    put_error("mha*int4", 0, 3.2, 0.01, 1);
    write_report();
    cr_assert_not(exists("published.tsv"));
}
