/* test_report.c -- what a report says is what the store holds: figures, findings, tables, words;
 * and what it does when gnuplot, data or good manners are missing. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "figures.h"
#include "report.h"
#include "scenes.h"

static char folder[64];
static Error err;

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-report-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(report, .init = make_folder, .fini = remove_folder);

static long file_size(const char *name) {
    char path[160];
    struct stat found;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &found) == 0 ? (long)found.st_size : -1;
}

/* The text of a file; free it. */
static char *file_text(const char *name) {
    char path[160];
    const long size = file_size(name);
    cr_assert_geq(size, 0, "%s is missing", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = malloc((size_t)size + 1);
    FILE *file = fopen(path, "rb");
    cr_assert(text && file);
    text[fread(text, 1, (size_t)size, file)] = '\0';
    fclose(file);
    return text;
}

static void assert_holds(const char *name, const char *wanted) {
    char *text = file_text(name);
    cr_assert(strstr(text, wanted), "%s lacks: %s", name, wanted);
    free(text);
}

static void assert_lacks(const char *name, const char *unwanted) {
    char *text = file_text(name);
    cr_assert_not(strstr(text, unwanted), "%s holds: %s", name, unwanted);
    free(text);
}

static ReportSummary written(void) {
    ReportSummary summary = { 0 };
    cr_assert_eq(report_write(folder, &summary, &err), OK, "%s", err.text);
    return summary;
}

static const char *const all_figures[] = { "sixteen",  "bytes",   "context",    "decode",
                                           "step",     "prefill", "paths",      "crossover",
                                           "roofline", "error",   "projections" };
enum { ALL_FIGURES = sizeof all_figures / sizeof *all_figures };

Test(report, every_figure_has_data_commands_and_three_pictures) {
    static const char *const suffixes[] = { "tsv", "gp", "svg", "pdf", "png" };
    scene_write(folder, &scene_deepseek);
    const ReportSummary summary = written();
    cr_assert_eq(summary.figures, ALL_FIGURES, "%s", summary.note);
    cr_assert_str_eq(summary.note, "");
    for (size_t i = 0; i < ALL_FIGURES; i++)
        for (size_t k = 0; k < 5; k++) {
            char name[64];
            snprintf(name, sizeof name, "plots/%s.%s", all_figures[i], suffixes[k]);
            cr_assert_gt(file_size(name), 50, "%s", name);
        }
}

Test(report, the_figures_hold_the_stored_numbers) {
    scene_write(folder, &scene_deepseek);
    written();
    assert_holds("plots/bytes.tsv", "MLA-512+64\t70272\t");
    assert_holds("plots/bytes.tsv", "MHA\t3997696\t");
    assert_holds("plots/decode.tsv", "MHA\t1024\t3.3832\t");
    /* 2 * 32768 * 1024 flop in 3.3832 ms, as many bytes */
    assert_holds("plots/roofline.tsv", "MHA\tdecode\tmaterialised\t1024\t1\t1\t19.835");
    assert_holds("plots/sixteen.tsv", "GQA-8\t");
    assert_lacks("plots/sixteen.tsv", "MHA");
    assert_holds("plots/error.tsv", "MLA-512+64\t56.8888889\t0.083\t");
    assert_holds("plots/error.gp", "on a layer of D 1024, H 16, d 64");
    assert_holds("plots/context.gp", "H100 SXM: 74.5 GiB");
}

Test(report, a_contender_just_short_of_16x_is_not_in_its_figure) {
    scene_write(folder, &scene_llama);
    written();
    assert_holds("plots/sixteen.tsv", "MLA-448+64");
    assert_holds("plots/sixteen.tsv", "GQA-2");
    assert_lacks("plots/sixteen.tsv", "MLA-512+64");
    assert_lacks("plots/sixteen.tsv", "GQA-8");
}

Test(report, findings_are_computed_from_the_points) {
    scene_write(folder, &scene_deepseek);
    written();
    assert_holds("report.html", "MLA-512+64 holds 70,272 B a token over all layers in bf16, 56.9x "
                                "less than MHA in bf16 (exact).");
    assert_holds("report.html", "takes 31.1 ms with MLA-512+64 absorbed: 1.74x faster than MHA");
    assert_holds("report.html",
                 "MLA-512+64 loses least: y_rel 0.083, and the most with MQA: 0.66 (measured");
}

Test(report, materialised_mla_never_lends_its_time_to_the_bytes_of_the_latent) {
    scene_write(folder, &scene_deepseek); /* its materialised path is the fastest */
    written();
    assert_holds("plots/decode.tsv", "MLA-512+64 absorbed\t");
    assert_lacks("plots/decode.tsv", "materialised");
    assert_holds("plots/sixteen.tsv", "\t31.1 ms\t");
    assert_holds("plots/paths.tsv", "materialised");
}

/* The error phase may sweep more contenders than the others. */
static void put_error_alone(const char *layer) {
    const SceneContender c = { "gqa-4", "GQA-4", "gqa", 1024, 0, 0, 0.5 };
    Scene scene = scene_deepseek;
    scene.error_layer = layer;
    cr_assert_eq(store_open(&scene_store, folder, scene.title, true, &err), OK);
    const Point p = scene_point(&scene, &c, "error", "materialised", 512, 512);
    const Metric metrics[] = { scene_metric("y_rel", "1", 0.5, KIND_MEASURED),
                               scene_metric("ratio_to_mha", "1", 32, KIND_EXACT) };
    scene_put(&p, metrics, 2);
    store_close(scene_store);
}

Test(report, a_contender_with_an_error_alone_is_not_in_the_sixteen_figure) {
    scene_write(folder, &scene_deepseek);
    put_error_alone("D 1024, H 16, d 64");
    written();
    assert_lacks("plots/sixteen.tsv", "GQA-4");
    assert_lacks("plots/sixteen.tsv", "not measured");
    assert_holds("plots/sixteen.tsv", "\t31.1 ms\t");
    assert_holds("plots/sixteen.gp", "decode attention, a layer, at 16K");
    assert_holds("plots/error.tsv", "GQA-4\t32\t0.5\t");
}

Test(report, the_layer_of_errors_is_named_by_its_teacher) {
    Scene scene = scene_deepseek;
    scene.error_layer = "D 896, H 128, G 128, d 16 (true size / 8)";
    scene_write(folder, &scene);
    put_error_alone("D 896, H 128, C 32, P 16 (true size / 8)");
    written();
    assert_holds("plots/sixteen.gp", "error on D 896, H 128, d 16 (true size / 8)'");
    assert_holds("plots/error.gp", "on a layer of D 896, H 128, d 16 (true size / 8)'");
    assert_holds("report.html", "measured on a layer of D 896, H 128, d 16 (true size / 8)");
}

Test(report, a_decode_step_adds_its_projections_to_its_attention) {
    scene_write(folder, &scene_deepseek);
    written();
    assert_holds("plots/step.tsv", "MHA\t1024\t13.3832\t"); /* 3.3832 ms and 10 ms */
    assert_holds("report.md", "| 10.0 ms | 3.38 ms | 13.4 ms | 25 % |");
    assert_lacks("plots/step.tsv", "materialised"); /* its projections were not timed */
    assert_holds("report.html", "the step with its projections takes 41.1 ms, 1.56x faster");
}

Test(report, errors_are_called_what_they_are) {
    scene_write(folder, &scene_deepseek);
    written();
    assert_holds("report.html", "near-lossless MLA-512+64 (0.083); degraded GQA-8 (0.41); broken "
                                "MQA (0.66) (up to 0.1, 0.25 and 0.5, and above;");
    assert_holds("plots/error.gp", "verdict[4] = 'broken'");
}

Test(report, a_difference_inside_the_quartiles_is_called_none) {
    Scene scene = scene_deepseek;
    scene.contenders[1].decode_ns = scene.contenders[0].decode_ns * 1.01;
    scene_write(folder, &scene);
    written();
    assert_holds("report.html", "with GQA-8: no difference to MHA (measured);");
}

Test(report, points_left_out_are_named_and_never_drawn) {
    scene_write(folder, &scene_deepseek);
    written();
    assert_holds("report.html", "would need 16.0 GiB; 6.00 GiB are allowed");
    assert_holds("report.md", "would need 16.0 GiB; 6.00 GiB are allowed");
    assert_lacks("plots/decode.tsv", "131072");
    assert_holds("report.html", "the first sample was over 1.5 medians");
}

Test(report, the_same_store_gives_the_same_pages) {
    static const char *const names[] = { "report.html", "report.md", "plots/decode.gp",
                                         "plots/crossover.tsv" };
    char *before[4];
    scene_write(folder, &scene_llama);
    written();
    for (size_t i = 0; i < 4; i++) before[i] = file_text(names[i]);
    written();
    for (size_t i = 0; i < 4; i++) {
        char *after = file_text(names[i]);
        cr_assert_str_eq(after, before[i], "%s", names[i]);
        free(after);
        free(before[i]);
    }
}

Test(report, no_name_stands_twice_in_the_page) {
    scene_write(folder, &scene_llama);
    written();
    char *text = file_text("report.html");
    char ids[4096][48];
    size_t count = 0;
    for (const char *at = text; (at = strpbrk(at, " \t")) != NULL; at++) {
        const char *const id = at + 1;
        if (strncmp(id, "id=\"", 4) != 0 && strncmp(id, "id='", 4) != 0) continue;
        const size_t length = strcspn(id + 4, "\"'");
        cr_assert_lt(length, 48);
        cr_assert_lt(count, 4096);
        snprintf(ids[count], 48, "%.*s", (int)length, id + 4);
        for (size_t i = 0; i < count; i++) cr_assert_str_neq(ids[i], ids[count]);
        count++;
    }
    cr_assert_gt(count, ALL_FIGURES);
    free(text);
    assert_holds("report.html", "href='#decode-gp"); /* what refers to a name follows it */
    assert_lacks("report.html", "#decode-f");        /* and colours are no names */
}

Test(report, the_page_asks_nothing_of_the_network) {
    scene_write(folder, &scene_deepseek);
    written();
    static const char *const asks[] = { "<script", "<link", "src=", "@import", "url(http" };
    for (size_t i = 0; i < 5; i++) assert_lacks("report.html", asks[i]);
}

Test(report, names_of_users_are_text_everywhere) {
    Scene scene = scene_llama;
    scene.title = "</h1><script>x</script> 'quoted' `id` | a_b";
    scene.layer = "D 1' ; system('touch /tmp/x') #";
    scene.contenders[1].label = "<b>'$(id)'\t_^{x}|";
    scene_write(folder, &scene);
    const ReportSummary summary = written();
    cr_assert_eq(summary.figures, ALL_FIGURES, "%s", summary.note);
    assert_lacks("report.html", "<script>");
    assert_lacks("report.html", "<b>");
    assert_holds("report.html", "&lt;script&gt;");
    assert_holds("report.md", "\\<script\\>");
    assert_holds("report.md", "\\| a\\_b");
    assert_holds("plots/decode.gp", "D 1'' ; system(''touch /tmp/x'') #");
}

Test(report, without_gnuplot_all_but_the_pictures_is_written) {
    scene_write(folder, &scene_deepseek);
    cr_assert_eq(setenv("KVLAB_GNUPLOT", "/nowhere/gnuplot", 1), 0);
    const ReportSummary summary = written();
    cr_assert_eq(summary.figures, 0);
    cr_assert(strstr(summary.note, "install"), "%s", summary.note);
    assert_holds("report.html", "gnuplot decode.gp");
    assert_holds("report.html", "56.9x less");
    assert_holds("report.md", "gnuplot decode.gp");
    cr_assert_gt(file_size("plots/decode.tsv"), 50);
    cr_assert_eq(file_size("plots/decode.svg"), -1);
}

Test(report, a_gnuplot_that_fails_is_named_and_pages_are_written) {
    scene_write(folder, &scene_deepseek);
    cr_assert_eq(setenv("KVLAB_GNUPLOT", "false", 1), 0);
    const ReportSummary summary = written();
    cr_assert_eq(summary.figures, 0);
    cr_assert(strstr(summary.note, "gnuplot failed on plots/sixteen.gp"), "%s", summary.note);
    cr_assert_gt(file_size("report.html"), 1000);
}

Test(report, a_run_without_points_still_has_a_page) {
    const Scene empty = { .title = "nothing yet", .model = "none" };
    scene_write(folder, &empty);
    const ReportSummary summary = written();
    cr_assert_eq(summary.figures, 0);
    cr_assert_str_eq(summary.note, "");
    assert_holds("report.html", "No finished point allows a comparison.");
}

Test(report, a_folder_without_a_run_is_wrong_input) {
    ReportSummary summary = { .figures = 7 };
    cr_assert_eq(report_write(folder, &summary, &err), ERR_INPUT);
    cr_assert_eq(summary.figures, 7);
    cr_assert_eq(file_size("report.html"), -1);
}

/* ---- the view ---- */

static void with_view(const Scene *scene, StoredRun *run, View *view) {
    scene_write(folder, scene);
    cr_assert_eq(store_read(run, folder, &err), OK, "%s", err.text);
    cr_assert_eq(view_open(view, run, &err), OK, "%s", err.text);
}

Test(report, contenders_differ_in_colour_and_mark) {
    StoredRun run = { 0 };
    View view;
    with_view(&scene_llama, &run, &view);
    cr_assert_eq(view.contender_count, 6);
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < i; j++) {
            cr_assert_neq(view.contenders[i].colour, view.contenders[j].colour);
            cr_assert_neq(view.contenders[i].mark, view.contenders[j].mark);
        }
    view_close(&view);
    store_run_free(&run);
}

