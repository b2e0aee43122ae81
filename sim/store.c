/* store.c -- the database of a run; the one file that uses SQLite.
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
#include <math.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "buffer.h"
#include "store_csv.h"
#include "textfile.h"

enum { APPLICATION = 0x6b766c62 /* "kvlb" */, LAYOUT = 1 };

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

/* A connection with the name that its messages carry. */
typedef struct {
    sqlite3 *handle;
    char path[PATH_SIZE];
} Database;

struct Store {
    Database db;
    int lock; /* the folder, open and locked */
    char csv[PATH_SIZE];
};

static const char *const kind_names[] = { "measured", "exact", "modelled" };
static const char *const status_names[] = { "done", "failed", "left out" };

const char *metric_kind_name(MetricKind kind) {
    return kind_names[kind];
}

const char *point_status_name(PointStatus status) {
    return status_names[status];
}

/* ---- SQLite, with our errors ---- */

/* What the last call on the connection failed with. */
static Status fail_sql(const Database *db, Error *err) {
    const int code = sqlite3_errcode(db->handle) & 0xff;
    const int system = sqlite3_system_errno(db->handle);
    if (code == SQLITE_FULL)
        return fail(
            err, ERR_MACHINE,
            "%s: the disk is full; the points finished so far are kept and --resume goes on",
            db->path);
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        return fail(err, ERR_INPUT, "%s: damaged: %s", db->path, sqlite3_errmsg(db->handle));
    return fail(err, ERR_MACHINE, "%s: %s%s%s", db->path, sqlite3_errmsg(db->handle),
                code == SQLITE_IOERR && system ? ": " : "",
                code == SQLITE_IOERR && system ? strerror(system) : "");
}

static Status execute(const Database *db, const char *sql, Error *err) {
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : fail_sql(db, err);
}

static Status prepare(const Database *db, const char *sql, sqlite3_stmt **query, Error *err) {
    return sqlite3_prepare_v2(db->handle, sql, -1, query, NULL) == SQLITE_OK ? OK
                                                                             : fail_sql(db, err);
}

/* Binds `count` texts to the parameters 1.. of a query. */
static Status bind_texts(const Database *db, sqlite3_stmt *query, int count,
                         const char *const *texts, Error *err) {
    for (int i = 0; i < count; i++)
        if (sqlite3_bind_text(query, i + 1, texts[i], -1, SQLITE_STATIC) != SQLITE_OK)
            return fail_sql(db, err);
    return OK;
}

/* Runs a query that returns no row. */
static Status step(const Database *db, sqlite3_stmt *query, Error *err) {
    const Status status = sqlite3_step(query) == SQLITE_DONE ? OK : fail_sql(db, err);
    sqlite3_reset(query);
    return status;
}

/* Moves to the next row: *more says whether there is one. */
static Status next_row(const Database *db, sqlite3_stmt *query, bool *more, Error *err) {
    const int code = sqlite3_step(query);
    if (code != SQLITE_ROW && code != SQLITE_DONE) return fail_sql(db, err);
    *more = code == SQLITE_ROW;
    return OK;
}

/* One statement that binds texts and returns no row. */
static Status execute_texts(const Database *db, const char *sql, int count,
                            const char *const *texts, Error *err) {
    sqlite3_stmt *query = NULL;
    Status status = prepare(db, sql, &query, err);
    if (status == OK) status = bind_texts(db, query, count, texts, err);
    if (status == OK) status = step(db, query, err);
    sqlite3_finalize(query);
    return status;
}

static Status read_number(const Database *db, const char *sql, long long *value, Error *err) {
    sqlite3_stmt *query = NULL;
    bool more = false;
    Status status = prepare(db, sql, &query, err);
    if (status == OK) status = next_row(db, query, &more, err);
    if (status == OK) *value = more ? sqlite3_column_int64(query, 0) : 0;
    sqlite3_finalize(query);
    return status;
}

static const char *column_text(sqlite3_stmt *query, int column) {
    const unsigned char *text = sqlite3_column_text(query, column);
    return text ? (const char *)text : "";
}

