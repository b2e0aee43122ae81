/* figures_bytes.c -- what the cache holds: a token of each contender, and a context of it. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"
#include "methods.h"
#include "quantity.h"

static const char per_token[] = "cache_bytes_per_token";

/* Paths that hold the same bytes share one row: is this the first point of its contender and type
 * that holds so many? */
static bool first_of_size(const View *view, const StoredPoint *point) {
    const Slice slice = { "bytes", point->point.contender, NULL, point->point.kv_dtype, ANY, ANY,
                          ANY };
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, per_token, &at));)
        if (view_value(p, per_token) == view_value(point, per_token)) return p == point;
    return true;
}

static bool several_sizes(const View *view, const char *contender, const char *type) {
    const Slice slice = { "bytes", contender, NULL, type, ANY, ANY, ANY };
    size_t count = 0;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, per_token, &at));)
        count += first_of_size(view, p);
    return count > 1;
}

/* "MLA-512+64", with the path where paths differ in bytes and the type where types were swept. */
static void row_label(const View *view, const StoredPoint *p, bool types, char *text, size_t size) {
    const bool paths = several_sizes(view, p->point.contender, p->point.kv_dtype);
    snprintf(text, size, "%s%s%s%s%s", view_contender(view, p->point.contender)->label,
             paths ? ", " : "", paths ? p->point.path : "", types ? ", " : "",
             types ? p->point.kv_dtype : "");
}

static bool several_types(const View *view, const Slice *slice) {
    const StoredPoint *first = view_first(view, slice, per_token), *p;
    for (size_t at = 0; (p = view_next(view, slice, per_token, &at));)
        if (strcmp(p->point.kv_dtype, first->point.kv_dtype) != 0) return true;
    return false;
}

Status figure_bytes(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = { "bytes", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p = view_first(view, &slice, per_token);
    if (!p) return OK;
    const bool types = several_types(view, &slice);
    snprintf(figure->name, sizeof figure->name, "bytes");
    snprintf(figure->title, sizeof figure->title, "KV-cache bytes a token, all layers");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "exact: closed form, equal to the bytes counted on the held cache%s%s%s",
             types ? "" : "; ", types ? "" : p->point.kv_dtype, types ? "" : " rows");
    snprintf(figure->caption, sizeof figure->caption,
             "%s, all layers together, on a logarithmic axis. The factor is how much less that is "
             "than MHA of the same heads in bf16.",
             methods_compared(view->run)
                 ? "Bytes that a sequence stores over its tokens"
                 : "Bytes that one more token of context adds to the cache");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    fprintf(d.data.stream, "row\tlabel\tvalue\tcolour\tmark\ttext\n");
    Axis axis = { 0 };
    size_t rows = 0, longest = 0;
    for (size_t at = 0; (p = view_next(view, &slice, per_token, &at));) {
        if (!first_of_size(view, p)) continue;
        char label[128], bytes[32], ratio[32] = "";
        const double value = view_value(p, per_token);
        row_label(view, p, types, label, sizeof label);
        if (strlen(label) > longest) longest = strlen(label);
        format_whole_bytes(value, bytes, sizeof bytes);
        if (isfinite(view_value(p, "ratio_to_mha")))
            format_ratio(view_value(p, "ratio_to_mha"), ratio, sizeof ratio);
        const Contender *look = view_contender(view, p->point.contender);
        fprintf(d.data.stream, "%zu\t", ++rows);
        figure_field(d.data.stream, label);
        fprintf(d.data.stream, "\t%.17g\t%u\t%d\t%s%s%s\n", value, look->colour, look->mark, bytes,
                ratio[0] ? "   " : "", ratio);
        axis_hold(&axis, value);
    }
    axis_snap(&axis);
    axis.low = axis.low / 2;
    axis_snap(&axis);
    axis_write(&d, "x", &axis);
    figure_number(&d, "N", (double)rows);
    figure_number(&d, "height", 140 + 34 * (double)rows);
    if (longest > 20) figure_number(&d, "left", 0.25 + 0.01 * (double)(longest - 20));
    figure_text(&d, "x_label", "cache bytes a token (B)");
    return figure_end(&d, OK, "dots", err);
}

/* Fills the chart with one straight line a contender and size. */
static Status draw_contexts(const View *view, const Slice *slice, size_t longest, Chart *chart,
                            Error *err) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, per_token, &at));) {
        if (!first_of_size(view, p)) continue;
        char label[128];
        row_label(view, p, false, label, sizeof label);
        TRY(chart_curve(chart, label, view_contender(view, p->point.contender), 1, err));
        for (size_t tokens = 1024; tokens <= longest; tokens *= 4) {
            const double bytes = view_value(p, per_token) * (double)tokens;
            TRY(chart_add(chart, (double)tokens, bytes, bytes, bytes, err));
        }
    }
    return OK;
}

Status figure_context(const View *view, const char *folder, Figure *figure, Error *err) {
    enum { LONGEST = 1048576 };
    const Slice slice = view_slice(view, "bytes", per_token, false);
    if (!view_first(view, &slice, per_token)) return OK;
    /* windows and kept tokens: what methods hold is no straight line through one point */
    if (methods_compared(view->run)) return OK;
    const char *device = store_fact(view->run, "device");
    double memory = 0;
    if (!quantity_real(store_fact(view->run, "device_memory_bytes"), &memory)) memory = 0;
    snprintf(figure->name, sizeof figure->name, "context");
    snprintf(figure->title, sizeof figure->title, "KV cache of one sequence against its context");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "exact: bytes a token times tokens, all layers; %s rows", slice.kv_dtype);
    snprintf(figure->caption, sizeof figure->caption,
             "Cache bytes of one sequence for contexts of 1K to 1M tokens.%s",
             memory > 0 ? " The dashed line is all of the device's memory; weights and activations "
                          "need a part of it too."
                        : "");
    Chart chart = { .scale = 0x1p30, .line = memory > 0 ? memory : 0 };
    snprintf(chart.x_label, sizeof chart.x_label, "context (tokens)");
    snprintf(chart.y_label, sizeof chart.y_label, "cache of one sequence (GiB)");
    if (memory > 0)
        snprintf(chart.line_label, sizeof chart.line_label, "%.60s: %.1f GiB", device,
                 memory / 0x1p30);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    Status status = draw_contexts(view, &slice, LONGEST, &chart, err);
    if (status == OK) status = chart_write(&chart, &d, err);
    chart_free(&chart);
    return figure_end(&d, status, "lines", err);
}