Test(report, eight_contenders_have_eight_colours) {
    Scene scene = scene_llama;
    scene.contenders[6] = (SceneContender){ "mla-256+64", "MLA-256+64", "mla", 320, 400, 140, 0.2 };
    scene.contenders[7] = (SceneContender){ "gqa-4", "GQA-4", "gqa", 1024, 150, 104, 0.4 };
    StoredRun run = { 0 };
    View view;
    with_view(&scene, &run, &view);
    cr_assert_eq(view.contender_count, 8);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(view.contenders[i].colour, view.contenders[j].colour);
    view_close(&view);
    store_run_free(&run);
}

Test(report, the_shape_of_several_layers_is_what_they_share) {
    const SceneContender *const c = scene_deepseek.contenders;
    static const char *const layers[] = { "D 64, H 16, G 16, d 8", "D 64, H 1, C 16, P 8",
                                          "D 64, H 16, C 16, P 8" };
    StoredRun run = { 0 };
    View view;
    cr_assert_eq(store_open(&scene_store, folder, "", false, &err), OK, "%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        Scene scene = scene_deepseek;
        scene.layer = layers[i];
        scene_attention(&scene, &c[i], "decode", "materialised", 1024, 1, 5, 6, 0);
    }
    store_close(scene_store);
    cr_assert_eq(store_read(&run, folder, &err), OK);
    cr_assert_eq(view_open(&view, &run, &err), OK);
    Slice slice = view_slice(&view, "decode", "attention_ns", false);
    char text[128];
    view_shape(&view, &slice, "attention_ns", text, sizeof text);
    cr_assert_str_eq(text, "D 64");
    slice.contender = c[0].name;
    view_shape(&view, &slice, "attention_ns", text, sizeof text);
    cr_assert_str_eq(text, "D 64, H 16, d 8");
    view_close(&view);
    store_run_free(&run);
}

