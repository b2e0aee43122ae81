/* ranks_none.c -- the ranks of a build without MPI, which are none. A program that has mpi.c has
 * the same functions from there, and then this file of the library is not linked. */
#include "ranks.h"

Status ranks_open(Ranks **ranks, Workers *workers, RankCard *card, double lost_seconds,
                  Status status, Error *err) {
    (void)ranks, (void)workers, (void)card, (void)lost_seconds;
    if (status != OK) return status;
    return fail(err, ERR_INPUT,
                "started as one of %d processes, but this kvlab is built without MPI; "
                "script/setup --mpi builds it with",
                ranks_place().size);
}

Crew *ranks_crew(Ranks *ranks) {
    (void)ranks;
    return NULL;
}

Status ranks_serve(Ranks *ranks, Error *err) {
    (void)ranks, (void)err;
    return OK;
}

void ranks_close(Ranks *ranks) {
    (void)ranks;
}
