/* store_read.c -- a run out of its database; store.c says how the tables lie. */
#include "store_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"

static const char *const kind_names[] = { "measured", "exact", "modelled" };
static const char *const status_names[] = { "done", "failed", "left out" };

const char *metric_kind_name(MetricKind kind) {
    return kind_names[kind];
}

const char *point_status_name(PointStatus status) {
    return status_names[status];
}

/* Layout 2 says of each point where it stands in the study's list and where it ran. */
static const char layout_2[] = "ALTER TABLE point ADD COLUMN place INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE point ADD COLUMN host TEXT NOT NULL DEFAULT '';"
                               "ALTER TABLE point ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;"
                               "UPDATE point SET place = id;"
                               "CREATE INDEX point_place ON point(place);"
                               "PRAGMA user_version = 2;";

/* Brings the tables of an older layout to the present one, or leaves them as they are. */
static Status bring_up(const Database *db, long long layout, Error *err) {
    (void)layout; /* there is one older */
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = database_run(db, layout_2, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    if (status != OK) database_undo(db);
    return status;
}

Status store_check_file(const Database *db, bool *empty, Error *err) {
    long long application = 0, layout = 0, tables = 0;
    TRY(database_read_whole(db, "PRAGMA application_id", &application, err));
    TRY(database_read_whole(db, "PRAGMA user_version", &layout, err));
    TRY(database_read_whole(db, "SELECT count(*) FROM sqlite_master", &tables, err));
    *empty = tables == 0 && application == 0 && layout == 0;
    if (*empty) return OK;
    if (application != STORE_APPLICATION)
        return fail(err, ERR_INPUT, "%s: a database, but not of kvlab", db->path);
    if (layout < 1 || layout > STORE_LAYOUT)
        return fail(err, ERR_INPUT, "%s: written in layout %lld; this kvlab reads layouts 1 to %d",
                    db->path, layout, STORE_LAYOUT);
    TRY(database_check(db, err));
    return layout < STORE_LAYOUT ? bring_up(db, layout, err) : OK;
}

bool store_compare(const char *stored, const char *now, char *difference, size_t size) {
    for (size_t line = 1;; line++) {
        const size_t a = strcspn(stored, "\n"), b = strcspn(now, "\n");
        if (a != b || memcmp(stored, now, a) != 0) {
            snprintf(difference, size, "line %zu: stored \"%.*s\", now \"%.*s\"", line,
                     (int)(a < 200 ? a : 200), stored, (int)(b < 200 ? b : 200), now);
            return false;
        }
        if (!stored[a] && !now[b]) return true;
        stored += stored[a] ? a + 1 : a;
        now += now[b] ? b + 1 : b;
    }
}

static Status copy_text(const char *text, char **out, Error *err) {
    const size_t size = strlen(text) + 1;
    char *copy = NULL;
    TRY(BUFFER(&copy, size, "a stored text", err));
    *out = memcpy(copy, text, size);
    return OK;
}

static Status add_fact(const Query *row, StoredFact **facts, size_t *capacity, size_t *count,
                       Error *err) {
    StoredFact *grown =
        buffer_grown(*facts, capacity, *count, *count + 1, sizeof *grown, "stored facts", err);
    if (!grown) return ERR_MACHINE;
    *facts = grown;
    StoredFact *fact = &grown[(*count)++];
    TRY(copy_text(query_column_text(row, 0), &fact->name, err));
    TRY(copy_text(query_column_text(row, 1), &fact->value, err));
    return copy_text(query_column_text(row, 2), &fact->source, err);
}

/* All rows of a query of name, value and source. */
static Status read_facts(const Database *db, const char *sql, StoredFact **facts, size_t *count,
                         Error *err) {
    Query query;
    size_t capacity = 0;
    bool more = false;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_next(&query, &more, err);
    while (status == OK && more) {
        status = add_fact(&query, facts, &capacity, count, err);
        if (status == OK) status = query_next(&query, &more, err);
    }
    query_close(&query);
    return status;
}

static bool find_name(const char *const *names, size_t count, const char *name, int *index) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *index = (int)i;
            return true;
        }
    return false;
}

