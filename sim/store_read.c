/* store_read.c -- a run out of its database; store.c says how the tables lie. */
#include "store_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "store_digest.h"
#include "store_layout.h"
#include "store_scan.h"

static const char *const kind_names[] = { "measured", "exact", "modelled" };
static const char *const status_names[] = { "done", "failed", "left out" };

const char *metric_kind_name(MetricKind kind) {
    return kind_names[kind];
}

const char *point_status_name(PointStatus status) {
    return status_names[status];
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

/* Is a row of texts, with their digest in the column after them, what was stored? */
static Status check_row(const Query *row, int texts, Error *err) {
    uint64_t digest = DIGEST_NOTHING;
    for (int i = 0; i < texts; i++) digest = digest_text(digest, query_column_text(row, i));
    if (digest == (uint64_t)query_column_whole(row, texts)) return OK;
    return fail(err, ERR_INPUT, "%s: damaged: \"%.80s\" is not what was stored; --resume mends it",
                row->db->path, query_column_text(row, 0));
}

/* `texts`: name and value, or with a source. */
static Status add_fact(const Query *row, int texts, StoredFact **facts, size_t *capacity,
                       size_t *count, Error *err) {
    TRY(check_row(row, texts, err));
    StoredFact *grown =
        buffer_grown(*facts, capacity, *count, *count + 1, sizeof *grown, "stored facts", err);
    if (!grown) return ERR_MACHINE;
    *facts = grown;
    StoredFact *fact = &grown[(*count)++];
    TRY(copy_text(query_column_text(row, 0), &fact->name, err));
    TRY(copy_text(query_column_text(row, 1), &fact->value, err));
    return copy_text(texts == 3 ? query_column_text(row, 2) : "", &fact->source, err);
}

/* All rows of a query of texts and their digest. */
static Status read_facts(const Database *db, const char *sql, int texts, StoredFact **facts,
                         size_t *count, Error *err) {
    Query query;
    size_t capacity = 0;
    bool more = false;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_next(&query, &more, err);
    while (status == OK && more) {
        status = add_fact(&query, texts, facts, &capacity, count, err);
        if (status == OK) status = query_next(&query, &more, err);
    }
    query_close(&query);
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
    Status status = points ? store_scan(db, keep_point, NULL, &draft, err) : OK;
    if (status == OK)
        status = read_facts(db, "SELECT name, value, digest FROM fact ORDER BY rowid", 2,
                            &draft.run.facts, &draft.run.fact_count, err);
    if (status == OK)
        status = read_facts(db, "SELECT key, value, source, digest FROM config ORDER BY rowid", 3,
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
    Status status = query_open(&query, &db, "SELECT text, digest FROM study", err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK) status = check_row(&query, 1, err);
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
    if (status == OK) status = store_scan(&db, visit, NULL, context, err);
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
