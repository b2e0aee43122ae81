/* speed.h -- how long a step takes, from the roofline of each of its parts: `modelled`.
 *
 *   time of a part = max(flops / (peak x share), bytes / (bandwidth x share))
 *
 * with the peaks of configs/hardware and the share of them that software is known to reach, as a
 * range. Launches, latencies of links and scheduling are not modelled: real steps are longer. */
#ifndef KVLAB_SPEED_H
#define KVLAB_SPEED_H

#include "plan.h"

typedef struct {
    double low, high;
} Range;

typedef enum {
    STEP_ATTENTION,     /* scores and values over cached rows, index keys among them */
    STEP_PROJECTIONS,   /* of attention, W_UK and W_UV among them */
    STEP_MLP,           /* dense layers and shared experts */
    STEP_EXPERTS,       /* the experts that the step's tokens reach */
    STEP_HEAD,          /* logits */
    STEP_COMMUNICATION, /* all-reduce, all-to-all of experts, exchange of dcp: see traffic.h */
    STEP_PARTS
} StepPart;

const char *speed_part_name(StepPart part);

typedef struct {
    double flops, bytes; /* on one GPU, all stages one after another */
    Range seconds;
} PartTime;

typedef struct {
    PartTime part[STEP_PARTS];
    Range seconds; /* sums of the parts' */
} StepTime;

/* Is there anything to compute from: a device with bandwidth? */
bool speed_known(const Plan *plan);

/* A decode step of `sequences` in the whole deployment, each with `tokens` cached. */
StepTime speed_decode(const Plan *plan, double sequences, size_t tokens);

/* Prefill of one prompt of `tokens`, alone: MLA by the expanded path, the others as they are. */
StepTime speed_prefill(const Plan *plan, size_t tokens);

/* The least number of sequences at which a decode step spends more time on flops than on bytes, at
 * the high ends; 0 where no number up to `most` does. */
double speed_compute_bound_batch(const Plan *plan, size_t tokens, double most);

/* Flops of one decode step of one sequence over `visible` rows of a kind, on a GPU that has 1/split
 * of its heads: 2 (dk + dv) a row and head; absorbed MLA 2 (2 C + R). compression.md 1.3. */
double speed_attention_flops(const CacheKind *kind, bool materialised, double visible,
                             double split);

#endif
