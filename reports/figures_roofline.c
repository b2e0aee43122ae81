/* figures_roofline.c -- how near each attention call comes to what this machine can do.
 *
 * Intensity is the least flops of the call over its least bytes; the roofs are the rates that the
 * machine reached in a read loop and an FMA loop in the same run. */
#include <math.h>
#include <string.h>

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

/* One group a contender and phase: decode in filled marks, prefill in open ones. Returns how many;
 * with d NULL it only counts. */
static size_t write_groups(const View *view, Drawing *d, Axis *x, Axis *y) {
    size_t group = 0;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < view->contender_count; i++) {
            const Contender *c = &view->contenders[i];
            const Slice slice = { phases[k], c->name, NULL, NULL, ANY, ANY, ANY };
            if (!has_group(view, &slice)) continue;
            if (d) {
                figure_number_item(d, "colour", group, c->colour);
                figure_number_item(d, "mark", group, c->mark - (k == 1 && c->mark % 2));
                write_group(view, &slice, group, d, x, y);
            }
            group++;
        }
    return group;
}

/* The legend: a name for each contender that has a point; of methods for each family. */
static void write_legend(const View *view, Drawing *d) {
    const char *const arrays[] = { "entry", "entry_colour", "entry_mark" };
    const bool methods = methods_compared(view->run);
    bool named[FAMILIES] = { false };
    size_t entries = 0;
    for (size_t i = 0; i < 3; i++) figure_array(d, arrays[i], view->contender_count);
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *c = &view->contenders[i];
        const MethodFamily family = method_family(c->name);
        const Slice decode = { phases[0], c->name, NULL, NULL, ANY, ANY, ANY },
                    prefill = { phases[1], c->name, NULL, NULL, ANY, ANY, ANY };
        if (!has_group(view, &decode) && !has_group(view, &prefill)) continue;
        if (methods && named[family]) continue;
        named[family] = true;
        figure_item(d, "entry", entries, methods ? method_family_name(family) : c->label);
        figure_number_item(d, "entry_colour", entries, c->colour);
        figure_number_item(d, "entry_mark", entries++, c->mark);
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

Status figure_roofline(const View *view, const char *folder, Figure *figure, Error *err) {
    const double memory = fact_rate(view, "read_gbytes_s"),
                 cache = fact_rate(view, "l3_read_gbytes_s"),
                 peak = fact_rate(view, "fma_f32_gflops");
    const size_t groups = write_groups(view, NULL, NULL, NULL);
    if (!groups || memory == 0 || peak == 0) return OK;
    snprintf(figure->name, sizeof figure->name, "roofline");
    snprintf(figure->title, sizeof figure->title, "Attention on this machine's roofline");
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: rates and roofs, in one run; exact: intensity; filled marks decode, open "
             "marks prefill");
    snprintf(figure->caption, sizeof figure->caption,
             "Each mark is one measured point: filled in decode, open in prefill. Left of the bend "
             "memory binds, right of it arithmetic. A mark above the memory roof was served by the "
             "last-level cache (LLC).");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    fprintf(d.data.stream,
            "group\tlabel\tphase\tpath\tcontext_tokens\tquery_tokens\tintensity\tgflops\n");
    const char *const arrays[] = { "colour", "mark" };
    for (size_t i = 0; i < 2; i++) figure_array(&d, arrays[i], groups);
    Axis x = { 0 }, y = { 0 };
    write_groups(view, &d, &x, &y);
    axis_hold(&x, peak / memory * 3);
    axis_hold(&x, peak / memory / 8);
    axis_hold(&y, peak * 1.3);
    axis_hold(&y, memory * x.low);
    axis_snap(&x);
    axis_snap(&y);
    figure_number(&d, "N", (double)groups);
    write_legend(view, &d);
    write_roofs(&d, memory, cache, peak);
    figure_text(&d, "x_label", "intensity (flop/B)");
    figure_text(&d, "y_label", "attained (GFLOP/s)");
    axis_write(&d, "x", &x);
    axis_write(&d, "y", &y);
    return figure_end(&d, OK, "roofline", err);
}
