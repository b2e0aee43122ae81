/* figures_spectra.c -- how much energy of the teacher's keys (before and after RoPE), values and
 * [K | V] the best components of a rank leave out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "figures.h"
#include "losses.h"

/* What the store holds, and how it is drawn. */
static const struct {
    const char *name, *label;
    Contender look;
} spectra[] = {
    { "key", "K before RoPE", { .colour = 0x0072b2, .mark = 7 } },
    { "key_rotated", "K after RoPE", { .colour = 0xd55e00, .mark = 5 } },
    { "value", "V", { .colour = 0x009e73, .mark = 9 } },
    { "both", "[K | V]", { .colour = 0x000000, .mark = 13 } },
};
enum { SPECTRA = sizeof spectra / sizeof *spectra };

/* Energy shares below this are not drawn: rounding, or nothing. */
static const double floor_share = 1e-4;

/* The point that carries the spectra of its layer, NULL when none does. */
static const StoredPoint *find(const View *view) {
    const Slice slice = losses_slice(view);
    return view_first(view, &slice, "spectrum_key_1");
}

static double stored(const StoredPoint *p, const char *name, const char *what) {
    char metric[48];
    snprintf(metric, sizeof metric, "%s_%s", name, what);
    return view_value(p, metric);
}

static Status add_curve(Chart *chart, const StoredPoint *p, size_t i, Error *err) {
    char label[64], prefix[48];
    char first[48];
    snprintf(first, sizeof first, "spectrum_%s_1", spectra[i].name);
    if (!(view_value(p, first) >= floor_share)) return OK;
    const double ninety = stored(p, spectra[i].name, "ninety");
    const int length = snprintf(prefix, sizeof prefix, "spectrum_%s_", spectra[i].name);
    snprintf(label, sizeof label, "%s", spectra[i].label);
    if (isfinite(ninety)) snprintf(label, sizeof label, "%s, r90 %.0f", spectra[i].label, ninety);
    TRY(chart_curve(chart, label, &spectra[i].look, 1, err));
    for (size_t m = 0; m < p->metric_count; m++) {
        const Metric *metric = &p->metrics[m];
        char *end;
        if (strncmp(metric->name, prefix, (size_t)length) != 0) continue;
        const unsigned long rank = strtoul(metric->name + length, &end, 10);
        if (*end || end == metric->name + length || metric->value < floor_share) continue;
        TRY(chart_add(chart, (double)rank, metric->value, metric->value, metric->value, err));
    }
    return OK;
}

static void describe(const View *view, const StoredPoint *p, Figure *figure) {
    const double before = stored(p, "key", "ninety"), after = stored(p, "key_rotated", "ninety");
    char shape[128], layer[32] = "";
    const Slice slice = losses_slice(view);
    view_teacher_shape(view, &slice, shape, sizeof shape);
    if (isfinite(view_value(p, "layer_index")))
        snprintf(layer, sizeof layer, ", layer %.0f", view_value(p, "layer_index"));
    snprintf(figure->name, sizeof figure->name, "spectra");
    if (isfinite(before) && isfinite(after))
        snprintf(figure->title, sizeof figure->title,
                 "%.0f components hold 90 %% of the keys before RoPE, %.0f after", before, after);
    else
        snprintf(figure->title, sizeof figure->title, "Spectra of keys and values");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured on the calibration text; on a layer of %s%s", shape, layer);
    snprintf(figure->caption, sizeof figure->caption,
             "The share of the energy (uncentred, all heads of the layer side by side) that the "
             "best r components leave out: the sum of the other eigenvalues over the sum of all. "
             "r90 is the rank that leaves out a tenth. Widths: K %.0f, V %.0f, [K | V] %.0f.",
             stored(p, "key", "width"), stored(p, "value", "width"), stored(p, "both", "width"));
}

Status figure_spectra(const View *view, const char *folder, Figure *figure, Error *err) {
    const StoredPoint *p = find(view);
    if (!p) return OK;
    Chart chart = { .scale = 1, .line = 0.1 };
    Status status = OK;
    for (size_t i = 0; i < SPECTRA && status == OK; i++) status = add_curve(&chart, p, i, err);
    if (status == OK) {
        describe(view, p, figure);
        snprintf(chart.x_label, sizeof chart.x_label, "components kept, r");
        snprintf(chart.y_label, sizeof chart.y_label, "share of the energy left out");
        snprintf(chart.line_label, sizeof chart.line_label, "a tenth");
        Drawing d;
        status = figure_begin(&d, folder, figure, err);
        if (status == OK) status = figure_end(&d, chart_write(&chart, &d, err), "lines", err);
    }
    chart_free(&chart);
    return status;
}
