/* speed.c -- flops and bytes of every part of a step, over the roofline; see speed.h. */
#include "speed.h"

#include <math.h>

#include "roofline.h"
#include "traffic.h"

/* What a step does, on a rank. */
typedef struct {
    const Plan *plan;
    bool prefill;
    double rank_sequences; /* of a micro-batch on a data-parallel rank */
    double new_tokens;     /* of a sequence in this step */
    size_t cached;         /* tokens that the new ones look back on; all of them for a prompt */
} Step;

const char *speed_part_name(StepPart part) {
    static const char *const names[STEP_PARTS] = { "attention", "projections", "MLP",
                                                   "experts",   "head",        "communication" };
    return names[part];
}

bool speed_known(const Plan *plan) {
    return plan->input.hardware && plan->input.hardware->bandwidth_bytes_s > 0;
}

/* ---- time ---- */

/* The dense peak for products of weights of so many bits, or 0 where the device states none. Four
 * bits are expanded to bf16 before they are multiplied. */
static double product_peak(const Hardware *device, double bits) {
    const bool eight = bits > 6 && bits < 12;
    if (eight && device->flops[RATE_FP8] > 0) return device->flops[RATE_FP8];
    if (eight && device->flops[RATE_INT8] > 0) return device->flops[RATE_INT8];
    return device->flops[RATE_BF16] > 0 ? device->flops[RATE_BF16] : device->flops[RATE_F32];
}

static void add_time(PartTime *part, double flops, double bytes, double peak,
                     const Hardware *device, Share memory, Share compute) {
    const Efficiency *m = &device->efficiency[memory], *c = &device->efficiency[compute];
    const PartWork work = { .flops = flops, .bytes = bytes };
    const PartRates best = { peak * c->high, device->bandwidth_bytes_s * m->high, 0 };
    const PartRates worst = { peak * c->low, device->bandwidth_bytes_s * m->low, 0 };
    part->flops += flops;
    part->bytes += bytes;
    part->seconds.low += roofline_seconds(&work, &best);
    part->seconds.high += roofline_seconds(&work, &worst);
}

static void add_product(const Step *step, PartTime *part, double flops, double bytes, double bits) {
    const Hardware *device = step->plan->input.hardware;
    add_time(part, flops, bytes, product_peak(device, bits), device, SHARE_PRODUCT_MEMORY,
             SHARE_PRODUCT_COMPUTE);
}

/* ---- attention ---- */

double speed_attention_flops(const CacheKind *kind, bool materialised, double visible,
                             double split) {
    const double heads = ceil((double)kind->heads / split);
    switch (kind->keeps) {
    case KEEPS_HEADS:
        return 2 * heads * visible * (double)(kind->key_dim + kind->value_dim);
    case KEEPS_ROW:
        return 2 * heads * visible * (double)(2 * kind->key_dim);
    case KEEPS_LATENT:
        return 2 * heads * visible *
               (double)(materialised ? kind->nope_dim + kind->rope_dim + kind->mla_value_dim
                                     : 2 * kind->kv_lora_rank + kind->rope_dim);
    case KEEPS_STATE:
        return 4 * (double)kind->state_elements / split; /* decay and read */
    default:
        return 0;
    }
}

/* Rows that the new tokens see, summed over them: a triangle for a prompt, cut by a window. */
static double visible_pairs(const Step *step, const CacheKind *kind) {
    const double all = (double)step->cached;
    const double window = kind->reach == REACH_ALL ? all : fmin((double)kind->window, all);
    if (!step->prefill) return step->new_tokens * window;
    return all * window - window * window / 2; /* the first tokens see fewer */
}

static void add_attention(const Step *step, const RankPages *pages, PartTime *time) {
    const PlanInput *in = &step->plan->input;
    for (size_t i = 0; i < pages->count; i++) {
        const KindPages *part = &pages->part[i];
        const CacheKind *kind = part->kind;
        const bool expanded = step->prefill || row_cost_materialised(kind, in->engine);
        const double many = step->rank_sequences * (double)part->caches;
        const double compressed = kind->row_tokens > 1 ? (double)kind->row_tokens : 1;
        double pairs = visible_pairs(step, kind) / compressed;
        double rows = (double)pages_visible(kind, step->cached) / compressed;
        double flops = 0, bytes = part->state_bytes * 2; /* read and written */
        if (kind->index_dim) {
            const double split = (double)part->split_tokens;
            flops += 2 * (double)(kind->index_heads * kind->index_dim) * pairs / split;
            bytes += rows * part->row.index / split;
            const double keep = (double)(kind->index_topk ? kind->index_topk : step->cached);
            pairs = fmin(pairs, keep * step->new_tokens);
            if (!step->prefill) rows = fmin(rows, keep);
        }
        flops += kind->keeps == KEEPS_STATE
                     ? step->new_tokens *
                           speed_attention_flops(kind, expanded, 1, (double)in->deployment.tp)
                     : speed_attention_flops(kind, expanded, pairs, (double)in->deployment.tp);
        bytes += rows * (part->row.layout - part->row.index) / (double)part->split_tokens;
        const Hardware *device = in->hardware;
        add_time(time, many * flops, many * bytes,
                 device->flops[RATE_BF16] > 0 ? device->flops[RATE_BF16] : device->flops[RATE_F32],
                 device, SHARE_ATTENTION_MEMORY, SHARE_ATTENTION_COMPUTE);
    }
}

/* ---- products ---- */

