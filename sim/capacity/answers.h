/* answers.h -- what to change: the fewest GPUs for a number of users, and the changes that let more
 * of them fit, ranked. Every answer is a plan made again, so it is as exact as the plan. */
#ifndef KVLAB_ANSWERS_H
#define KVLAB_ANSWERS_H

#include "plan.h"

enum { CHANGES_MOST = 8, CHANGE_TEXT = 96 };

typedef struct {
    char text[CHANGE_TEXT];    /* "DCP 8: tokens split over the 8 copies" */
    char options[CHANGE_TEXT]; /* what to add to the command: "--dcp 8" */
    char price[CHANGE_TEXT];   /* what it costs: "one exchange a layer", "rounding of rows" */
    PlanInput input;
    double sequences; /* that then fit */
    bool fits;        /* the users asked for */
} Change;

/* Ranks that hold the same rows: of a latent all of tp, of heads what tp exceeds them by; divided
 * by what dcp already splits. 1 where nothing is copied. */
size_t answers_copies(const Plan *plan);

/* Changes that raise the sequences that fit, the best first: those that make `users` fit before
 * those that do not; among these the cheapest first (layout of ranks, cache type, GPUs, context),
 * among the others the largest gain first. Returns how many. `scratch` is overwritten. */
size_t answers_changes(const Plan *plan, double users, Change changes[CHANGES_MOST], Plan *scratch);

/* The layout with the fewest GPUs, at most `most`, on which `users` sequences of the plan's context
 * fit: tp within a node of 8, data-parallel attention, pipelines of nodes. false where none does.
 */
bool answers_fewest_gpus(const Plan *plan, double users, size_t most, Deployment *out,
                         double *sequences, Plan *scratch);

/* "tp 8", "dp 8, ep 8", "tp 8 x pp 2", with dcp where it is more than 1. */
void answers_layout_text(const Deployment *deployment, char *text, size_t size);

#endif
