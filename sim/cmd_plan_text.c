/* cmd_plan_text.c -- a plan for people: the answer first, then its working, on one screen. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "answers.h"
#include "cmd_plan.h"
#include "ledger.h"
#include "quantity.h"
#include "speed.h"

enum { CHANGES_SHOWN = 4, NOTES_SHOWN = 3 };

static const char *count_text(double value, char *text) {
    if (value > 1e15)
        snprintf(text, 32, "any number");
    else
        quantity_format_count(value, text, 32);
    return text;
}

static void print_head(const Planned *planned) {
    const Request *r = &planned->request;
    char type[KV_TYPE_ROOM], context[32], layout[96];
    kv_type_name(r->input.type, type);
    count_text((double)r->input.context_tokens, context);
    layouts_text(&r->input.deployment, layout, sizeof layout);
    printf("%s: %s, %zu layers, weights %s\n", r->model.name, r->model.attention, r->model.layers,
           r->model.weight_format);
    if (r->input.hardware)
        printf("on %zu x %s, %s", r->input.deployment.gpus, r->hardware.name, layout);
    else
        printf("on %s", layout);
    printf("; %s tokens each, cache in %s, engine %s\n\n", context, type, r->engine.name);
}

static void print_binding(const Plan *plan) {
    const Deployment *d = &plan->input.deployment;
    const size_t copies = layouts_copies(plan, d->tp, d->dcp);
    switch (plan->binds) {
    case BINDS_WEIGHTS:
        printf("weights and reserve: they leave no memory");
        break;
    case BINDS_SEQUENCE:
        printf("one user's cache: it is larger than the pool");
        break;
    default:
        printf("memory of the cache");
    }
    if (plan->binds != BINDS_WEIGHTS && copies > 1) printf("; each row lies on %zu GPUs", copies);
    printf("\n");
}

/* Tokens of the pool; where layers share it in groups, as logs count them. */
static void print_tokens(const Plan *plan, const char *kind) {
    const RankPages *pages = &plan->rank[plan->binding_stage];
    char tokens[32], blocks[32];
    size_t groups = 0;
    for (size_t i = 0; i < pages->count; i++) groups += pages->part[i].groups;
    printf("  tokens cached     %-11s %s; ", count_text(plan->cache_tokens, tokens), kind);
    count_text(plan->blocks, blocks);
    if (groups)
        printf("as older logs count: %s blocks / %zu groups x %zu", blocks, groups,
               pages->block_tokens);
    else
        printf("in %s blocks of %.0f", blocks, plan->block_tokens);
    printf("%s\n", plan->input.deployment.dp > 1 ? ", a data-parallel rank" : "");
}

static void print_answer(const Plan *plan) {
    char users[32], longest[32], limit[32];
    const size_t sequences = plan->input.sequences;
    /* the reserve for activations is modelled, and so is what it leaves */
    const char *kind = plan->input.hardware && !plan->input.kv_pool_bytes ? "modelled" : "exact";
    printf("  users at once     %-11s %s; bound by ", count_text(plan->max_sequences, users), kind);
    print_binding(plan);
    print_tokens(plan, kind);
    const size_t most = plan_longest_context(plan, (double)sequences, (size_t)1 << 32);
    const size_t own = plan->input.model->longest_tokens;
    printf("  longest context   %-11s %s; for %zu user%s", count_text((double)most, longest), kind,
           sequences, sequences == 1 ? "" : "s");
    if (own && most > own)
        printf(", where the model's limit is %s", count_text((double)own, limit));
    printf("\n");
}

static void print_speed(const Plan *plan) {
    if (!speed_known(plan) || plan->max_sequences < 1) return;
    const double users = fmin(plan->max_sequences, 1 << 20);
    const StepTime decode = speed_decode(plan, users, plan->input.context_tokens);
    const StepTime prefill = speed_prefill(plan, plan->input.context_tokens);
    char count[32], low[32], high[32];
    printf("  decode            %.3g to %.3g ms a step of %s users: %.3g to %.3g tokens/s each,\n"
           "                    %s to %s tokens/s in all; modelled\n",
           decode.seconds.low * 1e3, decode.seconds.high * 1e3, count_text(users, count),
           1 / decode.seconds.high, 1 / decode.seconds.low,
           count_text(users / decode.seconds.high, low),
           count_text(users / decode.seconds.low, high));
    const double batch = speed_compute_bound_batch(plan, plan->input.context_tokens, 1 << 20);
    printf("  prefill           %.3g to %.3g s to the first token; ", prefill.seconds.low,
           prefill.seconds.high);
    if (batch > 0)
        printf("decode is compute-bound from %s users; modelled\n", count_text(batch, count));
    else
        printf("decode never compute-bound; modelled\n");
}

