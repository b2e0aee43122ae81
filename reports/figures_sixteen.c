/* figures_sixteen.c -- the contenders that reach 16x, side by side in bytes, latency and error.
 *
 * Among compression methods: of those that differ in size alone the one nearest to 16x, however
 * near that is, by family, the least error first; each row says its true ratio. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "losses.h"
#include "methods.h"

static const double sixteen = 16 * (1 - 1e-9);
static const char per_token[] = "cache_bytes_per_token";

double view_ratio(const View *view, const char *contender) {
    static const char *const sources[] = { "bytes", "error", "decode", "prefill" };
    double ratio = NAN;
    for (size_t i = 0; i < 4 && isnan(ratio); i++) {
        Slice slice = view_slice(view, sources[i], "ratio_to_mha", true);
        slice.contender = contender;
        const StoredPoint *p;
        for (size_t at = 0; (p = view_next(view, &slice, "ratio_to_mha", &at));) {
            const double own = method_ratio(p);
            if (!(own <= ratio)) ratio = own;
        }
    }
    return ratio;
}

const StoredPoint *view_decode_point(const View *view, const Slice *slice, const char *contender,
                                     size_t context_tokens) {
    Slice own = *slice;
    own.path = view_fastest_path(view, *slice, contender);
    if (!own.path) return NULL;
    own.contender = contender;
    own.context_tokens = context_tokens;
    return view_first(view, &own, "attention_ns");
}

size_t view_common_context(const View *view, const Slice *slice, const bool *chosen) {
    size_t longest = 0;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, "attention_ns", &at));) {
        bool common = p->point.context_tokens > longest;
        for (size_t i = 0; i < view->contender_count && common; i++)
            common =
                !chosen[i] || !view_fastest_path(view, *slice, view->contenders[i].name) ||
                view_decode_point(view, slice, view->contenders[i].name, p->point.context_tokens);
        if (common) longest = p->point.context_tokens;
    }
    return longest;
}

/* The point with the fewest bytes a token of a contender: its latent for MLA. */
static double bytes_of(const View *view, const char *contender) {
    const char *const metric = method_is_bound(contender) ? "read_bytes_per_token" : per_token;
    Slice slice = view_slice(view, "bytes", per_token, true);
    slice.contender = contender;
    double least = NAN;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, metric, &at));)
        if (!(view_value(p, metric) >= least)) least = view_value(p, metric);
    return least;
}

static double error_of(const View *view, const char *contender) {
    const Slice slice = losses_slice(view);
    return loss_pooled(view, &slice, contender, "y_rel");
}

typedef struct {
    double bytes, decode_ns, error;
} Triple;

static Triple read_triple(const View *view, const char *contender, const Slice *decode,
                          size_t context) {
    const StoredPoint *p = context ? view_decode_point(view, decode, contender, context) : NULL;
    return (Triple){ bytes_of(view, contender), p ? view_value(p, "attention_ns") : NAN,
                     error_of(view, contender) };
}

/* Values as texts: "not measured" where there is none. */
static void triple_texts(const Triple *t, char texts[3][48]) {
    for (int i = 0; i < 3; i++) snprintf(texts[i], 48, "not measured");
    if (isfinite(t->bytes)) format_whole_bytes(t->bytes, texts[0], 48);
    if (isfinite(t->decode_ns)) format_time(t->decode_ns, texts[1], 48);
    if (isfinite(t->error)) snprintf(texts[2], 48, "%.3g", t->error);
}

/* Is the first to stand before the second: an earlier family, then less error? */
static bool comes_before(const View *view, size_t first, size_t second) {
    const char *const a = view->contenders[first].name, *const b = view->contenders[second].name;
    if (method_family(a) != method_family(b)) return method_family(a) < method_family(b);
    return error_of(view, a) < error_of(view, b);
}

/* The chosen contenders in the order of the rows, methods as comes_before says; returns how many.
 */
