/* report.c -- read the run, write each figure's data and commands, draw them, write both pages.
 *
 * Data and commands come first and stay whatever gnuplot does; what could not be drawn is said in
 * the summary and in the pages. */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "figures.h"
#include "findings.h"
#include "gnuplot.h"
#include "page.h"
#include "tables.h"
#include "textfile.h"

static FigureBuilder *const builders[] = {
    figure_sixteen,   figure_bytes,       figure_context,   figure_decode,   figure_step,
    figure_prefill,   figure_paths,       figure_crossover, figure_roofline, figure_error,
    figure_pareto,    figure_threeway,    figure_rank,      figure_spectra,  figure_layers,
    figure_published, figure_projections, figure_users,     figure_memory,
};
enum { FIGURES = sizeof builders / sizeof *builders };

static const char *const method[] = {
    "Each number says what it is: measured (timed or compared in this run), exact (a closed form "
    "or "
    "a count) or modelled (computed from measured rates of this machine).",
    "Times: one warm-up call apart, then samples until at least the number and the seconds that "
    "the "
    "configuration asks; the contenders of a group take turns within one run; medians with "
    "quartiles, all samples stored. A difference inside the quartiles is called none.",
    "Roofline: the larger of least flops over the measured FMA rate and least bytes over the "
    "measured read rate.",
    "Errors: against an fp64 reference of the teacher, over causal pairs only, sums of numerators "
    "and denominators pooled over heads and tokens.",
    "Ratios: to the cache of MHA with the same heads in bf16.",
};

static void remove_drawings(const char *plots, const char *name) {
    static const char *const suffixes[] = { "svg", "pdf", "png" };
    Error ignored;
    for (size_t i = 0; i < 3; i++) {
        char leaf[64], path[PATH_SIZE];
        snprintf(leaf, sizeof leaf, "%.30s.%s", name, suffixes[i]);
        if (textfile_path(path, plots, leaf, &ignored) == OK) remove(path);
    }
}

/* Draws one figure; the first thing that goes wrong is kept as the summary's note. */
static Status draw(const char *plots, Figure *figure, ReportSummary *summary, Error *err) {
    GnuplotResult result = GNUPLOT_FAILED;
    char complaint[160] = "";
    remove_drawings(plots, figure->name);
    TRY(gnuplot_run(plots, figure->name, &result, complaint, sizeof complaint, err));
    figure->drawn = result == GNUPLOT_DREW;
    summary->figures += figure->drawn;
    if (figure->drawn || summary->note[0]) return OK;
    if (result == GNUPLOT_MISSING)
        snprintf(
            summary->note, sizeof summary->note,
            "gnuplot is missing, so no figure was drawn; install it (gnuplot-nox on Debian and "
            "Ubuntu, gnuplot elsewhere), then: kvlab report");
    else
        snprintf(summary->note, sizeof summary->note, "gnuplot failed on plots/%.30s.gp: %.160s",
                 figure->name, complaint);
    return OK;
}

static void write_method(Page *page) {
    page_heading(page, "Method");
    for (size_t i = 0; i < sizeof method / sizeof *method; i++) page_paragraph(page, method[i]);
}

static Status write_content(const View *view, const Figure *figures, const ReportSummary *summary,
                            Page *page, Error *err) {
    char text[1024];
    const char *title = store_fact(view->run, "title");
    TRY(page_begin(page, title[0] ? title : "kvlab run", err));
    snprintf(text, sizeof text, "Model: %s. %s, %s threads, kernels %s. Started %s.",
             store_fact(view->run, "model"), store_fact(view->run, "cpu"),
             store_fact(view->run, "threads"), store_fact(view->run, "isa"),
             store_fact(view->run, "started"));
    page_paragraph(page, text);
    if (summary->note[0]) page_paragraph(page, summary->note);
    page_heading(page, "Findings");
    TRY(findings_write(view, page, err));
    page_heading(page, "Figures");
    for (size_t i = 0; i < FIGURES; i++)
        if (figures[i].name[0]) TRY(page_figure(page, &figures[i], err));
    page_heading(page, "Tables");
    table_bytes(view, page);
    table_times(view, page);
    table_errors(view, page);
    table_capacity(view, page);
    table_missing(view, page);
    table_warnings(view, page);
    page_heading(page, "Machine");
    table_machine(view, page);
    write_method(page);
    table_config(view, page);
    page_end(page);
    return OK;
}

static Status write_page(const View *view, const char *folder, const char *plots, const char *name,
                         const Figure *figures, const ReportSummary *summary, Error *err) {
    char path[PATH_SIZE];
    TextFile file;
    TRY(textfile_path(path, folder, name, err));
    TRY(textfile_open(&file, path, err));
    Page page = { .out = file.stream, .html = strstr(name, ".html") != NULL, .plots = plots };
    return textfile_close(&file, write_content(view, figures, summary, &page, err), err);
}

static Status write_all(const View *view, const char *folder, ReportSummary *summary, Error *err) {
    char plots[PATH_SIZE];
    Figure figures[FIGURES] = { 0 };
    TRY(textfile_path(plots, folder, "plots", err));
    TRY(textfile_make_folder(plots, err));
    for (size_t i = 0; i < FIGURES; i++) TRY(builders[i](view, plots, &figures[i], err));
    for (size_t i = 0; i < FIGURES; i++)
        if (figures[i].name[0]) TRY(draw(plots, &figures[i], summary, err));
    TRY(write_page(view, folder, plots, "report.html", figures, summary, err));
    return write_page(view, folder, plots, "report.md", figures, summary, err);
}

/* The run, without points where there are too many to be shown. */
static Status read_run(const char *folder, StoredRun *run, ReportSummary *summary, Error *err) {
    size_t points = 0;
    TRY(store_read_facts(run, folder, &points, err));
    if (points > REPORT_POINTS_MOST) {
        snprintf(summary->note, sizeof summary->note,
                 "%zu points are too many for figures and pages (%d at most): results.csv and "
                 "results.sqlite hold them all",
                 points, REPORT_POINTS_MOST);
        return OK;
    }
    store_run_free(run);
    return store_read(run, folder, err);
}

Status report_write(const char *folder, ReportSummary *summary, Error *err) {
    StoredRun run = { 0 };
    View view = { 0 };
    ReportSummary draft = { 0 };
    TRY(read_run(folder, &run, &draft, err));
    Status status = view_open(&view, &run, err);
    if (status == OK) status = write_all(&view, folder, &draft, err);
    view_close(&view);
    store_run_free(&run);
    if (status == OK) *summary = draft;
    return status;
}
