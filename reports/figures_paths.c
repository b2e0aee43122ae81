/* figures_paths.c -- absorbed, expanded and materialised MLA against each other.
 *
 * Few query tokens favour absorbed (it reads the latent once for all heads), many favour expanded
 * (rebuilding keys and values is paid once and each product is shorter). The crossover is where the
 * two medians meet, found between two measured counts on straight lines over log-log axes. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"

static const char *const path_names[] = { "absorbed", "expanded", "materialised" };
static const int path_dashes[] = { 1, 2, 3 };
static const int path_marks[] = { 7, 4, 8 };
enum { PATHS = 3, PANELS = 3 };

const Contender *paths_contender(const View *view, const Slice *slice) {
    for (size_t i = 0; i < view->contender_count; i++) {
        int paths = 0;
        for (int k = 0; k < PATHS; k++) {
            Slice own = *slice;
            own.contender = view->contenders[i].name;
            own.path = path_names[k];
            paths += view_first(view, &own, "attention_ns") != NULL;
        }
        if (paths >= 2 && strcmp(view->contenders[i].attention, "mla") == 0)
            return &view->contenders[i];
    }
    return NULL;
}

/* The three curves of a slice whose contender is fixed. */
static Status draw_paths(const View *view, Slice slice, const Contender *look, bool by_query,
                         int panel, Chart *chart, Error *err) {
    for (int k = 0; k < PATHS; k++) {
        slice.path = path_names[k];
        if (!view_first(view, &slice, "attention_ns")) continue;
        Contender styled = *look;
        styled.mark = path_marks[k];
        TRY(chart_curve(chart, path_names[k], &styled, path_dashes[k], err));
        chart->curves[chart->curve_count - 1].panel = panel;
        const StoredPoint *p;
        for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));)
            TRY(chart_add_metric(
                chart, (double)(by_query ? p->point.query_tokens : p->point.context_tokens),
                store_metric(p, "attention_ns"), err));
    }
    return OK;
}

/* The meeting of two paths, if any. */
static bool find_meeting(const View *view, Slice slice, const char *first, const char *second,
                         PathMeeting *found) {
    double last_gap = NAN, last_context = 0;
    Slice other = slice;
    slice.path = first;
    other.path = second;
    const StoredPoint *p, *q;
    for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
        other.context_tokens = p->point.context_tokens;
        if (!(q = view_first(view, &other, "attention_ns"))) continue;
        const double context = (double)p->point.context_tokens;
        const double gap = log(view_value(p, "attention_ns") / view_value(q, "attention_ns"));
        if (last_gap * gap < 0) {
            const double step = log(context / last_context) * last_gap / (last_gap - gap);
            *found = (PathMeeting){ gap > 0 ? first : second, gap > 0 ? second : first,
                                    last_context * exp(step) };
            return true;
        }
        last_gap = gap;
        last_context = context;
    }
    return false;
}

size_t path_meetings(const View *view, Slice slice, PathMeeting meetings[PATH_MEETINGS]) {
    size_t count = 0;
    for (int i = 0; i < PATHS; i++)
        for (int k = i + 1; k < PATHS; k++)
            count += find_meeting(view, slice, path_names[i], path_names[k], &meetings[count]);
    return count;
}

static void write_meetings(const View *view, Slice slice, Drawing *d) {
    PathMeeting found[PATH_MEETINGS];
    const size_t count = path_meetings(view, slice, found);
    figure_array(d, "meeting", PATH_MEETINGS);
    figure_array(d, "meeting_text", PATH_MEETINGS);
    for (size_t i = 0; i < count; i++) {
        char text[96];
        snprintf(text, sizeof text, "%s faster from %.3gK on", found[i].faster,
                 found[i].context / 1024);
        figure_number_item(d, "meeting", i, found[i].context);
        figure_item(d, "meeting_text", i, text);
    }
    figure_number(d, "meetings", (double)count);
}

Status figure_paths(const View *view, const char *folder, Figure *figure, Error *err) {
    Slice slice = view_slice(view, "decode", "attention_ns", false);
    const Contender *look = paths_contender(view, &slice);
    if (!look) return OK;
    slice.contender = look->name;
    const StoredPoint *p = view_first(view, &slice, "attention_ns");
    snprintf(figure->name, sizeof figure->name, "paths");
    snprintf(figure->title, sizeof figure->title, "Three paths through %s against context",
             look->label);
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: medians, quartiles; %zu new token%s, %zu sequence%s, %s rows%s; %s",
             slice.query_tokens, slice.query_tokens == 1 ? "" : "s", slice.sequences,
             slice.sequences == 1 ? "" : "s", slice.kv_dtype, view_temperature(view, &slice),
             p->point.layer);
    snprintf(figure->caption, sizeof figure->caption,
             "The same attention by three ways: absorbed works on the latent itself, expanded "
             "rebuilds keys and values from the latent at each call, materialised caches keys and "
             "values of each head. The products with the up-projection are in absorbed and "
             "expanded; materialised makes its own when a token is cached, outside this time. "
             "Upright lines: where two paths take the same time, between medians on log-log axes.");
    Chart chart = { .scale = 1 };
    snprintf(chart.x_label, sizeof chart.x_label, "cached context (tokens)");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    Status status = draw_paths(view, slice, look, false, 0, &chart, err);
    if (status == OK) {
        chart_time_axis(&chart, "attention, one layer");
        status = chart_write(&chart, &d, err);
        write_meetings(view, slice, &d);
    }
    chart_free(&chart);
    return figure_end(&d, status, "lines", err);
}

/* ---- against query tokens ---- */

static double time_at(const View *view, Slice slice, const char *path, size_t query_tokens) {
    slice.path = path;
    slice.query_tokens = query_tokens;
    const StoredPoint *p = view_first(view, &slice, "attention_ns");
    return p ? view_value(p, "attention_ns") : NAN;
}