/* SQLite keeps what is not a number as NULL. */
static double column_real(sqlite3_stmt *query, int column) {
    return sqlite3_column_type(query, column) == SQLITE_NULL ? NAN
                                                             : sqlite3_column_double(query, column);
}

/* ---- opening ---- */

static Status connect(Database *db, const char *folder, int flags, Error *err) {
    TRY(textfile_path(db->path, folder, "results.sqlite", err));
    if (sqlite3_open_v2(db->path, &db->handle, flags, NULL) != SQLITE_OK) {
        const Status status = fail(err, ERR_MACHINE, "cannot open %s: %s", db->path,
                                   db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
        sqlite3_close(db->handle);
        db->handle = NULL;
        return status;
    }
    sqlite3_busy_timeout(db->handle, 5000);
    return execute(db, "PRAGMA foreign_keys = ON", err);
}

/* Refuses files of other programs and of other layouts, and damaged ones. *empty: nothing in it. */
static Status check_file(const Database *db, bool *empty, Error *err) {
    long long application = 0, layout = 0, tables = 0;
    TRY(read_number(db, "PRAGMA application_id", &application, err));
    TRY(read_number(db, "PRAGMA user_version", &layout, err));
    TRY(read_number(db, "SELECT count(*) FROM sqlite_master", &tables, err));
    *empty = tables == 0 && application == 0 && layout == 0;
    if (*empty) return OK;
    if (application != APPLICATION)
        return fail(err, ERR_INPUT, "%s: a database, but not of kvlab", db->path);
    if (layout != LAYOUT)
        return fail(err, ERR_INPUT, "%s: written in layout %lld; this kvlab reads layout %d",
                    db->path, layout, LAYOUT);

    sqlite3_stmt *query = NULL;
    bool more = false;
    Status status = prepare(db, "PRAGMA quick_check(1)", &query, err);
    if (status == OK) status = next_row(db, query, &more, err);
    if (status == OK && more && strcmp(column_text(query, 0), "ok") != 0)
        status = fail(err, ERR_INPUT, "%s: damaged: %s", db->path, column_text(query, 0));
    sqlite3_finalize(query);
    return status;
}

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
    sqlite3_stmt *query = NULL;
    bool more = false;
    Status status = prepare(db, "SELECT text FROM study", &query, err);
    if (status == OK) status = next_row(db, query, &more, err);
    if (status == OK) status = compare_studies(db, more ? column_text(query, 0) : "", study, err);
    sqlite3_finalize(query);
    return status;
}

static Status create(const Database *db, const char *study, Error *err) {
    TRY(execute(db, "PRAGMA journal_mode = WAL", err));
    TRY(execute(db, "BEGIN IMMEDIATE", err));
    Status status = execute(db, schema, err);
    if (status == OK) status = execute_texts(db, "INSERT INTO study VALUES(?)", 1, &study, err);
    if (status == OK) status = execute(db, "COMMIT", err);
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
    bool empty = false;
    TRY(textfile_make_folder(folder, err));
    TRY(textfile_path(store->csv, folder, "results.csv", err));
    TRY(lock_folder(folder, &store->lock, err));
    TRY(connect(&store->db, folder, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err));
    TRY(check_file(&store->db, &empty, err));
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
        status = execute(&draft->db, "PRAGMA synchronous = FULL", err);
    if (status == OK)
        *store = draft;
    else
        store_close(draft);
    return status;
}

void store_close(Store *store) {
    if (!store) return;
    sqlite3_close(store->db.handle);
    if (store->lock >= 0) close(store->lock);
    buffer_free(store);
}

/* ---- writing ---- */

