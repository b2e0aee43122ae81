/* pages.c -- blocks, windows and groups of one rank's pool; see pages.h. */
#include "pages.h"

#include <math.h>

enum { STATE_BLOCK_TOKENS = 16 }; /* blocks made as large as a state grow by so many tokens */

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Tokens that share a row of the kind. */
static double row_tokens(const CacheKind *kind) {
    return kind->row_tokens ? (double)kind->row_tokens : 1;
}

static const LimitedReserve *limited_of(const RankPages *pages, const CacheKind *kind) {
    return kind->reach == REACH_WINDOW ? &pages->engine->window : &pages->engine->chunk;
}

static bool is_full(const CacheKind *kind) {
    return kind->keeps != KEEPS_STATE && kind->reach == REACH_ALL;
}

/* ---- building ---- */

/* Head rows are split by what tensor parallelism leaves over: tp ranks are tp / dcp groups of heads
 * times dcp groups of tokens. What one row serves all heads of is copied, or split by tokens. */
static Status add_kind(RankPages *pages, const CacheKind *kind, KvType type, const RankShare *share,
                       size_t caches, size_t block_tokens, Error *err) {
    const Engine *engine = pages->engine;
    const char *why = row_cost_misfit(kind, engine, type);
    char name[KV_TYPE_ROOM];
    if (why) return fail(err, ERR_INPUT, "--kv-dtype %s: %s", kv_type_name(type, name), why);
    const bool state = kind->keeps == KEEPS_STATE;
    const size_t heads = row_cost_heads(kind, engine);
    if (!engine->uneven_heads && kind->heads % share->tp)
        return fail(err, ERR_INPUT, "--tp %zu: must divide the %zu query heads", share->tp,
                    kind->heads);
    if (share->dcp > 1 && !state) {
        if (kind->reach != REACH_ALL && !engine->dcp_limited)
            return fail(err, ERR_INPUT,
                        "--dcp %zu: %s does not split the tokens of windowed or chunked layers",
                        share->dcp, engine->title);
        if (engine->dcp_copies_only && share->dcp * heads > share->tp)
            return fail(err, ERR_INPUT,
                        "--dcp %zu: %s splits tokens only over copies; %zu heads over --tp %zu "
                        "leave %zu",
                        share->dcp, engine->title, heads, share->tp,
                        share->tp > heads ? share->tp / heads : 1);
    }
    const bool latent = kind->keeps == KEEPS_LATENT && !row_cost_materialised(kind, engine);
    KindPages *part = &pages->part[pages->count++];
    *part = (KindPages){ .kind = kind, .caches = caches, .split_tokens = state ? 1 : share->dcp };
    part->row = row_cost(kind, engine, type, share->tp / share->dcp);
    part->state_bytes = row_cost_state(kind, engine, share->tp);
    part->block_tokens = block_tokens                            ? block_tokens
                         : latent && engine->latent_block_tokens ? engine->latent_block_tokens
                                                                 : engine->block_tokens;
    pages->any_full |= is_full(kind);
    return OK;
}

static double page_of(const KindPages *part) {
    if (part->kind->keeps == KEEPS_STATE) return part->state_bytes;
    return part->row.layout * (double)part->block_tokens / row_tokens(part->kind);
}

/* Blocks as large as the largest state: a state fills one, padded (vLLM's hybrid models). */
static void grow_to_states(RankPages *pages) {
    double state = 0;
    for (size_t i = 0; i < pages->count; i++) state = fmax(state, pages->part[i].state_bytes);
    for (size_t i = 0; i < pages->count; i++) {
        KindPages *part = &pages->part[i];
        if (part->kind->keeps == KEEPS_STATE || part->row.layout <= 0) continue;
        const double alignment = STATE_BLOCK_TOKENS * part->row.layout;
        const size_t tokens = STATE_BLOCK_TOKENS * (size_t)ceil(state / alignment);
        if (part->block_tokens < tokens) part->block_tokens = tokens;
    }
}

