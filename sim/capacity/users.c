/* users.c -- see users.h. */
#include "users.h"

#include <math.h>
#include <stdlib.h>

#include "buffer.h"
#include "random.h"

enum { SEED = 1, DRAWN_MOST = 1 << 13 };

/* A context, how often it comes, and what it reserves of the pool. */
typedef struct {
    size_t tokens;
    double weight; /* of all up to and with this one, once summed */
    double share;  /* of the pool of the stage where it takes most */
} Context;

static int by_tokens(const void *a, const void *b) {
    const Context *one = a, *two = b;
    return (one->tokens > two->tokens) - (one->tokens < two->tokens);
}

static int by_value(const void *a, const void *b) {
    const double one = *(const double *)a, two = *(const double *)b;
    return (one > two) - (one < two);
}

/* The first context whose summed weight reaches a share of all. */
static const Context *at_share(const Context *context, size_t count, double share) {
    const double wanted = share * context[count - 1].weight;
    size_t low = 0, high = count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (context[middle].weight >= wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return &context[low];
}

static double share_of_pool(const Plan *plan, size_t tokens) {
    double share = 0;
    for (size_t s = 0; s < plan->input.deployment.pp; s++) {
        const RankPages *pages = &plan->rank[s];
        const double pool =
            plan->stage_memory[s].pool - (double)pages->engine->null_blocks * pages->block_bytes;
        share = fmax(share, pool > 0 ? pages_sequence(pages, tokens).reserved / pool : INFINITY);
    }
    return share;
}

/* Users that one random order of contexts fits into a part of a rank's pool. */
static double fill_once(const Context *context, size_t count, double part, uint64_t draw) {
    double full = 0, users = 0;
    for (;; users++) {
        full += at_share(context, count, random_uniform(SEED, draw, (uint64_t)users))->share;
        if (full > part + 1e-9) return users; /* shares are rounded */
    }
}

/* The part of the pool that is filled one by one: all of it, or less where even the shortest
 * contexts, or those of the middle, would be too many to draw. */
static double part_to_fill(const Context *context, size_t count) {
    double mean = 0, before = 0;
    for (size_t i = 0; i < count; i++) {
        mean += context[i].share * (context[i].weight - before) / context[count - 1].weight;
        before = context[i].weight;
    }
    return fmin(1, DRAWN_MOST * mean);
}

/* Users of a whole rank in each draw, ascending. */
static void fill(const Context *context, size_t count, double users[USERS_DRAWS]) {
    const double longest = context[count - 1].share, part = part_to_fill(context, count);
    for (size_t i = 0; longest <= 0 && i < USERS_DRAWS; i++) users[i] = INFINITY;
    if (longest <= 0) return;
    const double least = floor(1 / longest + 1e-9); /* all at their longest */
    double mean = 0;
    for (size_t i = 0; i < USERS_DRAWS; i++) {
        users[i] = fill_once(context, count, part, i);
        mean += users[i] / USERS_DRAWS;
    }
    for (size_t i = 0; part < 1 && i < USERS_DRAWS; i++)
        users[i] = fmax(least, floor(mean / part + (users[i] - mean) / sqrt(part)));
    qsort(users, USERS_DRAWS, sizeof *users, by_value);
}

static void summarise(UsersHeld *held, const Plan *plan, const Trace *trace,
                      const Context *context) {
    const size_t count = trace->count;
    double sum = 0, before = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)context[i].tokens * (context[i].weight - before);
        before = context[i].weight;
    }
    held->mean_tokens = sum / before;
    held->p50_tokens = (double)at_share(context, count, 0.5)->tokens;
    held->p95_tokens = (double)at_share(context, count, 0.95)->tokens;
    held->longest_tokens = (double)context[count - 1].tokens;
    held->users_at_longest = plan_sequences(plan, context[count - 1].tokens);
    held->users_at_percentile =
        plan_sequences(plan, at_share(context, count, held->percentile / 100)->tokens);
}

Status users_held(UsersHeld *out, const Plan *plan, const Trace *trace, double percentile,
                  Error *err) {
    Context *context = NULL;
    TRY(BUFFER(&context, trace->count, "contexts of a trace", err));
    for (size_t i = 0; i < trace->count; i++) {
        const TraceRow *row = &trace->row[i];
        context[i] = (Context){ .tokens = (size_t)row->prompt_tokens + row->output_tokens,
                                .weight = row->weight };
    }
    qsort(context, trace->count, sizeof *context, by_tokens);
    double weight = 0;
    for (size_t i = 0; i < trace->count; i++) {
        context[i].weight = weight += context[i].weight;
        context[i].share = share_of_pool(plan, context[i].tokens);
    }
    UsersHeld held = { .percentile = percentile };
    summarise(&held, plan, trace, context);
    double fitted[USERS_DRAWS];
    fill(context, trace->count, fitted);
    const double ranks = (double)plan->input.deployment.dp;
    held.users = ranks * fitted[(size_t)((1 - percentile / 100) * (USERS_DRAWS - 1))];
    held.users_median = ranks * fitted[USERS_DRAWS / 2];
    *out = held;
    buffer_free(context);
    return OK;
}
