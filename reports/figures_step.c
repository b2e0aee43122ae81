/* figures_step.c -- the whole decode step of a layer, projections and attention, which is what a
 * user waits for. The two were timed apart; the sum of their medians stands for the step. */
#include "chart.h"
#include "figures.h"

/* The projections of the same path: what a path leaves to them, as building the new token's keys
 * for a materialised cache, differs. */
static const StoredPoint *projections_of(const View *view, const Point *decode) {
    Slice slice = view_slice(view, "projections", "projection_ns", true);
    slice.contender = decode->contender;
    slice.path = decode->path;
    slice.query_tokens = decode->query_tokens;
    slice.sequences = decode->sequences;
    return view_first(view, &slice, "projection_ns");
}

bool view_step(const View *view, const StoredPoint *decode, Step *step) {
    const StoredPoint *p = projections_of(view, &decode->point);
    if (!p) return false;
    const Metric *attention = store_metric(decode, "attention_ns"),
                 *projections = store_metric(p, "projection_ns");
    *step = (Step){ attention, projections, attention->low + projections->low,
                    attention->value + projections->value, attention->high + projections->high };
    return true;
}

/* One curve a contender, by its fastest path at the longest context. */
static Status draw_steps(const View *view, const Slice *open, Chart *chart, Error *err) {
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *look = &view->contenders[i];
        Slice slice = *open;
        slice.contender = look->name;
        slice.path = view_fastest_path(view, *open, look->name);
        const StoredPoint *p = slice.path ? view_first(view, &slice, "attention_ns") : NULL;
        Step step;
        if (!p || !view_step(view, p, &step)) continue;
        char label[128];
        view_path_label(view, open, p, label, sizeof label);
        TRY(chart_curve(chart, label, look, 1, err));
        for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));)
            if (view_step(view, p, &step))
                TRY(chart_add(chart, (double)p->point.context_tokens, step.median, step.low,
                              step.high, err));
    }
    return OK;
}

static void describe(const View *view, const Slice *slice, Figure *figure) {
    char shape[128];
    view_shape(view, slice, "attention_ns", shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "step");
    snprintf(figure->title, sizeof figure->title,
             "Decode step of one layer: projections and attention");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "sum of two measured medians, bars sum the quartiles; %zu new token%s, %s rows; %s",
             slice->query_tokens, slice->query_tokens == 1 ? "" : "s", slice->kv_dtype, shape);
    snprintf(figure->caption, sizeof figure->caption,
             "What one layer costs for one decode step: its projections (query, key, value or "
             "latent, output; over weights in f32) and its attention, timed apart and added. The "
             "table of steps has both parts.");
}

Status figure_step(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = view_slice(view, "decode", "attention_ns", false);
    Chart chart = { .scale = 1 };
    Status status = draw_steps(view, &slice, &chart, err);
    if (status == OK && chart.curve_count > 0) {
        Drawing d;
        describe(view, &slice, figure);
        snprintf(chart.x_label, sizeof chart.x_label, "cached context (tokens)");
        chart_time_axis(&chart, "decode step, one layer");
        status = figure_begin(&d, folder, figure, err);
        if (status == OK) status = figure_end(&d, chart_write(&chart, &d, err), "lines", err);
    }
    chart_free(&chart);
    return status;
}
