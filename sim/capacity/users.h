/* users.h -- how many users a plan holds when their contexts differ: the lengths of a trace or
 * histogram, drawn at random into the pool. `modelled`: the draws are seeded and repeat. */
#ifndef KVLAB_USERS_H
#define KVLAB_USERS_H

#include "plan.h"
#include "traces.h"

enum { USERS_DRAWS = 200 };

typedef struct {
    double mean_tokens, p50_tokens, p95_tokens, longest_tokens; /* prompt and answer together */
    double percentile;                                          /* asked for, 0 to 100 */
    double users; /* that the pool holds at once in at least so many of 100 draws */
    double users_median;
    double users_at_longest;    /* were all as long as the longest */
    double users_at_percentile; /* were all as long as the percentile's context */
} UsersHeld;

/* Draws users from the trace, each with the cache that its whole context reserves, until the pool
 * of the plan's fullest GPU is full; USERS_DRAWS times. A context is as likely as its requests are
 * many: how long each stays in the pool is not known of a trace. Where more users fit than are
 * drawn, a part of the pool is filled, and their number grows with the pool, its spread with the
 * root of that. Errors: ERR_MACHINE. */
Status users_held(UsersHeld *out, const Plan *plan, const Trace *trace, double percentile,
                  Error *err);

#endif
