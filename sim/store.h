/* store.h -- results on disk: one folder a run, results.sqlite (WAL) within, a row committed as
 * each point finishes, results.csv written from it.
 *
 * A point is one combination of the study's swept keys; its metrics are rows of (name, value, unit,
 * kind). reports/ reads runs through store_read alone. database.c alone knows SQLite. */
#ifndef KVLAB_STORE_H
#define KVLAB_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

typedef enum { KIND_MEASURED, KIND_EXACT, KIND_MODELLED } MetricKind;
typedef enum { POINT_DONE, POINT_FAILED, POINT_LEFT_OUT } PointStatus;

/* "measured", "exact", "modelled"; "done", "failed", "left out". */
const char *metric_kind_name(MetricKind kind);
const char *point_status_name(PointStatus status);

typedef struct {
    char name[48]; /* y_rel, attention_ns, ... */
    char unit[16]; /* B, ns, flop, 1, ... */
    double value;  /* the median where measured over samples */
    MetricKind kind;
    double low, high;      /* quartiles; equal to value where there is no spread */
    size_t sample_count;   /* 0: a single number */
    const double *samples; /* borrowed when written; NULL when read */
} Metric;

typedef struct {
    char key[256];      /* unique in a run: "decode/mla-512+64/absorbed/bf16/s=4096/q=1/b=1" */
    char phase[16];     /* bytes, decode, prefill, projections, error */
    char contender[96]; /* specification: mla-512+64*int4-g32 */
    char label[48];     /* for figures: MLA-512+64 int4-g32 */
    char attention[8];  /* mha, gqa, mqa, mla */
    char path[16];      /* materialised, expanded, absorbed */
    char kv_dtype[32];
    char layer[96];        /* the layer's shape in words: "D 7168, H 128, d 128" */
    size_t context_tokens; /* cached before the call */
    size_t query_tokens;   /* new in the call, a sequence */
    size_t sequences;
    PointStatus status;
    char message[256]; /* why failed or left out; else warnings, joined by "; " */
    size_t place;      /* in the list of the study: what a run is read in the order of */
    char host[64];     /* where it ran, and as which rank of how many ran together */
    int rank;
} Point;

typedef struct Store Store;

/* Creates a run in a folder (made if absent). A folder that already holds a run is refused unless
 * resume is set; with resume the stored study must equal `study` (the resolved configuration as
 * text), else ERR_INPUT says which line differs. A run of an older layout is brought to this one,
 * and damaged points of it are taken out (store_mended).
 * One process at a time writes into a folder: ERR_INPUT while another does. */
Status store_open(Store **store, const char *folder, const char *study, bool resume, Error *err);
void store_close(Store *store);

/* For a child process that has inherited an open store and will not use it: lets go of the folder's
 * lock, which stays its parent's. */
void store_leave(Store *store);

/* A fact about the run: machine, peaks, title, configuration. Last one wins. */
Status store_set(Store *store, const char *name, const char *value, Error *err);

/* The fact of that name, cut to `size`; "" where there is none. */
Status store_get(Store *store, const char *name, char *value, size_t size, Error *err);

/* One resolved configuration key and where its value came from (default, file:line, --set). */
Status store_set_config(Store *store, const char *key, const char *value, const char *source,
                        Error *err);

/* Was this point finished (done or left out) in an earlier run? Failed points are tried again. */
Status store_has(Store *store, const char *key, bool *has, Error *err);

/* Commits a point with all its metrics and samples in one transaction. A process that is killed
 * then loses nothing; a loss of power loses the points of the last tenth of a second at most, which
 * --resume runs again. */
Status store_put(Store *store, const Point *point, const Metric *metrics, size_t count, Error *err);

/* The same for points that come in faster than commits are worth it: one that is added waits for
 * store_commit, or for a later store_add, a fiftieth of a second at most after the first. A failure
 * undoes those that wait. */
Status store_add(Store *store, const Point *point, const Metric *metrics, size_t count, Error *err);
Status store_commit(Store *store, Error *err);

/* Points that a resumed run found damaged and took out, to be run again. */
size_t store_mended(const Store *store);

/* Writes results.csv from the database, point by point, whole or not at all. */
Status store_write_csv(Store *store, Error *err);

/* ---- reading ---- */
typedef struct {
    Point point;
    Metric *metrics;
    size_t metric_count;
} StoredPoint;
typedef struct {
    char *name, *value, *source; /* source is "" for facts */
} StoredFact;
typedef struct {
    StoredPoint *points; /* in the order of their place */
    size_t point_count;
    StoredFact *facts; /* what store_set wrote */
    size_t fact_count;
    StoredFact *config; /* what store_set_config wrote */
    size_t config_count;
} StoredRun;

/* Errors: ERR_INPUT where there is no run, or one that is damaged: a point that is not what was
 * stored is named. */
Status store_read(StoredRun *run, const char *folder, Error *err);

/* The same without its points, however many they are: *points says how many. */
Status store_read_facts(StoredRun *run, const char *folder, size_t *points, Error *err);

/* Reads a run point by point, in order, holding one at a time: visit gets each (borrowed). */
typedef Status (*StoreVisit)(void *context, const StoredPoint *point, Error *err);
Status store_each(const char *folder, StoreVisit visit, void *context, Error *err);
void store_run_free(StoredRun *run);

/* The value of a fact, or "" when there is none. */
const char *store_fact(const StoredRun *run, const char *name);

/* The metric of that name, or NULL. */
const Metric *store_metric(const StoredPoint *point, const char *name);

#endif
