/* workers.h -- worker processes of this machine. A process contains what happens in it: a crash, or
 * memory that the system takes back, costs the point at hand and nothing else.
 *
 * The process that starts them must have run no parallel region: threads do not survive a fork. */
#ifndef KVLAB_WORKERS_H
#define KVLAB_WORKERS_H

#include "crew.h"

/* What a worker process does: reads messages from the socket and answers, until the other end is
 * closed. It then ends. */
typedef void (*WorkerMain)(void *context, int socket);

typedef struct Workers Workers;

/* Starts `count` processes; context is as it was at the fork, also for processes that replace lost
 * ones. Errors: ERR_MACHINE. */
Status workers_start(Workers **workers, size_t count, WorkerMain main, void *context, Error *err);

/* Closes their sockets and waits until all have ended: at once after halt, else when what they do
 * is done. */
void workers_free(Workers *workers);

/* They as a crew, of this host and rank; freed with the workers. */
Crew *workers_crew(Workers *workers);
void workers_name(Workers *workers, const char *host, int rank);

#endif
