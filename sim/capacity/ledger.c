/* ledger.c -- words for the numbers of plan.h; see ledger.h. */
#include "ledger.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "layouts.h"
#include "quantity.h"

static void add(Ledger *ledger, const char *step, double bytes, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A line; none where a step changes nothing. */
static void add(Ledger *ledger, const char *step, double bytes, const char *format, ...) {
    if (bytes == 0 || ledger->count == LEDGER_LINES_MOST) return;
    LedgerLine *line = &ledger->line[ledger->count++];
    line->step = step;
    line->bytes = bytes;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->rule, sizeof line->rule, format, arguments);
    va_end(arguments);
}

/* "8 x (128 + 128) values", "(512 + 64) values". */
static void describe_row(const CacheKind *kind, char *text, size_t size) {
    if (kind->keeps == KEEPS_LATENT)
        snprintf(text, size, "(%zu + %zu) values", kind->kv_lora_rank, kind->rope_dim);
    else if (kind->keeps == KEEPS_ROW)
        snprintf(text, size, "%zu values", kind->key_dim);
    else
        snprintf(text, size, "%zu x (%zu + %zu) values", kind->kv_heads, kind->key_dim,
                 kind->value_dim);
}

/* "32,768 tokens", "min(1,024, 32,768) tokens". */
static void describe_reach(const CacheKind *kind, size_t tokens, char *text, size_t size) {
    char all[32], window[32];
    quantity_format_count((double)tokens, all, sizeof all);
    quantity_format_count((double)kind->window, window, sizeof window);
    if (kind->reach == REACH_ALL && kind->row_tokens > 1)
        snprintf(text, size, "%s tokens / %zu + %zu", all, kind->row_tokens, kind->row_window);
    else if (kind->reach == REACH_ALL)
        snprintf(text, size, "%s tokens", all);
    else
        snprintf(text, size, "min(%s %s, %s) tokens",
                 kind->reach == REACH_WINDOW ? "window" : "chunk", window, all);
}

static void add_logical(Ledger *ledger, const Plan *plan, size_t i, double bytes) {
    const PlanInput *in = &plan->input;
    const KindPages *part = &plan->whole.part[i];
    char row[128], reach[96], type[KV_TYPE_ROOM];
    if (part->kind->keeps == KEEPS_STATE) {
        add(ledger, "logical", bytes, "%zu x %zu layers x (%zu state + %zu convolution) (%s)",
            in->sequences, part->caches, part->kind->state_elements, part->kind->conv_elements,
            part->kind->rule);
        return;
    }
    describe_row(part->kind, row, sizeof row);
    describe_reach(part->kind, in->context_tokens, reach, sizeof reach);
    kv_type_name(row_cost_type(part->kind, in->engine, in->type), type);
    add(ledger, "logical", bytes, "%zu x %zu layers x %s x %s in %s%s%s%s", in->sequences,
        part->caches, reach, row, type, part->kind->rule[0] ? " (" : "", part->kind->rule,
        part->kind->rule[0] ? ")" : "");
}

static void add_layout(Ledger *ledger, const Plan *plan, size_t i, double bytes) {
    const CacheKind *kind = plan->whole.part[i].kind;
    const double index = plan->whole.part[i].row.index;
    if (row_cost_materialised(kind, plan->input.engine)) {
        const size_t key = kind->nope_dim + kind->rope_dim;
        add(ledger, "layout", bytes, "keys and values of %zu heads x (%zu + %zu) for the latent%s",
            kind->heads, key, plan->input.engine->value_padded ? key : kind->mla_value_dim,
            plan->input.engine->value_padded ? ", the value padded to its key" : "");
    } else if (index > 0) {
        add(ledger, "layout", bytes,
            "scales of rows, and an index key of %zu in %.0f B beside each", kind->index_dim,
            index);
    } else {
        add(ledger, "layout", bytes, "scales and metadata of rows");
    }
}

static void add_window(Ledger *ledger, const Plan *plan, size_t i, double bytes) {
    const Engine *engine = plan->input.engine;
    const CacheKind *kind = plan->whole.part[i].kind;
    const LimitedReserve *r = kind->reach == REACH_WINDOW ? &engine->window : &engine->chunk;
    switch ((LimitedRule)r->rule) {
    case LIMITED_ALL:
        add(ledger, "window", bytes, "every token is kept");
        break;
    case LIMITED_SHARE:
        if (plan->whole.any_full)
            add(ledger, "window", bytes, "a pool of %g of the full layers' tokens", r->share);
        else
            add(ledger, "window", bytes, "no layer is full: a pool of every token");
        break;
    default:
        add(ledger, "window", bytes, "min(%zu - %zu + %zu, T) tokens%s", kind->window, r->less,
            r->batch_tokens, r->extra_blocks ? " and a block, since it may begin within one" : "");
    }
}

static void add_groups(Ledger *ledger, const Plan *plan, double bytes) {
    const RankPages *pages = &plan->whole;
    size_t groups = 0, caches = 0;
    for (size_t i = 0; i < pages->count; i++) {
        groups += pages->part[i].groups;
        caches += pages->part[i].caches;
    }
    add(ledger, "groups", bytes,
        "%zu groups of %zu layers: %zu slots hold nothing; pages of one size", groups,
        pages->group_size, groups * pages->group_size - caches);
}

void ledger_cache(Ledger *ledger, const Plan *plan) {
    const RankPages *pages = &plan->whole;
    const double n = (double)plan->input.sequences;
    SequenceBytes of[CACHE_KINDS_MOST];
    double grouped = 0;
    ledger->count = 0;
    for (size_t i = 0; i < pages->count; i++) {
        of[i] = pages_sequence_of_kind(pages, i, plan->input.context_tokens);
        grouped += n * (of[i].reserved - of[i].windowed);
        add_logical(ledger, plan, i, n * of[i].logical);
    }
    for (size_t i = 0; i < pages->count; i++)
        add_layout(ledger, plan, i, n * (of[i].layout - of[i].logical));
    for (size_t i = 0; i < pages->count; i++)
        add(ledger, "blocks", n * (of[i].rounded - of[i].layout), "whole blocks of %zu tokens",
            pages->part[i].block_tokens);
    for (size_t i = 0; i < pages->count; i++)
        add_window(ledger, plan, i, n * (of[i].windowed - of[i].rounded));
    add_groups(ledger, plan, grouped);
    char layout[96];
    layouts_text(&plan->input.deployment, layout, sizeof layout);
    add(ledger, "copies", plan->deployment - plan->bytes.reserved, "%s: %s", layout,
        plan->deployment > plan->bytes.reserved ? "what is not split lies on every rank"
                                                : "rounding falls otherwise on each stage");
}

void ledger_memory(Ledger *ledger, const Plan *plan) {
    const PlanMemory *m = &plan->memory;
    const Engine *engine = plan->input.engine;
    ledger->count = 0;
    if (!plan->input.hardware || !plan->has_pool) return;
    add(ledger, "usable", m->usable, "%s, as its driver reports it", plan->input.hardware->name);
    add(ledger, "utilization", m->used - m->usable, "the engine takes %.3g of it",
        m->used / m->usable);
    add(ledger, "weights", -m->weights, "%s", plan->input.model->weight_format);
    add(ledger, "activation", -m->activation,
        "a step of %zu tokens through the widest layer, and logits: modelled",
        engine->batch_tokens);
    add(ledger, "runtime", -m->runtime, "allowance of the profile %s", engine->name);
}
