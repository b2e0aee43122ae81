/* cmd_plan.h -- what `kvlab plan` prints, shared by its files. */
#ifndef KVLAB_CMD_PLAN_H
#define KVLAB_CMD_PLAN_H

#include "options.h"
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

/* Contenders beside each other. */
typedef struct {
    Request request;
    RequestText text;
    OptionValues contenders, types;
    bool given_contenders, given_types;
    const char *out; /* folder of a report, or NULL */
    Architecture variant;
    Plan plan;
} Compare;

/* One table (or JSON object), and the report where a folder is given. What is not given: the model,
 * mha, gqa-8, mqa, mla-512+64; bf16, fp8, int4. Errors: ERR_INPUT naming the option. */
Status plan_compare(Compare *compare, bool as_json, Error *err);

/* The model of speed against a result of `kvlab bench --json`: a table, or JSON. */
Status plan_check_model(const char *path, bool as_json, Error *err);

#endif
