/* figures_rank.c -- error against rank, for low-rank methods of several ranks: what they lose of
 * keys and values beside what the discarded eigenvalues say, and what that does to the output. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "losses.h"
#include "methods.h"

/* Series of one conversion by rank, in the order of the store. */
typedef struct {
    char kind[METHOD_KIND], label[48];
    size_t ranks;
} Series;

enum { SERIES_MOST = 8 };
static const unsigned colours[SERIES_MOST] = { 0x009e73, 0x0072b2, 0xd55e00, 0xcc79a7,
                                               0xe69f00, 0x56b4e9, 0x000000, 0x808080 };
static const int marks[SERIES_MOST] = { 7, 5, 9, 13, 11, 15, 6, 4 };

typedef struct {
    Series series[SERIES_MOST];
    size_t count;
    Axis x, y[2];
} Ranks;

static bool has_rank(const StoredPoint *p) {
    return method_family(p->point.contender) == FAMILY_LOWRANK && view_value(p, "latent_rank") > 0;
}

/* The points of the same contender in the slice: one a layer. */
static Slice layers_of(const Slice *slice, const StoredPoint *p) {
    Slice own = *slice;
    own.contender = p->point.contender;
    return own;
}

/* The relative error of keys and values side by side, pooled over layers; NaN where they were not
 * measured. */
static double side_by_side(const View *view, const Slice *slice, const StoredPoint *p) {
    const Slice own = layers_of(slice, p);
    double difference = 0, size = 0;
    for (size_t at = 0; (p = view_next(view, &own, "k_rel_size", &at));) {
        difference += view_value(p, "k_rel_difference") + view_value(p, "v_rel_difference");
        size += view_value(p, "k_rel_size") + view_value(p, "v_rel_size");
    }
    return size > 0 ? sqrt(difference / size) : NAN;
}

/* What the eigenvalues say of it: of methods whose measure is that of keys and values as they are,
 * in one layer. */
static double expected(const View *view, const Slice *slice, const StoredPoint *p) {
    const Slice own = layers_of(slice, p);
    const char *const name = p->point.contender;
    const bool plain = strncmp(name, "lowrank-separate", strlen("lowrank-separate")) == 0 ||
                       strncmp(name, "lowrank-joint", strlen("lowrank-joint")) == 0;
    return plain && view_count(view, &own, "y_rel") == 1 ? view_value(p, "fitted_loss") : NAN;
}

/* "joint" of "joint-512". */
static void series_label(const char *label, char *out, size_t size) {
    snprintf(out, size, "%.*s", (int)strcspn(label, "-"), label);
}

static void collect(const View *view, const Slice *slice, Ranks *ranks) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, "y_rel", &at));) {
        char kind[METHOD_KIND];
        const Slice own = layers_of(slice, p);
        size_t i = 0;
        if (!has_rank(p) || view_first(view, &own, "y_rel") != p) continue;
        method_kind(p->point.contender, kind);
        while (i < ranks->count && strcmp(ranks->series[i].kind, kind) != 0) i++;
        if (i == SERIES_MOST) continue;
        Series *s = &ranks->series[i];
        if (i == ranks->count) {
            ranks->count++;
            memcpy(s->kind, kind, sizeof kind);
            series_label(view_contender(view, p->point.contender)->label, s->label,
                         sizeof s->label);
        }
        s->ranks++;
    }
    size_t kept = 0;
    for (size_t i = 0; i < ranks->count; i++)
        if (ranks->series[i].ranks > 1) ranks->series[kept++] = ranks->series[i];
    ranks->count = kept;
}

/* The points of a series by rank: the one with the least above `after`. */
static const StoredPoint *next_rank(const View *view, const Slice *slice, const Series *series,
                                    double after) {
    const StoredPoint *best = NULL, *p;
    for (size_t at = 0; (p = view_next(view, slice, "y_rel", &at));) {
        char kind[METHOD_KIND];
        const double rank = view_value(p, "latent_rank");
        method_kind(p->point.contender, kind);
        if (!has_rank(p) || strcmp(kind, series->kind) != 0 || !(rank > after)) continue;
        if (!best || rank < view_value(best, "latent_rank")) best = p;
    }
    return best;
}

static void write_value(FILE *data, double value) {
    fputc('\t', data);
    if (isfinite(value) && value > 0)
        fprintf(data, "%.9g", value);
    else
        fprintf(data, "NaN");
}

