/* database.c -- SQLite with our errors; see database.h. */
#include "database.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* A file that contradicts itself, and what can be done with it. */
static Status fail_damaged(const Database *db, const char *what, Error *err) {
    static const char banner[] = "*** in database main ***\n";
    if (strncmp(what, banner, strlen(banner)) == 0) what += strlen(banner);
    return fail(err, ERR_INPUT,
                "%s: damaged: %.200s; run again into another folder, or save what is left: sqlite3 "
                "%s .recover",
                db->path, what, db->path);
}

/* What the last call on the connection failed with. */
static Status fail_sql(const Database *db, Error *err) {
    const int code = sqlite3_errcode(db->handle) & 0xff;
    const int system = sqlite3_system_errno(db->handle);
    if (code == SQLITE_FULL)
        return fail(
            err, ERR_MACHINE,
            "%s: the disk is full; the points finished so far are kept and --resume goes on",
            db->path);
    /* Our statements are right: what the library cannot make sense of is the file's table of
     * tables. */
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR)
        return fail_damaged(db, sqlite3_errmsg(db->handle), err);
    return fail(err, ERR_MACHINE, "%s: %s%s%s", db->path, sqlite3_errmsg(db->handle),
                code == SQLITE_IOERR && system ? ": " : "",
                code == SQLITE_IOERR && system ? strerror(system) : "");
}

/* OK, or the failure that a code of SQLite stands for. */
static Status judge(const Database *db, int code, Error *err) {
    return code == SQLITE_OK ? OK : fail_sql(db, err);
}

Status database_open(Database *db, const char *path, bool create, Error *err) {
    const int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    snprintf(db->path, sizeof db->path, "%s", path);
    db->handle = NULL;
    if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK) {
        fail(err, ERR_MACHINE, "cannot open %s: %s", path,
             db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
        database_close(db);
        return ERR_MACHINE;
    }
    sqlite3_busy_timeout(db->handle, 5000);
    const Status status = database_run(
        db, "PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF",
        err);
    if (status != OK) database_close(db);
    return status;
}

void database_close(Database *db) {
    sqlite3_close(db->handle);
    db->handle = NULL;
}

Status database_run(const Database *db, const char *sql, Error *err) {
    return judge(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), err);
}

void database_undo(const Database *db) {
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

Status database_run_texts(const Database *db, const char *sql, int count, const char *const *texts,
                          Error *err) {
    Query query;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_texts(&query, count, texts, err);
    if (status == OK) status = query_run(&query, err);
    query_close(&query);
    return status;
}

Status database_read_whole(const Database *db, const char *sql, long long *value, Error *err) {
    Query query;
    bool more = false;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK) *value = more ? query_column_whole(&query, 0) : 0;
    query_close(&query);
    return status;
}

long long database_last_key(const Database *db) {
    return sqlite3_last_insert_rowid(db->handle);
}

static Status check_by(const Database *db, const char *sql, Error *err) {
    Query query;
    bool more = false;
    Status status = query_open(&query, db, sql, err);
    if (status == OK) status = query_next(&query, &more, err);
    if (status == OK && more && strcmp(query_column_text(&query, 0), "ok") != 0)
        status = fail_damaged(db, query_column_text(&query, 0), err);
    query_close(&query);
    return status;
}

Status database_check(const Database *db, Error *err) {
    return check_by(db, "PRAGMA quick_check(1)", err);
}

Status database_check_indexes(const Database *db, Error *err) {
    return check_by(db, "PRAGMA integrity_check(1)", err);
}

Status query_open(Query *query, const Database *db, const char *sql, Error *err) {
    *query = (Query){ .db = db };
    return judge(db, sqlite3_prepare_v2(db->handle, sql, -1, &query->statement, NULL), err);
}

void query_close(Query *query) {
    sqlite3_finalize(query->statement);
    query->statement = NULL;
}

Status query_texts(const Query *query, int count, const char *const *texts, Error *err) {
    for (int i = 0; i < count; i++)
        TRY(judge(query->db,
                  sqlite3_bind_text(query->statement, i + 1, texts[i], -1, SQLITE_STATIC), err));
    return OK;
}

Status query_whole(const Query *query, int parameter, long long value, Error *err) {
    return judge(query->db, sqlite3_bind_int64(query->statement, parameter, value), err);
}

Status query_real(const Query *query, int parameter, double value, Error *err) {
    return judge(query->db, sqlite3_bind_double(query->statement, parameter, value), err);
}

Status query_run(const Query *query, Error *err) {
    const int code = sqlite3_step(query->statement);
    const Status status = code == SQLITE_DONE ? OK : fail_sql(query->db, err);
    query_rewind(query);
    return status;
}

Status query_next(const Query *query, bool *more, Error *err) {
    const int code = sqlite3_step(query->statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) return fail_sql(query->db, err);
    *more = code == SQLITE_ROW;
    return OK;
}

void query_rewind(const Query *query) {
    sqlite3_reset(query->statement);
}

const char *query_column_text(const Query *query, int column) {
    const unsigned char *text = sqlite3_column_text(query->statement, column);
    return text ? (const char *)text : "";
}

long long query_column_whole(const Query *query, int column) {
    return sqlite3_column_int64(query->statement, column);
}

double query_column_real(const Query *query, int column) {
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL
               ? NAN
               : sqlite3_column_double(query->statement, column);
}
