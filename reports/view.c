/* view.c -- order, colours and slices of stored points; see view.h. */
#include "view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "methods.h"

enum { COLOURS = 8 };

/* Each kind of attention asks for its colours in this order and takes the first that is free, so
 * the usual contenders look alike in every report. */
static const struct {
    const char *attention;
    unsigned colours[COLOURS];
} wishes[] = {
    { "mha", { 0x000000, 0x56b4e9, 0xcc79a7, 0xe69f00, 0x009e73, 0xd55e00, 0x0072b2, 0x808080 } },
    { "gqa", { 0xe69f00, 0xcc79a7, 0x56b4e9, 0x009e73, 0xd55e00, 0x000000, 0x0072b2, 0x808080 } },
    { "mqa", { 0x009e73, 0x56b4e9, 0xcc79a7, 0xe69f00, 0xd55e00, 0x000000, 0x0072b2, 0x808080 } },
    { "mla", { 0x0072b2, 0xd55e00, 0x56b4e9, 0xcc79a7, 0x009e73, 0xe69f00, 0x000000, 0x808080 } },
};

/* Filled ones come first; where contenders have the colour of their family they alone are used. */
enum { FILLED = 6 };
static const int marks[] = { 7, 5, 9, 13, 11, 15, 6, 4, 8, 12, 10, 14 };

static bool colour_is_free(const View *view, unsigned colour) {
    const size_t round = view->contender_count - view->contender_count % COLOURS;
    for (size_t i = round; i < view->contender_count; i++)
        if (view->contenders[i].colour == colour) return false;
    return true;
}

static unsigned choose_colour(const View *view, const char *attention) {
    size_t kind = 0;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        if (strcmp(wishes[i].attention, attention) == 0) kind = i;
    for (size_t i = 0; i < COLOURS; i++)
        if (colour_is_free(view, wishes[kind].colours[i])) return wishes[kind].colours[i];
    return wishes[kind].colours[0];
}

static void add_contender(View *view, const Point *p) {
    Contender *c = &view->contenders[view->contender_count];
    snprintf(c->name, sizeof c->name, "%s", p->contender);
    snprintf(c->label, sizeof c->label, "%.47s", p->label[0] ? p->label : p->contender);
    snprintf(c->attention, sizeof c->attention, "%s", p->attention);
    c->colour = choose_colour(view, c->attention);
    c->mark = marks[view->contender_count % (sizeof marks / sizeof *marks)];
    view->contender_count++;
}

/* The colour of its family, and another mark than those before it in the family. */
static void look_as_method(View *view, size_t i) {
    Contender *c = &view->contenders[i];
    const MethodFamily family = method_family(c->name);
    size_t before = 0;
    for (size_t j = 0; j < i; j++) before += method_family(view->contenders[j].name) == family;
    c->colour = method_family_colour(family);
    c->mark = marks[before % FILLED];
}

const Contender *view_contender(const View *view, const char *name) {
    for (size_t i = 0; i < view->contender_count; i++)
        if (strcmp(view->contenders[i].name, name) == 0) return &view->contenders[i];
    return NULL;
}

static int compare_sizes(size_t a, size_t b) {
    return (a > b) - (a < b);
}

/* By type and sizes; the contender's order of storing is kept by sorting each group apart. */
static int compare_points(const void *left, const void *right) {
    const StoredPoint *const *a = left, *const *b = right;
    const Point *p = &(*a)->point, *q = &(*b)->point;
    int order = strcmp(p->path, q->path);
    if (!order) order = strcmp(p->kv_dtype, q->kv_dtype);
    if (!order) order = compare_sizes(p->sequences, q->sequences);
    if (!order) order = compare_sizes(p->context_tokens, q->context_tokens);
    if (!order) order = compare_sizes(p->query_tokens, q->query_tokens);
    return order ? order : strcmp(p->key, q->key);
}

static void sort_points(View *view) {
    size_t filled = 0;
    for (size_t c = 0; c < view->contender_count; c++) {
        const size_t start = filled;
        for (size_t i = 0; i < view->run->point_count; i++)
            if (strcmp(view->run->points[i].point.contender, view->contenders[c].name) == 0)
                view->points[filled++] = &view->run->points[i];
        qsort(view->points + start, filled - start, sizeof *view->points, compare_points);
    }
}

