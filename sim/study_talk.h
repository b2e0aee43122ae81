/* study_talk.h -- what the process that owns the list and its workers say to each other.
 *
 *   TALK_RUN     -> phase, peaks, the points to run
 *   TALK_POINT   <- a finished point
 *   TALK_DONE    <- all of them are; or TALK_TROUBLE: why the rest cannot be run
 *   TALK_PEAKS   -> measure the host;  <- what was measured */
#ifndef KVLAB_STUDY_TALK_H
#define KVLAB_STUDY_TALK_H

#include "message.h"
#include "study_run.h"

typedef enum { TALK_RUN = 1, TALK_POINT, TALK_DONE, TALK_TROUBLE, TALK_PEAKS } TalkKind;

/* A finished point with what lies in a message: valid until the message changes. */
typedef struct {
    Point point;
    MetricList metrics;
} TalkPoint;

void talk_put_point(Message *message, const Point *point, const MetricList *metrics);
/* Errors: ERR_MACHINE for bytes that are no point. */
Status talk_take_point(Message *message, TalkPoint *out, Error *err);

/* What a worker process does: study_work as a WorkerMain, context a Study. */
void study_work(void *context, int socket);

#endif
