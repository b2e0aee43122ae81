/* labels.c -- see labels.h. Names are placed from the most crowded mark to the least; a place costs
 * what it covers and how far it is. All lengths are pixels. */
#include "labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods.h"

typedef struct {
    double left, low, width, height;
} Box;

/* Widths of Arial at the size that figures use it. */
static Box text_box(const Label *label, const LabelArea *area) {
    double characters = 0;
    for (const char *c = label->text; *c; c++)
        if ((*c & 0xc0) != 0x80) characters++; /* bytes that begin a character */
    return (Box){ label->left, label->low, characters * 0.51 * area->font, 1.15 * area->font };
}

static Box mark_box(const Label *label, const LabelArea *area) {
    return (Box){ label->x * area->width - label->half, label->y * area->height - label->half,
                  2 * label->half, 2 * label->half };
}

static bool meet(const Box *a, const Box *b) {
    return a->left < b->left + b->width && b->left < a->left + a->width &&
           a->low < b->low + b->height && b->low < a->low + a->height;
}

/* Does a straight line from (x, y) to (u, v) pass through a box? Sampled. */
static bool passes(double x, double y, double u, double v, const Box *box) {
    enum { STEPS = 24 };
    for (int i = 1; i < STEPS; i++) {
        const double t = (double)i / STEPS, px = x + t * (u - x), py = y + t * (v - y);
        if (px > box->left && px < box->left + box->width && py > box->low &&
            py < box->low + box->height)
            return true;
    }
    return false;
}

/* The point of a box that is nearest to a mark. */
static void nearest(const Box *box, double x, double y, double *u, double *v) {
    *u = fmin(fmax(x, box->left), box->left + box->width);
    *v = fmin(fmax(y, box->low), box->low + box->height);
}

/* What a name at its place covers, the worst weighing most: frame, names that have their place and
 * marks, ties, lines of the figure. */
static double covered(const Label *labels, size_t count, const bool *placed, size_t self,
                      const LabelArea *area) {
    const Box own = text_box(&labels[self], area);
    const double x = labels[self].x * area->width, y = labels[self].y * area->height;
    double u, v;
    nearest(&own, x, y, &u, &v);
    double found = 30 * (own.left < 2 || own.left + own.width > area->width - 2 || own.low < 2 ||
                         own.low + own.height > area->height - 2);
    for (size_t i = 0; i < area->lines; i++) {
        const LabelLine *l = &area->line[i];
        const Box line = { l->x * area->width - 2, l->y * area->height - 2,
                           (l->to_x - l->x) * area->width + 4,
                           (l->to_y - l->y) * area->height + 4 };
        found += l->weight * meet(&own, &line);
    }
    for (size_t i = 0; i < count; i++) {
        const Box mark = mark_box(&labels[i], area);
        found += 8 * meet(&own, &mark);
        if (i == self) continue;
        const Box at = mark_box(&labels[self], area);
        if (!meet(&at, &mark)) found += 1.5 * passes(x, y, u, v, &mark);
        if (!placed[i]) continue;
        const Box other = text_box(&labels[i], area);
        double a = labels[i].x * area->width, b = labels[i].y * area->height, c, d;
        nearest(&other, a, b, &c, &d);
        found +=
            12 * meet(&own, &other) + 6 * passes(x, y, u, v, &other) + 6 * passes(a, b, c, d, &own);
    }
    return found;
}

