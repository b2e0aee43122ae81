/* study.h -- the pipeline: every point of a study measured or computed, and stored as it finishes.
 *
 * config -> model -> sequences -> layer over kernels, into a cache -> metrics -> store. Phases run
 * one after another; a point that fails is stored as failed and the study goes on. */
#ifndef KVLAB_STUDY_H
#define KVLAB_STUDY_H

#include "config.h"
#include "error.h"
#include "progress.h"

typedef struct {
    size_t done;     /* points finished now */
    size_t left_out; /* beyond the study's memory or time limits, stored with what they need */
    size_t failed;
    size_t lost; /* worker processes that ended before their points did */
    int stopped; /* the signal that asked to stop; 0: the list is finished */
    bool served; /* as a rank of an MPI job other than the first, which has the store */
} StudySummary;

typedef struct {
    const char *folder;
    bool resume;
    size_t jobs;          /* worker processes; 0: one */
    size_t shard, shards; /* run shard `shard` (from 0) of `shards`; 0 shards: the whole list */
    /* called as points finish, and now and then between; line, for people, may be NULL; important
     * ones tell of failure. May be NULL. */
    void (*progress)(void *context, const Progress *progress, const char *line, bool important);
    void *context;
} StudyOptions;

/* What a run would take: counted, or estimated from closed forms and this machine's peaks. */
typedef struct {
    size_t points, phase_points[PHASE_COUNT];
    size_t left_out;                     /* of them, by the study's limits */
    double timed_seconds, other_seconds; /* one point after another */
    size_t timed_bytes, other_bytes;     /* of the largest group, or point, at once */
    size_t disk_bytes;                   /* store, table and report */

    size_t workers;
    double seconds;      /* with these workers */
    size_t memory_bytes; /* at peak */
    size_t memory_limit_bytes, disk_free_bytes;
} StudyPreview;

/* For a rank of an MPI job that cannot get as far as study_run: tells the others, and returns
 * status with a message that one rank alone has. Without MPI it returns status as it is. */
Status study_give_up(Status status, Error *err);

/* Plans a study without running it. Errors: those of study_run. */
Status study_preview(const ConfigFile *config, const StudyOptions *options, StudyPreview *preview,
                     Error *err);

/* "33 points, about 40 s; memory to 1.2 GiB of 12 GiB, disk 5 MiB of 79 GiB" */
void study_preview_line(const StudyPreview *preview, char *line, size_t size);

/* Reads the study's model and refuses what no point could run with: tier, device, contenders, the
 * error layer's size. Errors: ERR_INPUT with the place of the key in the study. */
Status study_check(const ConfigFile *config, Model *model, Error *err);

/* Runs a study into a folder; as a rank of an MPI job (ranks.h), together with the others. Errors:
 * ERR_INPUT before anything is written where the model, a contender or a context does not fit (and
 * limits.memory is not set to leave it out); ERR_MACHINE when the store cannot be written. A failed
 * point is not an error of the run: see the summary. */
Status study_run(const ConfigFile *config, const StudyOptions *options, StudySummary *summary,
                 Error *err);

#endif
