/* figures_published.c -- what papers report, in a panel of its own under the study's errors: other
 * models, another measure, other marks. The points are facts of the run, a source each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "labels.h"
#include "losses.h"
#include "methods.h"

enum { POINTS_MOST = 64, WIDTH = 760, HEIGHT = 660, LEFT = 92, LOWER_TOP = 400, BOTTOM = 62 };
static const double right = 0.97;

typedef struct {
    char method[48], model[48], source[160];
    double times, factor; /* less cache than the model's own; perplexity over the model's */
} Published;

/* A field up to a tab; moves past it. */
static void take(const char **at, char *field, size_t size) {
    const size_t length = strcspn(*at, "\t");
    snprintf(field, size, "%.*s", (int)length, *at);
    *at += length + (*at + length < *at + strlen(*at));
}

static bool read_point(const View *view, size_t i, Published *p) {
    char name[32], times[32], perplexity[32], base[32];
    snprintf(name, sizeof name, "published.%zu", i);
    const char *at = store_fact(view->run, name);
    if (!*at) return false;
    take(&at, p->method, sizeof p->method);
    take(&at, p->model, sizeof p->model);
    take(&at, times, sizeof times);
    take(&at, perplexity, sizeof perplexity);
    take(&at, base, sizeof base);
    take(&at, p->source, sizeof p->source);
    p->times = strtod(times, NULL);
    p->factor = strtod(perplexity, NULL) / strtod(base, NULL);
    return p->times > 0 && p->factor > 0;
}

static void write_rows(const Losses *losses, const Published *points, size_t count, Drawing *d) {
    FILE *data = d->data.stream;
    fprintf(data, "part\tlabel\tx\ty\tcolour\tmark\tsource\n");
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        fprintf(data, "1\t");
        figure_field(data, l->look->label);
        fprintf(data, "\t%.9g\t%.9g\t%u\t%d\tthis run\n", l->ratio, l->error, l->look->colour,
                l->bound ? 3 : l->look->mark);
    }
    for (size_t i = 0; i < count; i++) {
        const Published *p = &points[i];
        fprintf(data, "2\t");
        figure_field(data, p->method);
        fprintf(data, " ");
        figure_field(data, p->model);
        fprintf(data, "\t%.9g\t%.9g\t%u\t%d\t", p->times, p->factor, 0x666666, 2);
        figure_field(data, p->source);
        fputc('\n', data);
    }
}

static void write_names(const Published *points, size_t count, const Axis *x, const Axis *y,
                        Drawing *d) {
    LabelArea area = {
        .width = WIDTH * right - LEFT,
        .height = HEIGHT - LOWER_TOP - BOTTOM,
        .font = 11,
    };
    const double sixteen = axis_place(x, 16);
    labels_avoid(&area, (LabelLine){ sixteen, 0, sixteen, 1, 1 });
    Label labels[POINTS_MOST];
    for (size_t i = 0; i < count; i++) {
        const Published *p = &points[i];
        const char *const sizes = strchr(p->method, ' ');
        labels[i] = (Label){ .colour = 0x444444,
                             .x = axis_place(x, p->times),
                             .y = axis_place(y, p->factor),
                             .half = 5 };
        snprintf(labels[i].text, sizeof labels[i].text, "%.40s%.20s", p->model, sizes ? sizes : "");
    }
    labels_place(labels, count, &area);
    labels_write(d, labels, count, &area);
}

/* Sources, each once. */
static void write_sources(const Published *points, size_t count, char *text, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < count && used < size; i++) {
        bool named = false;
        for (size_t j = 0; j < i; j++) named |= strcmp(points[j].source, points[i].source) == 0;
        if (named) continue;
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s", used ? "; " : "", points[i].source);
    }
}

static void describe(const View *view, const Losses *losses, const Published *points, size_t count,
                     Figure *figure) {
    const Published *worst = points;
    char sources[240] = "", shape[128];
    for (size_t i = 0; i < count; i++)
        if (points[i].factor > worst->factor) worst = &points[i];
    write_sources(points, count, sources, sizeof sources);
    view_teacher_shape(view, &losses->slice, shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "published");
    snprintf(figure->title, sizeof figure->title,
             "Published, untrained: %s at %.1fx, %.1f times the perplexity", worst->model,
             worst->times, worst->factor);
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "above this run, measured on a layer of %s; below papers, not measured here", shape);
    snprintf(figure->caption, sizeof figure->caption,
             "Two measures that share no scale, so two panels. Above: y_rel of one layer in this "
             "run, against MHA in bf16. Below: perplexity of a whole model with its cache "
             "compressed without training, over that of the model as it is; times less cache than "
             "the model's own. Source: %s.",
             sources);
}

static Status draw(const View *view, const Losses *losses, const Published *points, size_t count,
                   const char *folder, Figure *figure, Error *err) {
    Axis x = { 0 }, ours = { 0 }, theirs = { 0 };
    for (size_t i = 0; i < losses->count; i++) {
        axis_hold(&x, losses->loss[i].ratio);
        axis_hold(&ours, losses->loss[i].error);
    }
    for (size_t i = 0; i < count; i++) {
        axis_hold(&x, points[i].times);
        axis_hold(&theirs, points[i].factor);
    }
    x = (Axis){ x.low / 1.3, x.high * 1.5 };
    axis_snap(&ours);
    axis_snap(&theirs);
    describe(view, losses, points, count, figure);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    figure_number(&d, "width", WIDTH);
    figure_number(&d, "height", HEIGHT);
    figure_number(&d, "right", right);
    axis_write_tokens(&d, "x", &x);
    axis_write(&d, "ours", &ours);
    axis_write(&d, "theirs", &theirs);
    labels_families(&d, view, &losses->slice, "y_rel");
    write_rows(losses, points, count, &d);
    write_names(points, count, &x, &theirs, &d);
    return figure_end(&d, OK, "published", err);
}

Status figure_published(const View *view, const char *folder, Figure *figure, Error *err) {
    Published points[POINTS_MOST];
    Losses losses;
    size_t count = 0;
    while (count < POINTS_MOST && read_point(view, count, &points[count])) count++;
    if (!count) return OK;
    TRY(losses_read(&losses, view, err));
    const Status status =
        losses.count ? draw(view, &losses, points, count, folder, figure, err) : OK;
    losses_free(&losses);
    return status;
}
