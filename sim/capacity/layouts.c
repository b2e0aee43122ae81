/* layouts.c -- see layouts.h. */
#include "layouts.h"

#include <stdio.h>
#include <string.h>

size_t layouts_copies(const Plan *plan, size_t tp, size_t dcp) {
    size_t least = tp / dcp;
    for (size_t i = 0; i < plan->whole.count; i++) {
        const CacheKind *kind = plan->whole.part[i].kind;
        if (kind->keeps == KEEPS_STATE) continue;
        const size_t heads = row_cost_heads(kind, plan->input.engine);
        const size_t times = tp / dcp / (heads < tp / dcp ? heads : tp / dcp);
        if (times < least) least = times;
    }
    return least;
}

void layouts_text(const Deployment *d, char *text, size_t size) {
    int used = 0;
    text[0] = '\0';
    const struct {
        const char *name;
        size_t ranks;
    } parts[] = { { "tp", d->tp }, { "dp", d->dp }, { "pp", d->pp } };
    for (size_t i = 0; i < 3; i++)
        if (parts[i].ranks > 1)
            used += snprintf(text + used, size - (size_t)used, "%s%s %zu", used ? " x " : "",
                             parts[i].name, parts[i].ranks);
    if (d->ep > 1) used += snprintf(text + used, size - (size_t)used, ", ep %zu", d->ep);
    if (d->dcp > 1) used += snprintf(text + used, size - (size_t)used, ", dcp %zu", d->dcp);
    if (!used) snprintf(text, size, "one GPU");
}

/* ---- options ---- */

/* The ranks of a deployment in the order in which options name them. */
enum { GPUS, TP, DP, PP, DCP, EP, RANKS };

static size_t *rank_of(Deployment *d, int rank) {
    size_t *const ranks[RANKS] = { &d->gpus, &d->tp, &d->dp, &d->pp, &d->dcp, &d->ep };
    return ranks[rank];
}

static bool resolves_to(const Plan *plan, const Deployment *asked, const Deployment *wanted) {
    const PlanInput *in = &plan->input;
    Deployment d;
    Error ignored;
    return deployment_resolve(&d, *asked, in->model, in->hardware, &ignored) == OK &&
           d.gpus == wanted->gpus && d.tp == wanted->tp && d.dp == wanted->dp &&
           d.dcp == wanted->dcp && d.pp == wanted->pp && d.ep == wanted->ep;
}

void layouts_options(const Plan *plan, const Deployment *deployment, char *text, size_t size) {
    static const char *const names[RANKS] = { "gpus", "tp", "dp", "pp", "dcp", "ep" };
    Deployment given = plan->input.asked, own = plan->input.deployment, next = *deployment;
    for (int r = RANKS - 1; r >= 0; r--) {
        Deployment shorter = next;
        if (r != EP && *rank_of(&next, r) != *rank_of(&own, r)) continue; /* a change is said */
        *rank_of(&shorter, r) = *rank_of(&given, r);
        if (resolves_to(plan, &shorter, deployment)) next = shorter; /* it follows from the rest */
    }
    int used = 0;
    text[0] = '\0';
    for (int r = 0; r < RANKS; r++) {
        const size_t ranks = *rank_of(&next, r);
        if (ranks == *rank_of(&given, r)) continue;
        const char *space = used ? " " : "";
        if (r == GPUS && plan->input.device)
            used += snprintf(text + used, size - (size_t)used, "%s--hardware %zux%.64s", space,
                             ranks, plan->input.device);
        else
            used +=
                snprintf(text + used, size - (size_t)used, "%s--%s %zu", space, names[r], ranks);
    }
}

/* ---- the fewest GPUs ---- */

typedef struct {
    const Plan *plan;
    Plan *scratch;
    Deployment best;
    double sequences; /* that fit there */
} Fewest;

static void try_layout(Fewest *f, Deployment asked) {
    PlanInput input = f->plan->input;
    Error ignored;
    if (deployment_resolve(&input.deployment, asked, input.model, input.hardware, &ignored) != OK ||
        plan_make(f->scratch, &input, &ignored) != OK || f->scratch->max_sequences <= f->sequences)
        return;
    f->sequences = f->scratch->max_sequences;
    f->best = input.deployment;
}

static void try_stages(Fewest *f, size_t gpus, size_t tp, size_t pp) {
    const PlanInput *in = &f->plan->input;
    const size_t dcp[] = { 1, in->deployment.dcp, layouts_copies(f->plan, tp, 1) };
    const size_t ep[] = { 0, in->asked.ep };
    for (size_t c = 0; c < 3; c++)
        for (size_t e = 0; e < 1 + (size_t)(ep[1] > 0); e++)
            try_layout(f, (Deployment){ gpus, tp, gpus / tp / pp, dcp[c], pp, ep[e] });
}

static void try_count(Fewest *f, size_t gpus) {
    const Deployment *own = &f->plan->input.deployment;
    const size_t node = deployment_node(f->plan->input.hardware);
    for (size_t tp = 1; tp <= gpus; tp++) {
        if (gpus % tp || (tp > node && tp != own->tp)) continue;
        const size_t rest = gpus / tp, stages[] = { 1, own->pp, rest };
        for (size_t i = 0; i < 3; i++)
            if (rest % stages[i] == 0) try_stages(f, gpus, tp, stages[i]);
    }
}

/* The next count to try: each up to a node, then whole nodes, and the plan's own. */
static size_t next_count(size_t gpus, size_t own) {
    const size_t next = gpus < NODE_GPUS ? gpus + 1 : (gpus / NODE_GPUS + 1) * NODE_GPUS;
    return gpus < own && own < next ? own : next;
}

bool layouts_fewest_gpus(const Plan *plan, double users, size_t most, Deployment *out,
                         double *sequences, Plan *scratch) {
    const size_t own = plan->input.deployment.gpus;
    Fewest f = { .plan = plan, .scratch = scratch };
    for (size_t gpus = 1; gpus <= most; gpus = next_count(gpus, own)) {
        try_count(&f, gpus);
        if (f.sequences < users || f.sequences < 1) continue;
        *out = f.best;
        *sequences = f.sequences;
        return true;
    }
    return false;
}
