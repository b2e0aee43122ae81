/* figure.h -- one figure: its data (name.tsv), its commands (name.gp) and the words around it.
 *
 * The commands are a head of variables written here, then reports/style.gp, then the figure's
 * template, so that `gnuplot name.gp` in the folder of the plots draws it again by hand. Text of
 * users enters as single-quoted strings with gnuplot's markup switched off. */
#ifndef KVLAB_FIGURE_H
#define KVLAB_FIGURE_H

#include <stdio.h>

#include "textfile.h"
#include "view.h"

typedef struct {
    char name[24];      /* of its files; "" when the run has no data for it */
    char title[160];    /* what it shows */
    char subtitle[240]; /* measured, exact or modelled; the slice */
    char caption[800];  /* how to read it, for the pages */
    bool drawn;
} Figure;

typedef struct {
    TextFile data, commands;
    const Figure *figure;
} Drawing;

/* Opens both files of a figure in a folder and writes its name, title and subtitle. On success
 * figure_end must follow. */
Status figure_begin(Drawing *drawing, const char *folder, const Figure *figure, Error *err);

/* Variables for the template: a text, a number, the start of an array and its items. */
void figure_text(Drawing *drawing, const char *name, const char *value);
void figure_number(Drawing *drawing, const char *name, double value);
void figure_array(Drawing *drawing, const char *name, size_t count);
void figure_item(Drawing *drawing, const char *name, size_t index, const char *value);
void figure_number_item(Drawing *drawing, const char *name, size_t index, double value);

/* Ends both files with the style and the template reports/<name>.gp; removes them when status or
 * this fails. */
Status figure_end(Drawing *drawing, Status status, const char *template, Error *err);

/* A field of the data: no tab and no line end. */
void figure_field(FILE *data, const char *text);

/* ---- axes ---- */

/* A logarithmic axis: range on 1-2-5 steps around the values. */
typedef struct {
    double low, high;
} Axis;

/* Widens an axis ({0, 0} at first) to hold a positive value. */
void axis_hold(Axis *axis, double value);
/* Snaps it outward to 1, 2 or 5 times a power of ten. */
void axis_snap(Axis *axis);
/* Where a value lies, 0 at the lower end and 1 at the upper. */
double axis_place(const Axis *axis, double value);
/* Variables <name>_low, <name>_high, <name>_tics (marks at 1-2-5 where that is few enough) and
 * <name>_blanks, the same marks without text. */
void axis_write(Drawing *drawing, const char *name, const Axis *axis);
/* The same with marks at powers of two as people say tokens: 512, 1K, 1M. */
void axis_write_tokens(Drawing *drawing, const char *name, const Axis *axis);

/* Moves places (any order, in 0..1) apart until neighbours are at least `gap` apart, keeping their
 * order and staying near. order [count] is scratch. */
void figure_spread(double *places, size_t *order, size_t count, double gap);

/* ---- words ---- */
void format_whole_bytes(double bytes, char *text, size_t size); /* 3,997,696 B */
void format_tokens(size_t tokens, char *text, size_t size);     /* 1K, 16K, 1M; else 1,000 */
void format_time(double ns, char *text, size_t size);           /* 12.3 us, 4.56 ms */
void format_ratio(double ratio, char *text, size_t size);       /* 16.0x */

#endif
