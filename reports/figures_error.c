/* figures_error.c -- what compression loses: relative output error against the factor.
 *
 * The error has a linear axis from 0: what matters is which contenders are near 0 and which near 1,
 * where the output is lost; a logarithmic one would give its room to the rounding of MHA's rows.
 * Every point is named beside its mark. A name takes the first of some places around its mark where
 * it touches no other name, no mark and not the line of 16x; boxes are reckoned in parts of the
 * plot area. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "methods.h"

typedef struct {
    const StoredPoint *point;
    const Contender *look;
    char name[64];
    double ratio, error, least, most;
    double x, y;             /* in parts of the plot area */
    double bottom, top;      /* of the bar between single draws, the same */
    double left, low, wide;  /* of the name's box, the same */
    double shift_x, shift_y; /* of the name's middle, in characters and lines */
} Spot;

const ErrorVerdict error_verdicts[ERROR_VERDICTS] = {
    { 0.1, "near-lossless" }, { 0.25, "usable" }, { 0.5, "degraded" }, { INFINITY, "broken" }
};

static const double char_wide = 0.0146, line_high = 0.05, mark_half = 0.012;

static int by_ratio(const void *left, const void *right) {
    const Spot *a = left, *b = right;
    if (a->ratio != b->ratio) return a->ratio < b->ratio ? -1 : 1;
    return strcmp(a->point->point.key, b->point->point.key);
}

/* MHA converted to itself: its error, the rounding of its rows, is too near 0 to read off. */
static bool is_teacher(const Spot *spot) {
    return strcmp(spot->look->attention, "mha") == 0;
}

static bool overlaps(double a, double a_size, double b, double b_size) {
    return a < b + b_size && b < a + a_size;
}

/* The next of a spot's family, which a grey line joins it with, or NULL. */
static const Spot *next_of(const Spot *spots, size_t count, size_t i) {
    const bool mla = strcmp(spots[i].look->attention, "mla") == 0;
    for (size_t k = i + 1; k < count; k++)
        if ((strcmp(spots[k].look->attention, "mla") == 0) == mla) return &spots[k];
    return NULL;
}

/* Does the line between two spots run through a name? */
static bool is_crossed(const Spot *name, const Spot *from, const Spot *to) {
    enum { STEPS = 64 };
    for (int i = 0; to && i <= STEPS; i++) {
        const double x = from->x + (to->x - from->x) * i / STEPS;
        const double y = from->y + (to->y - from->y) * i / STEPS;
        if (overlaps(name->left, name->wide, x, 0) &&
            overlaps(name->low + 0.2 * line_high, 0.6 * line_high, y, 0))
            return true;
    }
    return false;
}

/* How much a name at its place is in the way of names before it, of all marks and of the upright
 * line. */
static int conflicts(const Spot *spots, size_t count, size_t self, double line) {
    const Spot *s = &spots[self];
    int found = s->left < 0 || s->left + s->wide > 1 || s->low < 0 || s->low + line_high > 1;
    found += overlaps(s->left, s->wide, line, 0.004);
    for (size_t i = 0; i < count; i++) {
        const Spot *o = &spots[i];
        if (i < self)
            found += overlaps(s->left, s->wide, o->left, o->wide) &&
                     overlaps(s->low, line_high, o->low, line_high);
        found +=
            overlaps(s->left, s->wide, o->x - mark_half, 2 * mark_half) &&
            overlaps(s->low, line_high, o->bottom - mark_half, o->top - o->bottom + 2 * mark_half);
        found += is_crossed(s, o, next_of(spots, count, i));
    }
    return found;
}

static void place_name(Spot *spots, size_t count, size_t self, double line) {
    Spot *s = &spots[self];
    const double characters = (double)strlen(s->name), half = characters / 2 + 1.6;
    const double tries[][2] = { { 0, 1.1 },      { 0, -1.1 },   { half, 0.9 },  { half, -0.9 },
                                { -half, -0.9 }, { half, 0.6 }, { -half, 0.6 }, { -half, 0.9 },
                                { half, 1.8 },   { -half, 1.8 } };
    enum { TRIES = sizeof tries / sizeof *tries, BESIDE = 5 };
    const size_t first = is_teacher(s) ? BESIDE : 0; /* lines rise from it */
    int least = 1000;
    Spot best = *s;
    s->wide = characters * char_wide;
    for (size_t i = 0; i < TRIES && least > 0; i++) {
        s->shift_x = tries[(first + i) % TRIES][0];
        s->shift_y = tries[(first + i) % TRIES][1];
        s->left = s->x + s->shift_x * char_wide - s->wide / 2;
        s->low = s->y + s->shift_y * line_high - line_high / 2;
        const int found = conflicts(spots, count, self, line);
        if (found < least) least = found, best = *s;
    }
    *s = best;
}