/* A column's text into an array, cut at its size. */
#define COPY(array, row, column)                                                                   \
    snprintf((array), sizeof(array), "%s", query_column_text((row), (column)))

static Status take_metric(const Query *row, Metric *m, Error *err) {
    int kind = 0;
    if (!find_name(kind_names, 3, query_column_text(row, 2), &kind))
        return fail(err, ERR_INPUT, "%s: damaged: a metric of kind \"%.40s\"", row->db->path,
                    query_column_text(row, 2));
    COPY(m->name, row, 0);
    COPY(m->unit, row, 1);
    m->kind = (MetricKind)kind;
    m->value = query_column_real(row, 3);
    m->low = query_column_real(row, 4);
    m->high = query_column_real(row, 5);
    m->sample_count = (size_t)query_column_whole(row, 6);
    return OK;
}

/* The metrics of the point with that id, into the room that earlier points left. */
static Status read_metrics(const Query *query, long long id, StoredPoint *point, size_t *capacity,
                           Error *err) {
    bool more = false;
    point->metric_count = 0;
    TRY(query_whole(query, 1, id, err));
    Status status = query_next(query, &more, err);
    while (status == OK && more) {
        Metric *grown = buffer_grown(point->metrics, capacity, point->metric_count,
                                     point->metric_count + 1, sizeof *grown, "stored metrics", err);
        if (!grown) return ERR_MACHINE;
        point->metrics = grown;
        status = take_metric(query, &grown[point->metric_count], err);
        if (status == OK) point->metric_count++;
        if (status == OK) status = query_next(query, &more, err);
    }
    query_rewind(query);
    return status;
}

static Status take_point(const Query *row, Point *p, Error *err) {
    int status = 0;
    if (!find_name(status_names, 3, query_column_text(row, 9), &status))
        return fail(err, ERR_INPUT, "%s: damaged: a point of status \"%.40s\"", row->db->path,
                    query_column_text(row, 9));
    COPY(p->key, row, 1);
    COPY(p->phase, row, 2);
    COPY(p->contender, row, 3);
    COPY(p->label, row, 4);
    COPY(p->attention, row, 5);
    COPY(p->path, row, 6);
    COPY(p->kv_dtype, row, 7);
    COPY(p->layer, row, 8);
    COPY(p->message, row, 10);
    p->status = (PointStatus)status;
    p->context_tokens = (size_t)query_column_whole(row, 11);
    p->query_tokens = (size_t)query_column_whole(row, 12);
    p->sequences = (size_t)query_column_whole(row, 13);
    p->place = (size_t)query_column_whole(row, 14);
    COPY(p->host, row, 15);
    p->rank = (int)query_column_whole(row, 16);
    return OK;
}

static Status visit_points(const Query *points, const Query *metrics, StoreVisit visit,
                           void *context, Error *err) {
    StoredPoint point = { 0 };
    size_t capacity = 0;
    bool more = false;
    Status status = query_next(points, &more, err);
    while (status == OK && more) {
        status = take_point(points, &point.point, err);
        if (status == OK)
            status = read_metrics(metrics, query_column_whole(points, 0), &point, &capacity, err);
        if (status == OK) status = visit(context, &point, err);
        if (status == OK) status = query_next(points, &more, err);
    }
    buffer_free(point.metrics);
    return status;
}

Status store_each_point(const Database *db, StoreVisit visit, void *context, Error *err) {
    Query points = { 0 }, metrics = { 0 };
    Status status = query_open(&points, db,
                               "SELECT id, key, phase, contender, label, attention, path, kv_dtype,"
                               " layer, status, message, context_tokens, query_tokens, sequences,"
                               " place, host, rank FROM point ORDER BY place, id",
                               err);
    if (status == OK)
        status = query_open(&metrics, db,
                            "SELECT name, unit, kind, value, low, high, (SELECT count(*) FROM"
                            " sample WHERE sample.metric = metric.id) FROM metric"
                            " WHERE point = ? ORDER BY id",
                            err);
    if (status == OK) status = visit_points(&points, &metrics, visit, context, err);
    query_close(&metrics);
    query_close(&points);
    return status;
}

