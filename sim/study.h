/* study.h -- the pipeline: every point of a study measured or computed, and stored as it finishes.
 *
 * config -> model -> sequences -> layer over kernels, into a cache -> metrics -> store. Phases run
 * one after another; a point that fails is stored as failed and the study goes on. */
#ifndef KVLAB_STUDY_H
#define KVLAB_STUDY_H

#include "config.h"
#include "error.h"

typedef struct {
    size_t done;     /* points finished now */
    size_t left_out; /* beyond the study's memory or time limits, stored with what they need */
    size_t failed;
} StudySummary;

typedef struct {
    const char *folder;
    bool resume;
    /* called with a line for people as points finish; may be NULL */
    void (*progress)(void *context, const char *line);
    void *context;
} StudyOptions;

/* Reads the study's model and refuses what no point could run with: tier, device, contenders, the
 * error layer's size. Errors: ERR_INPUT with the place of the key in the study. */
Status study_check(const ConfigFile *config, Model *model, Error *err);

/* Runs a study into a folder. Errors: ERR_INPUT before anything is written where the model, a
 * contender or a context does not fit (and limits.memory is not set to leave it out); ERR_MACHINE
 * when the store cannot be written. A failed point is not an error of the run: see the summary. */
Status study_run(const ConfigFile *config, const StudyOptions *options, StudySummary *summary,
                 Error *err);

#endif