Status view_open(View *view, const StoredRun *run, Error *err) {
    View draft = { .run = run };
    Status status = BUFFER(&draft.contenders, run->point_count, "contenders", err);
    if (status == OK) status = BUFFER(&draft.points, run->point_count, "sorted points", err);
    if (status != OK) {
        view_close(&draft);
        return status;
    }
    for (size_t i = 0; i < run->point_count; i++)
        if (!view_contender(&draft, run->points[i].point.contender))
            add_contender(&draft, &run->points[i].point);
    for (size_t i = 0; i < draft.contender_count && methods_compared(run); i++)
        look_as_method(&draft, i);
    sort_points(&draft);
    *view = draft;
    return OK;
}

void view_close(View *view) {
    buffer_free(view->contenders);
    buffer_free(view->points);
    *view = (View){ 0 };
}

double view_value(const StoredPoint *point, const char *metric) {
    const Metric *m = store_metric(point, metric);
    return m ? m->value : NAN;
}

static bool text_fits(const char *wanted, const char *text) {
    return !wanted || strcmp(wanted, text) == 0;
}

static bool size_fits(size_t wanted, size_t size) {
    return wanted == ANY || wanted == size;
}

static bool in_slice(const Slice *s, const Point *p) {
    return text_fits(s->phase, p->phase) && text_fits(s->contender, p->contender) &&
           text_fits(s->path, p->path) && text_fits(s->kv_dtype, p->kv_dtype) &&
           size_fits(s->context_tokens, p->context_tokens) &&
           size_fits(s->query_tokens, p->query_tokens) && size_fits(s->sequences, p->sequences);
}

const StoredPoint *view_next(const View *view, const Slice *slice, const char *metric, size_t *at) {
    while (*at < view->run->point_count) {
        const StoredPoint *p = view->points[(*at)++];
        if (p->point.status == POINT_DONE && in_slice(slice, &p->point) &&
            isfinite(view_value(p, metric)))
            return p;
    }
    return NULL;
}

const StoredPoint *view_first(const View *view, const Slice *slice, const char *metric) {
    size_t at = 0;
    return view_next(view, slice, metric, &at);
}

size_t view_count(const View *view, const Slice *slice, const char *metric) {
    size_t count = 0;
    for (size_t at = 0; view_next(view, slice, metric, &at);) count++;
    return count;
}

/* The type of the first finished point in the order stored. */
static const char *first_type(const View *view, const Slice *slice, const char *metric) {
    for (size_t i = 0; i < view->run->point_count; i++) {
        const StoredPoint *p = &view->run->points[i];
        if (p->point.status == POINT_DONE && in_slice(slice, &p->point) &&
            isfinite(view_value(p, metric)))
            return p->point.kv_dtype;
    }
    return NULL;
}

Slice view_slice(const View *view, const char *phase, const char *metric, bool by_query) {
    Slice slice = { .phase = phase, .context_tokens = ANY, .query_tokens = ANY, .sequences = ANY };
    slice.kv_dtype = first_type(view, &slice, metric);
    size_t query_tokens = ANY, sequences = ANY;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, metric, &at));) {
        if (p->point.query_tokens < query_tokens) query_tokens = p->point.query_tokens;
        if (p->point.sequences < sequences) sequences = p->point.sequences;
    }
    slice.sequences = sequences;
    if (!by_query) slice.query_tokens = query_tokens;
    return slice;
}

/* Materialised MLA caches keys and values of each head: its time does not go with the bytes of the
 * latent, and so it never stands for its contender beside them. */
static bool keeps_its_bytes(const Point *p) {
    return strcmp(p->attention, "mla") != 0 || strcmp(p->path, "materialised") != 0;
}

const char *view_fastest_path(const View *view, Slice slice, const char *contender) {
    const StoredPoint *best = NULL, *p;
    slice.contender = contender;
    for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
        if (!keeps_its_bytes(&p->point)) continue;
        int longer = !best ? 1 : compare_sizes(p->point.context_tokens, best->point.context_tokens);
        if (!longer) longer = compare_sizes(p->point.query_tokens, best->point.query_tokens);
        if (longer > 0 ||
            (longer == 0 && view_value(p, "attention_ns") < view_value(best, "attention_ns")))
            best = p;
    }
    return best ? best->point.path : NULL;
}

