/* ledger.h -- the working of a plan, a line a step: what it adds and by which rule. */
#ifndef KVLAB_LEDGER_H
#define KVLAB_LEDGER_H

#include "plan.h"

enum { LEDGER_LINES_MOST = 6 * CACHE_KINDS_MOST + 8 };

typedef struct {
    const char *step; /* logical, layout, blocks, window, groups, copies; memory: usable, ... */
    char rule[192];
    double bytes; /* that the step adds; less than 0 where it takes away */
} LedgerLine;

typedef struct {
    LedgerLine line[LEDGER_LINES_MOST];
    size_t count;
} Ledger;

/* The cache of the plan's sequences: lines `logical` add up to kv_bytes.logical, with those of
 * `layout` to kv_bytes.layout, with all but `copies` to kv_bytes.reserved, and all of them to
 * kv_bytes.deployment. */
void ledger_cache(Ledger *ledger, const Plan *plan);

/* The memory of a GPU of the stage that binds, down to its pool. Nothing without hardware. */
void ledger_memory(Ledger *ledger, const Plan *plan);

#endif
