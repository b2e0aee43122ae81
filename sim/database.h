/* database.h -- SQLite with our errors: the one place that knows the library.
 *
 * A failure's line begins with the file. Queries bind parameters from 1 and read columns from 0, as
 * SQLite does; texts that are bound must live until the query is run. */
#ifndef KVLAB_DATABASE_H
#define KVLAB_DATABASE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "textfile.h"

typedef struct {
    struct sqlite3 *handle;
    char path[PATH_SIZE];
} Database;

typedef struct {
    const Database *db;
    struct sqlite3_stmt *statement;
} Query;

/* Opens a file; `create` makes it where absent. Enforces foreign keys and waits up to 5 s for other
 * connections. Release with database_close, which undoes an open transaction. */
Status database_open(Database *db, const char *path, bool create, Error *err);
void database_close(Database *db);

/* Statements without parameters and rows. */
Status database_run(const Database *db, const char *sql, Error *err);
/* Undoes the open transaction after a failure; the failure itself stays in err. */
void database_undo(const Database *db);
/* One statement that binds `count` texts and gives no row. */
Status database_run_texts(const Database *db, const char *sql, int count, const char *const *texts,
                          Error *err);
/* The first column of the first row, 0 when there is none. */
Status database_read_whole(const Database *db, const char *sql, long long *value, Error *err);
/* The key that the last insert gave its row. */
long long database_last_key(const Database *db);
/* ERR_INPUT "path: damaged: ..." when pages or rows of the file contradict each other. The second
 * holds indexes against their tables too, which takes several times as long. */
Status database_check(const Database *db, Error *err);
Status database_check_indexes(const Database *db, Error *err);

/* Compiles one statement; query_close releases it, also after a failure. */
Status query_open(Query *query, const Database *db, const char *sql, Error *err);
void query_close(Query *query);

/* Binds texts to the parameters 1 to count; one whole number; one real (NaN is kept as NULL). */
Status query_texts(const Query *query, int count, const char *const *texts, Error *err);
Status query_whole(const Query *query, int parameter, long long value, Error *err);
Status query_real(const Query *query, int parameter, double value, Error *err);

/* Runs a query that gives no row and makes it ready to be bound again. */
Status query_run(const Query *query, Error *err);
/* Moves to the next row; *more is false after the last. */
Status query_next(const Query *query, bool *more, Error *err);
/* Makes a query ready to be bound again. */
void query_rewind(const Query *query);

/* Columns of the row: "" and NaN for NULL. The text lives until the next move. */
const char *query_column_text(const Query *query, int column);
long long query_column_whole(const Query *query, int column);
double query_column_real(const Query *query, int column);

#endif
