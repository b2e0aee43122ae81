/* figures.h -- the figures of a report. Each builder looks for its data in the view; when there are
 * some it writes name.tsv and name.gp into the folder and fills figure, else figure->name is "". */
#ifndef KVLAB_FIGURES_H
#define KVLAB_FIGURES_H

#include "figure.h"
#include "view.h"

typedef Status FigureBuilder(const View *view, const char *folder, Figure *figure, Error *err);

FigureBuilder figure_sixteen;     /* those that reach 16x: bytes, latency, error side by side */
FigureBuilder figure_bytes;       /* cache bytes a token of each contender */
FigureBuilder figure_context;     /* cache against context, a device's memory as a line */
FigureBuilder figure_decode;      /* decode latency against context */
FigureBuilder figure_step;        /* projections and attention of a decode step */
FigureBuilder figure_prefill;     /* prefill latency against tokens */
FigureBuilder figure_paths;       /* MLA's paths against context */
FigureBuilder figure_crossover;   /* MLA's paths against query tokens, with the crossover */
FigureBuilder figure_roofline;    /* attained rate against intensity */
FigureBuilder figure_error;       /* error against compression */
FigureBuilder figure_pareto;      /* the same of methods: both logarithmic, with the front */
FigureBuilder figure_threeway;    /* bytes, latency and error of methods in one plane */
FigureBuilder figure_rank;        /* error against rank, with what the eigenvalues say */
FigureBuilder figure_spectra;     /* energy of keys and values that a rank leaves out */
FigureBuilder figure_layers;      /* error of methods by layer */
FigureBuilder figure_published;   /* what papers report, under the study's own errors */
FigureBuilder figure_projections; /* the projections around attention */
FigureBuilder figure_users;       /* users against context on a deployment */
FigureBuilder figure_memory;      /* what the memory of a GPU goes to */

/* kvlab's rule of thumb for y_rel, best first: a verdict holds up to its error. */
typedef struct {
    double most;
    const char *name;
} ErrorVerdict;
enum { ERROR_VERDICTS = 4 };
extern const ErrorVerdict error_verdicts[ERROR_VERDICTS];

/* What figures and findings both need of MLA's crossover. */
typedef struct {
    double measured, closed; /* query tokens; NaN where unknown */
    double first, last;      /* the least and most query tokens that both paths have */
    bool beyond;             /* absorbed was faster at every measured count */
    bool below;              /* expanded was faster at every measured count */
} Crossover;

/* Where expanded becomes faster than absorbed in the slice (contender and context fixed, query
 * tokens open): by log-log interpolation of the medians. */
Crossover crossover_find(const View *view, Slice slice);

/* Where two of MLA's paths take the same time against context: the first meeting of their medians
 * in a slice of one contender, on straight lines over log-log axes. */
typedef struct {
    const char *slower, *faster; /* beyond it */
    double context;
} PathMeeting;
enum { PATH_MEETINGS = 3 };

/* Into meetings, as many as were found inside what was measured; returns how many. */
size_t path_meetings(const View *view, Slice slice, PathMeeting meetings[PATH_MEETINGS]);

/* The MLA contender whose paths a slice compares, NULL where two of them were not measured. */
const Contender *paths_contender(const View *view, const Slice *slice);

/* The longest context at which every chosen contender that has decode points in the slice has one;
 * chosen [contender_count]. 0 when there is none. */
size_t view_common_context(const View *view, const Slice *slice, const bool *chosen);

/* The decode point of a contender's fastest path at a context, NULL when there is none. */
const StoredPoint *view_decode_point(const View *view, const Slice *slice, const char *contender,
                                     size_t context_tokens);

/* The decode step of one layer: a decode point and the projections of as many new tokens. */
typedef struct {
    const Metric *attention, *projections;
    double low, median, high; /* sums of both (ns) */
} Step;

/* False when no projections of the same contender, path and new tokens were timed. */
bool view_step(const View *view, const StoredPoint *decode, Step *step);

/* What a contender divides the baseline's bytes by, NaN when no point says. */
double view_ratio(const View *view, const char *contender);

#endif
