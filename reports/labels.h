/* labels.h -- names beside marks: each takes the nearest place around its mark where it touches no
 * other name, no mark and no line; one that had to go far is tied to its mark by a thin line. */
#ifndef KVLAB_LABELS_H
#define KVLAB_LABELS_H

#include "figure.h"

typedef struct {
    char text[80];
    unsigned colour;
    double x, y;      /* of the mark, in parts of the plot area */
    double half;      /* of the mark's size, pixels */
    double left, low; /* of the text's box, pixels; filled by labels_place */
    bool tied;
} Label;

enum { LABEL_LINES_MOST = 160 };

/* A straight line of the figure that names keep off, level or upright, in parts of the plot area;
 * weight: 1 for a thin one. */
typedef struct {
    double x, y, to_x, to_y, weight;
} LabelLine;

typedef struct {
    double width, height; /* of the plot area, pixels */
    double font;          /* of names, points as gnuplot takes them */
    LabelLine line[LABEL_LINES_MOST];
    size_t lines;
} LabelArea;

/* Adds a line; those beyond LABEL_LINES_MOST or outside the plot area are left out. */
void labels_avoid(LabelArea *area, LabelLine line);

void labels_place(Label *labels, size_t count, const LabelArea *area);

/* Variables `labels`, label[], label_colour[], label_x[], label_y[] (middle, in parts of the
 * plot area), label_size, and for names that are tied: tie_from_x[] .. tie_to_y[]; drawn by
 * `eval put_labels`. */
void labels_write(Drawing *drawing, const Label *labels, size_t count, const LabelArea *area);

/* The legend of the families (methods.h) that the contenders of a slice are of, drawn by
 * `eval put_families`: `families`, family[], family_colour[], family_at[] (pixels). */
void labels_families(Drawing *drawing, const View *view, const Slice *slice, const char *metric);

#endif
