/* answers.h -- what to change so that more users fit, ranked. Every answer is a plan made again, so
 * it is as exact as the plan, and its options give that plan when they are added to the command. */
#ifndef KVLAB_ANSWERS_H
#define KVLAB_ANSWERS_H

#include "layouts.h"

enum { CHANGES_MOST = 8, CHANGE_TEXT = 96 };

typedef struct {
    char text[CHANGE_TEXT];    /* "8 copies split the tokens (DCP)" */
    char options[LAYOUT_TEXT]; /* what to add to the command: "--dcp 8" */
    char price[CHANGE_TEXT];   /* what it costs: "exchanges", "the GPUs" */
    PlanInput input;
    double sequences; /* that then fit */
    bool fits;        /* the users asked for */
} Change;

/* Changes that raise the sequences that fit. Where `users` do not fit yet, those that make them fit
 * come first, the cheapest first (layout of ranks, cache type, GPUs, context), and the others by
 * what they gain; where they fit, all by what they gain. Returns how many. `scratch` is
 * overwritten. */
size_t answers_changes(const Plan *plan, double users, Change changes[CHANGES_MOST], Plan *scratch);

#endif
