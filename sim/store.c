/* store.c -- the database of a run: opening and writing; store_read.c reads it.
 *
 *   study   the resolved study as text, one row      fact    name, value
 *   config  key, value, source                       point   one row a point
 *   metric  one row a point and metric               sample  one row a sample, in the order taken
 *
 * A point goes in with its metrics and samples in one transaction, so a killed run leaves whole
 * points only; points that come in within HELD_NS may share it. A commit waits for the disk unless
 * the last one that did is younger than SYNCED_NS: where points are slow each is safe from a loss
 * of power, where they are fast the disk does not set the pace. results.lock is locked (flock)
 * while a run writes; readers need no lock. application_id marks the file as ours, user_version the
 * layout of the tables. Each row that is read by itself carries a digest (store_digest.h). */
#define _DEFAULT_SOURCE /* flock */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "database.h"
#include "store_csv.h"
#include "store_digest.h"
#include "store_layout.h"
#include "store_read.h"
#include "textfile.h"

static const double SYNCED_NS = 0.1e9, HELD_NS = 0.02e9;

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
    bool open;        /* points were added and are not committed */
    double opened_ns; /* the first of them */
    size_t mended;
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

/* A statement that binds texts and then their digest. */
static Status put_texts(const Database *db, const char *sql, int count, const char *const *texts,
                        Error *err) {
    const uint64_t digest = store_digest_texts((size_t)count, texts);
    Query query;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_texts(&query, count, texts, err);
    if (status == OK) status = query_whole(&query, count + 1, (long long)digest, err);
    if (status == OK) status = query_run(&query, err);
    query_close(&query);
    return status;
}

static Status create(const Database *db, const char *study, Error *err) {
    TRY(database_run(db, "PRAGMA journal_mode = WAL", err));
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = store_make_tables(db, err);
    if (status == OK) status = put_texts(db, "INSERT INTO study VALUES(?, ?)", 1, &study, err);
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
                   " rank, digest) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   err));
    TRY(query_open(&run->metric, db,
                   "INSERT INTO metric(name, unit, kind, point, value, low, high)"
                   " VALUES(?, ?, ?, ?, ?, ?, ?)",
                   err));
    return query_open(&run->sample, db, "INSERT INTO sample VALUES(?, ?, ?)", err);
}

/* The store lies in its folder, where the lock is: a link could bring two runs to one store. */
static Status refuse_link(const char *path, Error *err) {
    struct stat found;
    if (lstat(path, &found) != 0 || !S_ISLNK(found.st_mode)) return OK;
    return fail(err, ERR_INPUT, "%s: a symbolic link, not a store", path);
}

