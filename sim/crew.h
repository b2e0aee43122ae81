/* crew.h -- the workers of a run as who hands out sees them, wherever they are: messages to one,
 * events from any. workers.c runs them as processes of this machine, mpi.c on other machines too.
 */
#ifndef KVLAB_CREW_H
#define KVLAB_CREW_H

#include "message.h"

typedef enum {
    CREW_NOTHING, /* time is up, or a signal came */
    CREW_MESSAGE, /* a worker says something */
    CREW_LOST     /* its process has ended: what it had is to be given again */
} CrewEventKind;

typedef struct {
    CrewEventKind kind;
    size_t worker;
    char reason[96]; /* CREW_LOST: of what the process died */
} CrewEvent;

typedef struct {
    char host[64];
    int rank;
} CrewMember;

typedef struct Crew Crew;
struct Crew {
    size_t count;
    const CrewMember *member; /* [count] */

    /* Sends to a worker. Errors: ERR_MACHINE; a worker that is gone is no error, its loss comes as
     * an event. */
    Status (*send)(Crew *crew, size_t worker, const Message *message, Error *err);

    /* Waits up to `seconds` for the next event; message is filled with what a worker says. */
    Status (*wait)(Crew *crew, double seconds, CrewEvent *event, Message *message, Error *err);

    /* Starts a new process in the place of a lost one. Errors: ERR_MACHINE: the place stays empty.
     */
    Status (*replace)(Crew *crew, size_t worker, Error *err);

    /* Ends every worker at once. What they had said before still comes from `wait`, until it gives
     * CREW_NOTHING. */
    void (*halt)(Crew *crew);
};

#endif
