/* plan.c -- see plan.h. */
#include "plan.h"

#include <math.h>

enum { LOGIT_ROWS_MOST = 256, RESIDUAL_COPIES = 4 };

static double ceil_share(size_t n, size_t ranks) {
    return ceil((double)n / (double)ranks);
}

double plan_activation_bytes(const Architecture *model, const Engine *engine, const Deployment *d) {
    const double tokens = (double)engine->batch_tokens, tp = (double)d->tp;
    const double dense = 2 * (double)model->dense_intermediate / tp;
    const double routed = (double)model->experts_per_token *
                          (2 * (double)model->expert_intermediate / tp + (double)model->hidden);
    const double logits = fmin(tokens, LOGIT_ROWS_MOST) * (double)model->vocabulary / tp;
    return 2 * tokens * (RESIDUAL_COPIES * (double)model->hidden + fmax(dense, routed)) +
           4 * logits;
}

/* ---- caches ---- */

static Status share_caches(Plan *plan, Error *err) {
    const PlanInput *in = &plan->input;
    const Deployment *d = &in->deployment;
    size_t all[CACHE_KINDS_MOST];
    for (size_t i = 0; i < in->model->kind_count; i++)
        all[i] = in->model->kind[i].layers + (in->draft ? in->model->kind[i].draft_layers : 0);
    const RankShare one = { .tp = 1, .dcp = 1, .caches = all };
    TRY(pages_of_rank(&plan->whole, in->model, in->engine, in->type, &one, in->block_tokens, err));
    deployment_stages(in->model, d, in->draft, plan->stages);
    for (size_t s = 0; s < d->pp; s++) {
        const RankShare share = { .tp = d->tp, .dcp = d->dcp, .caches = plan->stages[s].caches };
        TRY(pages_of_rank(&plan->rank[s], in->model, in->engine, in->type, &share, in->block_tokens,
                          err));
    }
    return OK;
}

static void count_caches(Plan *plan) {
    const PlanInput *in = &plan->input;
    const Deployment *d = &in->deployment;
    const double sequences = (double)in->sequences;
    const SequenceBytes one = pages_sequence(&plan->whole, in->context_tokens);
    plan->bytes =
        (SequenceBytes){ one.logical * sequences, one.layout * sequences, one.rounded * sequences,
                         one.windowed * sequences, one.reserved * sequences };
    plan->growth = pages_growth(&plan->whole, in->context_tokens);
    plan->per_gpu = plan->deployment = plan->growth_per_gpu = 0;
    for (size_t s = 0; s < d->pp; s++) {
        const double reserved = pages_sequence(&plan->rank[s], in->context_tokens).reserved;
        plan->per_gpu = fmax(plan->per_gpu, reserved * ceil_share(in->sequences, d->dp));
        plan->deployment += reserved * sequences * (double)d->tp;
        plan->growth_per_gpu =
            fmax(plan->growth_per_gpu, pages_growth(&plan->rank[s], in->context_tokens));
    }
}

/* ---- memory ---- */

static PlanMemory stage_memory(const Plan *plan, size_t stage) {
    const PlanInput *in = &plan->input;
    PlanMemory m = { .weights =
                         deployment_weights(in->model, &in->deployment, &plan->stages[stage]).total,
                     .pool = (double)in->kv_pool_bytes };
    if (!in->hardware) return m;
    m.usable = (double)in->hardware->usable_bytes;
    m.used = m.usable * (in->utilization > 0 ? in->utilization : in->engine->utilization);
    m.activation = plan_activation_bytes(in->model, in->engine, &in->deployment);
    m.runtime = (double)in->engine->runtime_bytes;
    if (!in->kv_pool_bytes) m.pool = fmax(0, m.used - m.weights - m.activation - m.runtime);
    return m;
}

static double stage_blocks(const RankPages *pages, double pool) {
    return pages->block_bytes > 0 ? floor(pool / pages->block_bytes) : INFINITY;
}

/* Whole sequences on one data-parallel rank of a stage. */
static double stage_sequences(const RankPages *pages, double pool, size_t tokens) {
    const double reserved = pages_sequence(pages, tokens).reserved;
    if (reserved <= 0) return INFINITY;
    if (pages->block_bytes <= 0) return floor(pool / reserved);
    const double blocks = stage_blocks(pages, pool) - (double)pages->engine->null_blocks;
    return fmax(0, floor(blocks / (reserved / pages->block_bytes) + 1e-9));
}

