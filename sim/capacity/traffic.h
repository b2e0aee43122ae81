/* traffic.h -- bytes that the ranks of a step send each other: over the link that joins the devices
 * of a node, and over the network beyond it. `modelled`. Ranks of tp, and of it those of dcp, lie
 * next to each other, those of ep likewise; rows between pipeline stages are not counted. */
#ifndef KVLAB_TRAFFIC_H
#define KVLAB_TRAFFIC_H

#include "plan.h"

/* What one GPU sends. */
typedef struct {
    double near; /* over the link; all of it where the hardware does not say what that joins */
    double far;  /* over the network */
} Traffic;

/* Of the layers of a stage in a step of `tokens` on a data-parallel rank, in rows of two bytes:
 *
 *   tp      an all-reduce after attention and after the MLP: within nodes of n, 2 (n - 1) / n of
 * the rows; between m nodes 2 (m - 1) / m of the n-th that each device then has experts with dp,
 * each row to its experts and back, shared by the tp ranks; a rank keeps its own dcp     in decode
 * each rank gathers the queries of the others' heads, and sends back their outputs with a sum in
 * fp32: a prompt is computed from rows that all ranks have */
Traffic traffic_of_stage(const Plan *plan, size_t stage, double tokens, bool prefill);

/* Seconds that traffic takes at a share of the rates; what has no known rate takes none. */
double traffic_seconds(const Traffic *traffic, const Hardware *hardware, double share);

/* Does a step send anything, and anything beyond a node? */
bool traffic_is_near(const Plan *plan);
bool traffic_is_far(const Plan *plan);

#endif
