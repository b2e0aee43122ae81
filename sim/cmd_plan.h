/* cmd_plan.h -- what `kvlab plan` prints, shared by its files. */
#ifndef KVLAB_CMD_PLAN_H
#define KVLAB_CMD_PLAN_H

#include "request.h"
#include "users.h"

/* One plan with all that is asked about it. */
typedef struct {
    Request request;
    Plan plan, scratch;
    bool ledger;    /* print every line of the working */
    bool has_users; /* a trace was given */
    UsersHeld held;
    char trace_name[256];
} Planned;

/* The screen for people: the answer first, in at most 24 lines without the ledger. */
void plan_print_text(Planned *planned);

/* One JSON object on standard output. */
Status plan_print_json(Planned *planned, Error *err);

#endif
