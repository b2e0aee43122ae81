/* store_scan.c -- rows into points, and whether they are as they were written; see store_scan.h. */
#include "store_scan.h"

#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "store_digest.h"

/* One pass over the points. */
typedef struct {
    const Database *db;
    Query points, metrics, samples;
    StoredPoint point;
    size_t capacity; /* of its metrics */
    uint64_t digest; /* of the rows of the point so far */
    bool readable;   /* its words are words that are written */
    long long rows;  /* so far, and the sum of their numbers: none missed, none twice */
    long long numbers;
    long long place; /* of the last one */
} Scan;

/* The number of a name, or the first with *readable false. */
static int find_name(const char *(*name)(int), int count, const char *wanted, bool *readable) {
    for (int i = 0; i < count; i++)
        if (strcmp(name(i), wanted) == 0) return i;
    *readable = false;
    return 0;
}

static const char *kind_name(int kind) {
    return metric_kind_name((MetricKind)kind);
}

static const char *status_name(int status) {
    return point_status_name((PointStatus)status);
}

/* A column's text into an array, cut at its size. */
#define COPY(array, row, column)                                                                   \
    snprintf((array), sizeof(array), "%s", query_column_text((row), (column)))

/* Counts the samples of a metric into it and takes them up into the digest. */
static Status read_samples(Scan *scan, long long id, Metric *m, Error *err) {
    const Query *query = &scan->samples;
    bool more = false;
    TRY(query_whole(query, 1, id, err));
    Status status = query_next(query, &more, err);
    while (status == OK && more) {
        const size_t place = (size_t)query_column_whole(query, 0);
        scan->digest = store_digest_sample(scan->digest, place, query_column_real(query, 1));
        m->sample_count++;
        status = query_next(query, &more, err);
    }
    query_rewind(query);
    return status;
}

static Status take_metric(Scan *scan, Metric *m, Error *err) {
    const Query *row = &scan->metrics;
    *m = (Metric){ .value = query_column_real(row, 4) };
    COPY(m->name, row, 1);
    COPY(m->unit, row, 2);
    m->kind = (MetricKind)find_name(kind_name, 3, query_column_text(row, 3), &scan->readable);
    m->low = query_column_real(row, 5);
    m->high = query_column_real(row, 6);
    scan->digest = store_digest_metric(scan->digest, m);
    return read_samples(scan, query_column_whole(row, 0), m, err);
}

/* The metrics of the point with that id, into the room that earlier points left. */
static Status read_metrics(Scan *scan, long long id, Error *err) {
    const Query *query = &scan->metrics;
    StoredPoint *point = &scan->point;
    bool more = false;
    point->metric_count = 0;
    TRY(query_whole(query, 1, id, err));
    Status status = query_next(query, &more, err);
    while (status == OK && more) {
        Metric *grown = buffer_grown(point->metrics, &scan->capacity, point->metric_count,
                                     point->metric_count + 1, sizeof *grown, "stored metrics", err);
        if (!grown) return ERR_MACHINE;
        point->metrics = grown;
        status = take_metric(scan, &grown[point->metric_count], err);
        if (status == OK) point->metric_count++;
        if (status == OK) status = query_next(query, &more, err);
    }
    query_rewind(query);
    return status;
}

static void take_point(Scan *scan) {
    const Query *row = &scan->points;
    Point *p = &scan->point.point;
    scan->readable = true;
    COPY(p->key, row, 2);
    COPY(p->phase, row, 3);
    COPY(p->contender, row, 4);
    COPY(p->label, row, 5);
    COPY(p->attention, row, 6);
    COPY(p->path, row, 7);
    COPY(p->kv_dtype, row, 8);
    COPY(p->layer, row, 9);
    COPY(p->message, row, 11);
    p->status = (PointStatus)find_name(status_name, 3, query_column_text(row, 10), &scan->readable);
    p->context_tokens = (size_t)query_column_whole(row, 12);
    p->query_tokens = (size_t)query_column_whole(row, 13);
    p->sequences = (size_t)query_column_whole(row, 14);
    p->place = (size_t)query_column_whole(row, 15);
    COPY(p->host, row, 16);
    p->rank = (int)query_column_whole(row, 17);
    scan->digest = store_digest_point(p);
}

