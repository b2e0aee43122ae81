/* answers.c -- plans made again with one thing changed; see answers.h. */
#include "answers.h"

#include <stdio.h>

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

static void try_layout(Search *search, Deployment asked, const char *text, const char *price) {
    Change change = { .input = search->plan->input };
    const PlanInput *in = &change.input;
    Error ignored;
    if (deployment_resolve(&change.input.deployment, asked, in->model, in->hardware, &ignored) !=
        OK)
        return;
    layouts_options(search->plan, &in->deployment, change.options, sizeof change.options);
    snprintf(change.text, sizeof change.text, "%s", text);
    snprintf(change.price, sizeof change.price, "%s", price);
    try_change(search, change);
}

static void try_layouts(Search *search) {
    const Deployment d = search->plan->input.deployment;
    const size_t times = layouts_copies(search->plan, d.tp, d.dcp);
    char text[CHANGE_TEXT];
    if (times > 1) {
        snprintf(text, sizeof text, "%zu copies split the tokens (DCP)", times);
        try_layout(search, (Deployment){ d.gpus, d.tp, d.dp, d.dcp * times, d.pp, d.ep }, text,
                   "exchanges");
    }
    if (d.tp > 1) {
        snprintf(text, sizeof text, "%zu ranks with own users (DP)", d.dp * d.tp);
        try_layout(search, (Deployment){ .gpus = d.gpus, .dp = d.dp * d.tp, .tp = 1, .pp = d.pp },
                   text, "copied weights");
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
    const Deployment own = search->plan->input.deployment;
    Deployment more;
    double sequences;
    if (layouts_fewest_gpus(search->plan, search->users, GPUS_MOST / 64, &more, &sequences,
                            search->scratch) &&
        more.gpus > own.gpus) {
        try_layout(search, more, "the fewest GPUs that hold them", "the GPUs");
    } else {
        more = own;
        more.gpus *= 2;
        more.dp *= 2;
        if (more.ep > 1) more.ep *= 2;
        try_layout(search, more, "twice the GPUs, as data-parallel ranks", "the GPUs");
    }
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

/* Below 0 where one is the better answer: one that fits where users do not fit yet, in the order in
 * which they were tried, then by what they gain. */
static int better(const Change *one, const Change *two, bool fits_already) {
    if (!fits_already && one->fits != two->fits) return one->fits ? -1 : 1;
    if (!fits_already && one->fits) return 0;
    return (one->sequences < two->sequences) - (one->sequences > two->sequences);
}

/* Stable: qsort need not be. */
static void rank(Change *changes, size_t count, bool fits_already) {
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j && better(&changes[j - 1], &changes[j], fits_already) > 0; j--) {
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
    rank(changes, search.count, plan->max_sequences >= users);
    return search.count;
}
