/* traffic.c -- see traffic.h. */
#include "traffic.h"

#include <math.h>

enum { ROW_BYTES = 2, SUM_BYTES = 4 }; /* of a value of a row, of a sum of exponentials */

/* Of so many ranks next to each other, those on one node. */
static double on_node(const Plan *plan, size_t ranks) {
    const size_t linked = plan->input.hardware ? plan->input.hardware->link_devices : 0;
    return (double)(linked && linked < ranks ? linked : ranks);
}

/* To each of `ranks` but itself, `bytes` each. */
static Traffic to_others(const Plan *plan, size_t ranks, double bytes) {
    const double here = on_node(plan, ranks);
    return (Traffic){ (here - 1) * bytes, ((double)ranks - here) * bytes };
}

static Traffic all_reduce(const Plan *plan, double bytes) {
    const double here = on_node(plan, plan->input.deployment.tp);
    const double nodes = ceil((double)plan->input.deployment.tp / here);
    return (Traffic){ 2 * bytes * (here - 1) / here, 2 * bytes * (nodes - 1) / nodes / here };
}

/* Values that a head's query and its output have, as the cache is attended to. */
static double exchanged_values(const CacheKind *kind, const Engine *engine) {
    switch (kind->keeps) {
    case KEEPS_HEADS:
        return (double)(kind->key_dim + kind->value_dim);
    case KEEPS_ROW:
        return 2 * (double)kind->key_dim;
    default:
        return (double)(row_cost_materialised(kind, engine)
                            ? kind->nope_dim + kind->rope_dim + kind->mla_value_dim
                            : 2 * kind->kv_lora_rank + kind->rope_dim);
    }
}

static Traffic exchange(const Plan *plan, const KindPages *part, double tokens) {
    const double heads = ceil((double)part->kind->heads / (double)plan->input.deployment.tp);
    const double values = exchanged_values(part->kind, plan->input.engine);
    return to_others(plan, part->split_tokens,
                     (double)part->caches * tokens * heads * (ROW_BYTES * values + SUM_BYTES));
}

static void add(Traffic *sum, Traffic more) {
    sum->near += more.near;
    sum->far += more.far;
}

Traffic traffic_of_stage(const Plan *plan, size_t s, double tokens, bool prefill) {
    const Architecture *model = plan->input.model;
    const Deployment *d = &plan->input.deployment;
    const Stage *stage = &plan->stages[s];
    const double row = ROW_BYTES * (double)model->hidden;
    Traffic sum = { 0, 0 };
    add(&sum, all_reduce(plan, 2 * (double)stage->layers * tokens * row));
    if (d->ep > 1 && d->dp > 1) {
        const double rows = 2 * (double)stage->experts * tokens * (double)model->experts_per_token;
        add(&sum, to_others(plan, d->ep, rows * row / (double)d->tp / (double)d->ep));
    }
    for (size_t i = 0; !prefill && i < plan->rank[s].count; i++)
        if (plan->rank[s].part[i].split_tokens > 1)
            add(&sum, exchange(plan, &plan->rank[s].part[i], tokens));
    return sum;
}

double traffic_seconds(const Traffic *traffic, const Hardware *hardware, double share) {
    const double link = hardware->link_bytes_s, network = hardware->network_bytes_s;
    return (link > 0 ? traffic->near / (link * share) : 0) +
           (network > 0 ? traffic->far / (network * share) : 0);
}

static Traffic of_a_token(const Plan *plan) {
    Traffic sum = { 0, 0 };
    for (size_t s = 0; s < plan->input.deployment.pp; s++)
        add(&sum, traffic_of_stage(plan, s, 1, false));
    return sum;
}

bool traffic_is_near(const Plan *plan) {
    return of_a_token(plan).near > 0;
}

bool traffic_is_far(const Plan *plan) {
    return of_a_token(plan).far > 0;
}