Status store_set(Store *store, const char *name, const char *value, Error *err) {
    const char *const texts[] = { name, value };
    return execute_texts(&store->db,
                         "INSERT INTO fact VALUES(?, ?)"
                         " ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                         2, texts, err);
}

Status store_set_config(Store *store, const char *key, const char *value, const char *source,
                        Error *err) {
    const char *const texts[] = { key, value, source };
    return execute_texts(&store->db,
                         "INSERT INTO config VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE"
                         " SET value = excluded.value, source = excluded.source",
                         3, texts, err);
}

Status store_has(Store *store, const char *key, bool *has, Error *err) {
    sqlite3_stmt *query = NULL;
    bool more = false;
    Status status = prepare(&store->db, "SELECT 1 FROM point WHERE key = ? AND status <> 'failed'",
                            &query, err);
    if (status == OK) status = bind_texts(&store->db, query, 1, &key, err);
    if (status == OK) status = next_row(&store->db, query, &more, err);
    if (status == OK) *has = more;
    sqlite3_finalize(query);
    return status;
}

static Status insert_point(const Database *db, const Point *p, Error *err) {
    const char *const texts[] = {
        p->key,  p->phase,    p->contender, p->label,   p->attention,
        p->path, p->kv_dtype, p->layer,     p->message, point_status_name(p->status)
    };
    const size_t counts[] = { p->context_tokens, p->query_tokens, p->sequences };
    sqlite3_stmt *query = NULL;
    Status status = prepare(db,
                            "INSERT INTO point(key, phase, contender, label, attention, path,"
                            " kv_dtype, layer, message, status, context_tokens, query_tokens,"
                            " sequences) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            &query, err);
    if (status == OK) status = bind_texts(db, query, 10, texts, err);
    for (int i = 0; i < 3 && status == OK; i++)
        if (sqlite3_bind_int64(query, 11 + i, (sqlite3_int64)counts[i]) != SQLITE_OK)
            status = fail_sql(db, err);
    if (status == OK) status = step(db, query, err);
    sqlite3_finalize(query);
    return status;
}

/* The sample rows of one metric; query is prepared. */
static Status insert_samples(const Database *db, sqlite3_stmt *query, sqlite3_int64 metric,
                             const Metric *m, Error *err) {
    for (size_t i = 0; m->samples && i < m->sample_count; i++) {
        if (sqlite3_bind_int64(query, 1, metric) != SQLITE_OK ||
            sqlite3_bind_int64(query, 2, (sqlite3_int64)i) != SQLITE_OK ||
            sqlite3_bind_double(query, 3, m->samples[i]) != SQLITE_OK)
            return fail_sql(db, err);
        TRY(step(db, query, err));
    }
    return OK;
}

static Status insert_metrics(const Database *db, sqlite3_int64 point, const Metric *metrics,
                             size_t count, Error *err) {
    sqlite3_stmt *query = NULL, *sample = NULL;
    Status status = prepare(db,
                            "INSERT INTO metric(name, unit, kind, point, value, low, high)"
                            " VALUES(?, ?, ?, ?, ?, ?, ?)",
                            &query, err);
    if (status == OK) status = prepare(db, "INSERT INTO sample VALUES(?, ?, ?)", &sample, err);
    for (size_t i = 0; i < count && status == OK; i++) {
        const Metric *m = &metrics[i];
        const char *const texts[] = { m->name, m->unit, metric_kind_name(m->kind) };
        status = bind_texts(db, query, 3, texts, err);
        if (status == OK && (sqlite3_bind_int64(query, 4, point) != SQLITE_OK ||
                             sqlite3_bind_double(query, 5, m->value) != SQLITE_OK ||
                             sqlite3_bind_double(query, 6, m->low) != SQLITE_OK ||
                             sqlite3_bind_double(query, 7, m->high) != SQLITE_OK))
            status = fail_sql(db, err);
        if (status == OK) status = step(db, query, err);
        if (status == OK)
            status = insert_samples(db, sample, sqlite3_last_insert_rowid(db->handle), m, err);
    }
    sqlite3_finalize(sample);
    sqlite3_finalize(query);
    return status;
}

Status store_put(Store *store, const Point *point, const Metric *metrics, size_t count,
                 Error *err) {
    const Database *db = &store->db;
    const char *const key = point->key;
    TRY(execute(db, "BEGIN IMMEDIATE", err));
    Status status = execute_texts(db, "DELETE FROM point WHERE key = ?", 1, &key, err);
    if (status == OK) status = insert_point(db, point, err);
    if (status == OK)
        status = insert_metrics(db, sqlite3_last_insert_rowid(db->handle), metrics, count, err);
    if (status == OK) status = execute(db, "COMMIT", err);
    if (status != OK) sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* ---- reading ---- */

static Status copy_text(const char *text, char **out, Error *err) {
    const size_t size = strlen(text) + 1;
    char *copy = NULL;
    TRY(BUFFER(&copy, size, "a stored text", err));
    *out = memcpy(copy, text, size);
    return OK;
}

/* All rows of a query of name, value and source. */
static Status read_facts(const Database *db, const char *sql, StoredFact **facts, size_t *count,
                         Error *err) {
    sqlite3_stmt *query = NULL;
    size_t capacity = 0;
    bool more = false;
    Status status = prepare(db, sql, &query, err);
    if (status == OK) status = next_row(db, query, &more, err);
    while (status == OK && more) {
        StoredFact *grown = buffer_grown(*facts, &capacity, *count, *count + 1, sizeof **facts,
                                         "stored facts", err);
        if (!grown) {
            status = ERR_MACHINE;
            break;
        }
        *facts = grown;
        StoredFact *fact = &grown[(*count)++];
        status = copy_text(column_text(query, 0), &fact->name, err);
        if (status == OK) status = copy_text(column_text(query, 1), &fact->value, err);
        if (status == OK) status = copy_text(column_text(query, 2), &fact->source, err);
        if (status == OK) status = next_row(db, query, &more, err);
    }
    sqlite3_finalize(query);
    return status;
}

/* A column's text into an array, cut at its size. */
#define COPY(array, query, column)                                                                 \
    snprintf((array), sizeof(array), "%s", column_text((query), (column)))

static bool find_name(const char *const *names, size_t count, const char *name, int *index) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *index = (int)i;
            return true;
        }
    return false;
}

static Status take_point(const Database *db, sqlite3_stmt *query, Point *p, Error *err) {
    int status = 0;
    if (!find_name(status_names, 3, column_text(query, 9), &status))
        return fail(err, ERR_INPUT, "%s: damaged: a point of status \"%.40s\"", db->path,
                    column_text(query, 9));
    COPY(p->key, query, 1), COPY(p->phase, query, 2), COPY(p->contender, query, 3);
    COPY(p->label, query, 4), COPY(p->attention, query, 5), COPY(p->path, query, 6);
    COPY(p->kv_dtype, query, 7), COPY(p->layer, query, 8), COPY(p->message, query, 10);
    p->status = (PointStatus)status;
    p->context_tokens = (size_t)sqlite3_column_int64(query, 11);
    p->query_tokens = (size_t)sqlite3_column_int64(query, 12);
    p->sequences = (size_t)sqlite3_column_int64(query, 13);
    return OK;
}

static Status take_metric(const Database *db, sqlite3_stmt *query, Metric *m, Error *err) {
    int kind = 0;
    if (!find_name(kind_names, 3, column_text(query, 2), &kind))
        return fail(err, ERR_INPUT, "%s: damaged: a metric of kind \"%.40s\"", db->path,
                    column_text(query, 2));
    COPY(m->name, query, 0), COPY(m->unit, query, 1);
    m->kind = (MetricKind)kind;
    m->value = column_real(query, 3), m->low = column_real(query, 4);
    m->high = column_real(query, 5);
    m->sample_count = (size_t)sqlite3_column_int64(query, 6);
    return OK;
}

static Status add_metric(const Database *db, sqlite3_stmt *query, StoredPoint *point,
                         size_t *capacity, Error *err) {
    Metric *grown = buffer_grown(point->metrics, capacity, point->metric_count,
                                 point->metric_count + 1, sizeof *grown, "stored metrics", err);
    if (!grown) return ERR_MACHINE;
    point->metrics = grown;
    TRY(take_metric(db, query, &grown[point->metric_count], err));
    point->metric_count++;
    return OK;
}

/* The metrics of the point that the row of `query` is about. */
static Status read_metrics(const Database *db, sqlite3_stmt *query, sqlite3_int64 id,
                           StoredPoint *point, Error *err) {
    size_t capacity = 0;
    bool more = false;
    if (sqlite3_bind_int64(query, 1, id) != SQLITE_OK) return fail_sql(db, err);
    Status status = next_row(db, query, &more, err);
    while (status == OK && more) {
        status = add_metric(db, query, point, &capacity, err);
        if (status == OK) status = next_row(db, query, &more, err);
    }
    sqlite3_reset(query);
    return status;
}

static Status read_points(const Database *db, StoredRun *run, Error *err) {
    sqlite3_stmt *query = NULL, *metrics = NULL;
    size_t capacity = 0;
    bool more = false;
    Status status = prepare(db,
                            "SELECT id, key, phase, contender, label, attention, path, kv_dtype,"
                            " layer, status, message, context_tokens, query_tokens, sequences"
                            " FROM point ORDER BY id",
                            &query, err);
    if (status == OK)
        status = prepare(db,
                         "SELECT name, unit, kind, value, low, high, (SELECT count(*) FROM sample"
                         " WHERE sample.metric = metric.id) FROM metric WHERE point = ?"
                         " ORDER BY id",
                         &metrics, err);
    if (status == OK) status = next_row(db, query, &more, err);
    while (status == OK && more) {
        StoredPoint *grown = buffer_grown(run->points, &capacity, run->point_count,
                                          run->point_count + 1, sizeof *grown, "points", err);
        if (!grown) {
            status = ERR_MACHINE;
            break;
        }
        run->points = grown;
        StoredPoint *point = &grown[run->point_count++];
        status = take_point(db, query, &point->point, err);
        if (status == OK)
            status = read_metrics(db, metrics, sqlite3_column_int64(query, 0), point, err);
        if (status == OK) status = next_row(db, query, &more, err);
    }
    sqlite3_finalize(metrics);
    sqlite3_finalize(query);
    return status;
}

/* The whole run as of one moment, also while another process writes it. */
static Status read_run(const Database *db, StoredRun *out, Error *err) {
    StoredRun run = { 0 };
    TRY(execute(db, "BEGIN", err));
    Status status = read_points(db, &run, err);
    if (status == OK)
        status = read_facts(db, "SELECT name, value, '' FROM fact ORDER BY rowid", &run.facts,
                            &run.fact_count, err);
    if (status == OK)
        status = read_facts(db, "SELECT key, value, source FROM config ORDER BY rowid", &run.config,
                            &run.config_count, err);
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    if (status == OK)
        *out = run;
    else
        store_run_free(&run);
    return status;
}

Status store_read(StoredRun *run, const char *folder, Error *err) {
    Database db = { 0 };
    bool empty = false;
    TRY(textfile_path(db.path, folder, "results.sqlite", err));
    if (access(db.path, R_OK) != 0)
        return fail(err, ERR_INPUT, "%s: no run here: cannot read %s: %s", folder, db.path,
                    strerror(errno));
    TRY(connect(&db, folder, SQLITE_OPEN_READWRITE, err));
    Status status = check_file(&db, &empty, err);
    if (status == OK && empty) status = fail(err, ERR_INPUT, "%s: an empty database", db.path);
    if (status == OK) status = read_run(&db, run, err);
    sqlite3_close(db.handle);
    return status;
}

static void free_facts(StoredFact *facts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buffer_free(facts[i].name);
        buffer_free(facts[i].value);
        buffer_free(facts[i].source);
    }
    buffer_free(facts);
}

void store_run_free(StoredRun *run) {
    for (size_t i = 0; i < run->point_count; i++) buffer_free(run->points[i].metrics);
    buffer_free(run->points);
    free_facts(run->facts, run->fact_count);
    free_facts(run->config, run->config_count);
    *run = (StoredRun){ 0 };
}

Status store_write_csv(Store *store, Error *err) {
    StoredRun run = { 0 };
    TRY(read_run(&store->db, &run, err));
    const Status status = store_csv_write(&run, store->csv, err);
    store_run_free(&run);
    return status;
}

const char *store_fact(const StoredRun *run, const char *name) {
    for (size_t i = 0; i < run->fact_count; i++)
        if (strcmp(run->facts[i].name, name) == 0) return run->facts[i].value;
    return "";
}

const Metric *store_metric(const StoredPoint *point, const char *name) {
    for (size_t i = 0; i < point->metric_count; i++)
        if (strcmp(point->metrics[i].name, name) == 0) return &point->metrics[i];
    return NULL;
}
