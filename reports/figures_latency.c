/* figures_latency.c -- measured time against size: decode, prefill, projections. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"
#include "methods.h"

/* One curve a contender over the points of a slice. by_query: x is the new tokens. */
static Status draw_curves(const View *view, Slice slice, const char *metric, bool by_query,
                          Chart *chart, Error *err) {
    const Slice open = slice;
    const bool timed = strcmp(metric, "attention_ns") == 0; /* by path; projections are not */
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *look = &view->contenders[i];
        slice.contender = look->name;
        slice.path = timed ? view_fastest_path(view, open, look->name) : NULL;
        if (timed && !slice.path) continue;
        const StoredPoint *p = view_first(view, &slice, metric);
        if (!p) continue;
        char label[128];
        view_path_label(view, &open, p, label, sizeof label);
        if (timed && strcmp(look->attention, "mla") == 0 && !strstr(label, slice.path))
            snprintf(label + strlen(label), sizeof label - strlen(label), " %s", slice.path);
        TRY(chart_curve(chart, label, look, 1, err));
        for (size_t at = 0; (p = view_next(view, &slice, metric, &at));)
            TRY(chart_add_metric(
                chart, (double)(by_query ? p->point.query_tokens : p->point.context_tokens),
                store_metric(p, metric), err));
    }
    return OK;
}

/* Draws a chart of one phase; what and x_label are for the axes. */
static Status draw_chart(const View *view, const Slice *slice, const char *metric, bool by_query,
                         const char *what, const char *x_label, const Figure *figure,
                         const char *folder, Error *err) {
    Chart chart = { .scale = 1 };
    snprintf(chart.x_label, sizeof chart.x_label, "%s", x_label);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    Status status = draw_curves(view, *slice, metric, by_query, &chart, err);
    if (status == OK) {
        chart_time_axis(&chart, what);
        status = chart_write(&chart, &d, err);
    }
    chart_free(&chart);
    return figure_end(&d, status, "lines", err);
}

static const char *plural(size_t count) {
    return count == 1 ? "" : "s";
}

static bool several_contexts(const View *view, const Slice *slice) {
    const StoredPoint *first = view_first(view, slice, "attention_ns"), *p;
    for (size_t at = 0; (p = view_next(view, slice, "attention_ns", &at));)
        if (p->point.context_tokens != first->point.context_tokens) return true;
    return false;
}

Status figure_decode(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = view_slice(view, "decode", "attention_ns", false);
    if (!view_first(view, &slice, "attention_ns")) return OK;
    /* many methods at one context stand in figures_threeway.c */
    if (methods_compared(view->run) && !several_contexts(view, &slice)) return OK;
    char shape[128];
    view_shape(view, &slice, "attention_ns", shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "decode");
    snprintf(figure->title, sizeof figure->title,
             "Decode: attention latency of one layer against context");
    snprintf(
        figure->subtitle, sizeof figure->subtitle,
        "measured: medians, bars are quartiles; %zu new token%s, %zu sequence%s, %s rows%s; %s",
        slice.query_tokens, plural(slice.query_tokens), slice.sequences, plural(slice.sequences),
        slice.kv_dtype, view_temperature(view, &slice), shape);
    snprintf(
        figure->caption, sizeof figure->caption,
        "Time of the attention kernel of one layer for one decode step. MLA is drawn by the "
        "path over the cached latent that is fastest at the longest context; the figure of the "
        "paths has the others. Its products with the up-projection are in the time; all other "
        "projections are not.");
    return draw_chart(view, &slice, "attention_ns", false, "attention, one layer",
                      "cached context (tokens)", figure, folder, err);
}

Status figure_prefill(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = view_slice(view, "prefill", "attention_ns", true);
    if (!view_first(view, &slice, "attention_ns")) return OK;
    char shape[128];
    view_shape(view, &slice, "attention_ns", shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "prefill");
    snprintf(figure->title, sizeof figure->title,
             "Prefill: attention latency of one layer against prompt length");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: medians, bars are quartiles; %zu sequence%s, %s rows; %s", slice.sequences,
             plural(slice.sequences), slice.kv_dtype, shape);
    snprintf(figure->caption, sizeof figure->caption,
             "Time of the attention kernel of one layer over a whole prompt, causal. MLA is drawn "
             "by the path over the cached latent that is fastest at the longest prompt. Its "
             "products with the up-projection are in the time; all other projections are not.");
    return draw_chart(view, &slice, "attention_ns", true, "attention, one layer", "prompt (tokens)",
                      figure, folder, err);
}

/* One number of new tokens makes no curve: it stands in the table of steps. */
static bool is_swept(const View *view, const Slice *slice, const char *metric) {
    const StoredPoint *first = view_first(view, slice, metric), *p;
    for (size_t at = 0; (p = view_next(view, slice, metric, &at));)
        if (p->point.query_tokens != first->point.query_tokens) return true;
    return false;
}

Status figure_projections(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = view_slice(view, "projections", "projection_ns", true);
    if (!is_swept(view, &slice, "projection_ns")) return OK;
    char shape[128];
    view_shape(view, &slice, "projection_ns", shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "projections");
    snprintf(figure->title, sizeof figure->title,
             "Projections of one layer: what stands around the attention");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: medians, bars are quartiles; %s weights; %s", slice.kv_dtype, shape);
    snprintf(figure->caption, sizeof figure->caption,
             "Time of all projections of one layer (query, key, value or latent, output) for a "
             "number of new tokens. They do not depend on the cached context. MLA's up-projection "
             "is not here: its products are timed with the attention.");
    return draw_chart(view, &slice, "projection_ns", true, "projections, one layer", "new tokens",
                      figure, folder, err);
}
