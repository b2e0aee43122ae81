/* answers.c -- plans made again with one thing changed; see answers.h. */
#include "answers.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODE_GPUS = 8 };

size_t answers_copies(const Plan *plan) {
    const Deployment *d = &plan->input.deployment;
    size_t least = d->tp / d->dcp;
    for (size_t i = 0; i < plan->whole.count; i++) {
        const CacheKind *kind = plan->whole.part[i].kind;
        if (kind->keeps == KEEPS_STATE) continue;
        const size_t heads = row_cost_heads(kind, plan->input.engine);
        const size_t times = d->tp / d->dcp / (heads < d->tp / d->dcp ? heads : d->tp / d->dcp);
        if (times < least) least = times;
    }
    return least;
}

void answers_layout_text(const Deployment *d, char *text, size_t size) {
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

/* ---- changes ---- */

typedef struct {
    const Plan *plan;
    double users;
    Change *changes;
    size_t count;
    Plan *scratch;
} Search;

/* Keeps a change that can be planned and lets more fit. */
static void try_change(Search *search, Change change) {
    Error ignored;
    if (search->count == CHANGES_MOST || plan_make(search->scratch, &change.input, &ignored) != OK)
        return;
    change.sequences = search->scratch->max_sequences;
    change.fits = change.sequences >= search->users;
    if (change.sequences > search->plan->max_sequences) search->changes[search->count++] = change;
}

static void try_layout(Search *search, Deployment asked, const char *text, const char *options,
                       const char *price) {
    Change change = { .input = search->plan->input };
    Error ignored;
    if (deployment_resolve(&change.input.deployment, asked, change.input.model, &ignored) != OK)
        return;
    snprintf(change.text, sizeof change.text, "%s", text);
    snprintf(change.options, sizeof change.options, "%s", options);
    snprintf(change.price, sizeof change.price, "%s", price);
    try_change(search, change);
}

static void try_layouts(Search *search) {
    const Deployment d = search->plan->input.deployment;
    const size_t times = answers_copies(search->plan);
    char text[CHANGE_TEXT], options[CHANGE_TEXT];
    if (times > 1) {
        const size_t dcp = d.dcp * times;
        snprintf(text, sizeof text, "the %zu copies split the tokens (DCP)", times);
        snprintf(options, sizeof options, "--dcp %zu", dcp);
        try_layout(search, (Deployment){ d.gpus, d.tp, d.dp, dcp, d.pp, d.ep }, text, options,
                   "an exchange a layer");
    }
    if (d.tp > 1) {
        snprintf(text, sizeof text, "%zu ranks with their own users (DP attention)", d.dp * d.tp);
        snprintf(options, sizeof options, "--dp %zu --tp 1", d.dp * d.tp);
        try_layout(search, (Deployment){ .gpus = d.gpus, .dp = d.dp * d.tp, .tp = 1, .pp = d.pp },
                   text, options, "whole weights on each");
    }
}

static void try_type(Search *search) {
    const KvType type = search->plan->input.type;
    Change change = { .input = search->plan->input,
                      .text = "fp8 cache",
                      .options = "--kv-dtype fp8",
                      .price = "rows rounded to 8 bits" };
    if (type.k != ROW_F32 && type.k != ROW_BF16 && type.k != ROW_F16) return;
    change.input.type = kv_type(ROW_FP8);
    try_change(search, change);
}

static void try_gpus(Search *search) {
    Change change = { .input = search->plan->input, .price = "the GPUs" };
    char layout[CHANGE_TEXT];
    double sequences;
    const size_t before = change.input.deployment.gpus;
    if (answers_fewest_gpus(search->plan, search->users, GPUS_MOST / 64, &change.input.deployment,
                            &sequences, search->scratch) &&
        change.input.deployment.gpus > before) {
        answers_layout_text(&change.input.deployment, layout, sizeof layout / 2);
        snprintf(change.text, sizeof change.text, "%zu GPUs: %.40s", change.input.deployment.gpus,
                 layout);
    } else {
        change.input.deployment = search->plan->input.deployment;
        change.input.deployment.gpus *= 2;
        change.input.deployment.dp *= 2;
        if (change.input.deployment.ep > 1) change.input.deployment.ep *= 2;
        snprintf(change.text, sizeof change.text, "twice the GPUs, as data-parallel ranks");
    }
    snprintf(change.options, sizeof change.options, "--gpus %zu", change.input.deployment.gpus);
    try_change(search, change);
}

static void try_context(Search *search) {
    Change change = { .input = search->plan->input, .price = "what is beyond" };
    size_t tokens = plan_longest_context(search->plan, search->users, change.input.context_tokens);
    if (tokens == 0 || tokens >= change.input.context_tokens)
        tokens = change.input.context_tokens / 2;
    if (!tokens) return;
    change.input.context_tokens = tokens;
    snprintf(change.text, sizeof change.text, "a context of %zu tokens", tokens);
    snprintf(change.options, sizeof change.options, "--context %zu", tokens);
    try_change(search, change);
}

/* Those that fit first, as they were tried; then by what they gain. */
static int better(const void *a, const void *b) {
    const Change *one = a, *two = b;
    if (one->fits != two->fits) return one->fits ? -1 : 1;
    if (one->fits) return 0;
    return (one->sequences < two->sequences) - (one->sequences > two->sequences);
}

/* Stable: qsort need not be. */
static void rank(Change *changes, size_t count) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j && better(&changes[j - 1], &changes[j]) > 0; j--) {
            const Change swap = changes[j];
            changes[j] = changes[j - 1];
            changes[j - 1] = swap;
        }
}

size_t answers_changes(const Plan *plan, double users, Change changes[CHANGES_MOST],
                       Plan *scratch) {
    Search search = { .plan = plan, .users = users, .changes = changes, .scratch = scratch };
    if (!plan->has_pool) return 0;
    try_layouts(&search);
    try_type(&search);
    if (plan->input.hardware) try_gpus(&search);
    try_context(&search);
    rank(changes, search.count);
    return search.count;
}

/* ---- GPUs ---- */

bool answers_fewest_gpus(const Plan *plan, double users, size_t most, Deployment *out,
                         double *sequences, Plan *scratch) {
    const Architecture *model = plan->input.model;
    for (size_t gpus = 1; gpus <= most; gpus += gpus < NODE_GPUS ? gpus : NODE_GPUS) {
        const size_t tp = gpus < NODE_GPUS ? gpus : NODE_GPUS, nodes = gpus / tp;
        const Deployment layouts[] = {
            { .gpus = gpus, .tp = tp, .pp = nodes },
            { .gpus = gpus, .tp = tp, .dp = nodes },
            { .gpus = gpus, .tp = 1, .dp = gpus },
        };
        double best = 0;
        for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
            PlanInput input = plan->input;
            Error ignored;
            if (deployment_resolve(&input.deployment, layouts[i], model, &ignored) != OK ||
                plan_make(scratch, &input, &ignored) != OK || scratch->max_sequences <= best)
                continue;
            best = scratch->max_sequences;
            *out = input.deployment;
        }
        if (best < users || best < 1) continue;
        *sequences = best;
        return true;
    }
    return false;
}
