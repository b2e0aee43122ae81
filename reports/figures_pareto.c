/* figures_pareto.c -- error against compression for many methods, both logarithmic, with the Pareto
 * front: a stair over what nothing else beats. Beaten marks are hollow; a star is a bound. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "labels.h"
#include "losses.h"
#include "methods.h"

enum { WIDTH = 760, HEIGHT = 640, LEFT = 92, TOP = 104, BOTTOM = 62, STAR = 3 };
static const double right = 0.86;

/* The teacher itself: its error is the rounding of its rows. */
static bool is_teacher(const Loss *loss) {
    return method_family(loss->look->name) == FAMILY_TEACHER;
}

/* A stair from the loss of least compression to that of most: at a compression, the least error of
 * what has at least that. Names keep off it. */
static void write_stair(const Losses *losses, const Axis *x, const Axis *y, LabelArea *area,
                        FILE *data) {
    double ratio = 0, error = 0;
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        const double own = fmax(l->error, y->low);
        if (l->bound || l->beaten) continue;
        if (ratio > 0) {
            const double left = axis_place(x, ratio), to = axis_place(x, l->ratio);
            const double low = axis_place(y, error), high = axis_place(y, own);
            labels_avoid(area, (LabelLine){ left, low, left, high, 4 });
            labels_avoid(area, (LabelLine){ left, high, to, high, 4 });
            fprintf(data, "2\t\t%.9g\t%.9g\t0\t0\t0\n", ratio, own);
        }
        fprintf(data, "2\t\t%.9g\t%.9g\t0\t0\t0\n", l->ratio, own);
        ratio = l->ratio;
        error = own;
    }
}

static void write_marks(const Losses *losses, FILE *data) {
    fprintf(data, "part\tlabel\tx\ty\tcolour\tmark\tfront\n");
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        const int filled = l->look->mark;
        fprintf(data, "1\t");
        figure_field(data, l->look->label);
        fprintf(data, "\t%.9g\t%.9g\t%u\t%d\t%d\n", l->ratio, l->error, l->look->colour,
                l->bound    ? STAR
                : l->beaten ? filled - 1
                            : filled,
                !l->bound && !l->beaten);
    }
}

/* Those of a kind, which differ in size alone, by ratio: a line joins them. */
static void write_kinds(const Losses *losses, FILE *data) {
    for (size_t i = 0; i < losses->count; i++) {
        char kind[METHOD_KIND], other[METHOD_KIND];
        size_t before = 0, members = 0;
        method_kind(losses->loss[i].look->name, kind);
        for (size_t j = 0; j < losses->count; j++) {
            method_kind(losses->loss[j].look->name, other);
            members += strcmp(kind, other) == 0;
            before += j < i && strcmp(kind, other) == 0;
        }
        for (size_t j = i; before == 0 && members > 1 && j < losses->count; j++) {
            const Loss *l = &losses->loss[j];
            method_kind(l->look->name, other);
            if (strcmp(kind, other) == 0)
                fprintf(data, "3\t\t%.9g\t%.9g\t%u\t0\t0\n", l->ratio, l->error, l->look->colour);
        }
        if (before == 0 && members > 1) fputc('\n', data); /* ends the line */
    }
}

static void write_levels(const Axis *y, LabelArea *area, Drawing *d) {
    size_t count = 0;
    figure_array(d, "level", ERROR_VERDICTS);
    figure_array(d, "verdict", ERROR_VERDICTS);
    figure_array(d, "verdict_at", ERROR_VERDICTS);
    double low = y->low;
    for (size_t i = 0; i < ERROR_VERDICTS; i++) {
        const double most = error_verdicts[i].most, high = fmin(most, y->high);
        if (high <= low) continue;
        figure_item(d, "verdict", count, error_verdicts[i].name);
        figure_number_item(d, "verdict_at", count, sqrt(low * high));
        figure_number_item(d, "level", count, high);
        if (most < y->high) {
            const double at = axis_place(y, most);
            labels_avoid(area, (LabelLine){ 0, at, 1, at, 0.6 });
        }
        count++;
        low = high;
    }
    figure_number(d, "verdicts", (double)count);
}

