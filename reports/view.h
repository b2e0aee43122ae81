/* view.h -- a stored run as the figures and tables see it: contenders with one colour and mark
 * each, points in the order of their axes, and slices of them.
 *
 * A slice fixes some of a point's keys; view_next walks the finished points of a slice that carry a
 * metric. What failed or was left out is never walked: no figure can pretend that it exists. */
#ifndef KVLAB_VIEW_H
#define KVLAB_VIEW_H

#include <stddef.h>

#include "store.h"

typedef struct {
    char name[96], label[48], attention[8];
    unsigned colour; /* 0xRRGGBB, of the colour-blind-safe set of Okabe and Ito; of its family in a
                        run that compares methods */
    int mark;        /* gnuplot's point type */
} Contender;

typedef struct {
    const StoredRun *run;
    Contender *contenders; /* in the order stored */
    size_t contender_count;
    const StoredPoint **points; /* by contender, path, type, sequences, context, query tokens */
} View;

#define ANY ((size_t)-1)

/* NULL and ANY leave a key open. */
typedef struct {
    const char *phase, *contender, *path, *kv_dtype;
    size_t context_tokens, query_tokens, sequences;
} Slice;

/* The view borrows the run. Errors: ERR_MACHINE for lack of memory. */
Status view_open(View *view, const StoredRun *run, Error *err);
void view_close(View *view);

/* The contender of that specification; every stored point's is there. */
const Contender *view_contender(const View *view, const char *name);

/* The finished points of a slice with a finite value of the metric, one a call from *at = 0 on;
 * NULL after the last. */
const StoredPoint *view_next(const View *view, const Slice *slice, const char *metric, size_t *at);

/* The first of them or NULL; and how many there are. */
const StoredPoint *view_first(const View *view, const Slice *slice, const char *metric);
size_t view_count(const View *view, const Slice *slice, const char *metric);

/* The metric's value, NaN where there is none. */
double view_value(const StoredPoint *point, const char *metric);

/* The slice of a phase that a figure shows: fewest query tokens (where by_query is false), fewest
 * sequences, the row type stored first. contender and path are open. */
Slice view_slice(const View *view, const char *phase, const char *metric, bool by_query);

/* The path of a contender that is fastest at the longest context (then most query tokens) of the
 * slice; of MLA's only those that cache the latent. NULL when there is no point. */
const char *view_fastest_path(const View *view, Slice slice, const char *contender);

/* The contender that others are compared with: the first MHA, NULL when there is none. */
const Contender *view_baseline(const View *view);

/* The parts of "D 7168, H 128, d 128 (true size / 8)" that the layers of all points of a slice
 * share; G, which the names of contenders carry, is left out. */
void view_shape(const View *view, const Slice *slice, const char *metric, char *text, size_t size);

/* The shape of the layer that errors are measured against: the baseline's where it has a point. */
void view_teacher_shape(const View *view, const Slice *errors, char *text, size_t size);

/* Who asks and how often: "the last 256 of 1024 tokens ask, 3 draws pooled". */
void view_error_terms(const View *view, char *text, size_t size);

/* ", cold cache" or ", warm cache" as the points of a slice were timed, "" where none says. */
const char *view_temperature(const View *view, const Slice *slice);

/* The label of a contender, with its path where several were measured in the slice. */
void view_path_label(const View *view, const Slice *slice, const StoredPoint *point, char *text,
                     size_t size);

#endif