const Contender *view_baseline(const View *view) {
    for (size_t i = 0; i < view->contender_count; i++)
        if (strcmp(view->contenders[i].attention, "mha") == 0) return &view->contenders[i];
    return NULL;
}

/* The sizes of a layer end where a remark in brackets begins. */
static size_t sizes_length(const char *layer) {
    const char *remark = strstr(layer, " (");
    return remark ? (size_t)(remark - layer) : strlen(layer);
}

static bool has_size(const char *layer, const char *wanted, size_t length) {
    const size_t end = sizes_length(layer);
    for (size_t at = 0; at < end;) {
        const size_t own = strcspn(layer + at, ","), until = at + own < end ? own : end - at;
        if (until == length && memcmp(layer + at, wanted, length) == 0) return true;
        at += until + 2;
    }
    return false;
}

static bool all_have_size(const View *view, const Slice *slice, const char *metric,
                          const char *wanted, size_t length) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, metric, &at));)
        if (!has_size(p->point.layer, wanted, length)) return false;
    return true;
}

static bool all_have_remark(const View *view, const Slice *slice, const char *metric,
                            const char *remark) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, metric, &at));)
        if (strcmp(p->point.layer + sizes_length(p->point.layer), remark) != 0) return false;
    return true;
}

void view_shape(const View *view, const Slice *slice, const char *metric, char *text, size_t size) {
    const StoredPoint *first = view_first(view, slice, metric);
    text[0] = '\0';
    if (!first) return;
    const char *const layer = first->point.layer;
    const size_t end = sizes_length(layer);
    size_t used = 0;
    for (size_t at = 0; at < end;) {
        const size_t own = strcspn(layer + at, ","), length = at + own < end ? own : end - at;
        const char *const part = layer + at;
        at += length + 2;
        if (strncmp(part, "G ", 2) == 0 || used + length + 3 > size ||
            !all_have_size(view, slice, metric, part, length))
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", used ? ", " : "", (int)length,
                                 part);
    }
    if (all_have_remark(view, slice, metric, layer + end))
        snprintf(text + used, size - used, "%s", layer + end);
}

void view_teacher_shape(const View *view, const Slice *errors, char *text, size_t size) {
    Slice teacher = *errors;
    const Contender *base = view_baseline(view);
    if (base) teacher.contender = base->name;
    if (!view_first(view, &teacher, "y_rel")) teacher = *errors;
    view_shape(view, &teacher, "y_rel", text, size);
}

/* A key of the configuration as resolved, "" where there is none. */
static const char *config_value(const View *view, const char *key) {
    for (size_t i = 0; i < view->run->config_count; i++)
        if (strcmp(view->run->config[i].name, key) == 0) return view->run->config[i].value;
    return "";
}

void view_error_terms(const View *view, char *text, size_t size) {
    const char *const queries = config_value(view, "error.queries");
    const char *const draws = config_value(view, "error.draws");
    const bool all = !queries[0] || strcmp(queries, "0") == 0;
    snprintf(text, size, "%s%s of %s tokens ask", all ? "all" : "the last ", all ? "" : queries,
             config_value(view, "error.tokens"));
    const size_t used = strlen(text);
    if (draws[0] && strcmp(draws, "1") != 0)
        snprintf(text + used, size - used, ", %s draws pooled", draws);
}

const char *view_temperature(const View *view, const Slice *slice) {
    const StoredPoint *p = view_first(view, slice, "cold");
    if (!p) return "";
    return view_value(p, "cold") > 0 ? ", cold cache" : ", warm cache";
}

void view_path_label(const View *view, const Slice *slice, const StoredPoint *point, char *text,
                     size_t size) {
    Slice own = *slice;
    own.contender = point->point.contender;
    own.path = NULL;
    bool several = false;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &own, "attention_ns", &at));)
        if (strcmp(p->point.path, point->point.path) != 0) several = true;
    snprintf(text, size, "%s%s%s", view_contender(view, point->point.contender)->label,
             several ? " " : "", several ? point->point.path : "");
}
