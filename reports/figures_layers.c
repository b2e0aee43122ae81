/* figures_layers.c -- the error of each method by layer, where a study names several. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"
#include "losses.h"

/* The point of a contender in the first layer after `after`, NULL after the last. */
static const StoredPoint *next_layer(const View *view, const Slice *slice, double after) {
    const StoredPoint *best = NULL, *p;
    for (size_t at = 0; (p = view_next(view, slice, "y_rel", &at));) {
        const double layer = view_value(p, "layer_index");
        if (layer > after && (!best || layer < view_value(best, "layer_index"))) best = p;
    }
    return best;
}

/* Adds a contender's curve where it has several layers. */
static Status add_curve(const View *view, const Slice *slice, const Contender *look, Chart *chart,
                        Error *err) {
    Slice own = *slice;
    own.contender = look->name;
    const StoredPoint *p = next_layer(view, &own, -1);
    if (!p || !next_layer(view, &own, view_value(p, "layer_index"))) return OK;
    TRY(chart_curve(chart, look->label, look, 1, err));
    for (; p; p = next_layer(view, &own, view_value(p, "layer_index"))) {
        const double error = view_value(p, "y_rel");
        TRY(chart_add(chart, view_value(p, "layer_index"), error, error, error, err));
    }
    return OK;
}

/* The contender's layer that loses most beside the one that loses least. */
static void describe(const View *view, const Slice *slice, const Chart *chart, Figure *figure) {
    const Place *worst = NULL;
    char shape[128];
    view_teacher_shape(view, slice, shape, sizeof shape);
    for (size_t i = 0; i < chart->place_count; i++)
        if (!worst || chart->places[i].y > worst->y) worst = &chart->places[i];
    snprintf(figure->name, sizeof figure->name, "layers");
    snprintf(figure->title, sizeof figure->title, "Layer %.0f loses most, with %s: y_rel %.2g",
             worst->x, chart->curves[worst->curve].label, worst->y);
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured against fp64, %s rows; layers of %s", slice->kv_dtype, shape);
    snprintf(
        figure->caption, sizeof figure->caption,
        "y_rel of each layer by itself, each fed with its own inputs. Errors elsewhere in this "
        "report are pooled over the layers: sums of squares, not means of ratios.");
}

Status figure_layers(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = losses_slice(view);
    Chart chart = { .scale = 1, .whole = true };
    Status status = OK;
    for (size_t i = 0; i < view->contender_count && status == OK; i++)
        status = add_curve(view, &slice, &view->contenders[i], &chart, err);
    if (status == OK && chart.curve_count) {
        describe(view, &slice, &chart, figure);
        snprintf(chart.x_label, sizeof chart.x_label, "layer");
        snprintf(chart.y_label, sizeof chart.y_label, "y_rel, relative error of the output");
        Drawing d;
        status = figure_begin(&d, folder, figure, err);
        if (status == OK) status = figure_end(&d, chart_write(&chart, &d, err), "lines", err);
    }
    chart_free(&chart);
    return status;
}