static void print_lines(const Ledger *ledger) {
    for (size_t i = 0; i < ledger->count; i++) {
        char bytes[48];
        quantity_format_bytes(fabs(ledger->line[i].bytes), bytes, sizeof bytes);
        printf("  %-12s %c %-10s  %s\n", ledger->line[i].step,
               ledger->line[i].bytes < 0 ? '-' : '+', bytes, ledger->line[i].rule);
    }
}

/* "140 GiB x 0.9 = 126 GiB: weights 79.3 GiB, ..., cache 43.1 GiB" */
static void print_memory(const Plan *plan) {
    const PlanMemory *m = &plan->memory;
    char used[48], weights[48], activation[48], runtime[48], pool[48];
    quantity_format_bytes(m->used, used, sizeof used);
    quantity_format_bytes(m->weights, weights, sizeof weights);
    quantity_format_bytes(m->activation, activation, sizeof activation);
    quantity_format_bytes(m->runtime, runtime, sizeof runtime);
    quantity_format_bytes(m->pool, pool, sizeof pool);
    if (plan->input.hardware)
        printf("  memory of a GPU   %s usable: weights %s, activations %s (modelled),\n"
               "                    runtime %s, cache %s\n",
               used, weights, activation, runtime, pool);
    else
        printf("  cache of a GPU    %s, as given; weights %s a GPU\n", pool, weights);
}

static void print_bytes(const Plan *plan) {
    char logical[48], layout[48], reserved[48], gpu[48], all[48], token[48], token_gpu[48];
    quantity_format_bytes(plan->bytes.logical, logical, sizeof logical);
    quantity_format_bytes(plan->bytes.layout, layout, sizeof layout);
    quantity_format_bytes(plan->bytes.reserved, reserved, sizeof reserved);
    quantity_format_bytes(plan->per_gpu, gpu, sizeof gpu);
    quantity_format_bytes(plan->deployment, all, sizeof all);
    quantity_format_bytes(plan->growth, token, sizeof token);
    quantity_format_bytes(plan->growth_per_gpu, token_gpu, sizeof token_gpu);
    printf("  one more token    %s; on a GPU %s\n", token, token_gpu);
    printf("  %zu sequence%s       logical %s, layout %s, reserved %s;\n"
           "                    a GPU holds %s, all GPUs %s\n",
           plan->input.sequences, plan->input.sequences == 1 ? " " : "s", logical, layout, reserved,
           gpu, all);
}

static void print_users(const Planned *planned) {
    const UsersHeld *h = &planned->held;
    char users[32], median[32], longest[32], mean[32], p95[32], most[32];
    printf(
        "  users of a trace  %s at once in %g of 100 draws (half: %s; all at their longest: %s)\n"
        "                    contexts by their requests, not by how long each stays:\n"
        "                    mean %s, 95 of 100 within %s, longest %s tokens\n",
        count_text(h->users, users), h->percentile, count_text(h->users_median, median),
        count_text(h->users_at_longest, longest), count_text(h->mean_tokens, mean),
        count_text(h->p95_tokens, p95), count_text(h->longest_tokens, most));
}

static void print_changes(Planned *planned) {
    const Plan *plan = &planned->plan;
    Change changes[CHANGES_MOST];
    const double users = (double)plan->input.sequences;
    const size_t count = answers_changes(plan, users, changes, &planned->scratch);
    if (!count) return;
    const size_t shown = count < CHANGES_SHOWN ? count : CHANGES_SHOWN;
    int width = 0;
    for (size_t i = 0; i < shown; i++)
        if ((int)strlen(changes[i].options) > width) width = (int)strlen(changes[i].options);
    if (plan->max_sequences >= users)
        printf("\n  users   %-*s   what would change, most users first\n", width, "with");
    else
        printf("\n  users   %-*s   what would make %zu fit, cheapest first\n", width, "with",
               plan->input.sequences);
    for (size_t i = 0; i < shown; i++) {
        char fit[32];
        printf("  %-7s %-*s   %s, for %s\n", count_text(changes[i].sequences, fit), width,
               changes[i].options, changes[i].text, changes[i].price);
    }
}

void plan_print_text(Planned *planned) {
    const Request *r = &planned->request;
    const Plan *plan = &planned->plan;
    print_head(planned);
    if (plan->has_pool) print_answer(plan);
    print_speed(plan);
    if (planned->has_users) print_users(planned);
    if (plan->has_pool) print_memory(plan);
    print_bytes(plan);
    if (planned->ledger) {
        Ledger ledger;
        printf("\n");
        ledger_memory(&ledger, plan);
        print_lines(&ledger);
        ledger_cache(&ledger, plan);
        print_lines(&ledger);
    }
    if (plan->has_pool) print_changes(planned);
    if (r->notes) printf("\n");
    for (size_t i = 0; i < r->notes && (planned->ledger || i < NOTES_SHOWN); i++)
        printf("  note: %s\n", r->note[i]);
    if (!planned->ledger && r->notes > NOTES_SHOWN)
        printf("  note: %zu more with --ledger\n", r->notes - NOTES_SHOWN);
}
