/* ranks.h -- one study run by the ranks of an MPI job (mpirun -n N kvlab run ...), where kvlab is
 * built with MPI. Rank 0 owns list and store; every rank has worker processes, which it started
 * before MPI, and passes on what they and rank 0 say to each other. A worker process that dies is
 * replaced by its rank. A rank that is not heard of for a while is taken as lost with its workers:
 * its points go to the others. (Whether MPI lets the others live is up to how it was started; see
 * configs/cluster/README.md. If it does not, --resume goes on.) */
#ifndef KVLAB_RANKS_H
#define KVLAB_RANKS_H

#include <stdbool.h>
#include <stdint.h>

#include "workers.h"

/* How many processes was this one started as part of, which is it, and how many of them are on this
 * machine? From the environment, before MPI is started; 1, 0 and 1 where nothing says so. */
typedef struct {
    int size, number, local_size;
} RankPlace;
RankPlace ranks_place(void);

/* What every rank brings to the start. All must be of the same build and study. */
typedef struct {
    char version[96];
    uint64_t study;        /* a digest of the study's text */
    uint64_t memory_bytes; /* that points may hold here */
} RankCard;

typedef struct Ranks Ranks;

/* Starts MPI; every rank calls this once. workers NULL and status not OK where a rank has failed
 * before; then, or where their cards differ, all ranks fail: rank 0 with the message, the others
 * with an empty one, for it has been said. card->memory_bytes becomes the least of all ranks.
 * Errors: also ERR_INPUT where kvlab is built without MPI. */
Status ranks_open(Ranks **ranks, Workers *workers, RankCard *card, double lost_seconds,
                  Status status, Error *err);

/* Rank 0: the workers of all ranks, its own first. */
Crew *ranks_crew(Ranks *ranks);

/* Another rank: passes messages on until rank 0 says that it is over, or is gone. */
Status ranks_serve(Ranks *ranks, Error *err);

/* Ends the job; rank 0 tells the others. */
void ranks_close(Ranks *ranks);

#endif
