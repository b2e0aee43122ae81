/* chart.h -- curves over logarithmic axes, each labelled at its right end; template lines.gp. */
#ifndef KVLAB_CHART_H
#define KVLAB_CHART_H

#include "figure.h"

typedef struct {
    char label[64];
    unsigned colour;
    int mark;   /* gnuplot's point type */
    int dash;   /* gnuplot's dash type, 1 solid */
    int panel;  /* 0 in charts of one panel */
    double end; /* the value at the right end */
} Curve;

typedef struct {
    size_t curve;
    double x, y, low, high;
} Place;

typedef struct {
    Curve *curves;
    size_t curve_count, curve_room;
    Place *places;
    size_t place_count, place_room;
    Axis x, y;
    bool whole, from_zero; /* x are whole numbers on a linear axis; 0 is among them */
    double scale;          /* y is divided by it on paper */
    char x_label[80];      /* with the unit */
    char y_label[80];      /* with the unit */
    double line;           /* a level drawn across, 0 none */
    char line_label[96];
} Chart;

/* Starts a curve; chart_add then adds its places, left to right: one at least above 0, as the axis
 * is logarithmic. What is not above 0 is left out. */
Status chart_curve(Chart *chart, const char *label, const Contender *look, int dash, Error *err);
Status chart_add(Chart *chart, double x, double y, double low, double high, Error *err);
/* The same from a stored metric with its quartiles. */
Status chart_add_metric(Chart *chart, double x, const Metric *metric, Error *err);
void chart_free(Chart *chart);

/* Chooses ns, us, ms or s for the y axis by its range and labels it "what (unit)". */
void chart_time_axis(Chart *chart, const char *what);

/* Writes data, ranges, marks and label places into a drawing. tokens: x are token counts. */
Status chart_write(Chart *chart, Drawing *drawing, Error *err);

#endif
