/* store_merge.c -- shards into one store; see store_merge.h.
 *
 * Rows are copied by SQLite itself from one file into the other: their numbers are shifted beyond
 * those that are there, their order is that of `place`. */
#include "store_merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "database.h"
#include "store_read.h"

/* What is compared before anything is written. */
typedef struct {
    StoredRun run; /* facts and configuration */
    char *study;
    size_t shard, shards; /* 0 of 0: the whole study */
} Part;

/* ---- may they be merged? ---- */

static Status read_part(const char *folder, Part *part, Error *err) {
    size_t points;
    TRY(store_read_facts(&part->run, folder, &points, err));
    TRY(store_read_study(folder, &part->study, err));
    TRY(store_each(folder, NULL, NULL, err)); /* none of its points is damaged */
    const char *shard = store_fact(&part->run, "shard");
    if (sscanf(shard, "%zu/%zu", &part->shard, &part->shards) != 2) part->shard = part->shards = 0;
    if (strcmp(store_fact(&part->run, "finished"), "yes") != 0)
        return fail(err, ERR_INPUT,
                    "%s: the run was stopped before its end; go on with it by --resume first",
                    folder);
    return OK;
}

static Status compare_fact(const char *const *folders, const Part *a, const Part *b, size_t i,
                           const char *name, Error *err) {
    const char *first = store_fact(&a->run, name), *other = store_fact(&b->run, name);
    if (strcmp(first, other) == 0) return OK;
    return fail(err, ERR_INPUT, "%s and %s differ in %s: \"%.80s\" and \"%.80s\"", folders[0],
                folders[i], name, first, other);
}

static Status compare_parts(const char *const *folders, const Part *parts, size_t i, Error *err) {
    char difference[600];
    TRY(compare_fact(folders, &parts[0], &parts[i], i, "version", err));
    TRY(compare_fact(folders, &parts[0], &parts[i], i, "commit", err));
    if (!store_compare(parts[0].study, parts[i].study, difference, sizeof difference))
        return fail(err, ERR_INPUT, "%s and %s are different studies, in %s", folders[0],
                    folders[i], difference);
    if (parts[i].shards != parts[0].shards)
        return fail(err, ERR_INPUT, "%s is shard %zu/%zu, %s shard %zu/%zu (0/0: no shard)",
                    folders[0], parts[0].shard, parts[0].shards, folders[i], parts[i].shard,
                    parts[i].shards);
    for (size_t j = 0; j < i; j++)
        if (parts[i].shards && parts[j].shard == parts[i].shard)
            return fail(err, ERR_INPUT, "%s and %s are both shard %zu/%zu", folders[j], folders[i],
                        parts[i].shard, parts[i].shards);
    return OK;
}

static Status check_complete(size_t count, const Part *parts, Error *err) {
    const size_t shards = parts[0].shards;
    for (size_t shard = 1; shard <= shards; shard++) {
        bool given = false;
        for (size_t i = 0; i < count; i++) given |= parts[i].shard == shard;
        if (!given)
            return fail(err, ERR_INPUT, "shard %zu/%zu is missing; give its folder too", shard,
                        shards);
    }
    return OK;
}

/* ---- copying ---- */

static const char copy_rows[] =
    "INSERT INTO main.point SELECT id + (SELECT id FROM temp.past_point), key, phase,"
    " contender, label, attention, path, kv_dtype, layer, context_tokens, query_tokens, sequences,"
    " status, message, place, host, rank, digest FROM part.point;"
    "INSERT INTO main.metric SELECT id + (SELECT id FROM temp.past_metric),"
    " point + (SELECT id FROM temp.past_point), name, unit, kind, value, low, high"
    " FROM part.metric;"
    "INSERT INTO main.sample SELECT metric + (SELECT id FROM temp.past_metric), place, value"
    " FROM part.sample;";