static Status write_names(const Losses *losses, const Axis *x, const Axis *y, const LabelArea *area,
                          Drawing *d, Error *err) {
    Label *labels = NULL;
    TRY(BUFFER(&labels, losses->count, "labels", err));
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        const bool below = l->error < y->low;
        labels[i] = (Label){ .colour = l->look->colour,
                             .x = axis_place(x, l->ratio),
                             .y = below ? 0 : axis_place(y, l->error),
                             .half = 6 };
        if (below)
            snprintf(labels[i].text, sizeof labels[i].text, "%s: %.2g, below", l->look->label,
                     l->error);
        else
            snprintf(labels[i].text, sizeof labels[i].text, "%s", l->look->label);
    }
    labels_place(labels, losses->count, area);
    labels_write(d, labels, losses->count, area);
    buffer_free(labels);
    return OK;
}

static void describe(const View *view, const Losses *losses, Figure *figure) {
    const Loss *best = losses_least(losses, 16);
    size_t front = 0, methods = 0;
    char shape[128], ratio[32];
    view_teacher_shape(view, &losses->slice, shape, sizeof shape);
    for (size_t i = 0; i < losses->count; i++) {
        methods += !losses->loss[i].bound;
        front += !losses->loss[i].bound && !losses->loss[i].beaten;
    }
    snprintf(figure->name, sizeof figure->name, "pareto");
    if (best) {
        format_ratio(best->ratio, ratio, sizeof ratio);
        snprintf(figure->title, sizeof figure->title, "Near 16x %s loses least: y_rel %.2g at %s",
                 best->look->label, best->error, ratio);
    } else {
        snprintf(figure->title, sizeof figure->title,
                 "%zu of %zu ways are beaten by none in both bytes and error", front, methods);
    }
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "error measured against fp64, bytes exact; on a layer of %s", shape);
    snprintf(figure->caption, sizeof figure->caption,
             "y_rel, the relative error of the layer's output against its teacher, over how many "
             "times less cache than MHA in bf16 a method stores, all metadata counted; both axes "
             "are logarithmic. The stair is the Pareto front: filled marks have no rival with both "
             "less cache and less error, hollow ones are beaten. A star is a bound that no method "
             "reaches, at what it reads. Thin lines join what differs in size alone. The words at "
             "the right are a rule of thumb of kvlab.");
}

static Status draw(const View *view, const Losses *losses, const char *folder, Figure *figure,
                   Error *err) {
    Axis x = { 0 }, y = { 0 };
    for (size_t i = 0; i < losses->count; i++) {
        axis_hold(&x, losses->loss[i].ratio);
        if (!is_teacher(&losses->loss[i])) axis_hold(&y, losses->loss[i].error);
    }
    for (size_t i = 0; i < losses->count; i++) /* far below the rest it is named, not drawn */
        if (y.high == 0 || losses->loss[i].error > y.low / 5) axis_hold(&y, losses->loss[i].error);
    x = (Axis){ x.low / 1.5, x.high * 2.2 };
    axis_snap(&y);
    LabelArea area = { .width = WIDTH * right - LEFT,
                       .height = HEIGHT - TOP - BOTTOM,
                       .font = losses->count > 10 ? 11 : 13 };
    const double sixteen = axis_place(&x, 16);
    labels_avoid(&area, (LabelLine){ sixteen, 0, sixteen, 1, 1 });
    describe(view, losses, figure);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    figure_number(&d, "width", WIDTH);
    figure_number(&d, "height", HEIGHT);
    figure_number(&d, "right", right);
    figure_text(&d, "x_label", "times less cache than MHA in bf16");
    figure_text(&d, "y_label", "y_rel, relative error of the output");
    axis_write_tokens(&d, "x", &x);
    axis_write(&d, "y", &y);
    write_levels(&y, &area, &d);
    labels_families(&d, view, &losses->slice, "y_rel");
    write_marks(losses, d.data.stream);
    write_kinds(losses, d.data.stream);
    write_stair(losses, &x, &y, &area, d.data.stream);
    const Status status = write_names(losses, &x, &y, &area, &d, err);
    return figure_end(&d, status, "pareto", err);
}

Status figure_pareto(const View *view, const char *folder, Figure *figure, Error *err) {
    Losses losses;
    if (!methods_compared(view->run)) return OK;
    TRY(losses_read(&losses, view, err));
    const Status status = losses.count ? draw(view, &losses, folder, figure, err) : OK;
    losses_free(&losses);
    return status;
}
