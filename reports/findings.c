/* findings.c -- from points to sentences; see findings.h.
 *
 * A difference inside the spread (quartiles that overlap) is said to be none. */
#include "findings.h"

#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"
#include "losses.h"
#include "methods.h"
#include "quantity.h"

static const char per_token[] = "cache_bytes_per_token";

/* The point with the fewest cache bytes a token of a contender. */
static const StoredPoint *smallest(const View *view, const char *contender) {
    Slice slice = view_slice(view, "bytes", per_token, true);
    slice.contender = contender;
    const StoredPoint *best = NULL, *p;
    for (size_t at = 0; (p = view_next(view, &slice, per_token, &at));)
        if (!best || view_value(p, per_token) < view_value(best, per_token)) best = p;
    return best;
}

static size_t write_bytes(const View *view, const Contender *base, Page *page) {
    size_t written = 0;
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *c = &view->contenders[i];
        const StoredPoint *p = smallest(view, c->name);
        if (!p || c == base) continue;
        char bytes[32], ratio[32], text[256];
        format_whole_bytes(view_value(p, per_token), bytes, sizeof bytes);
        const double times = view_value(p, "ratio_to_mha");
        if (!isfinite(times)) continue;
        format_ratio(times >= 1 ? times : 1 / times, ratio, sizeof ratio);
        snprintf(text, sizeof text,
                 "%s holds %s a token over all layers in %s, %s %s than MHA in bf16 (exact).",
                 c->label, bytes, p->point.kv_dtype, ratio, times >= 1 ? "less" : "more");
        page_list_item(page, text);
        written++;
    }
    return written;
}

static size_t write_device(const View *view, Page *page) {
    double memory = 0;
    if (!quantity_real(store_fact(view->run, "device_memory_bytes"), &memory) || memory <= 0)
        return 0;
    char text[1024];
    size_t used = (size_t)snprintf(
        text, sizeof text, "If the cache had all the memory of one %.60s, a sequence could be ",
        store_fact(view->run, "device"));
    size_t named = 0;
    for (size_t i = 0; i < view->contender_count && used + 160 < sizeof text; i++) {
        const StoredPoint *p = smallest(view, view->contenders[i].name);
        if (!p) continue;
        char tokens[64];
        const double most = floor(memory / view_value(p, per_token));
        if (most >= 1e6)
            snprintf(tokens, sizeof tokens, "%.1f million", most / 1e6);
        else if (most >= 1e4)
            snprintf(tokens, sizeof tokens, "%.0f thousand", most / 1e3);
        else
            snprintf(tokens, sizeof tokens, "%.0f", most);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s tokens long with %s",
                                 named ? ", " : "", tokens, view->contenders[i].label);
        named++;
    }
    if (!named) return 0;
    snprintf(text + used, sizeof text - used, " (exact).");
    page_list_item(page, text);
    return 1;
}

/* "8.2x faster than MHA", "3.0x slower than MHA" or that no difference was measured. */
static void compare_times(const Metric *own, const Metric *base, const char *label, char *text,
                          size_t size) {
    if (own->low <= base->high && base->low <= own->high) {
        snprintf(text, size, "no difference to %s", label);
        return;
    }
    char ratio[32];
    const bool faster = own->value < base->value;
    format_ratio(faster ? base->value / own->value : own->value / base->value, ratio, sizeof ratio);
    snprintf(text, size, "%s %s than %s", ratio, faster ? "faster" : "slower", label);
}

/* "; with projections the step is 1.52x faster than MHA" where both were measured. */
static void compare_steps(const View *view, const StoredPoint *own, const StoredPoint *base,
                          const char *label, char *text, size_t size) {
    Step step, other;
    text[0] = '\0';
    if (!view_step(view, own, &step) || !view_step(view, base, &other)) return;
    const Metric sum = { .value = step.median, .low = step.low, .high = step.high },
                 base_sum = { .value = other.median, .low = other.low, .high = other.high };
    char difference[96], time[32];
    compare_times(&sum, &base_sum, label, difference, sizeof difference);
    format_time(step.median, time, sizeof time);
    snprintf(text, size, "; the step with its projections takes %s, %s", time, difference);
}