static void write_spots(const Spot *spots, size_t count, Drawing *d) {
    const char *const arrays[] = { "label", "colour", "x_at", "y_at", "shift_x", "shift_y" };
    for (size_t i = 0; i < 6; i++) figure_array(d, arrays[i], count);
    fprintf(d->data.stream, "family\tlabel\tx\ty\tlow\thigh\tcolour\tmark\n");
    for (size_t i = 0; i < count; i++) {
        const Spot *s = &spots[i];
        fprintf(d->data.stream, "%d\t", strcmp(s->look->attention, "mla") == 0 ? 2 : 1);
        figure_field(d->data.stream, s->look->label);
        fprintf(d->data.stream, "\t%.9g\t%.9g\t%.9g\t%.9g\t%u\t%d\n", s->ratio, s->error, s->least,
                s->most, s->look->colour, s->look->mark);
        figure_item(d, "label", i, s->name);
        figure_number_item(d, "colour", i, s->look->colour);
        figure_number_item(d, "x_at", i, s->ratio);
        figure_number_item(d, "y_at", i, s->error);
        figure_number_item(d, "shift_x", i, s->shift_x);
        figure_number_item(d, "shift_y", i, s->shift_y);
    }
    figure_number(d, "N", (double)count);
}

/* Fills spots from the slice; returns how many. */
static size_t collect(const View *view, const Slice *slice, Spot *spots) {
    size_t count = 0;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, "y_rel", &at));) {
        const double ratio = view_value(p, "ratio_to_mha"), error = view_value(p, "y_rel");
        if (!(ratio > 0 && error >= 0)) continue;
        Spot *s = &spots[count++];
        *s = (Spot){ .point = p,
                     .look = view_contender(view, p->point.contender),
                     .ratio = ratio,
                     .error = error,
                     .least = store_metric(p, "y_rel")->low,
                     .most = store_metric(p, "y_rel")->high };
        snprintf(s->name, sizeof s->name, "%s", s->look->label);
        if (is_teacher(s)) snprintf(s->name, sizeof s->name, "%s %.2g", s->look->label, error);
    }
    qsort(spots, count, sizeof *spots, by_ratio);
    return count;
}

/* The verdicts' ranges that the axis shows, each with its name in the middle of what is seen. */
static void write_levels(double height, Drawing *d) {
    size_t count = 0;
    while (count < ERROR_VERDICTS - 1 && error_verdicts[count].most < height) count++;
    figure_array(d, "level", count);
    figure_array(d, "verdict", count + 1);
    figure_array(d, "verdict_at", count + 1);
    for (size_t i = 0; i <= count; i++) {
        const double low = i ? error_verdicts[i - 1].most : 0;
        const double high = i < count ? error_verdicts[i].most : height;
        if (i < count) figure_number_item(d, "level", i, high);
        figure_item(d, "verdict", i, error_verdicts[i].name);
        figure_number_item(d, "verdict_at", i, (low + high) / 2);
    }
    figure_number(d, "levels", (double)count);
}

static Status draw(const View *view, Spot *spots, size_t count, const Slice *slice,
                   const char *folder, Figure *figure, Error *err) {
    char shape[128], terms[96];
    view_teacher_shape(view, slice, shape, sizeof shape);
    view_error_terms(view, terms, sizeof terms);
    snprintf(figure->name, sizeof figure->name, "error");
    snprintf(figure->title, sizeof figure->title,
             "Error of the layer's output against cache compression");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured against fp64, %s rows; on a layer of %s", slice->kv_dtype, shape);
    snprintf(
        figure->caption, sizeof figure->caption,
        "y_rel, the relative Frobenius error of the output against the MHA teacher, for a layer of "
        "%s, converted without training; %s; bars: the least and the most of one draw. An output "
        "of zeros would have 1. The words at the right are a rule of thumb of kvlab, not of the "
        "literature. Grey lines join MLA (solid) and shared heads (dashed); the upright line is "
        "16x. MHA's own error is the rounding of its %s rows.",
        shape, terms, slice->kv_dtype);
    Axis x = { 0 };
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        axis_hold(&x, spots[i].ratio);
        if (spots[i].most > most) most = spots[i].most;
    }
    axis_hold(&x, 16);
    x = (Axis){ x.low / 1.25, x.high * 1.45 };
    const double height = most > 0 ? 1.15 * most : 1;
    for (size_t i = 0; i < count; i++) {
        spots[i].x = axis_place(&x, spots[i].ratio);
        spots[i].y = spots[i].error / height;
        spots[i].bottom = spots[i].least / height;
        spots[i].top = spots[i].most / height;
    }
    for (size_t i = 0; i < count; i++) place_name(spots, count, i, axis_place(&x, 16));
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    figure_text(&d, "x_label", "times less cache than MHA in bf16");
    figure_text(&d, "y_label", "y_rel, relative error of the output");
    axis_write_tokens(&d, "x", &x);
    figure_number(&d, "y_high", height);
    write_levels(height, &d);
    write_spots(spots, count, &d);
    return figure_end(&d, OK, "error", err);
}

Status figure_error(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = view_slice(view, "error", "y_rel", true);
    Spot *spots = NULL;
    if (methods_compared(view->run)) return OK; /* figures_pareto.c */
    TRY(BUFFER(&spots, view_count(view, &slice, "y_rel"), "points of the error figure", err));
    const size_t count = collect(view, &slice, spots);
    const Status status = count ? draw(view, spots, count, &slice, folder, figure, err) : OK;
    buffer_free(spots);
    return status;
}
