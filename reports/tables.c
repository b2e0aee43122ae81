/* tables.c -- rows out of stored points; see tables.h. */
#include "tables.h"

#include <math.h>
#include <string.h>

#include "figures.h"
#include "quantity.h"

/* A number with `digits` significant digits, or a dash. */
static void add_number(Row *row, double value, int digits) {
    if (isfinite(value))
        row_add(row, "%.*g", digits, value);
    else
        row_add(row, "–");
}

static void add_bytes(Row *row, double bytes) {
    char text[48];
    if (isfinite(bytes)) format_whole_bytes(bytes, text, sizeof text);
    row_add(row, "%s", isfinite(bytes) ? text : "–");
}

static void add_time(Row *row, double ns) {
    char text[48];
    if (isfinite(ns)) format_time(ns, text, sizeof text);
    row_add(row, "%s", isfinite(ns) ? text : "–");
}

static void add_ratio(Row *row, double ratio) {
    char text[48];
    if (isfinite(ratio)) format_ratio(ratio, text, sizeof text);
    row_add(row, "%s", isfinite(ratio) ? text : "–");
}

static void add_heads(Row *row, const char *const *heads, size_t count) {
    for (size_t i = 0; i < count; i++) row_add(row, "%s", heads[i]);
}

static void add_who(Row *row, const View *view, const Point *p) {
    row_add(row, "%s", view_contender(view, p->contender)->label);
    row_add(row, "%s", p->path[0] ? p->path : "–");
    row_add(row, "%s", p->kv_dtype);
}

void table_bytes(const View *view, Page *page) {
    static const char *const heads[] = { "contender",
                                         "path",
                                         "rows",
                                         "B a token, all layers",
                                         "B a token, a layer",
                                         "held, a layer",
                                         "to MHA",
                                         "block waste",
                                         "block tables",
                                         "resident (measured)",
                                         "parameters",
                                         "flops a cached token" };
    const Slice slice = { "bytes", NULL, NULL, NULL, ANY, ANY, ANY };
    const char *const metric = "cache_bytes_per_token";
    const StoredPoint *p = view_first(view, &slice, metric);
    if (!p) return;
    Row head = { 0 };
    add_heads(&head, heads, sizeof heads / sizeof *heads);
    page_table_begin(page, "Cache bytes (exact; resident memory is measured)", &head, 3);
    for (size_t at = 0; (p = view_next(view, &slice, metric, &at));) {
        Row row = { 0 };
        add_who(&row, view, &p->point);
        add_bytes(&row, view_value(p, metric));
        add_bytes(&row, view_value(p, "cache_bytes_per_token_layer"));
        add_bytes(&row, view_value(p, "held_bytes_per_token_layer"));
        add_ratio(&row, view_value(p, "ratio_to_mha"));
        add_bytes(&row, view_value(p, "block_waste_bytes"));
        add_bytes(&row, view_value(p, "table_bytes"));
        add_bytes(&row, view_value(p, "resident_bytes"));
        add_number(&row, view_value(p, "attention_parameters"), 4);
        add_number(&row, view_value(p, "decode_flops_per_cached_token"), 4);
        page_table_row(page, &row, 3);
    }
    page_table_end(page);
}

static void add_share(Row *row, double share) {
    if (isfinite(share))
        row_add(row, "%.0f %%", 100 * share);
    else
        row_add(row, "–");
}

/* "0.38 to 0.56": what single draws have, or a dash where there is one. */
static void add_draws(Row *row, const StoredPoint *p, const char *metric) {
    const Metric *m = store_metric(p, metric);
    if (m && m->low < m->high)
        row_add(row, "%.3g to %.3g", m->low, m->high);
    else
        row_add(row, "–");
}