Test(report, points_of_a_slice_come_in_the_order_of_their_axis) {
    StoredRun run = { 0 };
    View view;
    with_view(&scene_deepseek, &run, &view);
    Slice slice = view_slice(&view, "decode", "attention_ns", false);
    cr_assert_eq(slice.query_tokens, 1);
    slice.contender = "mla-512+64";
    slice.path = "absorbed";
    cr_assert_eq(view_count(&view, &slice, "attention_ns"), 5);
    size_t last = 0;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(&view, &slice, "attention_ns", &at));) {
        cr_assert_gt(p->point.context_tokens, last);
        last = p->point.context_tokens;
    }
    cr_assert_str_eq(view_fastest_path(&view, slice, "mla-512+64"), "absorbed");
    cr_assert_null(view_first(&view, &slice, "no_such_metric"));
    view_close(&view);
    store_run_free(&run);
}

/* absorbed takes q, expanded takes `flat`, both power laws: they meet at q = flat exactly. */
static Crossover crossover_of(double flat) {
    static const char *const paths[] = { "absorbed", "expanded" };
    const SceneContender c = { "mla-4+2", "MLA-4+2", "mla", 6, 1, 1, 0 };
    StoredRun run = { 0 };
    View view;
    cr_assert_eq(store_open(&scene_store, folder, "", false, &err), OK, "%s", err.text);
    for (size_t q = 4; q <= 64; q *= 4)
        for (size_t k = 0; k < 2; k++)
            scene_attention(&scene_llama, &c, "decode", paths[k], 1024, q,
                            k == 0 ? (double)q : flat, 6, 10);
    store_close(scene_store);
    cr_assert_eq(store_read(&run, folder, &err), OK);
    cr_assert_eq(view_open(&view, &run, &err), OK);
    Slice slice = view_slice(&view, "decode", "attention_ns", true);
    slice.contender = c.name;
    slice.context_tokens = 1024;
    const Crossover found = crossover_find(&view, slice);
    view_close(&view);
    store_run_free(&run);
    return found;
}

