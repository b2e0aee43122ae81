/* store.c -- the database of a run: opening and writing; store_read.c reads it.
 *
 *   study   the resolved study as text, one row      fact    name, value
 *   config  key, value, source                       point   one row a point
 *   metric  one row a point and metric               sample  one row a sample, in the order taken
 *
 * A point goes in with its metrics and samples in one transaction, so a killed run leaves whole
 * points only. The folder itself is locked (flock) while a run writes; readers need no lock.
 * application_id marks the file as ours, user_version the layout of the tables. */
#define _DEFAULT_SOURCE /* flock */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
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
    " message TEXT NOT NULL);"
    "CREATE TABLE metric(id INTEGER PRIMARY KEY,"
    " point INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " unit TEXT NOT NULL, kind TEXT NOT NULL, value REAL, low REAL, high REAL,"
    " UNIQUE(point, name));"
    "CREATE TABLE sample(metric INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE,"
    " place INTEGER NOT NULL, value REAL, PRIMARY KEY(metric, place)) WITHOUT ROWID;"
    "PRAGMA application_id = 1802923106; PRAGMA user_version = 1;";

struct Store {
    Database db;
    int lock; /* the folder, open and locked */
    char csv[PATH_SIZE];
};

/* ---- opening ---- */

static size_t line_length(const char *text) {
    return strcspn(text, "\n");
}

/* Says which line of two studies differs first. */
static Status compare_studies(const Database *db, const char *stored, const char *now, Error *err) {
    size_t line = 1;
    for (;; line++) {
        const size_t a = line_length(stored), b = line_length(now);
        if (a != b || memcmp(stored, now, a) != 0)
            return fail(err, ERR_INPUT,
                        "%s: cannot resume, the study differs in line %zu: stored \"%.*s\", now "
                        "\"%.*s\"",
                        db->path, line, (int)(a < 200 ? a : 200), stored, (int)(b < 200 ? b : 200),
                        now);
        if (!stored[a] && !now[b]) return OK;
        stored += stored[a] ? a + 1 : a;
        now += now[b] ? b + 1 : b;
    }
}

static Status check_study(const Database *db, const char *study, Error *err) {
    Query query = { 0 };
    bool more = false;
    Status status = query_open(&query, db, "SELECT text FROM study", err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK)
        status = compare_studies(db, more ? query_column_text(&query, 0) : "", study, err);
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
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return fail(err, ERR_MACHINE, "cannot open the folder %s: %s", folder, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0) return OK;
    if (errno == EWOULDBLOCK)
        return fail(err, ERR_INPUT, "%s: another run is writing into this folder", folder);
    return fail(err, ERR_MACHINE, "cannot lock the folder %s: %s", folder, strerror(errno));
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
    if (status == OK) /* a commit returns when the disk has it */
        status = database_run(&draft->db, "PRAGMA synchronous = FULL", err);
    if (status == OK)
        *store = draft;
    else
        store_close(draft);
    return status;
}

void store_close(Store *store) {
    if (!store) return;
    database_close(&store->db);
    if (store->lock >= 0) close(store->lock);
    buffer_free(store);
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
    Query query = { 0 };
    bool more = false;
    Status status = query_open(&query, &store->db,
                               "SELECT 1 FROM point WHERE key = ? AND status <> 'failed'", err);
    if (status == OK) status = query_texts(&query, 1, &key, err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK) *has = more;
    query_close(&query);
    return status;
}

static Status insert_point(const Database *db, const Point *p, Error *err) {
    const char *const texts[] = {
        p->key,  p->phase,    p->contender, p->label,   p->attention,
        p->path, p->kv_dtype, p->layer,     p->message, point_status_name(p->status)
    };
    const size_t counts[] = { p->context_tokens, p->query_tokens, p->sequences };
    Query query;
    Status status = query_open(&query, db,
                               "INSERT INTO point(key, phase, contender, label, attention, path,"
                               " kv_dtype, layer, message, status, context_tokens, query_tokens,"
                               " sequences) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                               err);
    if (status == OK) status = query_texts(&query, 10, texts, err);
    for (int i = 0; i < 3 && status == OK; i++)
        status = query_whole(&query, 11 + i, (long long)counts[i], err);
    if (status == OK) status = query_run(&query, err);
    query_close(&query);
    return status;
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

static Status insert_metrics(const Database *db, long long point, const Metric *metrics,
                             size_t count, Error *err) {
    Query query = { 0 }, sample = { 0 };
    Status status = query_open(&query, db,
                               "INSERT INTO metric(name, unit, kind, point, value, low, high)"
                               " VALUES(?, ?, ?, ?, ?, ?, ?)",
                               err);
    if (status == OK) status = query_open(&sample, db, "INSERT INTO sample VALUES(?, ?, ?)", err);
    for (size_t i = 0; i < count && status == OK; i++) {
        status = insert_metric(&query, point, &metrics[i], err);
        if (status == OK) status = insert_samples(&sample, database_last_key(db), &metrics[i], err);
    }
    query_close(&sample);
    query_close(&query);
    return status;
}

Status store_put(Store *store, const Point *point, const Metric *metrics, size_t count,
                 Error *err) {
    const Database *db = &store->db;
    const char *const key = point->key;
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = database_run_texts(db, "DELETE FROM point WHERE key = ?", 1, &key, err);
    if (status == OK) status = insert_point(db, point, err);
    if (status == OK) status = insert_metrics(db, database_last_key(db), metrics, count, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    if (status != OK) database_undo(db);
    return status;
}

Status store_write_csv(Store *store, Error *err) {
    StoredRun run = { 0 };
    TRY(store_read_database(&run, &store->db, err));
    const Status status = store_csv_write(&run, store->csv, err);
    store_run_free(&run);
    return status;
}
