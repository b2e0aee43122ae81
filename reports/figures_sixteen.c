/* figures_sixteen.c -- the contenders that reach 16x, side by side in bytes, latency and error. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "figures.h"

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
            const double own = view_value(p, "ratio_to_mha");
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
    Slice slice = view_slice(view, "bytes", per_token, true);
    slice.contender = contender;
    double least = NAN;
    const StoredPoint *p;
    for (size_t at = 0; (p = view_next(view, &slice, per_token, &at));)
        if (!(view_value(p, per_token) >= least)) least = view_value(p, per_token);
    return least;
}

static double error_of(const View *view, const char *contender) {
    Slice slice = view_slice(view, "error", "y_rel", true);
    slice.contender = contender;
    const StoredPoint *p = view_first(view, &slice, "y_rel");
    return p ? view_value(p, "y_rel") : NAN;
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

static void write_rows(const View *view, const bool *chosen, const Slice *decode, size_t context,
                       Drawing *d) {
    FILE *data = d->data.stream;
    double most[3] = { 0 };
    size_t row = 0;
    fprintf(data, "row\tlabel\tcolour\tratio\tbytes\tbytes_text\tdecode\tdecode_text\terror\t"
                  "error_text\n");
    for (size_t i = 0; i < view->contender_count; i++) {
        if (!chosen[i]) continue;
        const Contender *c = &view->contenders[i];
        const Triple t = read_triple(view, c->name, decode, context);
        const double values[] = { t.bytes, t.decode_ns, t.error };
        char texts[3][48], ratio[32];
        triple_texts(&t, texts);
        format_ratio(view_ratio(view, c->name), ratio, sizeof ratio);
        fprintf(data, "%zu\t", ++row);
        figure_field(data, c->label);
        fprintf(data, "\t%u\t%.9g", c->colour, view_ratio(view, c->name));
        for (int k = 0; k < 3; k++) {
            fprintf(data, "\t%.17g\t%s", isfinite(values[k]) ? values[k] : -1, texts[k]);
            if (k == 0) fprintf(data, "  %s", ratio);
            if (values[k] > most[k]) most[k] = values[k];
        }
        fputc('\n', data);
    }
    figure_array(d, "most", 3);
    for (size_t k = 0; k < 3; k++) figure_number_item(d, "most", k, most[k] > 0 ? most[k] : 1);
    figure_number(d, "N", (double)row);
    figure_number(d, "height", 150 + 34 * (double)row);
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

static Status draw(const View *view, const bool *chosen, const char *folder, Figure *figure,
                   Error *err) {
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
    snprintf(figure->caption, sizeof figure->caption,
             "The contenders of the bytes phase whose cache is at least 16 times smaller than "
             "MHA's in bf16. Error is y_rel, the relative error of the layer's output against its "
             "MHA teacher in fp64%s%s; an output of zeros would have 1. Contenders are converted "
             "from the teacher without training.",
             shape[0] ? ", on a layer of " : "", shape);
    Drawing d;
    TRY(figure_begin(&d, folder, figure, err));
    write_rows(view, chosen, &decode, context, &d);
    write_baseline(view, &decode, context, &d);
    char title[96], tokens[32];
    format_tokens(context, tokens, sizeof tokens);
    figure_array(&d, "panel_title", 3);
    figure_item(&d, "panel_title", 0, "cache bytes a token, all layers");
    if (context)
        snprintf(title, sizeof title, "attention of one layer at %s", tokens);
    else
        snprintf(title, sizeof title, "attention of one layer");
    figure_item(&d, "panel_title", 1, title);
    figure_item(&d, "panel_title", 2, "relative error of the output");
    return figure_end(&d, OK, "sixteen", err);
}

Status figure_sixteen(const View *view, const char *folder, Figure *figure, Error *err) {
    bool *chosen = NULL;
    bool any = false;
    TRY(BUFFER(&chosen, view->contender_count, "contenders at 16x", err));
    for (size_t i = 0; i < view->contender_count; i++) {
        const char *const name = view->contenders[i].name;
        chosen[i] = view_ratio(view, name) >= sixteen && isfinite(bytes_of(view, name));
        any |= chosen[i];
    }
    const Status status = any ? draw(view, chosen, folder, figure, err) : OK;
    buffer_free(chosen);
    return status;
}