/* A run while its points are read into it. */
typedef struct {
    StoredRun run;
    size_t capacity;
} Draft;

static Status keep_point(void *context, const StoredPoint *point, Error *err) {
    Draft *draft = context;
    StoredRun *run = &draft->run;
    StoredPoint *grown = buffer_grown(run->points, &draft->capacity, run->point_count,
                                      run->point_count + 1, sizeof *grown, "stored points", err);
    if (!grown) return ERR_MACHINE;
    run->points = grown;
    StoredPoint *kept = &grown[run->point_count];
    *kept = *point;
    TRY(BUFFER(&kept->metrics, point->metric_count, "stored metrics", err));
    if (point->metric_count)
        memcpy(kept->metrics, point->metrics, point->metric_count * sizeof *kept->metrics);
    run->point_count++;
    return OK;
}

/* A run as of one moment, also while another process writes it. */
static Status read_run(StoredRun *run, const Database *db, bool points, Error *err) {
    Draft draft = { .capacity = 0 };
    TRY(database_run(db, "BEGIN", err));
    Status status = points ? store_each_point(db, keep_point, &draft, err) : OK;
    if (status == OK)
        status = read_facts(db, "SELECT name, value, '' FROM fact ORDER BY rowid", &draft.run.facts,
                            &draft.run.fact_count, err);
    if (status == OK)
        status = read_facts(db, "SELECT key, value, source FROM config ORDER BY rowid",
                            &draft.run.config, &draft.run.config_count, err);
    database_undo(db); /* ends the reading; nothing was written */
    if (status == OK)
        *run = draft.run;
    else
        store_run_free(&draft.run);
    return status;
}

/* Opens a folder's run for reading. */
static Status open_folder(Database *db, const char *folder, Error *err) {
    char path[PATH_SIZE];
    bool empty = false;
    TRY(textfile_path(path, folder, "results.sqlite", err));
    if (access(path, R_OK) != 0)
        return fail(err, ERR_INPUT, "%s: no run here: cannot read %s: %s", folder, path,
                    strerror(errno));
    TRY(database_open(db, path, false, err));
    Status status = store_check_file(db, &empty, err);
    if (status == OK && empty) status = fail(err, ERR_INPUT, "%s: an empty database", path);
    if (status != OK) database_close(db);
    return status;
}

Status store_read(StoredRun *run, const char *folder, Error *err) {
    Database db;
    TRY(open_folder(&db, folder, err));
    const Status status = read_run(run, &db, true, err);
    database_close(&db);
    return status;
}

Status store_read_study(const char *folder, char **text, Error *err) {
    Database db;
    Query query = { 0 };
    bool more = false;
    TRY(open_folder(&db, folder, err));
    Status status = query_open(&query, &db, "SELECT text FROM study", err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK) status = copy_text(more ? query_column_text(&query, 0) : "", text, err);
    query_close(&query);
    database_close(&db);
    return status;
}

Status store_read_facts(StoredRun *run, const char *folder, size_t *points, Error *err) {
    Database db;
    long long count = 0;
    TRY(open_folder(&db, folder, err));
    Status status = database_read_whole(&db, "SELECT count(*) FROM point", &count, err);
    if (status == OK) status = read_run(run, &db, false, err);
    if (status == OK) *points = (size_t)count;
    database_close(&db);
    return status;
}

Status store_each(const char *folder, StoreVisit visit, void *context, Error *err) {
    Database db;
    TRY(open_folder(&db, folder, err));
    Status status = database_run(&db, "BEGIN", err);
    if (status == OK) status = store_each_point(&db, visit, context, err);
    database_undo(&db);
    database_close(&db);
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