/* Tries columns beside the mark and rows above and below it. */
static void place(Label *labels, size_t count, const bool *placed, size_t self,
                  const LabelArea *area) {
    static const double gaps[] = { 0, 10, 24, 44, 70, 100, 140 };
    enum { GAPS = sizeof gaps / sizeof *gaps, STEPS = 28 };
    Label *label = &labels[self], best = *label;
    const Box box = text_box(label, area);
    const double x = label->x * area->width, y = label->y * area->height;
    double least = INFINITY;
    for (int step = -STEPS; step <= STEPS; step++)
        for (int k = -GAPS; k <= GAPS; k++) {
            const double up = 0.55 * step * box.height;
            const double aside = k ? gaps[abs(k) - 1] + label->half + 3 : 0;
            if (k == 0 && fabs(up) < label->half + box.height / 2) continue;
            label->left = k > 0 ? x + aside : k < 0 ? x - aside - box.width : x - box.width / 2;
            label->low = y + up - box.height / 2;
            const double reach = aside + fabs(up) + (k < 0) + (k == 0 ? 8 : 0);
            const double cost = 60 * covered(labels, count, placed, self, area) + reach;
            if (cost >= least) continue;
            least = cost;
            label->tied = aside > label->half + 20 || fabs(up) > label->half + 1.2 * box.height;
            best = *label;
        }
    *label = best;
}

/* How many other marks are near a mark. */
static int crowd(const Label *labels, size_t count, size_t self, const LabelArea *area) {
    int near = 0;
    for (size_t i = 0; i < count; i++)
        near += fabs(labels[i].x - labels[self].x) * area->width < 120 &&
                fabs(labels[i].y - labels[self].y) * area->height < 30;
    return near;
}

void labels_avoid(LabelArea *area, LabelLine line) {
    const bool inside = line.x <= 1 && line.y <= 1 && line.to_x >= 0 && line.to_y >= 0;
    if (inside && area->lines < LABEL_LINES_MOST) area->line[area->lines++] = line;
}

void labels_place(Label *labels, size_t count, const LabelArea *area) {
    enum { MOST = 256 };
    bool placed[MOST] = { false };
    for (size_t n = 0; n < count && n < MOST; n++) {
        size_t next = MOST;
        int most = -1;
        for (size_t i = 0; i < count && i < MOST; i++) {
            if (placed[i]) continue;
            const int own = crowd(labels, count, i, area);
            if (own > most) most = own, next = i;
        }
        place(labels, count, placed, next, area);
        placed[next] = true;
    }
}

void labels_write(Drawing *drawing, const Label *labels, size_t count, const LabelArea *area) {
    const char *const numbers[] = { "label_colour", "label_x",  "label_y", "tie_from_x",
                                    "tie_from_y",   "tie_to_x", "tie_to_y" };
    figure_number(drawing, "labels", (double)count);
    figure_number(drawing, "label_size", area->font);
    figure_array(drawing, "label", count);
    for (size_t k = 0; k < 7; k++) figure_array(drawing, numbers[k], count);
    for (size_t i = 0; i < count; i++) {
        const Box box = text_box(&labels[i], area);
        const double x = labels[i].x * area->width, y = labels[i].y * area->height;
        double u = x, v = y;
        if (labels[i].tied) nearest(&box, x, y, &u, &v);
        const double values[] = { labels[i].colour,
                                  (box.left + box.width / 2) / area->width,
                                  (box.low + box.height / 2) / area->height,
                                  labels[i].x,
                                  labels[i].y,
                                  u / area->width,
                                  v / area->height };
        figure_item(drawing, "label", i, labels[i].text);
        for (size_t k = 0; k < 7; k++) figure_number_item(drawing, numbers[k], i, values[k]);
    }
}

void labels_families(Drawing *drawing, const View *view, const Slice *slice, const char *metric) {
    bool present[FAMILIES] = { false };
    const StoredPoint *p;
    size_t count = 0;
    double at = 0;
    for (size_t i = 0; (p = view_next(view, slice, metric, &i));)
        present[method_family(p->point.contender)] = true;
    figure_array(drawing, "family", FAMILIES);
    figure_array(drawing, "family_colour", FAMILIES);
    figure_array(drawing, "family_at", FAMILIES);
    for (MethodFamily f = 0; f < FAMILIES; f++) {
        if (!present[f]) continue;
        figure_item(drawing, "family", count, method_family_name(f));
        figure_number_item(drawing, "family_colour", count, method_family_colour(f));
        figure_number_item(drawing, "family_at", count, at);
        at += 44 + 6.2 * (double)strlen(method_family_name(f));
        count++;
    }
    figure_number(drawing, "families", (double)count);
}
