/* study_timed.c -- a group of points timed in turns, so that contenders see the same machine; a
 * group that memory does not hold at once is split. */
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "study_run.h"

/* Is the median faster than this machine was found to be? */
static bool beats_roofline(const MetricList *list, const Measurement *m) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->metric[i].name, "roofline_ns") == 0)
            return list->metric[i].value > 1.05 * m->median_ns;
    return false;
}

/* The doubts about a measurement, joined by "; ". */
static void note_warnings(unsigned warnings, Point *point) {
    size_t used = 0;
    for (unsigned bit = 1; bit <= WARN_ROOFLINE; bit <<= 1)
        if (warnings & bit && used < sizeof point->message)
            used += (size_t)snprintf(point->message + used, sizeof point->message - used, "%s%s",
                                     used ? "; " : "", measure_warning(bit));
}

static Status put_result(Study *study, const Timing *timing, Task *task, const Measurement *m,
                         Error *err) {
    MetricList list = { .count = 0 };
    timing->score(study, task, m, &list);
    note_warnings(m->warnings | (beats_roofline(&list, m) ? WARN_ROOFLINE : 0), &task->point);
    return study_put(study, &task->point, &list, err);
}

/* Makes all points of a batch ready and times them. */
static Status time_ready(Study *study, const Timing *timing, size_t count, Task *const *batch,
                         char *ready, Measurement *results, Error *err) {
    MeasureCase *cases = NULL;
    Status status = BUFFER(&cases, count, "timed cases", err);
    for (size_t i = 0; status == OK && i < count; i++) {
        status = timing->prepare(study, batch[i], ready + i * timing->size, err);
        cases[i] = (MeasureCase){ timing->call, ready + i * timing->size };
    }
    if (status == OK) status = measure_cases(&batch[0]->config.measure, count, cases, results, err);
    buffer_free(cases);
    return status;
}

/* Times points that are in memory together. What cannot be made ready is put as failed. */
static Status time_batch(Study *study, const Timing *timing, size_t count, Task *const *batch,
                         Error *err) {
    char *ready = buffer_new(count, timing->size, "prepared points", err);
    if (!ready) return ERR_MACHINE;
    Measurement *results = NULL;
    Error why;
    Status status = BUFFER(&results, count, "measurements", err);
    Status made = OK;
    if (status == OK) made = time_ready(study, timing, count, batch, ready, results, &why);
    for (size_t i = 0; status == OK && i < count; i++)
        status = made == OK ? put_result(study, timing, batch[i], &results[i], err)
                            : study_put_failed(study, &batch[i]->point, &why, err);
    for (size_t i = 0; i < count; i++) {
        if (results) measure_free(&results[i]);
        timing->release(ready + i * timing->size);
    }
    buffer_free(results);
    buffer_free(ready);
    return status;
}

/* Takes the first task that is left and all later ones that fit into memory beside it. */
static size_t next_batch(const Study *study, const Timing *timing, size_t count, Task **tasks,
                         Task **batch) {
    size_t taken = 0, held = 0;
    for (size_t i = 0; i < count; i++) {
        Task *t = tasks[i];
        if (!t || (taken && held + t->memory_bytes > study->memory_bytes)) continue;
        tasks[i] = NULL;
        batch[taken++] = t;
        held += t->memory_bytes;
        if (timing->apart && timing->apart(t)) break;
    }
    return taken;
}

Status study_time(Study *study, const Timing *timing, size_t count, Task *const *tasks,
                  Error *err) {
    Task **open = NULL, **batch = NULL;
    Status status = BUFFER(&open, count, "points", err);
    if (status == OK) status = BUFFER(&batch, count, "points", err);
    for (size_t i = 0; status == OK && i < count; i++) open[i] = tasks[i];
    for (size_t taken; status == OK && (taken = next_batch(study, timing, count, open, batch));)
        status = time_batch(study, timing, taken, batch, err);
    buffer_free(open);
    buffer_free(batch);
    return status;
}
