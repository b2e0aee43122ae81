/* chart.c -- curves with labels at their ends; see chart.h. */
#include "chart.h"

#include <math.h>
#include <string.h>

#include "buffer.h"

Status chart_curve(Chart *chart, const char *label, const Contender *look, int dash, Error *err) {
    Curve *grown = buffer_grown(chart->curves, &chart->curve_room, chart->curve_count,
                                chart->curve_count + 1, sizeof *grown, "curves", err);
    if (!grown) return ERR_MACHINE;
    chart->curves = grown;
    Curve *curve = &grown[chart->curve_count++];
    *curve = (Curve){ .colour = look->colour, .mark = look->mark, .dash = dash };
    snprintf(curve->label, sizeof curve->label, "%s", label);
    return OK;
}

Status chart_add(Chart *chart, double x, double y, double low, double high, Error *err) {
    if (!(y > 0)) return OK;
    Place *grown = buffer_grown(chart->places, &chart->place_room, chart->place_count,
                                chart->place_count + 1, sizeof *grown, "places of curves", err);
    if (!grown) return ERR_MACHINE;
    chart->places = grown;
    grown[chart->place_count++] = (Place){ chart->curve_count - 1, x, y, low, high };
    chart->curves[chart->curve_count - 1].end = y;
    axis_hold(&chart->x, x);
    if (chart->whole && x == 0) chart->from_zero = true;
    axis_hold(&chart->y, low > 0 ? low : y);
    axis_hold(&chart->y, high > 0 ? high : y);
    return OK;
}

Status chart_add_metric(Chart *chart, double x, const Metric *metric, Error *err) {
    const double low = metric->low > 0 ? metric->low : metric->value;
    const double high = metric->high > 0 ? metric->high : metric->value;
    return chart_add(chart, x, metric->value, low, high, err);
}

void chart_free(Chart *chart) {
    buffer_free(chart->curves);
    buffer_free(chart->places);
    *chart = (Chart){ 0 };
}

void chart_time_axis(Chart *chart, const char *what) {
    static const struct {
        double ns;
        const char *name;
    } units[] = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "µs" }, { 1, "ns" } };
    size_t unit = 0;
    while (unit < 3 && sqrt(chart->y.low * chart->y.high) < 0.5 * units[unit].ns) unit++;
    chart->scale = units[unit].ns;
    snprintf(chart->y_label, sizeof chart->y_label, "%s (%s)", what, units[unit].name);
}

static void write_data(const Chart *chart, FILE *data) {
    fprintf(data, "curve\tlabel\tx\ty\tlow\thigh\n");
    for (size_t i = 0; i < chart->place_count; i++) {
        const Place *p = &chart->places[i];
        fprintf(data, "%zu\t", p->curve + 1);
        figure_field(data, chart->curves[p->curve].label);
        fprintf(data, "\t%.9g\t%.9g\t%.9g\t%.9g\n", p->x, p->y / chart->scale,
                p->low / chart->scale, p->high / chart->scale);
    }
}

/* Where each label stands beside the right end, in parts of the height. */
static Status place_labels(const Chart *chart, Drawing *drawing, Error *err) {
    enum { LINES_MOST = 19 }; /* label lines that the height of a figure holds */
    double *places = NULL;
    size_t *order = NULL;
    const size_t count = chart->curve_count;
    Status status = BUFFER(&places, count, "label places", err);
    if (status == OK) status = BUFFER(&order, count, "label order", err);
    for (size_t i = 0; i < count && status == OK; i++)
        places[i] = axis_place(&chart->y, chart->curves[i].end / chart->scale);
    if (status == OK) {
        figure_spread(places, order, count, count < LINES_MOST ? 0.055 : 1.05 / (double)count);
        figure_array(drawing, "label_at", count);
        for (size_t i = 0; i < count; i++) figure_number_item(drawing, "label_at", i, places[i]);
    }
    buffer_free(places);
    buffer_free(order);
    return status;
}

/* Marks at whole numbers, a dozen at most. */
static void write_whole_axis(const Chart *chart, Drawing *drawing) {
    const double low = chart->from_zero ? 0 : chart->x.low, high = chart->x.high;
    const double step = fmax(1, ceil((high - low) / 12)), room = 0.03 * (high - low) + 0.01;
    fprintf(drawing->commands.stream,
            "x_linear = 1\nx_low = %.9g\nx_high = %.9g\nx_tics = \"%.9g, %.9g\"\n", low - room,
            high + room, low, step);
}

Status chart_write(Chart *chart, Drawing *drawing, Error *err) {
    if (chart->line > 0) axis_hold(&chart->y, chart->line);
    if (chart->x.low == chart->x.high && !chart->whole) chart->x.low /= 2, chart->x.high *= 2;
    chart->y.low /= chart->scale;
    chart->y.high /= chart->scale;
    axis_snap(&chart->y);
    write_data(chart, drawing->data.stream);
    figure_text(drawing, "x_label", chart->x_label);
    figure_text(drawing, "y_label", chart->y_label);
    if (chart->whole)
        write_whole_axis(chart, drawing);
    else
        axis_write_tokens(drawing, "x", &(Axis){ chart->x.low / 1.06, chart->x.high * 1.06 });
    axis_write(drawing, "y", &chart->y);
    figure_number(drawing, "level", chart->line / chart->scale);
    figure_text(drawing, "level_label", chart->line_label);
    figure_number(drawing, "N", (double)chart->curve_count);
    const char *const arrays[] = { "label", "colour", "mark", "dash", "panel" };
    for (size_t i = 0; i < 5; i++) figure_array(drawing, arrays[i], chart->curve_count);
    for (size_t i = 0; i < chart->curve_count; i++) {
        const Curve *c = &chart->curves[i];
        figure_item(drawing, "label", i, c->label);
        figure_number_item(drawing, "colour", i, c->colour);
        figure_number_item(drawing, "mark", i, c->mark);
        figure_number_item(drawing, "dash", i, c->dash);
        figure_number_item(drawing, "panel", i, c->panel);
    }
    return place_labels(chart, drawing, err);
}
