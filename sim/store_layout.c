/* store_layout.c -- tables and layouts; see store_layout.h, and store.c for what the tables hold.
 *
 *   layout 1   study, fact, config, point, metric, sample
 *   layout 2   says of each point where it stands in the study's list and where it ran
 *   layout 3   a digest in every row that is read by itself (store_digest.h) */
#include "store_layout.h"

#include <string.h>

#include "store_digest.h"
#include "store_scan.h"

static const char tables[] =
    "CREATE TABLE study(text TEXT NOT NULL, digest INTEGER NOT NULL);"
    "CREATE TABLE fact(name TEXT PRIMARY KEY, value TEXT NOT NULL, digest INTEGER NOT NULL);"
    "CREATE TABLE config(key TEXT PRIMARY KEY, value TEXT NOT NULL, source TEXT NOT NULL,"
    " digest INTEGER NOT NULL);"
    "CREATE TABLE point(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, phase TEXT NOT NULL,"
    " contender TEXT NOT NULL, label TEXT NOT NULL, attention TEXT NOT NULL, path TEXT NOT NULL,"
    " kv_dtype TEXT NOT NULL, layer TEXT NOT NULL, context_tokens INTEGER NOT NULL,"
    " query_tokens INTEGER NOT NULL, sequences INTEGER NOT NULL, status TEXT NOT NULL,"
    " message TEXT NOT NULL, place INTEGER NOT NULL, host TEXT NOT NULL, rank INTEGER NOT NULL,"
    " digest INTEGER NOT NULL);"
    "CREATE INDEX point_place ON point(place);"
    "CREATE TABLE metric(id INTEGER PRIMARY KEY,"
    " point INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " unit TEXT NOT NULL, kind TEXT NOT NULL, value REAL, low REAL, high REAL,"
    " UNIQUE(point, name));"
    "CREATE TABLE sample(metric INTEGER NOT NULL REFERENCES metric(id) ON DELETE CASCADE,"
    " place INTEGER NOT NULL, value REAL, PRIMARY KEY(metric, place)) WITHOUT ROWID;"
    "PRAGMA application_id = 1802923106; PRAGMA user_version = 3;";

static const char layout_2[] = "ALTER TABLE point ADD COLUMN place INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE point ADD COLUMN host TEXT NOT NULL DEFAULT '';"
                               "ALTER TABLE point ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;"
                               "UPDATE point SET place = id;"
                               "CREATE INDEX point_place ON point(place);";

static const char layout_3[] = "ALTER TABLE study ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE fact ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE config ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE point ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;"
                               "PRAGMA user_version = 3;";

Status store_make_tables(const Database *db, Error *err) {
    return database_run(db, tables, err);
}

/* ---- digests that do not fit their rows ---- */

/* The tables of single rows: what to look through, and what to do with a row by its number. */
typedef struct {
    const char *rows, *stamp, *drop; /* drop NULL: not to be missed */
    int texts;
} RowTable;

static const RowTable row_tables[] = {
    { "SELECT rowid, digest, text FROM study", "UPDATE study SET digest = ? WHERE rowid = ?", NULL,
      1 },
    { "SELECT rowid, digest, name, value FROM fact", "UPDATE fact SET digest = ? WHERE rowid = ?",
      "DELETE FROM fact WHERE rowid = ?", 2 },
    { "SELECT rowid, digest, key, value, source FROM config",
      "UPDATE config SET digest = ? WHERE rowid = ?", "DELETE FROM config WHERE rowid = ?", 3 },
};
enum { ROW_TABLES = sizeof row_tables / sizeof *row_tables };

static Status run_with(const Database *db, const char *sql, size_t count, const long long *values,
                       Error *err) {
    Query query;
    Status status = query_open(&query, db, sql, err);
    for (size_t i = 0; status == OK && i < count; i++)
        status = query_whole(&query, (int)i + 1, values[i], err);
    if (status == OK) status = query_run(&query, err);
    query_close(&query);
    return status;
}

/* The first row whose digest does not fit: *row is its number, 0 where there is none. */
static Status find_row(const Database *db, const RowTable *table, long long *row, uint64_t *digest,
                       Error *err) {
    Query query;
    bool more = false;
    *row = 0;
    Status status = query_open(&query, db, table->rows, err);
    if (status == OK) status = query_next(&query, &more, err);
    while (status == OK && more) {
        *digest = DIGEST_NOTHING;
        for (int i = 0; i < table->texts; i++)
            *digest = digest_text(*digest, query_column_text(&query, 2 + i));
        *row = query_column_whole(&query, 0);
        if ((uint64_t)query_column_whole(&query, 1) != *digest) break;
        *row = 0;
        status = query_next(&query, &more, err);
    }
    query_close(&query);
    return status;
}