static Status write_decode(const View *view, const Contender *base, Page *page, size_t *written,
                           Error *err) {
    const Slice slice = view_slice(view, "decode", "attention_ns", false);
    bool *chosen = NULL;
    TRY(BUFFER(&chosen, view->contender_count, "contenders of the finding", err));
    for (size_t i = 0; i < view->contender_count; i++) {
        const Contender *c = &view->contenders[i];
        if (c == base || !view_fastest_path(view, slice, c->name)) continue;
        for (size_t j = 0; j < view->contender_count; j++)
            chosen[j] = &view->contenders[j] == c || &view->contenders[j] == base;
        const size_t context = view_common_context(view, &slice, chosen);
        const StoredPoint *own = view_decode_point(view, &slice, c->name, context),
                          *other = view_decode_point(view, &slice, base->name, context);
        if (!own || !other) continue;
        char label[128], time[32], tokens[32], difference[96], whole[192], text[600];
        view_path_label(view, &slice, own, label, sizeof label);
        format_time(view_value(own, "attention_ns"), time, sizeof time);
        format_tokens(context, tokens, sizeof tokens);
        compare_times(store_metric(own, "attention_ns"), store_metric(other, "attention_ns"),
                      base->label, difference, sizeof difference);
        compare_steps(view, own, other, base->label, whole, sizeof whole);
        snprintf(text, sizeof text,
                 "At %s cached tokens one decode step of a layer's attention takes %s with %s: %s "
                 "(measured)%s.",
                 tokens, time, label, difference, whole);
        page_list_item(page, text);
        ++*written;
    }
    buffer_free(chosen);
    return OK;
}

static size_t verdict_of(double error) {
    size_t i = 0;
    while (i < ERROR_VERDICTS - 1 && error > error_verdicts[i].most) i++;
    return i;
}

/* The loss of a contender whose verdict is from `low` to `high`, by what single draws have, or
 * NULL. MHA as it is and bounds have none. */
static const Loss *loss_between(const Losses *losses, const Contender *look, size_t low,
                                size_t high) {
    const Loss *l = losses_of(losses, look);
    const bool as_it_is =
        strcmp(look->attention, "mha") == 0 && method_family(look->name) == FAMILY_TEACHER;
    if (!l || l->bound || as_it_is) return NULL;
    return verdict_of(l->least) == low && verdict_of(l->most) == high ? l : NULL;
}

/* Appends "; degraded to broken A (0.45), B (0.5)". Returns how many there are. */
static size_t append_verdict(const View *view, const Losses *losses, size_t low, size_t high,
                             bool first, char *text, size_t size) {
    size_t named = 0, used = strlen(text);
    for (size_t i = 0; i < view->contender_count && used + 160 < size; i++) {
        const Loss *l = loss_between(losses, &view->contenders[i], low, high);
        if (!l) continue;
        if (!named)
            used += (size_t)snprintf(text + used, size - used, "%s %s%s%s", first ? "" : ";",
                                     error_verdicts[low].name, high > low ? " to " : "",
                                     high > low ? error_verdicts[high].name : "");
        used += (size_t)snprintf(text + used, size - used, "%s %s (%.3g)", named ? "," : "",
                                 l->look->label, l->error);
        named++;
    }
    return named;
}

/* Calls each error by its name, best verdict first; by two where single draws differ. */
static void write_verdicts(const View *view, const Losses *losses, Page *page) {
    char text[8192] = "By kvlab's rule of thumb for y_rel, converted without training:";
    size_t named = 0;
    for (size_t low = 0; low < ERROR_VERDICTS; low++)
        for (size_t high = low; high < ERROR_VERDICTS; high++)
            named += append_verdict(view, losses, low, high, named == 0, text, sizeof text - 100);
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used,
             " (up to 0.1, 0.25 and 0.5, and above; an output of zeros would have 1).");
    page_list_item(page, text);
}

/* "0.42", or "0.42 (0.38 to 0.56 by draw)". */
static void format_error(const Loss *l, char *text, size_t size) {
    if (l->least < l->most)
        snprintf(text, size, "%.3g (%.3g to %.3g by draw)", l->error, l->least, l->most);
    else
        snprintf(text, size, "%.3g", l->error);
}

static size_t write_errors(const View *view, const Losses *losses, Page *page) {
    const Loss *best = NULL, *worst = NULL;
    for (size_t i = 0; i < losses->count; i++) {
        const Loss *l = &losses->loss[i];
        if (l->bound || l->ratio < 16 * (1 - 1e-9)) continue;
        if (!best || l->error < best->error) best = l;
        if (!worst || l->error > worst->error) worst = l;
    }
    if (!best) return 0;
    char text[900], others[200] = "", shape[128], terms[96], error[64];
    view_teacher_shape(view, &losses->slice, shape, sizeof shape);
    view_error_terms(view, terms, sizeof terms);
    format_error(worst, error, sizeof error);
    if (worst != best)
        snprintf(others, sizeof others, ", and the most with %s: %s", worst->look->label, error);
    format_error(best, error, sizeof error);
    snprintf(text, sizeof text,
             "Of the contenders at 16x or more, %s loses least: y_rel %s%s (measured on a layer of "
             "%s; %s).",
             best->look->label, error, others, shape, terms);
    page_list_item(page, text);
    write_verdicts(view, losses, page);
    return 2;
}

static Status write_error(const View *view, Page *page, size_t *written, Error *err) {
    Losses losses;
    TRY(losses_read(&losses, view, err));
    *written += write_errors(view, &losses, page);
    losses_free(&losses);
    return OK;
}