static size_t order_rows(const View *view, const bool *chosen, bool methods, size_t *order) {
    size_t count = 0;
    for (size_t i = 0; i < view->contender_count; i++) {
        if (!chosen[i]) continue;
        size_t at = count++;
        for (; methods && at > 0 && comes_before(view, i, order[at - 1]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

static void write_row(const View *view, const Contender *c, double row, const Triple *t,
                      double most[3], FILE *data) {
    const double values[] = { t->bytes, t->decode_ns, t->error };
    char texts[3][48], ratio[32];
    triple_texts(t, texts);
    format_ratio(view_ratio(view, c->name), ratio, sizeof ratio);
    fprintf(data, "%.9g\t", row);
    figure_field(data, c->label);
    fprintf(data, "\t%u\t%.9g", c->colour, view_ratio(view, c->name));
    for (int k = 0; k < 3; k++) {
        fprintf(data, "\t%.17g\t%s", isfinite(values[k]) ? values[k] : -1, texts[k]);
        if (k == 0) fprintf(data, "  %s%s", ratio, method_is_bound(c->name) ? " read" : "");
        if (values[k] > most[k]) most[k] = values[k];
    }
    fputc('\n', data);
}

/* Rows, and of methods a line over each family that names it. */
static void write_rows(const View *view, const size_t *order, size_t rows, bool methods,
                       const Slice *decode, size_t context, Drawing *d) {
    double most[3] = { 0 }, row = 0;
    size_t headings = 0;
    fprintf(d->data.stream, "row\tlabel\tcolour\tratio\tbytes\tbytes_text\tdecode\tdecode_text\t"
                            "error\terror_text\n");
    figure_array(d, "heading", FAMILIES);
    figure_array(d, "heading_at", FAMILIES);
    for (size_t i = 0; i < rows; i++) {
        const Contender *c = &view->contenders[order[i]];
        const MethodFamily family = method_family(c->name);
        if (methods && (i == 0 || method_family(view->contenders[order[i - 1]].name) != family)) {
            row += 0.85;
            figure_item(d, "heading", headings, method_family_name(family));
            figure_number_item(d, "heading_at", headings++, row + 0.1);
        }
        const Triple t = read_triple(view, c->name, decode, context);
        write_row(view, c, ++row, &t, most, d->data.stream);
    }
    figure_array(d, "most", 3);
    for (size_t k = 0; k < 3; k++) figure_number_item(d, "most", k, most[k] > 0 ? most[k] : 1);
    figure_number(d, "headings", (double)headings);
    figure_number(d, "N", row);
    figure_number(d, "height", 150 + (methods ? 26 : 34) * row);
    if (methods) figure_number(d, "left", 0.3);
    if (methods) figure_number(d, "width", 900);
}

/* The line under each panel's title: what the baseline, the first MHA, has. */
static void write_baseline(const View *view, const Slice *decode, size_t context, Drawing *d) {
    figure_array(d, "baseline", 3);
    const Contender *base = view_baseline(view);
    char texts[3][48] = { "", "", "" };
    if (base) {
        const Triple t = read_triple(view, base->name, decode, context);
        triple_texts(&t, texts);
        if (!isfinite(t.error)) snprintf(texts[2], sizeof texts[2], "0");
    }
    for (size_t k = 0; k < 3; k++) {
        char text[128] = "";
        if (base) snprintf(text, sizeof text, "%s: %s", base->label, texts[k]);
        figure_item(d, "baseline", k, text);
    }
}

/* What the figure says of methods: the least error of those within a tenth of 16x that can be held;
 * where there are none, how far from it they are. */
static void title_methods(const View *view, const bool *chosen, Figure *figure) {
    const Contender *best = NULL;
    double low = INFINITY, high = 0;
    char least[32], most[32];
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *c = &view->contenders[i];
        const double ratio = view_ratio(view, c->name), error = error_of(view, c->name);
        if (!chosen[i] || method_is_bound(c->name)) continue;
        low = fmin(low, ratio);
        high = fmax(high, ratio);
        if (ratio > 1.1 * sixteen || sixteen > 1.1 * ratio || !isfinite(error)) continue;
        if (!best || error < error_of(view, best->name)) best = c;
    }
    format_ratio(best ? view_ratio(view, best->name) : low, least, sizeof least);
    format_ratio(high, most, sizeof most);
    if (best)
        snprintf(figure->title, sizeof figure->title, "Near 16x %s loses least: y_rel %.3g at %s",
                 best->label, error_of(view, best->name), least);
    else
        snprintf(figure->title, sizeof figure->title, "Nearest to 16x of each kind: from %s to %s",
                 least, most);
}

static Status draw(const View *view, const bool *chosen, bool methods, const char *folder,
                   Figure *figure, Error *err) {
    const Slice decode = view_slice(view, "decode", "attention_ns", false);
    const size_t context = view_common_context(view, &decode, chosen);
    const Slice errors = view_slice(view, "error", "y_rel", true);
    char shape[128];
    view_teacher_shape(view, &errors, shape, sizeof shape);
    snprintf(figure->name, sizeof figure->name, "sixteen");
    snprintf(figure->title, sizeof figure->title,
             "What 16x less cache costs: bytes, latency and error");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "exact: bytes; measured: latency (medians) and error%s%s",
             shape[0] ? "; error on " : "", shape);
    if (methods) title_methods(view, chosen, figure);
    snprintf(figure->caption, sizeof figure->caption,
             "%s Error is y_rel, the relative error of the layer's output against its "
             "MHA teacher in fp64%s%s; an output of zeros would have 1. Contenders are converted "
             "from the teacher without training.",
             methods
                 ? "Of the contenders that differ in size alone the one nearest to 16 times less "
                   "cache than MHA's in bf16, by family, least error first; beside its bytes the "
                   "true ratio. An oracle is a bound: it reads as much, and stores all."
                 : "The contenders of the bytes phase whose cache is at least 16 times smaller "
                   "than MHA's in bf16.",
             shape[0] ? ", on a layer of " : "", shape);
    Drawing d;
    size_t *order = NULL;
    TRY(BUFFER(&order, view->contender_count, "rows of a figure", err));
    const size_t rows = order_rows(view, chosen, methods, order);
    const Status begun = figure_begin(&d, folder, figure, err);
    if (begun == OK) write_rows(view, order, rows, methods, &decode, context, &d);
    buffer_free(order);
    TRY(begun);
    write_baseline(view, &decode, context, &d);
    char title[96], tokens[32];
    format_tokens(context, tokens, sizeof tokens);
    figure_array(&d, "panel_title", 3);
    figure_item(&d, "panel_title", 0, "cache bytes a token, all layers");
    if (context)
        snprintf(title, sizeof title, "decode attention, a layer, at %s", tokens);
    else
        snprintf(title, sizeof title, "decode attention, a layer");
    figure_item(&d, "panel_title", 1, title);
    figure_item(&d, "panel_title", 2, "relative error of the output");
    return figure_end(&d, OK, "sixteen", err);
}

/* Is this the contender of its kind whose ratio is nearest to 16, and no copy of the teacher? */
static bool is_nearest(const View *view, size_t i) {
    char kind[METHOD_KIND], other[METHOD_KIND];
    const char *const name = view->contenders[i].name;
    const double gap = fabs(log2(view_ratio(view, name) / sixteen));
    if (!isfinite(gap) || method_family(name) == FAMILY_TEACHER) return false;
    method_kind(name, kind);
    for (size_t j = 0; j < view->contender_count; j++) {
        const double theirs = fabs(log2(view_ratio(view, view->contenders[j].name) / sixteen));
        method_kind(view->contenders[j].name, other);
        if (j != i && strcmp(kind, other) == 0 && (theirs < gap || (theirs == gap && j < i)))
            return false;
    }
    return true;
}

Status figure_sixteen(const View *view, const char *folder, Figure *figure, Error *err) {
    bool *chosen = NULL;
    bool any = false;
    const bool methods = methods_compared(view->run);
    TRY(BUFFER(&chosen, view->contender_count, "contenders at 16x", err));
    for (size_t i = 0; i < view->contender_count; i++) {
        const char *const name = view->contenders[i].name;
        chosen[i] = (methods ? is_nearest(view, i) : view_ratio(view, name) >= sixteen) &&
                    isfinite(bytes_of(view, name));
        any |= chosen[i];
    }
    const Status status = any ? draw(view, chosen, methods, folder, figure, err) : OK;
    buffer_free(chosen);
    return status;
}
