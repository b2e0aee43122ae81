/* study_run.h -- what the phases of a running study share: the machine, the model, the store, and
 * how a point is named and stored. Private to study*.c. */
#ifndef KVLAB_STUDY_RUN_H
#define KVLAB_STUDY_RUN_H

#include "kernel.h"
#include "machine.h"
#include "peaks.h"
#include "store.h"
#include "study.h"

typedef struct {
    const ConfigFile *config;
    const StudyOptions *options;
    StudySummary *summary;
    Config first; /* values of the keys that are no lists */
    Machine machine;
    Model model;
    Kernels kernels;
    unsigned tiers;
    int threads;
    size_t memory_bytes; /* no group of points may hold more */
    bool leave_out;      /* limits.memory is set: points beyond it are left out, not refused */
    Peaks peaks;         /* measured before the first phase that is timed */
    Store *store;
} Study;

enum { METRICS_MOST = 24 };

typedef struct {
    Metric metric[METRICS_MOST];
    size_t count;
} MetricList;

/* Appends a single number. */
void metric_add(MetricList *list, const char *name, const char *unit, double value,
                MetricKind kind);
/* Appends a measured quantity with its quartiles and samples (borrowed). */
void metric_add_samples(MetricList *list, const char *name, const char *unit,
                        const Measurement *measurement);

/* The path a contender really takes: materialised unless it is MLA. */
Path study_path(const Model *model, Path asked);

/* Names a point: key, labels, layer in words. */
void study_name_point(Point *point, Phase phase, const char *specification, const Model *model,
                      Path path, RowType type, size_t block_tokens, size_t context,
                      size_t query_tokens, size_t sequences);

/* Is it finished already, in this run or in an earlier one? */
Status study_finished(Study *study, const Point *point, bool *finished, Error *err);

/* Commits a point and says so. Failure and leaving out are noted in point->status and ->message. */
Status study_put(Study *study, const Point *point, const MetricList *metrics, Error *err);

/* Stores as failed what went wrong with a point; passes on only what the store itself says. */
Status study_put_failed(Study *study, Point *point, const Error *why, Error *err);

/* A line for people, to whoever follows the run. */
void study_say(const Study *study, const char *line);

/* Puts the place of a key and its name before what is wrong with its value; returns status. */
Status study_blame(const ConfigFile *config, const char *key, Status status, Error *err);

/* Refuses a point of `tokens` tokens that needs more bytes than there are, at the key's place. */
Status study_refuse(const Study *study, const char *key, const Point *point, size_t tokens,
                    size_t bytes, Error *err);

/* Stores a point as left out, with the bytes that it would need. */
Status study_put_too_large(Study *study, Point *point, size_t bytes, Error *err);

/* The contender of an error point at the size of the error layer: the model's divided by
 * error.shrink, derived from the MHA teacher. Errors: ERR_INPUT when a width is not divisible. */
Status study_error_model(const Model *base, const Config *point, Model *out, Error *err);

/* ---- the phases; `plan` checks memory and refuses before anything is written ---- */
Status study_bytes_plan(Study *study, Error *err);
Status study_bytes(Study *study, Error *err);
Status study_latency_plan(Study *study, Phase phase, Error *err);
Status study_latency(Study *study, Phase phase, Error *err);
Status study_projections(Study *study, Error *err);
Status study_error(Study *study, Error *err);

#endif