static void write_series(const View *view, const Slice *slice, Ranks *ranks, FILE *data) {
    fprintf(data, "series\tlabel\trank\trows\teigenvalues\toutput\n");
    for (size_t i = 0; i < ranks->count; i++) {
        const Series *s = &ranks->series[i];
        const StoredPoint *p = next_rank(view, slice, s, 0);
        for (; p; p = next_rank(view, slice, s, view_value(p, "latent_rank"))) {
            const double rank = view_value(p, "latent_rank");
            const double values[] = { side_by_side(view, slice, p), expected(view, slice, p),
                                      loss_pooled(view, slice, p->point.contender, "y_rel") };
            fprintf(data, "%zu\t", i + 1);
            figure_field(data, s->label);
            fprintf(data, "\t%.9g", rank);
            for (size_t k = 0; k < 3; k++) write_value(data, values[k]);
            fputc('\n', data);
            axis_hold(&ranks->x, rank);
            axis_hold(&ranks->y[0], values[0]);
            axis_hold(&ranks->y[0], values[1]);
            axis_hold(&ranks->y[1], values[2]);
        }
    }
}

static void write_looks(const Ranks *ranks, Drawing *d) {
    figure_number(d, "N", (double)ranks->count);
    figure_array(d, "label", ranks->count);
    figure_array(d, "colour", ranks->count);
    figure_array(d, "mark", ranks->count);
    for (size_t i = 0; i < ranks->count; i++) {
        figure_item(d, "label", i, ranks->series[i].label);
        figure_number_item(d, "colour", i, colours[i]);
        figure_number_item(d, "mark", i, marks[i]);
    }
    axis_write_tokens(d, "x", &(Axis){ ranks->x.low / 1.15, ranks->x.high * 1.15 });
    const char *const names[] = { "rows", "output" };
    for (size_t k = 0; k < 2; k++) {
        Axis y = ranks->y[k];
        if (y.high == 0) y = (Axis){ 0.1, 1 };
        axis_snap(&y);
        axis_write(d, names[k], &y);
    }
}

/* The series that loses least of the output at a rank; NULL where one has no such point. */
static const Series *best_at(const View *view, const Slice *slice, const Ranks *ranks, double rank,
                             double *least) {
    const Series *best = NULL;
    for (size_t i = 0; i < ranks->count; i++) {
        const StoredPoint *p = next_rank(view, slice, &ranks->series[i], rank - 0.5);
        if (!p || view_value(p, "latent_rank") != rank) return NULL;
        const double error = loss_pooled(view, slice, p->point.contender, "y_rel");
        if (!best || error < *least) *least = error, best = &ranks->series[i];
    }
    return best;
}

/* Says who loses least most often, over the ranks that all have. */
static void title(const View *view, const Slice *slice, const Ranks *ranks, Figure *figure) {
    size_t wins[SERIES_MOST] = { 0 }, common = 0, best = 0;
    const StoredPoint *p = next_rank(view, slice, &ranks->series[0], 0);
    for (; p; p = next_rank(view, slice, &ranks->series[0], view_value(p, "latent_rank"))) {
        double error = 0;
        const Series *first = best_at(view, slice, ranks, view_value(p, "latent_rank"), &error);
        if (!first) continue;
        common++;
        wins[first - ranks->series]++;
    }
    for (size_t i = 1; i < ranks->count; i++)
        if (wins[i] > wins[best]) best = i;
    if (ranks->count > 1 && common > 1)
        snprintf(figure->title, sizeof figure->title,
                 "%s loses least of the output at %zu of %zu ranks", ranks->series[best].label,
                 wins[best], common);
    else
        snprintf(figure->title, sizeof figure->title,
                 "What a rank loses of keys, values and output");
}

static void describe(const View *view, const Slice *slice, const Ranks *ranks, Figure *figure) {
    char shape[128];
    view_teacher_shape(view, slice, shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "rank");
    title(view, slice, ranks, figure);
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "marks measured on the scored text; lines from eigenvalues; on a layer of %s", shape);
    snprintf(figure->caption, sizeof figure->caption,
             "Left: relative error of keys before RoPE and values, as they were read back from the "
             "cache. The lines are sqrt(sum of discarded eigenvalues / sum of all) of the "
             "calibration text, for the methods that make just that least; another text loses more "
             "the fewer tokens they were fitted to, and rows are rounded to the cache's type. "
             "Right: the relative error of the layer's output, y_rel.");
}

Status figure_rank(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = losses_slice(view);
    Ranks ranks = { .count = 0 };
    collect(view, &slice, &ranks);
    if (!ranks.count) return OK;
    describe(view, &slice, &ranks, figure);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    write_series(view, &slice, &ranks, d.data.stream);
    write_looks(&ranks, &d);
    figure_text(&d, "x_label", "rank: values cached a token");
    return figure_end(&d, OK, "rank", err);
}