Test(report, the_crossover_of_power_laws_is_found_exactly) {
    const Crossover found = crossover_of(8);
    cr_assert_float_eq(found.measured, 8, 1e-9);
    cr_assert_eq(found.closed, 10);
    cr_assert_not(found.beyond || found.below);
}

Test(report, a_crossover_outside_what_was_measured_is_not_invented) {
    const Crossover beyond = crossover_of(1000);
    cr_assert(isnan(beyond.measured) && beyond.beyond && !beyond.below);
    cr_assert(beyond.first == 4 && beyond.last == 64);
    remove_folder();
    make_folder();
    const Crossover below = crossover_of(1);
    cr_assert(isnan(below.measured) && below.below && !below.beyond);
}

/* ---- axes and words ---- */

Test(report, axes_snap_outward_to_one_two_five) {
    Axis axis = { 0 };
    axis_hold(&axis, 0); /* has no place on a logarithmic axis */
    axis_hold(&axis, 30);
    axis_hold(&axis, 700);
    axis_snap(&axis);
    cr_assert_float_eq(axis.low, 20, 1e-9);
    cr_assert_float_eq(axis.high, 1000, 1e-9);
    cr_assert_float_eq(axis_place(&axis, 20), 0, 1e-12);
    cr_assert_float_eq(axis_place(&axis, 1000), 1, 1e-12);
    cr_assert_float_eq(axis_place(&axis, sqrt(20.0 * 1000.0)), 0.5, 1e-12);
}

