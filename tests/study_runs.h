/* study_runs.h -- studies run from text into a folder of the test's own, and read back. */
#ifndef KVLAB_TESTS_STUDY_RUNS_H
#define KVLAB_TESTS_STUDY_RUNS_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "study.h"

static char folder[64];

static inline void make_folder(void) {
    strcpy(folder, "/tmp/kvlab-study-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static inline void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static inline Status run(const char *text, const char *name, StudyOptions options,
                         StudySummary *summary, Error *err) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    options.folder = path;
    ConfigFile *config = NULL;
    cr_assert_eq(config_parse(&config, "study.yaml", text, strlen(text), err), OK, "%s", err->text);
    const Status status = study_run(config, &options, summary, err);
    config_free(config);
    return status;
}

static inline StoredRun run_and_read(const char *text, const char *name) {
    StudySummary summary;
    Error err;
    cr_assert_eq(run(text, name, (StudyOptions){ 0 }, &summary, &err), OK, "%s", err.text);
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    StoredRun stored;
    cr_assert_eq(store_read(&stored, path, &err), OK, "%s", err.text);
    return stored;
}

static inline StoredRun read_run(const char *name) {
    char path[128];
    Error err;
    StoredRun stored;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(store_read(&stored, path, &err), OK, "%s", err.text);
    return stored;
}

/* Does a metric say the same of the same point whenever it runs? Times do not, nor what follows
 * from them, nor what the system counts of a process. */
static inline bool is_repeatable(const StoredPoint *point, const Metric *m) {
    return m->kind == KIND_EXACT ||
           (m->kind == KIND_MEASURED && strcmp(point->point.phase, "error") == 0);
}

/* Two runs hold the same points in the same order, their repeatable metrics equal to the bit. */
static inline void expect_equal_runs(const StoredRun *a, const StoredRun *b) {
    cr_assert_eq(a->point_count, b->point_count, "%zu and %zu points", a->point_count,
                 b->point_count);
    for (size_t i = 0; i < a->point_count; i++) {
        const StoredPoint *p = &a->points[i], *q = &b->points[i];
        cr_assert_str_eq(p->point.key, q->point.key);
        cr_assert_eq(p->point.status, q->point.status, "%s", p->point.key);
        cr_assert_eq(p->point.place, q->point.place, "%s", p->point.key);
        cr_assert_eq(p->metric_count, q->metric_count, "%s", p->point.key);
        for (size_t m = 0; m < p->metric_count; m++) {
            cr_assert_str_eq(p->metrics[m].name, q->metrics[m].name);
            if (is_repeatable(p, &p->metrics[m]))
                cr_assert_eq(memcmp(&p->metrics[m].value, &q->metrics[m].value, sizeof(double)), 0,
                             "%s: %s", p->point.key, p->metrics[m].name);
        }
    }
}

static inline const StoredPoint *find(const StoredRun *stored, const char *phase,
                                      const char *contender, const char *path) {
    for (size_t i = 0; i < stored->point_count; i++) {
        const Point *p = &stored->points[i].point;
        if (strcmp(p->phase, phase) == 0 && strcmp(p->contender, contender) == 0 &&
            strcmp(p->path, path) == 0)
            return &stored->points[i];
    }
    cr_assert_fail("no point %s %s %s", phase, contender, path);
    return NULL;
}

static inline double value(const StoredPoint *point, const char *metric) {
    const Metric *m = store_metric(point, metric);
    cr_assert_not_null(m, "%s has no %s", point->point.key, metric);
    return m->value;
}

#endif