/* One page size for all: smaller pages take more tokens, what is left over is padding. */
static double unify_pages(RankPages *pages) {
    double page = 0;
    for (size_t i = 0; i < pages->count; i++) page = fmax(page, page_of(&pages->part[i]));
    for (size_t i = 0; i < pages->count; i++) {
        KindPages *part = &pages->part[i];
        part->page_bytes = page;
        if (part->kind->keeps != KEEPS_STATE && page_of(part) > 0)
            part->block_tokens *= (size_t)(page / page_of(part));
    }
    return page;
}

/* Groups are made over the whole model; a stage then holds a share of each. */
static void make_groups(RankPages *pages, const size_t *whole) {
    const Engine *engine = pages->engine;
    size_t smallest = SIZE_MAX, largest = 0;
    for (size_t i = 0; i < pages->count; i++) {
        smallest = least(smallest, whole[i]);
        if (whole[i] > largest) largest = whole[i];
    }
    const bool even = (double)largest < (double)smallest * engine->group_slack;
    const size_t size = even ? largest : smallest;
    for (size_t i = 0; i < pages->count; i++) {
        KindPages *part = &pages->part[i];
        part->groups = ceil_div(whole[i], size);
        const size_t slots = ceil_div(part->caches, part->groups);
        if (slots > pages->group_size) pages->group_size = slots;
    }
    if (engine->state_paged) grow_to_states(pages);
    pages->block_bytes = unify_pages(pages) * (double)pages->group_size;
    for (size_t i = 0; i < pages->count; i++)
        if (pages->part[i].kind->keeps != KEEPS_STATE &&
            (!pages->block_tokens || pages->part[i].block_tokens < pages->block_tokens))
            pages->block_tokens = pages->part[i].block_tokens;
}

/* Without groups a block holds the layers that grow for good; where none does, one sequence. */
static void make_block(RankPages *pages) {
    for (size_t i = 0; i < pages->count; i++) {
        KindPages *part = &pages->part[i];
        part->page_bytes = page_of(part);
        if (!is_full(part->kind) && pages->any_full) continue;
        pages->block_bytes += part->page_bytes * (double)part->caches;
        if (part->kind->keeps != KEEPS_STATE) pages->block_tokens = part->block_tokens;
    }
}

static bool are_alike(const RankPages *pages) {
    for (size_t i = 1; i < pages->count; i++) {
        const CacheKind *a = pages->part[0].kind, *b = pages->part[i].kind;
        if ((a->keeps == KEEPS_STATE) != (b->keeps == KEEPS_STATE)) return false;
        if (a->reach != b->reach || (a->reach != REACH_ALL && a->window != b->window)) return false;
    }
    return true;
}

Status pages_of_rank(RankPages *out, const Architecture *model, const Engine *engine, KvType type,
                     const RankShare *share, size_t block_tokens, Error *err) {
    RankPages pages = { .engine = engine };
    size_t whole[CACHE_KINDS_MOST];
    for (size_t i = 0; i < model->kind_count; i++) {
        const CacheKind *kind = &model->kind[i];
        if (kind->keeps == KEEPS_IMAGE || kind->layers + kind->draft_layers == 0) continue;
        whole[pages.count] = kind->layers ? kind->layers : kind->draft_layers;
        TRY(add_kind(&pages, kind, type, share, share->caches[i], block_tokens, err));
    }
    if (engine->groups == GROUPS_EQUAL && pages.count > 1 && !are_alike(&pages))
        make_groups(&pages, whole);
    else
        make_block(&pages);
    *out = pages;
    return OK;
}

/* ---- asking ---- */

size_t pages_visible(const CacheKind *kind, size_t tokens) {
    return kind->reach == REACH_ALL ? tokens : least(kind->window, tokens);
}

