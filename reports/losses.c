/* losses.c -- see losses.h. */
#include "losses.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "methods.h"

Slice losses_slice(const View *view) {
    Slice slice = view_slice(view, "error", "y_rel", true);
    size_t longest = 0;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, "y_rel", &at));)
        if (p->point.context_tokens > longest) longest = p->point.context_tokens;
    slice.context_tokens = longest;
    return slice;
}

double loss_pooled(const View *view, const Slice *slice, const char *contender,
                   const char *metric) {
    char part[64];
    double difference = 0, size = 0;
    Slice own = *slice;
    own.contender = contender;
    const StoredPoint *p, *first = view_first(view, &own, metric);
    for (size_t at = 0; (p = view_next(view, &own, metric, &at));) {
        snprintf(part, sizeof part, "%s_difference", metric);
        difference += view_value(p, part);
        snprintf(part, sizeof part, "%s_size", metric);
        size += view_value(p, part);
    }
    if (size > 0) return sqrt(difference / size);
    return first ? view_value(first, metric) : NAN;
}

static int by_ratio(const void *left, const void *right) {
    const Loss *a = left, *b = right;
    if (a->ratio != b->ratio) return a->ratio < b->ratio ? -1 : 1;
    if (a->error != b->error) return a->error < b->error ? -1 : 1;
    return strcmp(a->point->point.key, b->point->point.key);
}

static bool beats(const Loss *a, const Loss *b) {
    return !a->bound && a->ratio >= b->ratio && a->error <= b->error &&
           (a->ratio > b->ratio || a->error < b->error);
}

static void find_beaten(Losses *losses) {
    for (size_t i = 0; i < losses->count; i++)
        for (size_t j = 0; j < losses->count && !losses->loss[i].beaten; j++)
            losses->loss[i].beaten = beats(&losses->loss[j], &losses->loss[i]);
}

/* What single draws have: of one layer alone, as pooled layers tell of no draw. */
static void add_range(const View *view, const Slice *own, Loss *loss) {
    const Metric *m = store_metric(loss->point, "y_rel");
    const bool one = view_count(view, own, "y_rel") == 1;
    loss->least = one ? m->low : loss->error;
    loss->most = one ? m->high : loss->error;
}

Status losses_read(Losses *losses, const View *view, Error *err) {
    Losses draft = { .slice = losses_slice(view) };
    TRY(BUFFER(&draft.loss, view->contender_count, "errors of contenders", err));
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *const look = &view->contenders[i];
        Slice own = draft.slice;
        own.contender = look->name;
        const StoredPoint *const first = view_first(view, &own, "y_rel");
        if (!first) continue;
        Loss loss = { .point = first,
                      .look = look,
                      .ratio = method_ratio(first),
                      .error = loss_pooled(view, &draft.slice, look->name, "y_rel"),
                      .bound = method_is_bound(look->name) };
        add_range(view, &own, &loss);
        if (loss.ratio > 0 && loss.error >= 0) draft.loss[draft.count++] = loss;
    }
    qsort(draft.loss, draft.count, sizeof *draft.loss, by_ratio);
    find_beaten(&draft);
    *losses = draft;
    return OK;
}

void losses_free(Losses *losses) {
    buffer_free(losses->loss);
    *losses = (Losses){ .count = 0 };
}

const Loss *losses_of(const Losses *losses, const Contender *look) {
    for (size_t i = 0; i < losses->count; i++)
        if (losses->loss[i].look == look) return &losses->loss[i];
    return NULL;
}

const Loss *losses_least(const Losses *losses, double ratio) {
    const Loss *best = NULL;
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        const bool near = l->ratio <= 1.1 * ratio && ratio <= 1.1 * l->ratio;
        if (!near || l->bound || method_family(l->look->name) == FAMILY_TEACHER) continue;
        if (!best || l->error < best->error) best = l;
    }
    return best;
}
