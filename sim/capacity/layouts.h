/* layouts.h -- layouts of a plan's model over other numbers of ranks: their names, the options that
 * ask for them, and the fewest GPUs that hold a number of users. */
#ifndef KVLAB_LAYOUTS_H
#define KVLAB_LAYOUTS_H

#include "plan.h"

enum { LAYOUT_TEXT = 192 };

/* Ranks of tp that hold the same rows: of a latent all of them, of heads what tp exceeds them by;
 * divided by what dcp already splits. 1 where nothing is copied. */
size_t layouts_copies(const Plan *plan, size_t tp, size_t dcp);

/* "tp 8", "dp 8, ep 8", "tp 8 x pp 2", with dcp where it is more than 1. */
void layouts_text(const Deployment *deployment, char *text, size_t size);

/* What to add to the plan's command so that it has this deployment: what changes, and what would
 * not follow: "--dcp 8", "--hardware 16xH200 --dp 2". Later options of a command replace earlier
 * ones. */
void layouts_options(const Plan *plan, const Deployment *deployment, char *text, size_t size);

/* The layout with the fewest GPUs, at most `most`, on which `users` sequences of the plan's context
 * fit, and of those the one that holds most. Tried are 1 to 8 GPUs, then multiples of 8, and the
 * plan's own number; of each count tp within a node or as the plan has it, pp 1, the plan's or all
 * that is left, dp for the rest; dcp 1, the plan's, or what tp copies; ep by default or as it was
 * asked for. false where none does. */
bool layouts_fewest_gpus(const Plan *plan, double users, size_t most, Deployment *out,
                         double *sequences, Plan *scratch);

#endif