static Status open_scan(Scan *scan, Error *err) {
    TRY(query_open(&scan->points, scan->db,
                   "SELECT id, digest, key, phase, contender, label, attention, path, kv_dtype,"
                   " layer, status, message, context_tokens, query_tokens, sequences, place, host,"
                   " rank FROM point ORDER BY place, id",
                   err));
    TRY(query_open(&scan->metrics, scan->db,
                   "SELECT id, name, unit, kind, value, low, high FROM metric"
                   " WHERE point = ? ORDER BY id",
                   err));
    return query_open(&scan->samples, scan->db,
                      "SELECT place, value FROM sample WHERE metric = ? ORDER BY place", err);
}

static Status fail_point(const Database *db, const StoreDamage *damage, Error *err) {
    return fail(err, ERR_INPUT,
                "%s: damaged: point \"%.160s\" is not what was stored; --resume runs it again",
                db->path, damage->key);
}

static Status fail_index(const Database *db, Error *err) {
    return fail(err, ERR_INPUT,
                "%s: damaged: an index leads to other points than there are; --resume mends it",
                db->path);
}

/* The point at hand to who wants it, or to who wants the damaged ones. */
static Status pass_point(const Scan *scan, StoreVisit visit,
                         Status (*damaged)(void *, const StoreDamage *, Error *), void *context,
                         Error *err) {
    const StoreDamage damage = { query_column_whole(&scan->points, 0), scan->point.point.key,
                                 scan->digest };
    const bool whole =
        scan->readable && (uint64_t)query_column_whole(&scan->points, 1) == scan->digest;
    if (!whole)
        return damaged ? damaged(context, &damage, err) : fail_point(scan->db, &damage, err);
    return visit ? visit(context, &scan->point, err) : OK;
}

/* Were all rows met, once each? The table is read past its indexes. */
static Status check_rows(const Scan *scan, Error *err) {
    long long rows = 0, numbers = 0;
    TRY(database_read_whole(scan->db, "SELECT count(*) FROM point NOT INDEXED WHERE id <> 0", &rows,
                            err));
    TRY(database_read_whole(scan->db, "SELECT sum(id) FROM point NOT INDEXED", &numbers, err));
    return rows == scan->rows && numbers == scan->numbers ? OK : fail_index(scan->db, err);
}

static Status run_scan(Scan *scan, StoreVisit visit,
                       Status (*damaged)(void *, const StoreDamage *, Error *), void *context,
                       Error *err) {
    bool more = false;
    TRY(query_next(&scan->points, &more, err));
    while (more) {
        const long long id = query_column_whole(&scan->points, 0);
        take_point(scan);
        const long long place = (long long)scan->point.point.place;
        if (place < scan->place && !damaged) return fail_index(scan->db, err);
        scan->place = place;
        scan->rows++, scan->numbers += id;
        TRY(read_metrics(scan, id, err));
        TRY(pass_point(scan, visit, damaged, context, err));
        TRY(query_next(&scan->points, &more, err));
    }
    return damaged ? OK : check_rows(scan, err);
}

Status store_scan(const Database *db, StoreVisit visit,
                  Status (*damaged)(void *context, const StoreDamage *damage, Error *err),
                  void *context, Error *err) {
    Scan scan = { .db = db };
    Status status = open_scan(&scan, err);
    if (status == OK) status = run_scan(&scan, visit, damaged, context, err);
    query_close(&scan.samples);
    query_close(&scan.metrics);
    query_close(&scan.points);
    buffer_free(scan.point.metrics);
    return status;
}