Crossover crossover_find(const View *view, Slice slice) {
    Crossover found = { .measured = NAN, .closed = NAN, .first = NAN, .last = NAN };
    double last_gap = NAN, last_tokens = 0;
    slice.path = "absorbed";
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
        const double closed = view_value(p, "crossover_query_tokens");
        if (isfinite(closed)) found.closed = closed;
        const double expanded = time_at(view, slice, "expanded", p->point.query_tokens);
        const double tokens = (double)p->point.query_tokens;
        const double gap = log(view_value(p, "attention_ns") / expanded);
        if (!isfinite(gap)) continue;
        if (isnan(last_gap)) {
            found.below = found.beyond = true;
            found.first = tokens;
        }
        found.below &= gap >= 0;
        found.beyond &= gap < 0;
        found.last = tokens;
        if (last_gap < 0 && gap >= 0 && isnan(found.measured))
            found.measured =
                exp(log(last_tokens) - last_gap * log(tokens / last_tokens) / (gap - last_gap));
        last_gap = gap;
        last_tokens = tokens;
    }
    return found;
}

/* The contexts at which two or more query counts of both paths were measured: at most three of
 * them, the first, the middle and the last. Returns how many. */
static size_t choose_contexts(const View *view, Slice slice, size_t *chosen) {
    size_t distinct = 0, last = ANY;
    const StoredPoint *p;
    slice.path = "absorbed";
    for (int round = 0; round < 2; round++) {
        size_t seen = 0, taken = 0;
        const size_t total = distinct;
        last = ANY;
        for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
            Slice own = slice;
            own.context_tokens = p->point.context_tokens;
            if (own.context_tokens == last) continue;
            last = own.context_tokens;
            const size_t absorbed = view_count(view, &own, "attention_ns");
            own.path = "expanded";
            if (absorbed < 2 || view_count(view, &own, "attention_ns") < 2) continue;
            if (round == 1 &&
                (total <= PANELS || seen == 0 || seen == total / 2 || seen == total - 1))
                chosen[taken++] = own.context_tokens;
            seen++;
        }
        distinct = round == 0 ? seen : taken;
    }
    return distinct;
}

/* The words of one panel: its context and both crossovers. */
static void write_panel(Drawing *d, size_t index, size_t context, const Crossover *c) {
    char text[96], tokens[32];
    format_tokens(context, tokens, sizeof tokens);
    snprintf(text, sizeof text, "%s cached tokens", tokens);
    figure_item(d, "panel_title", index, text);
    if (c->beyond)
        snprintf(text, sizeof text, "measured: absorbed faster, %g to %g", c->first, c->last);
    else if (c->below)
        snprintf(text, sizeof text, "measured: expanded faster, %g to %g", c->first, c->last);
    else if (isfinite(c->measured))
        snprintf(text, sizeof text, "measured (solid): %.3g", c->measured);
    else
        snprintf(text, sizeof text, "measured: no single crossover");
    figure_item(d, "measured_text", index, text);
    figure_number_item(d, "measured", index, isfinite(c->measured) ? c->measured : 0);
    text[0] = '\0';
    if (isfinite(c->closed)) snprintf(text, sizeof text, "equal flops (dashed): %.3g", c->closed);
    figure_item(d, "closed_text", index, text);
    figure_number_item(d, "closed", index, isfinite(c->closed) ? c->closed : 0);
}

static Status draw_panels(const View *view, Slice slice, const Contender *look, Chart *chart,
                          Drawing *d, Error *err) {
    size_t contexts[PANELS] = { 0 };
    const size_t count = choose_contexts(view, slice, contexts);
    figure_number(d, "panels", (double)count);
    const char *const arrays[] = { "panel_title", "measured", "measured_text", "closed",
                                   "closed_text" };
    for (size_t i = 0; i < 5; i++) figure_array(d, arrays[i], count);
    for (size_t i = 0; i < count; i++) {
        slice.context_tokens = contexts[i];
        TRY(draw_paths(view, slice, look, true, (int)i + 1, chart, err));
        const Crossover c = crossover_find(view, slice);
        write_panel(d, i, contexts[i], &c);
    }
    return OK;
}

Status figure_crossover(const View *view, const char *folder, Figure *figure, Error *err) {
    Slice slice = view_slice(view, "decode", "attention_ns", true);
    const Contender *look = paths_contender(view, &slice);
    size_t contexts[PANELS];
    if (!look) return OK;
    slice.contender = look->name;
    if (choose_contexts(view, slice, contexts) == 0) return OK;
    const StoredPoint *p = view_first(view, &slice, "attention_ns");
    snprintf(figure->name, sizeof figure->name, "crossover");
    snprintf(figure->title, sizeof figure->title,
             "Where expanded %s overtakes absorbed: latency against query tokens", look->label);
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "measured: medians, quartiles; exact: equal flops; %zu sequence%s, %s rows%s; %s",
             slice.sequences, slice.sequences == 1 ? "" : "s", slice.kv_dtype,
             view_temperature(view, &slice), p->point.layer);
    snprintf(figure->caption, sizeof figure->caption,
             "Left of the crossover absorbed is faster, right of it expanded. The measured one is "
             "interpolated between medians on log-log axes; the closed form is where both need "
             "equal flops.");
    Chart chart = { .scale = 1 };
    snprintf(chart.x_label, sizeof chart.x_label, "query tokens");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    Status status = draw_panels(view, slice, look, &chart, &d, err);
    if (status == OK) {
        chart_time_axis(&chart, "attention, one layer");
        status = chart_write(&chart, &d, err);
    }
    chart_free(&chart);
    return figure_end(&d, status, "crossover", err);
}