static Status open_run(Store *store, const char *folder, const char *study, bool resume,
                       Error *err) {
    char path[PATH_SIZE];
    bool empty = false;
    TRY(textfile_make_folder(folder, err));
    TRY(textfile_path(store->csv, folder, "results.csv", err));
    TRY(lock_folder(folder, &store->lock, err));
    TRY(textfile_path(path, folder, "results.sqlite", err));
    TRY(refuse_link(path, err));
    TRY(database_open(&store->db, path, true, err));
    TRY(store_check_file(&store->db, &empty, err));
    if (!empty && !resume)
        return fail(err, ERR_INPUT,
                    "%s: holds a run already; give --resume to go on with it, or another --out",
                    folder);
    if (empty) return create(&store->db, study, err);
    TRY(store_mend(&store->db, &store->mended, err));
    return check_study(&store->db, study, err);
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

size_t store_mended(const Store *store) {
    return store->mended;
}

/* ---- writing ---- */

Status store_set(Store *store, const char *name, const char *value, Error *err) {
    const char *const texts[] = { name, value };
    return put_texts(&store->db,
                     "INSERT INTO fact VALUES(?, ?, ?) ON CONFLICT(name) DO UPDATE"
                     " SET value = excluded.value, digest = excluded.digest",
                     2, texts, err);
}

Status store_get(Store *store, const char *name, char *value, size_t size, Error *err) {
    Query query = { 0 };
    bool more = false;
    value[0] = '\0';
    Status status = query_open(&query, &store->db, "SELECT value FROM fact WHERE name = ?", err);
    if (status == OK) status = query_texts(&query, 1, &name, err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK && more) snprintf(value, size, "%s", query_column_text(&query, 0));
    query_close(&query);
    return status;
}

Status store_set_config(Store *store, const char *key, const char *value, const char *source,
                        Error *err) {
    const char *const texts[] = { key, value, source };
    return put_texts(&store->db,
                     "INSERT INTO config VALUES(?, ?, ?, ?) ON CONFLICT(key) DO UPDATE"
                     " SET value = excluded.value, source = excluded.source,"
                     " digest = excluded.digest",
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

static size_t sample_count(const Metric *m) {
    return m->samples ? m->sample_count : 0;
}

/* Over all rows that a point will have. */
static uint64_t point_digest(const Point *point, const Metric *metrics, size_t count) {
    uint64_t digest = store_digest_point(point);
    for (size_t i = 0; i < count; i++) {
        digest = store_digest_metric(digest, &metrics[i]);
        for (size_t s = 0; s < sample_count(&metrics[i]); s++)
            digest = store_digest_sample(digest, s, metrics[i].samples[s]);
    }
    return digest;
}

static Status insert_point(const Query *query, const Point *p, uint64_t digest, Error *err) {
    const char *const texts[] = {
        p->key,  p->phase,    p->contender, p->label,   p->attention,
        p->path, p->kv_dtype, p->layer,     p->message, point_status_name(p->status),
        p->host
    };
    const size_t counts[] = { p->context_tokens, p->query_tokens, p->sequences, p->place,
                              (size_t)p->rank };
    TRY(query_texts(query, 11, texts, err));
    for (int i = 0; i < 5; i++) TRY(query_whole(query, 12 + i, (long long)counts[i], err));
    TRY(query_whole(query, 17, (long long)digest, err));
    return query_run(query, err);
}

/* The rows of one metric's samples. */
static Status insert_samples(const Query *query, long long metric, const Metric *m, Error *err) {
    for (size_t i = 0; i < sample_count(m); i++) {
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
    TRY(insert_point(&store->run.point, point, point_digest(point, metrics, count), err));
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

static Status begin(Store *store, Error *err) {
    if (store->open) return OK;
    store->opened_ns = clock_ns();
    TRY(choose_sync(store, store->opened_ns, err));
    TRY(database_run(&store->db, "BEGIN IMMEDIATE", err));
    store->open = true;
    return OK;
}

/* Undoes what is not committed after a failure; returns it. */
static Status give_up(Store *store, Status failure) {
    database_undo(&store->db);
    store->open = false;
    return failure;
}

Status store_commit(Store *store, Error *err) {
    if (!store->open) return OK;
    const Status status = database_run(&store->db, "COMMIT", err);
    if (status != OK) return give_up(store, status);
    store->open = false;
    if (store->synchronous) store->synced_ns = clock_ns();
    return OK;
}

Status store_add(Store *store, const Point *point, const Metric *metrics, size_t count,
                 Error *err) {
    TRY(begin(store, err));
    const Status status = insert_rows(store, point, metrics, count, err);
    if (status != OK) return give_up(store, status);
    return clock_ns() - store->opened_ns < HELD_NS ? OK : store_commit(store, err);
}

Status store_put(Store *store, const Point *point, const Metric *metrics, size_t count,
                 Error *err) {
    TRY(store_add(store, point, metrics, count, err));
    return store_commit(store, err);
}

Status store_write_csv(Store *store, Error *err) {
    TRY(database_run(&store->db, "BEGIN", err));
    const Status status = store_csv_write(&store->db, store->csv, err);
    database_undo(&store->db);
    return status;
}
