/* store.c -- the database of a run: opening and writing; store_read.c reads it.
 *
 *   study   the resolved study as text, one row      fact    name, value
 *   config  key, value, source                       point   one row a point
 *   metric  one row a point and metric               sample  one row a sample, in the order taken
 *
 * A point goes in with its metrics and samples in one transaction, so a killed run leaves whole
 * points only. A commit waits for the disk unless the last one that did is younger than
 * SYNCED_NS: where points are slow each is safe from a loss of power, where they are fast the disk
 * does not set the pace. results.lock is locked (flock) while a run writes; readers need no lock.
 * application_id marks the file as ours, user_version the layout of the tables. */
#define _DEFAULT_SOURCE /* flock */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "database.h"
#include "store_csv.h"
#include "store_read.h"
#include "textfile.h"

static const char schema[] =
    "CREATE TABLE study(text TEXT NOT NULL);"
    "CREATE TABLE fact(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE config(key TEXT PRIMARY KEY, value TEXT NOT NULL, source TEXT NOT NULL);"
    "CREATE TABLE point(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, phase TEXT NOT NULL,"
    " contender TEXT NOT NULL, label TEXT NOT NULL, attention TEXT NOT NULL, path TEXT NOT NULL,"
    " kv_dtype TEXT NOT NULL, layer TEXT NOT NULL, context_tokens INTEGER NOT NULL,"
    " query_tokens INTEGER NOT NULL, sequences INTEGER NOT NULL, status TEXT NOT NULL,"
    " message TEXT NOT NULL, place INTEGER NOT NULL, host TEXT NOT NULL, rank INTEGER NOT NULL);"
    "CREATE INDEX point_place ON point(place);"
    "CREATE TABLE metric(id INTEGER PRIMARY KEY,"
    " point INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " unit TEXT NOT NULL, kind TEXT NOT NULL, value REAL, low REAL, high REAL,"
    " UNIQUE(point, name));"
    "CREATE TABLE sample(metric INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE,"
    " place INTEGER NOT NULL, value REAL, PRIMARY KEY(metric, place)) WITHOUT ROWID;"
    "PRAGMA application_id = 1802923106; PRAGMA user_version = 2;";

static const double SYNCED_NS = 0.1e9;

/* The statements that every point runs, compiled once. */
typedef struct {
    Query has, remove, point, metric, sample;
} Statements;

struct Store {
    Database db;
    int lock; /* results.lock, open and locked; -1 when not held */
    char csv[PATH_SIZE];
    Statements run;
    double synced_ns; /* when a commit last waited for the disk */
    bool synchronous; /* do commits wait now? */
};

/* ---- opening ---- */

static Status check_study(const Database *db, const char *study, Error *err) {
    Query query = { 0 };
    bool more = false;
    char difference[600];
    Status status = query_open(&query, db, "SELECT text FROM study", err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK)
        status = store_compare(more ? query_column_text(&query, 0) : "", study, difference,
                               sizeof difference)
                     ? OK
                     : fail(err, ERR_INPUT, "%s: cannot resume, the study differs in %s", db->path,
                            difference);
    query_close(&query);
    return status;
}

static Status create(const Database *db, const char *study, Error *err) {
    TRY(database_run(db, "PRAGMA journal_mode = WAL", err));
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = database_run(db, schema, err);
    if (status == OK)
        status = database_run_texts(db, "INSERT INTO study VALUES(?)", 1, &study, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    return status; /* closing the connection undoes an open transaction */
}

static Status lock_folder(const char *folder, int *lock, Error *err) {
    char path[PATH_SIZE];
    TRY(textfile_path(path, folder, "results.lock", err));
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*lock < 0) return fail(err, ERR_MACHINE, "cannot write %s: %s", path, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0) return OK;
    if (errno == EWOULDBLOCK)
        return fail(err, ERR_INPUT, "%s: another run is writing into this folder", folder);
    return fail(err, ERR_MACHINE, "cannot lock %s: %s", path, strerror(errno));
}