double plan_sequences(const Plan *plan, size_t tokens) {
    double least = INFINITY;
    for (size_t s = 0; s < plan->input.deployment.pp; s++)
        least = fmin(least, stage_sequences(&plan->rank[s], plan->stage_memory[s].pool, tokens));
    return least * (double)plan->input.deployment.dp;
}

/* What an engine prints: blocks times their tokens where all layers grow alike; blocks over groups
 * where they share a pool; the context that fits where pools differ. */
static double printed_tokens(const Plan *plan, const RankPages *pages) {
    double groups = 0;
    bool alike = true;
    for (size_t i = 0; i < pages->count; i++) {
        groups += (double)pages->part[i].groups;
        alike &=
            pages->part[i].kind->keeps != KEEPS_STATE && pages->part[i].kind->reach == REACH_ALL;
    }
    const double tokens = (double)(pages->block_tokens * plan->input.deployment.dcp);
    if (groups > 0) return floor(plan->blocks / groups) * tokens;
    if (alike) return plan->blocks * tokens;
    return floor(plan->concurrency * (double)plan->input.context_tokens);
}

static void count_sequences(Plan *plan) {
    const PlanInput *in = &plan->input;
    double least = INFINITY;
    for (size_t s = 0; s < in->deployment.pp; s++) {
        const RankPages *pages = &plan->rank[s];
        const double reserved = pages_sequence(pages, in->context_tokens).reserved;
        const double concurrency = reserved > 0 ? plan->stage_memory[s].pool / reserved : INFINITY;
        if (s && concurrency >= least) continue;
        least = concurrency;
        plan->binding_stage = s;
    }
    plan->memory = plan->stage_memory[plan->binding_stage];
    const RankPages *pages = &plan->rank[plan->binding_stage];
    const double reserved = pages_sequence(pages, in->context_tokens).reserved;
    plan->blocks = stage_blocks(pages, plan->memory.pool);
    plan->block_tokens = (double)pages->block_tokens;
    plan->blocks_per_sequence = pages->block_bytes > 0 ? reserved / pages->block_bytes : 0;
    plan->concurrency =
        plan->blocks_per_sequence > 0 ? plan->blocks / plan->blocks_per_sequence : INFINITY;
    plan->cache_tokens = printed_tokens(plan, pages);
    plan->max_sequences = plan_sequences(plan, in->context_tokens);
    plan->binds = plan->memory.pool <= 0    ? BINDS_WEIGHTS
                  : plan->max_sequences < 1 ? BINDS_SEQUENCE
                                            : BINDS_CACHE;
}

Status plan_make(Plan *plan, const PlanInput *input, Error *err) {
    plan->input = *input;
    TRY(share_caches(plan, err));
    count_caches(plan);
    plan->weight_bytes = architecture_weight_bytes(input->model);
    plan->weight_bytes_per_gpu = 0;
    for (size_t s = 0; s < input->deployment.pp; s++) {
        plan->stage_memory[s] = stage_memory(plan, s);
        plan->weight_bytes_per_gpu =
            fmax(plan->weight_bytes_per_gpu, plan->stage_memory[s].weights);
    }
    plan->has_pool = input->hardware || input->kv_pool_bytes;
    plan->binds = BINDS_NOTHING;
    plan->binding_stage = 0;
    plan->memory = (PlanMemory){ 0 };
    plan->blocks = plan->block_tokens = plan->blocks_per_sequence = 0;
    plan->cache_tokens = plan->concurrency = plan->max_sequences = 0;
    if (plan->has_pool) count_sequences(plan);
    return OK;
}

size_t plan_longest_context(const Plan *plan, double sequences, size_t most) {
    if (!plan->has_pool || plan_sequences(plan, 1) < sequences) return 0;
    size_t fits = 1, beyond = most + 1;
    while (beyond - fits > 1) {
        const size_t middle = fits + (beyond - fits) / 2;
        if (plan_sequences(plan, middle) >= sequences)
            fits = middle;
        else
            beyond = middle;
    }
    return fits;
}
