/* figures_capacity.c -- what fits on a deployment: users against context, and where a GPU's memory
 * goes. */
#include <math.h>
#include <string.h>

#include "chart.h"
#include "figures.h"

enum { TYPES_DRAWN = 2 };

/* The types of the plan's points in the order stored, at most TYPES_DRAWN. */
static size_t find_types(const View *view, const char *types[TYPES_DRAWN]) {
    const Slice slice = { "plan", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p;
    size_t count = 0;
    for (size_t at = 0; (p = view_next(view, &slice, "users", &at)) && count < TYPES_DRAWN;) {
        size_t i = 0;
        while (i < count && strcmp(types[i], p->point.kv_dtype) != 0) i++;
        if (i == count) types[count++] = p->point.kv_dtype;
    }
    return count;
}

static const char *config_value(const View *view, const char *key) {
    for (size_t i = 0; i < view->run->config_count; i++)
        if (strcmp(view->run->config[i].name, key) == 0) return view->run->config[i].value;
    return "";
}

/* Do two contenders hold as many users at every context, in a type? */
static bool hold_alike(const View *view, const char *one, const char *two, const char *type) {
    const Slice a = { "plan", one, NULL, type, ANY, ANY, ANY };
    const StoredPoint *p;
    size_t count = 0;
    for (size_t at = 0; (p = view_next(view, &a, "users", &at)); count++) {
        const Slice b = { "plan", two, NULL, type, p->point.context_tokens, ANY, ANY };
        const StoredPoint *q = view_first(view, &b, "users");
        if (!q || view_value(p, "users") != view_value(q, "users")) return false;
    }
    const Slice all = { "plan", two, NULL, type, ANY, ANY, ANY };
    return count > 0 && count == view_count(view, &all, "users");
}

/* "GQA-8 = MQA, fp8": the contender and those after it that lie under its curve; false where the
 * contender lies under an earlier one's. */
static bool name_curve(const View *view, size_t i, const char *type, bool with_type, char *label,
                       size_t size) {
    for (size_t j = 0; j < i; j++)
        if (hold_alike(view, view->contenders[j].name, view->contenders[i].name, type))
            return false;
    size_t used = (size_t)snprintf(label, size, "%.24s", view->contenders[i].label);
    for (size_t j = i + 1; j < view->contender_count && used + 40 < size; j++)
        if (hold_alike(view, view->contenders[i].name, view->contenders[j].name, type))
            used +=
                (size_t)snprintf(label + used, size - used, " = %.16s", view->contenders[j].label);
    if (with_type) snprintf(label + used, size - used, ", %.14s", type);
    return true;
}

/* A curve over the contexts where a user fits; none where no user ever does. */
static Status draw_curve(const View *view, const Contender *look, const char *type,
                         const char *label, int dash, Chart *chart, Error *err) {
    const Slice slice = { "plan", look->name, NULL, type, ANY, ANY, ANY };
    const StoredPoint *p;
    bool begun = false;
    for (size_t at = 0; (p = view_next(view, &slice, "users", &at));) {
        const double users = view_value(p, "users");
        if (users < 1) continue;
        if (!begun) TRY(chart_curve(chart, label, look, dash, err));
        begun = true;
        TRY(chart_add(chart, (double)p->point.context_tokens, users, users, users, err));
    }
    return OK;
}

/* One curve a type, and contender or contenders that hold as many. */
static Status draw_users(const View *view, Chart *chart, Error *err) {
    const char *types[TYPES_DRAWN];
    const size_t type_count = find_types(view, types);
    for (size_t i = 0; i < view->contender_count; i++)
        for (size_t t = 0; t < type_count; t++) {
            char label[64];
            if (!name_curve(view, i, types[t], type_count > 1, label, sizeof label)) continue;
            TRY(draw_curve(view, &view->contenders[i], types[t], label, t ? 2 : 1, chart, err));
        }
    return OK;
}

Status figure_users(const View *view, const char *folder, Figure *figure, Error *err) {
    const Slice slice = { "plan", NULL, NULL, NULL, ANY, ANY, ANY };
    if (!view_first(view, &slice, "users")) return OK;
    snprintf(figure->name, sizeof figure->name, "users");
    snprintf(figure->title, sizeof figure->title, "%.40s: users at once against context",
             store_fact(view->run, "model"));
    snprintf(figure->subtitle, sizeof figure->subtitle, "modelled: %.60s, engine %.30s",
             config_value(view, "plan.hardware"), config_value(view, "plan.engine"));
    snprintf(figure->caption, sizeof figure->caption,
             "Whole sequences of a context whose cache fits into the memory that weights and "
             "reserve leave on the fullest GPU. A latent lies on every tensor-parallel rank whole; "
             "heads are split until there is one a rank. Bytes are exact, the reserve for "
             "activations is modelled. A curve ends where not one user fits; those that hold as "
             "many share one. At most two row types are drawn; the table has all.");
    Chart chart = { .scale = 1 };
    snprintf(chart.x_label, sizeof chart.x_label, "context of a user (tokens)");
    snprintf(chart.y_label, sizeof chart.y_label, "users at once");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    Status status = draw_users(view, &chart, err);
    if (status == OK) status = chart_write(&chart, &d, err);
    chart_free(&chart);
    return figure_end(&d, status, "lines", err);
}

/* The middle of a contender's contexts, in the first type. */
static const StoredPoint *middle_point(const View *view, const char *contender, const char *type) {
    const Slice slice = { "plan", contender, NULL, type, ANY, ANY, ANY };
    const size_t count = view_count(view, &slice, "users");
    const StoredPoint *p = NULL;
    size_t at = 0;
    for (size_t i = 0; i <= count / 2; i++) {
        const StoredPoint *next = view_next(view, &slice, "users", &at);
        if (next) p = next;
    }
    return p;
}

Status figure_memory(const View *view, const char *folder, Figure *figure, Error *err) {
    static const char *const parts[] = { "weights", "reserve", "cache" };
    static const unsigned shades[] = { 0x0072b2, 0xbbbbbb, 0xe69f00 };
    const char *types[TYPES_DRAWN];
    if (!find_types(view, types)) return OK;
    snprintf(figure->name, sizeof figure->name, "memory");
    snprintf(figure->title, sizeof figure->title, "%.40s: what the memory of a GPU goes to",
             store_fact(view->run, "model"));
    snprintf(figure->subtitle, sizeof figure->subtitle,
             "modelled: the fullest of %.60s, engine %.30s, %.16s rows",
             config_value(view, "plan.hardware"), config_value(view, "plan.engine"), types[0]);
    snprintf(figure->caption, sizeof figure->caption,
             "Weights are counted from the file of the model, the reserve is what the engine does "
             "not use, activations and runtime, and the cache has the rest; beside it the users "
             "that it holds.");
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    fprintf(d.data.stream, "row\tlabel\tweights\treserve\tcache\ttext\n");
    double widest = 0;
    size_t rows = 0;
    for (size_t i = 0; i < view->contender_count; i++) {
        const StoredPoint *p = middle_point(view, view->contenders[i].name, types[0]);
        if (!p) continue;
        const double weights = view_value(p, "weight_bytes_per_gpu") / 0x1p30,
                     reserve = view_value(p, "reserve_bytes_per_gpu") / 0x1p30,
                     cache = view_value(p, "kv_pool_bytes_per_gpu") / 0x1p30;
        char tokens[32];
        format_tokens(p->point.context_tokens, tokens, sizeof tokens);
        fprintf(d.data.stream, "%zu\t", ++rows);
        figure_field(d.data.stream, view->contenders[i].label);
        fprintf(d.data.stream, "\t%.9g\t%.9g\t%.9g\t%.0f users of %s\n", weights, reserve, cache,
                view_value(p, "users"), tokens);
        widest = fmax(widest, weights + reserve + cache);
    }
    figure_number(&d, "N", (double)rows);
    figure_number(&d, "height", 190 + 44 * (double)rows);
    figure_number(&d, "x_high", widest * 1.001);
    figure_text(&d, "x_label", "memory of a GPU (GiB)");
    figure_array(&d, "part", 3);
    figure_array(&d, "shade", 3);
    for (size_t i = 0; i < 3; i++) {
        figure_item(&d, "part", i, parts[i]);
        figure_number_item(&d, "shade", i, shades[i]);
    }
    return figure_end(&d, OK, "memory", err);
}
