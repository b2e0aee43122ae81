/* figures_threeway.c -- bytes, latency and error of methods in one plane: the place says how much
 * less cache and how long a decode step, the area of the disc how much error. Methods without a
 * measured latency are not in it. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "labels.h"
#include "losses.h"
#include "methods.h"

enum { WIDTH = 760, HEIGHT = 640, LEFT = 92, TOP = 128, BOTTOM = 62 };
static const double right = 0.97;
/* gnuplot's point size of a disc whose error is 1, and its radius there in pixels. */
static const double whole_size = 5.2, whole_radius = 22;

typedef struct {
    const Loss *loss;
    const Metric *time;
} Disc;

typedef struct {
    Disc *disc;
    size_t count, context;
} Discs;

static Status collect(const View *view, const Losses *losses, Discs *out, Error *err) {
    const Slice decode = view_slice(view, "decode", "attention_ns", false);
    bool *chosen = NULL;
    TRY(BUFFER(&chosen, view->contender_count, "contenders", err));
    for (size_t i = 0; i < losses->count; i++)
        if (!losses->loss[i].bound) chosen[losses->loss[i].look - view->contenders] = true;
    out->context = view_common_context(view, &decode, chosen);
    buffer_free(chosen);
    TRY(BUFFER(&out->disc, losses->count, "discs", err));
    for (size_t i = 0; i < losses->count && out->context; i++) {
        const Loss *l = &losses->loss[i];
        const StoredPoint *p = view_decode_point(view, &decode, l->look->name, out->context);
        if (p && !l->bound) out->disc[out->count++] = (Disc){ l, store_metric(p, "attention_ns") };
    }
    return OK;
}

static Status write_discs(const Discs *discs, const Axis *x, const Axis *y, double scale,
                          Drawing *d, Error *err) {
    LabelArea area = {
        .width = WIDTH * right - LEFT,
        .height = HEIGHT - TOP - BOTTOM,
        .font = discs->count > 10 ? 11 : 13,
    };
    const double sixteen = axis_place(x, 16);
    labels_avoid(&area, (LabelLine){ sixteen, 0, sixteen, 1, 1 });
    Label *labels = NULL;
    TRY(BUFFER(&labels, discs->count, "labels", err));
    fprintf(d->data.stream, "label\tx\ty\tlow\thigh\terror\tcolour\tsize\n");
    for (size_t i = 0; i < discs->count; i++) {
        const Disc *disc = &discs->disc[i];
        const Loss *l = disc->loss;
        const double size = sqrt(fmin(l->error, 1.5));
        labels[i] = (Label){ .colour = l->look->colour,
                             .x = axis_place(x, l->ratio),
                             .y = axis_place(y, disc->time->value / scale),
                             .half = fmax(3, 0.8 * whole_radius * size) };
        snprintf(labels[i].text, sizeof labels[i].text, "%s  %.2g", l->look->label, l->error);
        figure_field(d->data.stream, l->look->label);
        fprintf(d->data.stream, "\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%u\t%.4g\n", l->ratio,
                disc->time->value / scale, disc->time->low / scale, disc->time->high / scale,
                l->error, l->look->colour, fmax(0.35, whole_size * size));
    }
    labels_place(labels, discs->count, &area);
    labels_write(d, labels, discs->count, &area);
    buffer_free(labels);
    return OK;
}

static void describe(const View *view, const Losses *losses, const Discs *discs, Figure *figure) {
    char shape[128], tokens[32], time[32];
    const Disc *best = NULL;
    size_t small = 0;
    for (size_t i = 0; i < discs->count; i++) {
        const Disc *disc = &discs->disc[i];
        small += disc->loss->ratio >= 8;
        if (disc->loss->ratio < 8 || disc->loss->error > error_verdicts[1].most) continue;
        if (!best || disc->time->value < best->time->value) best = disc;
    }
    view_teacher_shape(view, &losses->slice, shape, sizeof shape);
    format_tokens(discs->context, tokens, sizeof tokens);
    snprintf(figure->name, sizeof figure->name, "threeway");
    if (best) {
        format_time(best->time->value, time, sizeof time);
        snprintf(figure->title, sizeof figure->title, "Fastest usable at 8x and more: %s, %s",
                 best->loss->look->label, time);
    } else if (small) {
        snprintf(figure->title, sizeof figure->title,
                 "None of the %zu timed at 8x and more is usable (y_rel up to %.2g)", small,
                 error_verdicts[1].most);
    } else {
        snprintf(figure->title, sizeof figure->title, "Bytes, latency and error at once");
    }
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: attention of one layer at %s, error on a layer of %s; exact: bytes", tokens,
             shape);
    snprintf(figure->caption, sizeof figure->caption,
             "Right is less cache, down is faster, a small disc loses little: its area goes with "
             "y_rel, which stands behind each name. Latency is the median of one layer's decode "
             "attention at %s cached tokens by this machine's kernels, with quartiles as bars. "
             "Usable is a y_rel up to %.2g, a rule of thumb of kvlab.",
             tokens, error_verdicts[1].most);
}

static Status draw(const View *view, const Losses *losses, const Discs *discs, const char *folder,
                   Figure *figure, Error *err) {
    Axis x = { 0 }, y = { 0 };
    for (size_t i = 0; i < discs->count; i++) {
        axis_hold(&x, discs->disc[i].loss->ratio);
        axis_hold(&y, discs->disc[i].time->low / 1e6);
        axis_hold(&y, discs->disc[i].time->high / 1e6);
    }
    x = (Axis){ x.low / 1.5, x.high * 2.2 };
    axis_snap(&y);
    describe(view, losses, discs, figure);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    figure_number(&d, "width", WIDTH);
    figure_number(&d, "height", HEIGHT);
    figure_number(&d, "right", right);
    figure_number(&d, "whole", whole_size);
    figure_text(&d, "x_label", "times less cache than MHA in bf16");
    figure_text(&d, "y_label", "decode attention of a layer (ms)");
    axis_write_tokens(&d, "x", &x);
    axis_write(&d, "y", &y);
    labels_families(&d, view, &losses->slice, "y_rel");
    return figure_end(&d, write_discs(discs, &x, &y, 1e6, &d, err), "threeway", err);
}

Status figure_threeway(const View *view, const char *folder, Figure *figure, Error *err) {
    Losses losses;
    Discs discs = { .count = 0 };
    if (!methods_compared(view->run)) return OK;
    TRY(losses_read(&losses, view, err));
    Status status = collect(view, &losses, &discs, err);
    if (status == OK && discs.count > 1) status = draw(view, &losses, &discs, folder, figure, err);
    buffer_free(discs.disc);
    losses_free(&losses);
    return status;
}