static void table_phase(const View *view, Page *page, const char *phase, const char *metric,
                        const char *caption) {
    static const char *const heads[] = { "contender", "path",  "rows",     "context",    "new",
                                         "sequences", "cache", "median",   "quartiles",  "samples",
                                         "GFLOP/s",   "GB/s",  "roofline", "of roofline" };
    const Slice slice = { phase, NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p = view_first(view, &slice, metric);
    if (!p) return;
    Row head = { 0 };
    add_heads(&head, heads, sizeof heads / sizeof *heads);
    page_table_begin(page, caption, &head, 3);
    for (size_t at = 0; (p = view_next(view, &slice, metric, &at));) {
        const Metric *time = store_metric(p, metric);
        const double flops = view_value(p, "flops"), bytes = view_value(p, "bytes");
        char low[48], high[48];
        Row row = { 0 };
        add_who(&row, view, &p->point);
        row_add(&row, "%zu", p->point.context_tokens);
        row_add(&row, "%zu", p->point.query_tokens);
        row_add(&row, "%zu", p->point.sequences);
        const double cold = view_value(p, "cold");
        row_add(&row, "%s", isnan(cold) ? "–" : cold > 0 ? "cold" : "warm");
        add_time(&row, time->value);
        format_time(time->low, low, sizeof low);
        format_time(time->high, high, sizeof high);
        row_add(&row, "%s to %s", low, high);
        row_add(&row, "%zu", time->sample_count);
        add_number(&row, flops / time->value, 3);
        add_number(&row, bytes / time->value, 3);
        add_time(&row, view_value(p, "roofline_ns"));
        add_share(&row, view_value(p, "roofline_ns") / time->value);
        page_table_row(page, &row, 3);
    }
    page_table_end(page);
}

/* Whole decode steps: projections and attention. */
static void table_steps(const View *view, Page *page) {
    static const char *const heads[] = { "contender", "path", "rows",
                                         "context",   "new",  "projections",
                                         "attention", "step", "of it attention" };
    const Slice slice = { "decode", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p;
    bool begun = false;
    for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
        Step step;
        if (!view_step(view, p, &step)) continue;
        Row head = { 0 }, row = { 0 };
        add_heads(&head, heads, sizeof heads / sizeof *heads);
        if (!begun)
            page_table_begin(page, "Decode step of one layer (sum of two measured medians)", &head,
                             3);
        begun = true;
        add_who(&row, view, &p->point);
        row_add(&row, "%zu", p->point.context_tokens);
        row_add(&row, "%zu", p->point.query_tokens);
        add_time(&row, step.projections->value);
        add_time(&row, step.attention->value);
        add_time(&row, step.median);
        add_share(&row, step.attention->value / step.median);
        page_table_row(page, &row, 3);
    }
    if (begun) page_table_end(page);
}

void table_times(const View *view, Page *page) {
    table_phase(view, page, "decode", "attention_ns",
                "Decode: attention of one layer (measured; roofline modelled)");
    table_phase(view, page, "prefill", "attention_ns",
                "Prefill: attention of one layer (measured; roofline modelled)");
    table_phase(view, page, "projections", "projection_ns",
                "Projections of one layer (measured; roofline modelled)");
    table_steps(view, page);
}

void table_errors(const View *view, Page *page) {
    static const char *const metrics[] = { "y_rel",     "out_rel", "k_rel",   "v_rel",
                                           "logit_rel", "attn_kl", "attn_tv", "out_cos",
                                           "cos_diff",  "max_abs", "p99_abs" };
    enum { METRICS = sizeof metrics / sizeof *metrics };
    const Slice slice = { "error", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p = view_first(view, &slice, "y_rel");
    if (!p) return;
    Row head = { 0 };
    row_add(&head, "contender");
    row_add(&head, "rows");
    row_add(&head, "to MHA");
    row_add(&head, "y_rel by draw");
    add_heads(&head, metrics, METRICS);
    char caption[400], shape[128], terms[96];
    const Slice teacher = view_slice(view, "error", "y_rel", true);
    view_teacher_shape(view, &teacher, shape, sizeof shape);
    view_error_terms(view, terms, sizeof terms);
    snprintf(caption, sizeof caption, "Error against fp64 (measured, on a layer of %s; %s)", shape,
             terms);
    page_table_begin(page, caption, &head, 2);
    for (size_t at = 0; (p = view_next(view, &slice, "y_rel", &at));) {
        Row row = { 0 };
        row_add(&row, "%s", view_contender(view, p->point.contender)->label);
        row_add(&row, "%s", p->point.kv_dtype);
        add_ratio(&row, view_value(p, "ratio_to_mha"));
        add_draws(&row, p, "y_rel");
        for (size_t i = 0; i < METRICS; i++) add_number(&row, view_value(p, metrics[i]), 3);
        page_table_row(page, &row, 2);
    }
    page_table_end(page);
}

/* "79.3 GiB" */
static void add_memory(Row *row, double bytes) {
    char text[48];
    quantity_format_bytes(bytes, text, sizeof text);
    row_add(row, "%s", text);
}

/* "12.4 ms to 18.1 ms" */
static void add_range(Row *row, double low_ns, double high_ns) {
    char low[48], high[48];
    if (!isfinite(low_ns)) {
        row_add(row, "–");
        return;
    }
    format_time(low_ns, low, sizeof low);
    format_time(high_ns, high, sizeof high);
    row_add(row, "%s to %s", low, high);
}

void table_capacity(const View *view, Page *page) {
    static const char *const heads[] = { "contender",        "rows",           "context",
                                         "users at once",    "B a token",      "of a user on a GPU",
                                         "weights of a GPU", "cache of a GPU", "decode step" };
    const Slice slice = { "plan", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p = view_first(view, &slice, "users");
    if (!p) return;
    Row head = { 0 };
    add_heads(&head, heads, sizeof heads / sizeof *heads);
    page_table_begin(page, "Users at once (modelled; bytes are exact)", &head, 2);
    for (size_t at = 0; (p = view_next(view, &slice, "users", &at));) {
        Row row = { 0 };
        row_add(&row, "%s", view_contender(view, p->point.contender)->label);
        row_add(&row, "%s", p->point.kv_dtype);
        row_add(&row, "%zu", p->point.context_tokens);
        row_add(&row, "%.0f", view_value(p, "users"));
        add_bytes(&row, view_value(p, "kv_bytes_per_token"));
        add_memory(&row, view_value(p, "kv_bytes_per_user_gpu"));
        add_memory(&row, view_value(p, "weight_bytes_per_gpu"));
        add_memory(&row, view_value(p, "kv_pool_bytes_per_gpu"));
        add_range(&row, view_value(p, "decode_low_ns"), view_value(p, "decode_high_ns"));
        page_table_row(page, &row, 2);
    }
    page_table_end(page);
}

static void add_point_words(Row *row, const View *view, const Point *p) {
    row_add(row, "%s", p->phase);
    add_who(row, view, p);
    row_add(row, "%zu", p->context_tokens);
    row_add(row, "%zu", p->query_tokens);
    row_add(row, "%zu", p->sequences);
}

static const char *const point_heads[] = { "phase",   "contender", "path",     "rows",
                                           "context", "new",       "sequences" };
enum { POINT_HEADS = sizeof point_heads / sizeof *point_heads };

void table_missing(const View *view, Page *page) {
    bool begun = false;
    for (size_t i = 0; i < view->run->point_count; i++) {
        const Point *p = &view->run->points[i].point;
        if (p->status == POINT_DONE) continue;
        if (!begun) {
            Row head = { 0 };
            add_heads(&head, point_heads, POINT_HEADS);
            row_add(&head, "status");
            row_add(&head, "why");
            page_heading(page, "Not measured");
            page_table_begin(page, "Points left out or failed; no figure shows them", &head, 99);
        }
        begun = true;
        Row row = { 0 };
        add_point_words(&row, view, p);
        row_add(&row, "%s", point_status_name(p->status));
        row_add(&row, "%s", p->message);
        page_table_row(page, &row, 99);
    }
    if (begun) page_table_end(page);
}

void table_warnings(const View *view, Page *page) {
    bool begun = false;
    for (size_t i = 0; i < view->run->point_count; i++) {
        const Point *p = &view->run->points[i].point;
        if (p->status != POINT_DONE || !p->message[0]) continue;
        if (!begun) {
            Row head = { 0 };
            add_heads(&head, point_heads, POINT_HEADS);
            row_add(&head, "warning");
            page_heading(page, "Warnings");
            page_table_begin(page, "Measured points whose samples give cause for doubt", &head, 99);
        }
        begun = true;
        Row row = { 0 };
        add_point_words(&row, view, p);
        row_add(&row, "%s", p->message);
        page_table_row(page, &row, 99);
    }
    if (begun) page_table_end(page);
}

void table_machine(const View *view, Page *page) {
    static const struct {
        const char *fact, *label, *unit;
        bool bytes;
    } facts[] = { { "cpu", "CPU", "", false },
                  { "threads", "threads", "", false },
                  { "isa", "kernels", "", false },
                  { "governor", "frequency governor", "", false },
                  { "memory_bytes", "memory", "", true },
                  { "llc_bytes", "last-level cache", "", true },
                  { "read_gbytes_s", "memory read, measured", " GB/s", false },
                  { "l3_read_gbytes_s", "last-level cache read, measured", " GB/s", false },
                  { "fma_f32_gflops", "fp32 FMA, measured", " GFLOP/s", false },
                  { "system", "system", "", false },
                  { "compiler", "compiler", "", false },
                  { "flags", "flags", "", false },
                  { "version", "kvlab", "", false },
                  { "commit", "commit", "", false },
                  { "seed", "seed", "", false },
                  { "started", "started", "", false },
                  { "seconds", "run time", " s", false } };
    Row head = { 0 };
    row_add(&head, "fact");
    row_add(&head, "value");
    page_table_begin(page, "What this run ran on", &head, 99);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *value = store_fact(view->run, facts[i].fact);
        char text[200];
        double number;
        if (!value[0]) continue;
        if (facts[i].bytes && quantity_real(value, &number))
            quantity_format_bytes(number, text, sizeof text);
        else if (facts[i].unit[0] && quantity_real(value, &number))
            snprintf(text, sizeof text, "%.4g%s", number, facts[i].unit);
        else
            snprintf(text, sizeof text, "%s", value);
        Row row = { 0 };
        row_add(&row, "%s", facts[i].label);
        row_add(&row, "%s", text);
        page_table_row(page, &row, 99);
    }
    page_table_end(page);
}

void table_config(const View *view, Page *page) {
    if (!view->run->config_count) return;
    Row head = { 0 };
    row_add(&head, "key");
    row_add(&head, "value");
    row_add(&head, "from");
    page_heading(page, "Configuration");
    page_table_begin(page, "Every key as resolved, and where its value came from", &head, 99);
    for (size_t i = 0; i < view->run->config_count; i++) {
        Row row = { 0 };
        row_add(&row, "%s", view->run->config[i].name);
        row_add(&row, "%s", view->run->config[i].value);
        row_add(&row, "%s", view->run->config[i].source);
        page_table_row(page, &row, 99);
    }
    page_table_end(page);
}