/* Gives rows the digest they have, or takes them out. */
static Status settle_rows(const Database *db, const RowTable *table, bool stamp, Error *err) {
    for (;;) {
        long long row;
        uint64_t digest;
        TRY(find_row(db, table, &row, &digest, err));
        if (!row) return OK;
        if (!stamp && !table->drop)
            return fail(err, ERR_INPUT,
                        "%s: damaged: the text of its study; run again into another folder",
                        db->path);
        if (stamp)
            TRY(run_with(db, table->stamp, 2, (const long long[]){ (long long)digest, row }, err));
        else
            TRY(run_with(db, table->drop, 1, &row, err));
    }
}

static Status settle_tables(const Database *db, bool stamp, Error *err) {
    for (size_t i = 0; i < ROW_TABLES; i++) TRY(settle_rows(db, &row_tables[i], stamp, err));
    return OK;
}

/* ---- older layouts ---- */

static Status note_point(void *context, const StoreDamage *damage, Error *err) {
    const long long values[] = { damage->id, (long long)damage->digest };
    return run_with(context, "INSERT INTO temp.found VALUES(?, ?)", 2, values, err);
}

/* Lists the points whose digest does not fit, with the one they have. */
static Status find_points(const Database *db, long long *count, Error *err) {
    Database own = *db;
    TRY(database_run(db, "CREATE TEMP TABLE found(id INTEGER PRIMARY KEY, digest INTEGER)", err));
    TRY(store_scan(db, NULL, note_point, &own, err));
    return database_read_whole(db, "SELECT count(*) FROM temp.found", count, err);
}

static Status add_digests(const Database *db, Error *err) {
    long long count;
    TRY(database_run(db, layout_3, err));
    TRY(settle_tables(db, true, err));
    TRY(find_points(db, &count, err));
    return database_run(db,
                        "UPDATE point SET digest = (SELECT digest FROM temp.found"
                        " WHERE found.id = point.id);"
                        "DROP TABLE temp.found",
                        err);
}

/* Brings the tables of an older layout to the present one, or leaves them as they are. */
static Status bring_up(const Database *db, long long layout, Error *err) {
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = layout < 2 ? database_run(db, layout_2, err) : OK;
    if (status == OK) status = add_digests(db, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    if (status != OK) database_undo(db);
    return status;
}

Status store_check_file(const Database *db, bool *empty, Error *err) {
    long long application = 0, layout = 0, count = 0;
    TRY(database_read_whole(db, "PRAGMA application_id", &application, err));
    TRY(database_read_whole(db, "PRAGMA user_version", &layout, err));
    TRY(database_read_whole(db, "SELECT count(*) FROM sqlite_master", &count, err));
    *empty = count == 0 && application == 0 && layout == 0;
    if (*empty) return OK;
    if (application != STORE_APPLICATION)
        return fail(err, ERR_INPUT, "%s: a database, but not of kvlab", db->path);
    if (layout < 1 || layout > STORE_LAYOUT)
        return fail(err, ERR_INPUT, "%s: written in layout %lld; this kvlab reads layouts 1 to %d",
                    db->path, layout, STORE_LAYOUT);
    TRY(database_check(db, err));
    return layout < STORE_LAYOUT ? bring_up(db, layout, err) : OK;
}

/* ---- mending ---- */

static Status mend_indexes(const Database *db, Error *err) {
    Error why;
    if (database_check_indexes(db, &why) == OK) return OK;
    TRY(database_run(db, "REINDEX", err));
    return database_check_indexes(db, err);
}

static Status drop_points(const Database *db, long long *count, Error *err) {
    TRY(find_points(db, count, err));
    if (*count)
        TRY(database_run(db,
                         "DELETE FROM point WHERE id IN (SELECT id FROM temp.found);"
                         "DELETE FROM metric WHERE point NOT IN (SELECT id FROM point);"
                         "DELETE FROM sample WHERE metric NOT IN (SELECT id FROM metric);",
                         err));
    return database_run(db, "DROP TABLE temp.found", err);
}

Status store_mend(const Database *db, size_t *dropped, Error *err) {
    long long count = 0;
    TRY(database_run(db, "BEGIN IMMEDIATE", err));
    Status status = mend_indexes(db, err);
    if (status == OK) status = settle_tables(db, false, err);
    if (status == OK) status = drop_points(db, &count, err);
    if (status == OK) status = database_run(db, "COMMIT", err);
    if (status != OK) database_undo(db);
    if (status == OK) *dropped = (size_t)count;
    return status;
}