static Status copy_part(const Database *db, const char *folder, Error *err) {
    char path[PATH_SIZE];
    const char *const text = path;
    TRY(textfile_path(path, folder, "results.sqlite", err));
    TRY(database_run_texts(db, "ATTACH DATABASE ? AS part", 1, &text, err));
    Status status = database_run(db,
                                 "BEGIN IMMEDIATE;"
                                 "CREATE TEMP TABLE past_point AS"
                                 " SELECT ifnull(max(id), 0) AS id FROM main.point;"
                                 "CREATE TEMP TABLE past_metric AS"
                                 " SELECT ifnull(max(id), 0) AS id FROM main.metric;",
                                 err);
    if (status == OK) status = database_run(db, copy_rows, err);
    if (status == OK)
        status = database_run(db, "DROP TABLE temp.past_point; DROP TABLE temp.past_metric; COMMIT",
                              err);
    if (status != OK) database_undo(db);
    Error ignored;
    database_run(db, "DETACH DATABASE part", status == OK ? err : &ignored);
    return status;
}

/* Facts of the first part; the peaks of other hosts and the time of all. */
static Status copy_facts(Store *store, size_t count, const Part *parts, Error *err) {
    char text[64];
    double seconds = 0;
    for (size_t i = count; i-- > 0;)
        for (size_t f = 0; f < parts[i].run.fact_count; f++) {
            const StoredFact *fact = &parts[i].run.facts[f];
            if (strcmp(fact->name, "shard") != 0)
                TRY(store_set(store, fact->name, fact->value, err));
            if (strcmp(fact->name, "seconds") == 0) seconds += atof(fact->value);
        }
    for (size_t f = 0; f < parts[0].run.config_count; f++) {
        const StoredFact *key = &parts[0].run.config[f];
        TRY(store_set_config(store, key->name, key->value, key->source, err));
    }
    snprintf(text, sizeof text, "%.10g", seconds);
    TRY(store_set(store, "seconds", text, err));
    snprintf(text, sizeof text, "%zu runs", count);
    return store_set(store, "merged", text, err);
}

static void note_differences(size_t count, const Part *parts, MergeSummary *summary) {
    static const char *const facts[] = { "cpu", "isa", "shared_threads" };
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++)
        for (size_t i = 1; i < count && !summary->note[0]; i++) {
            const char *a = store_fact(&parts[0].run, facts[f]);
            const char *b = store_fact(&parts[i].run, facts[f]);
            if (strcmp(a, b) != 0)
                snprintf(summary->note, sizeof summary->note,
                         "the runs differ in %s (%.60s, %.60s): times do not compare between them, "
                         "errors may differ in their last bits",
                         facts[f], a, b);
        }
}

static Status count_points(const Database *db, MergeSummary *summary, Error *err) {
    long long points = 0, failed = 0;
    TRY(database_read_whole(db, "SELECT count(*) FROM point", &points, err));
    TRY(database_read_whole(db, "SELECT count(*) FROM point WHERE status = 'failed'", &failed,
                            err));
    summary->points = (size_t)points;
    summary->failed = (size_t)failed;
    return OK;
}

static Status write_merged(const char *out, size_t count, const char *const *folders,
                           const Part *parts, MergeSummary *summary, Error *err) {
    Store *store = NULL;
    TRY(store_open(&store, out, parts[0].study, false, err));
    Status status = copy_facts(store, count, parts, err);
    for (size_t i = 0; status == OK && i < count; i++)
        status = copy_part(store_database(store), folders[i], err);
    if (status == OK) status = count_points(store_database(store), summary, err);
    if (status == OK) status = store_write_csv(store, err);
    store_close(store);
    char path[PATH_SIZE];
    Error ignored;
    if (status != OK && textfile_path(path, out, "results.sqlite", &ignored) == OK) unlink(path);
    return status;
}

Status store_merge(const char *out, size_t count, const char *const *folders, MergeSummary *summary,
                   Error *err) {
    Part *parts = NULL;
    MergeSummary draft = { 0 };
    TRY(BUFFER(&parts, count, "runs to merge", err));
    Status status = OK;
    for (size_t i = 0; status == OK && i < count; i++) {
        status = read_part(folders[i], &parts[i], err);
        if (status == OK && i) status = compare_parts(folders, parts, i, err);
    }
    if (status == OK) status = check_complete(count, parts, err);
    if (status == OK) status = write_merged(out, count, folders, parts, &draft, err);
    note_differences(status == OK ? count : 0, parts, &draft);
    for (size_t i = 0; i < count; i++) {
        store_run_free(&parts[i].run);
        buffer_free(parts[i].study);
    }
    buffer_free(parts);
    if (status == OK) *summary = draft;
    return status;
}
