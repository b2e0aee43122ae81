/* figures_roofline.c -- how near each attention call comes to what this machine can do.
 *
 * Intensity is the least flops of the call over its least bytes; the roofs are the rates that the
 * machine reached in a read loop and an FMA loop in the same run. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "methods.h"
#include "quantity.h"

static const char *const phases[] = { "decode", "prefill" };

static double fact_rate(const View *view, const char *name) {
    double value = 0;
    return quantity_real(store_fact(view->run, name), &value) && value > 0 ? value : 0;
}

static double intensity_of(const StoredPoint *p) {
    return view_value(p, "flops") / view_value(p, "bytes");
}

static double rate_of(const StoredPoint *p) {
    return view_value(p, "flops") / view_value(p, "attention_ns");
}

static bool has_costs(const StoredPoint *p) {
    return isfinite(intensity_of(p)) && isfinite(rate_of(p)) && rate_of(p) > 0;
}

static bool has_group(const View *view, const Slice *slice) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, "attention_ns", &at));)
        if (has_costs(p)) return true;
    return false;
}

static void write_group(const View *view, const Slice *slice, size_t group, Drawing *d, Axis *x,
                        Axis *y) {
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, slice, "attention_ns", &at));) {
        if (!has_costs(p)) continue;
        fprintf(d->data.stream, "%zu\t", group + 1);
        figure_field(d->data.stream, view_contender(view, p->point.contender)->label);
        fprintf(d->data.stream, "\t%s\t%s\t%zu\t%zu\t%.9g\t%.9g\n", p->point.phase, p->point.path,
                p->point.context_tokens, p->point.query_tokens, intensity_of(p), rate_of(p));
        axis_hold(x, intensity_of(p));
        axis_hold(y, rate_of(p));
    }
}

/* What has a mark of its own: a contender, or one of MLA's paths where there are several. */
typedef struct {
    const Contender *look;
    const char *path; /* or NULL: all */
    int mark;         /* gnuplot's point type, filled */
} Kind;

static const struct {
    const char *path;
    int mark;
} path_marks[] = { { "absorbed", 13 }, { "expanded", 15 }, { "materialised", 11 } };
enum { PATHS = sizeof path_marks / sizeof *path_marks };

static bool kind_has(const View *view, const Kind *kind, const char *phase) {
    const Slice slice = { phase, kind->look->name, kind->path, NULL, ANY, ANY, ANY };
    return has_group(view, &slice);
}

/* The kinds that have a point, into kinds of PATHS a contender; returns how many. */
static size_t collect_kinds(const View *view, Kind *kinds) {
    size_t count = 0;
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *c = &view->contenders[i];
        const Kind whole = { c, NULL, c->mark };
        size_t paths = 0;
        for (size_t k = 0; k < PATHS; k++) {
            const Kind own = { c, path_marks[k].path, path_marks[k].mark };
            if (!kind_has(view, &own, phases[0]) && !kind_has(view, &own, phases[1])) continue;
            kinds[count + paths++] = own;
        }
        if (paths == 0) continue;
        if (paths == 1 || methods_compared(view->run)) {
            kinds[count++] = whole;
            continue;
        }
        count += paths;
    }
    return count;
}

/* One group a kind and phase: decode in filled marks, prefill in open ones. Returns how many. */
static size_t write_groups(const View *view, size_t count, const Kind *kinds, Drawing *d, Axis *x,
                           Axis *y) {
    size_t group = 0;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < count; i++) {
            if (!kind_has(view, &kinds[i], phases[k])) continue;
            const Slice slice = {
                phases[k], kinds[i].look->name, kinds[i].path, NULL, ANY, ANY, ANY
            };
            figure_number_item(d, "colour", group, kinds[i].look->colour);
            figure_number_item(d, "mark", group, kinds[i].mark - (k == 1 && kinds[i].mark % 2));
            write_group(view, &slice, group++, d, x, y);
        }
    return group;
}