/* One sentence for the longest context that has a crossover inside what was measured. */
static size_t write_crossover(const View *view, Page *page) {
    Slice slice = view_slice(view, "decode", "attention_ns", true);
    Crossover found = { .measured = NAN };
    const StoredPoint *p;
    size_t context = 0;
    const char *contender = NULL;
    for (size_t at = 0; (p = view_next(view, &slice, "attention_ns", &at));) {
        Slice own = slice;
        own.contender = p->point.contender;
        own.context_tokens = p->point.context_tokens;
        if (contender && (strcmp(own.contender, contender) != 0 || own.context_tokens <= context))
            continue;
        const Crossover c = crossover_find(view, own);
        if (!isfinite(c.measured)) continue;
        found = c;
        context = own.context_tokens;
        contender = own.contender;
    }
    if (!contender) return 0;
    char text[400], tokens[32], closed[96] = "";
    format_tokens(context, tokens, sizeof tokens);
    if (isfinite(found.closed))
        snprintf(closed, sizeof closed, "; equal flops are at %.3g (exact)", found.closed);
    snprintf(text, sizeof text,
             "At %s cached tokens expanded %s overtakes absorbed at %.3g query tokens "
             "(measured)%s.",
             tokens, view_contender(view, contender)->label, found.measured, closed);
    page_list_item(page, text);
    return 1;
}

/* The plan of a contender in a type at the context that all of a run were planned at. */
static const StoredPoint *plan_point(const View *view, const char *contender, const char *type,
                                     size_t context) {
    const Slice slice = { "plan", contender, NULL, type, context, ANY, ANY };
    return view_first(view, &slice, "users");
}

/* "21 users with MLA-512+64, 2 with MHA, none with ..." at a context in a row type. */
static bool write_users_at(const View *view, const StoredPoint *first, Page *page) {
    const size_t context = first->point.context_tokens;
    char text[1024], tokens[32];
    format_tokens(context, tokens, sizeof tokens);
    size_t used = (size_t)snprintf(text, sizeof text, "At %s tokens in %s rows there is room for",
                                   tokens, first->point.kv_dtype);
    size_t named = 0;
    for (size_t i = 0; i < view->contender_count && used + 160 < sizeof text; i++) {
        const Contender *c = &view->contenders[i];
        const StoredPoint *p = plan_point(view, c->name, first->point.kv_dtype, context);
        if (!p) continue;
        const double users = view_value(p, "users");
        char count[32];
        snprintf(count, sizeof count, users < 1 ? "none" : "%.0f%s", users,
                 named       ? ""
                 : users < 2 ? " user"
                             : " users");
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s with %s", named ? "," : "",
                                 count, c->label);
        named++;
    }
    snprintf(text + used, sizeof text - used, " (modelled).");
    if (named > 1) page_list_item(page, text);
    return named > 1;
}

/* A sentence for each type, at the longest context of the first contender. */
static size_t write_users(const View *view, Page *page) {
    const Slice slice = { "plan", NULL, NULL, NULL, ANY, ANY, ANY };
    const StoredPoint *p, *first = view_first(view, &slice, "users");
    size_t written = 0;
    for (size_t at = 0; (p = view_next(view, &slice, "users", &at));) {
        if (strcmp(p->point.contender, first->point.contender) != 0) continue;
        const Slice longer = { "plan", p->point.contender, NULL, p->point.kv_dtype, ANY, ANY, ANY };
        const StoredPoint *q, *last = p;
        for (size_t i = 0; (q = view_next(view, &longer, "users", &i));)
            if (q->point.context_tokens > last->point.context_tokens) last = q;
        if (last == p) written += write_users_at(view, p, page);
    }
    return written;
}

/* Where two paths of MLA change places as the context grows. */
static size_t write_meetings(const View *view, Page *page) {
    Slice slice = view_slice(view, "decode", "attention_ns", false);
    const Contender *look = paths_contender(view, &slice);
    PathMeeting found[PATH_MEETINGS];
    if (!look) return 0;
    slice.contender = look->name;
    const size_t count = path_meetings(view, slice, found);
    for (size_t i = 0; i < count; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "With %zu new token%s %s %s is faster than %s from %.3gK cached tokens on "
                 "(measured).",
                 slice.query_tokens, slice.query_tokens == 1 ? "" : "s", found[i].faster,
                 look->label, found[i].slower, found[i].context / 1024);
        page_list_item(page, text);
    }
    return count;
}

Status findings_write(const View *view, Page *page, Error *err) {
    const Contender *base = view_baseline(view);
    page_list_begin(page);
    size_t written = write_bytes(view, base, page);
    written += write_device(view, page);
    Status status = base ? write_decode(view, base, page, &written, err) : OK;
    if (status == OK) status = write_error(view, page, &written, err);
    written += write_crossover(view, page);
    written += write_users(view, page);
    written += write_meetings(view, page);
    if (!written) page_list_item(page, "No finished point allows a comparison.");
    page_list_end(page);
    return status;
}
