/* handout.h -- which points a worker gets next. Knows numbers only: no processes, no clock, no
 * store; its memory does not grow with the number of points.
 *
 *   a list    groups x members of one phase; slot = group * members + member
 *   a batch   consecutive slots of one list, given to one worker
 *
 * A worker asks when it is idle, so uneven points balance. Lists are taken in order. Of a timed
 * list a worker gets whole groups, and only while its host runs nothing else; nothing else is then
 * given on that host. Of another list it keeps a stretch of its own, so that the points of a group
 * meet what their worker has kept for them; when a list is out, half of the longest stretch goes to
 * who asks. Batches grow while they take little time. */
#ifndef KVLAB_HANDOUT_H
#define KVLAB_HANDOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

typedef struct {
    bool timed;
    size_t groups, members;
} HandoutList;

typedef struct {
    size_t list, first, count; /* slots first .. first + count - 1 */
    unsigned losses;           /* workers that were lost over it; above 0, count is 1 */
} HandoutBatch;

typedef struct Handout Handout;

/* host [workers] numbers the host of each worker, from 0. share_host: timed groups may run beside
 * other points. */
Status handout_new(Handout **handout, size_t lists, const HandoutList *list, size_t workers,
                   const size_t *host, bool share_host, Error *err);
void handout_free(Handout *handout);

/* The next batch for an idle worker; false when there is none now: ask again after another worker
 * is done, or when handout_left is 0, never. */
bool handout_take(Handout *handout, size_t worker, HandoutBatch *batch);

/* A worker has done its batch, in that time. */
void handout_done(Handout *handout, size_t worker, double seconds);

/* Gives a slot again: its worker was lost. */
Status handout_again(Handout *handout, size_t list, size_t slot, unsigned losses, Error *err);

/* A worker will not ask again: what it kept is for the others. */
void handout_leave(Handout *handout, size_t worker);

/* Slots that no worker was given yet. */
size_t handout_left(const Handout *handout);

/* Does slot `slot` belong to shard `shard` of `shards` (from 0)? Whole groups where a list is timed
 * or has as many groups as there are shards, else slot by slot. `before` is the number of groups of
 * the lists before, so that short lists do not all begin with the first shard. */
bool handout_shard(const HandoutList *list, size_t before, size_t slot, size_t shard,
                   size_t shards);

#endif