static Status prepare_statements(Store *store, Error *err) {
    const Database *db = &store->db;
    Statements *run = &store->run;
    TRY(query_open(&run->has, db, "SELECT 1 FROM point WHERE key = ? AND status <> 'failed'", err));
    TRY(query_open(&run->remove, db, "DELETE FROM point WHERE key = ?", err));
    TRY(query_open(&run->point, db,
                   "INSERT INTO point(key, phase, contender, label, attention, path, kv_dtype,"
                   " layer, message, status, host, context_tokens, query_tokens, sequences, place,"
                   " rank) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   err));
    TRY(query_open(&run->metric, db,
                   "INSERT INTO metric(name, unit, kind, point, value, low, high)"
                   " VALUES(?, ?, ?, ?, ?, ?, ?)",
                   err));
    return query_open(&run->sample, db, "INSERT INTO sample VALUES(?, ?, ?)", err);
}

static Status open_run(Store *store, const char *folder, const char *study, bool resume,
                       Error *err) {
    char path[PATH_SIZE];
    bool empty = false;
    TRY(textfile_make_folder(folder, err));
    TRY(textfile_path(store->csv, folder, "results.csv", err));
    TRY(lock_folder(folder, &store->lock, err));
    TRY(textfile_path(path, folder, "results.sqlite", err));
    TRY(database_open(&store->db, path, true, err));
    TRY(store_check_file(&store->db, &empty, err));
    if (!empty && !resume)
        return fail(err, ERR_INPUT,
                    "%s: holds a run already; give --resume to go on with it, or another --out",
                    folder);
    return empty ? create(&store->db, study, err) : check_study(&store->db, study, err);
}

Status store_open(Store **store, const char *folder, const char *study, bool resume, Error *err) {
    Store *draft = NULL;
    TRY(BUFFER(&draft, 1, "the store", err));
    draft->lock = -1;
    Status status = open_run(draft, folder, study, resume, err);
    if (status == OK) status = prepare_statements(draft, err);
    if (status == OK)
        *store = draft;
    else
        store_close(draft);
    return status;
}

void store_leave(Store *store) {
    if (store->lock >= 0) close(store->lock);
    store->lock = -1;
}

void store_close(Store *store) {
    if (!store) return;
    Query *const statements[] = { &store->run.has, &store->run.remove, &store->run.point,
                                  &store->run.metric, &store->run.sample };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) query_close(statements[i]);
    database_close(&store->db);
    store_leave(store);
    buffer_free(store);
}

const Database *store_database(const Store *store) {
    return &store->db;
}

/* ---- writing ---- */

Status store_set(Store *store, const char *name, const char *value, Error *err) {
    const char *const texts[] = { name, value };
    return database_run_texts(&store->db,
                              "INSERT INTO fact VALUES(?, ?)"
                              " ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                              2, texts, err);
}

Status store_set_config(Store *store, const char *key, const char *value, const char *source,
                        Error *err) {
    const char *const texts[] = { key, value, source };
    return database_run_texts(&store->db,
                              "INSERT INTO config VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE"
                              " SET value = excluded.value, source = excluded.source",
                              3, texts, err);
}

Status store_has(Store *store, const char *key, bool *has, Error *err) {
    const Query *query = &store->run.has;
    bool more = false;
    Status status = query_texts(query, 1, &key, err);
    if (status == OK) status = query_next(query, &more, err);
    if (status == OK) *has = more;
    query_rewind(query);
    return status;
}

static Status insert_point(const Query *query, const Point *p, Error *err) {
    const char *const texts[] = {
        p->key,  p->phase,    p->contender, p->label,   p->attention,
        p->path, p->kv_dtype, p->layer,     p->message, point_status_name(p->status),
        p->host
    };
    const size_t counts[] = { p->context_tokens, p->query_tokens, p->sequences, p->place,
                              (size_t)p->rank };
    TRY(query_texts(query, 11, texts, err));
    for (int i = 0; i < 5; i++) TRY(query_whole(query, 12 + i, (long long)counts[i], err));
    return query_run(query, err);
}

/* The rows of one metric's samples. */
static Status insert_samples(const Query *query, long long metric, const Metric *m, Error *err) {
    for (size_t i = 0; m->samples && i < m->sample_count; i++) {
        TRY(query_whole(query, 1, metric, err));
        TRY(query_whole(query, 2, (long long)i, err));
        TRY(query_real(query, 3, m->samples[i], err));
        TRY(query_run(query, err));
    }
    return OK;
}

static Status insert_metric(const Query *query, long long point, const Metric *m, Error *err) {
    const char *const texts[] = { m->name, m->unit, metric_kind_name(m->kind) };
    TRY(query_texts(query, 3, texts, err));
    TRY(query_whole(query, 4, point, err));
    TRY(query_real(query, 5, m->value, err));
    TRY(query_real(query, 6, m->low, err));
    TRY(query_real(query, 7, m->high, err));
    return query_run(query, err);
}

static Status insert_rows(Store *store, const Point *point, const Metric *metrics, size_t count,
                          Error *err) {
    const char *const key = point->key;
    TRY(query_texts(&store->run.remove, 1, &key, err));
    TRY(query_run(&store->run.remove, err));
    TRY(insert_point(&store->run.point, point, err));
    const long long id = database_last_key(&store->db);
    for (size_t i = 0; i < count; i++) {
        TRY(insert_metric(&store->run.metric, id, &metrics[i], err));
        TRY(insert_samples(&store->run.sample, database_last_key(&store->db), &metrics[i], err));
    }
    return OK;
}

/* Shall the next commit wait for the disk? */
static Status choose_sync(Store *store, double now_ns, Error *err) {
    const bool wait = now_ns - store->synced_ns >= SYNCED_NS;
    if (wait == store->synchronous) return OK;
    TRY(database_run(&store->db, wait ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                     err));
    store->synchronous = wait;
    return OK;
}

static double clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

Status store_put(Store *store, const Point *point, const Metric *metrics, size_t count,
                 Error *err) {
    const Database *db = &store->db;
    TRY(choose_sync(store, clock_ns(), err));
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = insert_rows(store, point, metrics, count, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    if (status != OK) database_undo(db);
    if (status == OK && store->synchronous) store->synced_ns = clock_ns();
    return status;
}

Status store_write_csv(Store *store, Error *err) {
    TRY(database_run(&store->db, "BEGIN", err));
    const Status status = store_csv_write(&store->db, store->csv, err);
    database_undo(&store->db);
    return status;
}