size_t pages_reserved_tokens(const RankPages *pages, size_t part, size_t tokens) {
    const CacheKind *kind = pages->part[part].kind;
    if (kind->reach == REACH_ALL) return tokens;
    const LimitedReserve *limited = limited_of(pages, kind);
    const size_t window = kind->window - least(limited->less, kind->window) + limited->batch_tokens;
    switch ((LimitedRule)limited->rule) {
    case LIMITED_ALL:
        return tokens;
    case LIMITED_SHARE:
        return pages->any_full ? (size_t)ceil(limited->share * (double)tokens) : tokens;
    default:
        return least(window, tokens);
    }
}

/* Rows for so many tokens: fewer where a row serves several, and those still kept one by one. */
static double rows_of(const KindPages *part, double tokens) {
    const double m = row_tokens(part->kind);
    if (m <= 1) return tokens;
    return ceil(tokens / m) + fmin(tokens, (double)part->kind->row_window);
}

/* Tokens of whole blocks on one of the ranks that split them. */
static double rounded_tokens(const KindPages *part, size_t tokens, size_t extra_blocks) {
    const size_t own = ceil_div(tokens, part->split_tokens);
    return (double)((ceil_div(own, part->block_tokens) + extra_blocks) * part->block_tokens);
}

SequenceBytes pages_sequence_of_kind(const RankPages *pages, size_t i, size_t tokens) {
    const KindPages *part = &pages->part[i];
    const double caches = (double)part->caches;
    const size_t slots = part->groups ? part->groups * pages->group_size : part->caches;
    SequenceBytes b;
    if (part->kind->keeps == KEEPS_STATE) {
        b.logical = b.layout = b.rounded = b.windowed = caches * part->state_bytes;
        b.reserved = (double)slots * part->page_bytes;
        return b;
    }
    const CacheKind *kind = part->kind;
    const size_t extra = kind->reach == REACH_ALL ? 0 : limited_of(pages, kind)->extra_blocks;
    const size_t visible = pages_visible(kind, tokens);
    const double own = (double)visible / (double)part->split_tokens;
    const double reserved = rounded_tokens(part, pages_reserved_tokens(pages, i, tokens), extra);
    b.logical = caches * part->row.logical * rows_of(part, own);
    b.layout = caches * part->row.layout * rows_of(part, own);
    b.rounded = caches * part->row.layout * rows_of(part, rounded_tokens(part, visible, 0));
    b.windowed = fmax(b.rounded, caches * part->row.layout * rows_of(part, reserved));
    b.reserved = part->groups
                     ? (double)slots * part->page_bytes * reserved / (double)part->block_tokens
                     : b.windowed;
    return b;
}

SequenceBytes pages_sequence(const RankPages *pages, size_t tokens) {
    SequenceBytes sum = { 0 };
    for (size_t i = 0; i < pages->count; i++) {
        const SequenceBytes b = pages_sequence_of_kind(pages, i, tokens);
        sum.logical += b.logical;
        sum.layout += b.layout;
        sum.rounded += b.rounded;
        sum.windowed += b.windowed;
        sum.reserved += b.reserved;
    }
    return sum;
}

/* Tokens by which the reserve of a layer grows with a token of the sequence. */
static double growth_tokens(const RankPages *pages, size_t part, size_t tokens) {
    const CacheKind *kind = pages->part[part].kind;
    if (is_full(kind)) return 1;
    const LimitedReserve *limited = limited_of(pages, kind);
    if (limited->rule == LIMITED_SHARE && pages->any_full) return limited->share;
    return pages_reserved_tokens(pages, part, tokens + 1) >
                   pages_reserved_tokens(pages, part, tokens)
               ? 1
               : 0;
}

double pages_growth(const RankPages *pages, size_t tokens) {
    double growth = 0;
    for (size_t i = 0; i < pages->count; i++) {
        const KindPages *part = &pages->part[i];
        if (part->kind->keeps == KEEPS_STATE) continue;
        growth += (double)part->caches * part->row.layout * growth_tokens(pages, i, tokens) /
                  (row_tokens(part->kind) * (double)part->split_tokens);
    }
    return growth;
}