/* Products with a part of the weights that every token passes. */
static void add_weights(const Step *step, const StageWeights *weights, WeightPart p, double tokens,
                        PartTime *time) {
    const double bits = step->plan->input.model->weight_bits[p];
    const double bytes = weights->part[p];
    if (bytes <= 0 || bits <= 0) return;
    add_product(step, time, 2 * tokens * bytes * 8 / bits, bytes, bits);
}

/* Experts: of n tokens that choose k of E at random, E (1 - (1 - k/E)^n) are reached. */
static void add_experts(const Step *step, const StageWeights *weights, double tokens,
                        PartTime *time) {
    const Architecture *model = step->plan->input.model;
    const Deployment *d = &step->plan->input.deployment;
    const double bits = model->weight_bits[PART_EXPERTS], bytes = weights->part[PART_EXPERTS];
    if (bytes <= 0 || bits <= 0) return;
    const double chosen = (double)model->experts_per_token / (double)model->experts;
    const double all = tokens * (d->ep > 1 ? (double)d->dp : 1); /* tokens of all ranks meet */
    const double reached = 1 - pow(1 - chosen, all);
    const double flops = 2 * all * chosen * bytes * 8 / bits;
    add_product(step, time, flops, bytes * reached, bits);
}

/* ---- communication ---- */

static void add_communication(const Step *step, size_t stage, double tokens, PartTime *time) {
    const Hardware *device = step->plan->input.hardware;
    const Efficiency *e = &device->efficiency[SHARE_LINK];
    const Traffic traffic = traffic_of_stage(step->plan, stage, tokens, step->prefill);
    time->bytes += traffic.near + traffic.far;
    time->seconds.low += traffic_seconds(&traffic, device, e->high);
    time->seconds.high += traffic_seconds(&traffic, device, e->low);
}

/* ---- steps ---- */

static StepTime time_step(const Step *step) {
    const Plan *plan = step->plan;
    const double tokens = step->rank_sequences * step->new_tokens;
    const double logits = step->rank_sequences; /* of the last token of each */
    StepTime time = { .seconds = { 0, 0 } };
    for (size_t s = 0; s < plan->input.deployment.pp; s++) {
        const Stage *stage = &plan->stages[s];
        StageWeights w = deployment_weights(plan->input.model, &plan->input.deployment, stage);
        add_attention(step, &plan->rank[s], &time.part[STEP_ATTENTION]);
        add_weights(step, &w, PART_ATTENTION, tokens, &time.part[STEP_PROJECTIONS]);
        add_weights(step, &w, PART_DENSE_MLP, tokens, &time.part[STEP_MLP]);
        add_weights(step, &w, PART_SHARED_EXPERTS, tokens, &time.part[STEP_MLP]);
        add_weights(step, &w, PART_ROUTER, tokens, &time.part[STEP_EXPERTS]);
        add_experts(step, &w, tokens, &time.part[STEP_EXPERTS]);
        if (stage->head) {
            const bool tied = w.part[PART_HEAD] <= 0;
            add_weights(step, &w, tied ? PART_EMBEDDING : PART_HEAD, logits, &time.part[STEP_HEAD]);
        }
        add_communication(step, s, tokens, &time.part[STEP_COMMUNICATION]);
    }
    for (int p = 0; p < STEP_PARTS; p++) {
        time.seconds.low += time.part[p].seconds.low;
        time.seconds.high += time.part[p].seconds.high;
    }
    return time;
}

StepTime speed_decode(const Plan *plan, double sequences, size_t tokens) {
    const Deployment *d = &plan->input.deployment;
    const Step step = { .plan = plan,
                        .rank_sequences = fmax(1, sequences / (double)(d->dp * d->pp)),
                        .new_tokens = 1,
                        .cached = tokens };
    return time_step(&step);
}

StepTime speed_prefill(const Plan *plan, size_t tokens) {
    const Step step = { .plan = plan,
                        .prefill = true,
                        .rank_sequences = 1,
                        .new_tokens = (double)tokens,
                        .cached = tokens };
    return time_step(&step);
}

/* Is more of a decode step spent on flops than on bytes? */
static bool is_compute_bound(const Plan *plan, double sequences, size_t tokens) {
    const Hardware *device = plan->input.hardware;
    const Architecture *model = plan->input.model;
    const StepTime time = speed_decode(plan, sequences, tokens);
    double compute = 0, memory = 0;
    for (int p = 0; p < STEP_PARTS; p++) {
        if (p == STEP_COMMUNICATION) continue;
        const bool attention = p == STEP_ATTENTION;
        const double bits = model->weight_bits[p == STEP_EXPERTS ? PART_EXPERTS : PART_ATTENTION];
        const double peak = product_peak(device, attention ? 16 : bits);
        const Efficiency *c =
            &device->efficiency[attention ? SHARE_ATTENTION_COMPUTE : SHARE_PRODUCT_COMPUTE];
        const Efficiency *m =
            &device->efficiency[attention ? SHARE_ATTENTION_MEMORY : SHARE_PRODUCT_MEMORY];
        if (peak > 0) compute += time.part[p].flops / (peak * c->high);
        memory += time.part[p].bytes / (device->bandwidth_bytes_s * m->high);
    }
    return compute > memory;
}

double speed_compute_bound_batch(const Plan *plan, size_t tokens, double most) {
    const double ranks = (double)plan->input.deployment.dp;
    double memory = 0, compute = ranks;
    while (compute <= most && !is_compute_bound(plan, compute, tokens)) {
        memory = compute;
        compute *= 2;
    }
    if (compute > most) return 0;
    while (compute - memory > ranks) {
        const double middle = floor((memory + compute) / 2);
        if (is_compute_bound(plan, middle, tokens))
            compute = middle;
        else
            memory = middle;
    }
    return compute;
}
