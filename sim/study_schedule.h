/* study_schedule.h -- hands the points of a study out to a crew and stores what comes back. */
#ifndef KVLAB_STUDY_SCHEDULE_H
#define KVLAB_STUDY_SCHEDULE_H

#include "crew.h"
#include "study_run.h"

typedef struct {
    Study *study; /* planned with its peaks; its store is open */
    StudyShard shard;
    StudyPreview preview;
    Crew *crew;
    const StudyOptions *options;
    StudySummary *summary;
} Schedule;

/* Has the first worker measure what its host can do, into study->peaks. */
Status schedule_peaks(Schedule *schedule, Error *err);

/* Runs every point that is not stored yet. Returns when all are, or when a signal asks to stop
 * (summary->stopped): every point finished until then is stored. A worker that is lost is replaced
 * and its points are given again; one that three workers died of is stored as failed.
 * Errors: ERR_MACHINE when the store cannot be written or no worker is left. */
Status schedule_run(Schedule *schedule, Error *err);

#endif