Test(report, labels_are_spread_without_changing_their_order) {
    double places[] = { 0.50, 0.51, 0.90, 0.505, 0.1 };
    size_t order[5];
    figure_spread(places, order, 5, 0.055);
    static const size_t expected[] = { 4, 0, 3, 1, 2 };
    for (size_t i = 0; i < 5; i++) cr_assert_eq(order[i], expected[i]);
    for (size_t i = 1; i < 5; i++)
        cr_assert_geq(places[order[i]] - places[order[i - 1]], 0.055 - 1e-6);
    cr_assert_float_eq(places[4], 0.1, 1e-12);
    cr_assert_float_eq(places[2], 0.9, 1e-12);
}

Test(report, quantities_are_written_as_people_write_them) {
    char text[48];
    static const struct {
        size_t tokens;
        const char *text;
    } tokens[] = { { 1, "1" },        { 512, "512" },      { 1024, "1K" },   { 16384, "16K" },
                   { 1048576, "1M" }, { 10000, "10,000" }, { 1000, "1000" }, { 131072, "128K" } };
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        format_tokens(tokens[i].tokens, text, sizeof text);
        cr_assert_str_eq(text, tokens[i].text);
    }
    format_time(12345, text, sizeof text);
    cr_assert_str_eq(text, "12.3 µs");
    format_time(4.5678e6, text, sizeof text);
    cr_assert_str_eq(text, "4.57 ms");
    format_time(950, text, sizeof text);
    cr_assert_str_eq(text, "950 ns");
    format_ratio(16, text, sizeof text);
    cr_assert_str_eq(text, "16.0x");
    format_ratio(56.888889, text, sizeof text);
    cr_assert_str_eq(text, "56.9x");
    format_ratio(128, text, sizeof text);
    cr_assert_str_eq(text, "128x");
    format_whole_bytes(3997696, text, sizeof text);
    cr_assert_str_eq(text, "3,997,696 B");
}