/* A name for each kind; of methods one for each family. */
static void write_legend(size_t count, const Kind *kinds, bool methods, Drawing *d) {
    const char *const arrays[] = { "entry", "entry_colour", "entry_mark" };
    bool named[FAMILIES] = { false };
    size_t entries = 0;
    for (size_t i = 0; i < 3; i++) figure_array(d, arrays[i], count);
    for (size_t i = 0; i < count; i++) {
        const Contender *c = kinds[i].look;
        const MethodFamily family = method_family(c->name);
        char text[96];
        if (methods && named[family]) continue;
        named[family] = true;
        snprintf(text, sizeof text, "%s%s%s", methods ? method_family_name(family) : c->label,
                 kinds[i].path ? " " : "", kinds[i].path ? kinds[i].path : "");
        figure_item(d, "entry", entries, text);
        figure_number_item(d, "entry_colour", entries, c->colour);
        figure_number_item(d, "entry_mark", entries++, kinds[i].mark);
    }
    figure_number(d, "M", (double)entries);
}

static void write_roofs(Drawing *d, double memory, double cache, double peak) {
    char text[96];
    figure_number(d, "memory", memory);
    figure_number(d, "cache", cache);
    figure_number(d, "peak", peak);
    snprintf(text, sizeof text, "memory read %.3g GB/s", memory);
    figure_text(d, "memory_text", text);
    snprintf(text, sizeof text, "LLC read %.3g GB/s", cache);
    figure_text(d, "cache_text", text);
    snprintf(text, sizeof text, "fp32 FMA %.4g GFLOP/s", peak);
    figure_text(d, "peak_text", text);
}

static Status draw(const View *view, size_t count, const Kind *kinds, const Figure *figure,
                   const char *folder, Error *err) {
    const double memory = fact_rate(view, "read_gbytes_s"),
                 cache = fact_rate(view, "l3_read_gbytes_s"),
                 peak = fact_rate(view, "fma_f32_gflops");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    fprintf(d.data.stream,
            "group\tlabel\tphase\tpath\tcontext_tokens\tquery_tokens\tintensity\tgflops\n");
    figure_array(&d, "colour", 2 * count);
    figure_array(&d, "mark", 2 * count);
    Axis x = { 0 }, y = { 0 };
    figure_number(&d, "N", (double)write_groups(view, count, kinds, &d, &x, &y));
    axis_hold(&x, peak / memory * 3);
    axis_hold(&x, peak / memory / 8);
    axis_hold(&y, peak * 1.3);
    axis_hold(&y, memory * x.low);
    axis_snap(&x);
    axis_snap(&y);
    write_legend(count, kinds, methods_compared(view->run), &d);
    write_roofs(&d, memory, cache, peak);
    figure_text(&d, "x_label", "intensity (flop/B)");
    figure_text(&d, "y_label", "attained (GFLOP/s)");
    axis_write(&d, "x", &x);
    axis_write(&d, "y", &y);
    return figure_end(&d, OK, "roofline", err);
}

Status figure_roofline(const View *view, const char *folder, Figure *figure, Error *err) {
    if (fact_rate(view, "read_gbytes_s") == 0 || fact_rate(view, "fma_f32_gflops") == 0) return OK;
    Kind *kinds = NULL;
    TRY(BUFFER(&kinds, PATHS * view->contender_count, "marks of the roofline", err));
    const size_t count = collect_kinds(view, kinds);
    if (!count) {
        buffer_free(kinds);
        return OK;
    }
    snprintf(figure->name, sizeof figure->name, "roofline");
    snprintf(figure->title, sizeof figure->title, "Attention on this machine's roofline");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: rates and roofs, in one run; exact: intensity; filled marks decode, open "
             "marks prefill");
    snprintf(figure->caption, sizeof figure->caption,
             "Each mark is one measured point: filled in decode, open in prefill. Left of the bend "
             "memory binds, right of it arithmetic. A mark above the memory roof was served by the "
             "last-level cache (LLC); one above the flat roof means that the roofs were measured "
             "while something else ran, and is among the warnings.");
    const Status status = draw(view, count, kinds, figure, folder, err);
    buffer_free(kinds);
    return status;
}
