/* cache.c -- blocks, tables and counts; see cache.h.
 *
 * One pool holds all blocks side by side. Blocks never used yet are handed out in order; freed ones
 * go on a stack and are used first:
 *
 *   pool | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |        sequence 0: table 0 2 3, 41 tokens of 16 a block
 *          s0      s0  s0  fresh -------->        freed stack: 1
 *
 * A sequence's table names its blocks in order: token t lies in block table[t / P], row t mod P. */
#define _DEFAULT_SOURCE /* mincore */
#include "cache.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buffer.h"
#include "coding.h"

typedef struct {
    uint32_t *table;
    size_t capacity, blocks; /* room in the table, blocks owned */
    size_t tokens;
    bool open;
    CodedRows coded; /* where the cache has a codec */
} Sequence;

struct Cache {
    CacheShape shape;
    KvLayout layout;
    Coding *coding; /* NULL: plain rows */
    unsigned char *pool;
    size_t pool_blocks;
    size_t fresh;    /* blocks from here on were never used */
    uint32_t *freed; /* [pool_blocks] stack of freed blocks */
    size_t freed_count;
    Sequence *sequences;
    size_t sequence_count, sequence_capacity;
};

static size_t blocks_for(const Cache *cache, size_t tokens) {
    const size_t block_tokens = cache->layout.block_tokens;
    return tokens / block_tokens + (tokens % block_tokens != 0);
}

/* Of `tokens` tokens of a sequence, those that lie in blocks: all, but for exact rows of a codec.
 */
static size_t stream_tokens(const Cache *cache, const Sequence *s, size_t tokens) {
    return cache->coding ? coding_stream(cache->coding, &s->coded, tokens) : tokens;
}

/* Tables name blocks by 32 bits. */
static Status check_blocks(size_t blocks, Error *err) {
    if (blocks <= UINT32_MAX) return OK;
    return fail(err, ERR_MACHINE, "out of memory: %zu cache blocks, of at most %lu", blocks,
                (unsigned long)UINT32_MAX);
}

/* Makes the pool at least `blocks` long. Nothing changes on failure. */
static Status grow_pool(Cache *cache, size_t blocks, Error *err) {
    if (blocks <= cache->pool_blocks) return OK;
    TRY(check_blocks(blocks, err));
    unsigned char *pool =
        buffer_new(blocks, cache->layout.block_bytes, "the blocks of the cache", err);
    uint32_t *freed = pool ? buffer_new(blocks, sizeof *freed, "free cache blocks", err) : NULL;
    if (!freed) {
        buffer_free(pool);
        return ERR_MACHINE;
    }
    if (cache->pool) memcpy(pool, cache->pool, cache->fresh * cache->layout.block_bytes);
    if (cache->freed) memcpy(freed, cache->freed, cache->freed_count * sizeof *freed);
    buffer_free(cache->pool);
    buffer_free(cache->freed);
    cache->pool = pool;
    cache->freed = freed;
    cache->pool_blocks = blocks;
    return OK;
}

Status cache_new(Cache **cache, const CacheParams *params, const CacheShape *shape,
                 size_t sequences, size_t tokens, Error *err) {
    assert(params->block_tokens > 0);
    if (!params->codec) TRY(cache_shape_check(shape, params->type, err));
    Cache *draft;
    TRY(BUFFER(&draft, 1, "the cache", err));
    draft->shape = *shape;
    Status status = OK;
    if (params->codec)
        status = coding_new(&draft->coding, params->codec, shape, params->block_tokens, err);
    if (status == OK) {
        draft->layout = draft->coding
                            ? coding_layout(draft->coding)
                            : kv_layout(params->type, shape->kv_heads, shape->key_dim,
                                        shape->value_dim, shape->shared, params->block_tokens);
        const size_t each = blocks_for(draft, stream_tokens(draft, &(Sequence){ 0 }, tokens));
        const size_t blocks = each && sequences > SIZE_MAX / each ? SIZE_MAX : each * sequences;
        status = grow_pool(draft, blocks, err);
    }
    if (status == OK)
        *cache = draft;
    else
        cache_free(draft);
    return status;
}

void cache_free(Cache *cache) {
    if (!cache) return;
    for (size_t i = 0; i < cache->sequence_count; i++) {
        buffer_free(cache->sequences[i].table);
        coding_close(&cache->sequences[i].coded);
    }
    coding_free(cache->coding);
    buffer_free(cache->sequences);
    buffer_free(cache->freed);
    buffer_free(cache->pool);
    buffer_free(cache);
}

static Sequence *sequence_at(const Cache *cache, size_t sequence) {
    assert(sequence < cache->sequence_count && cache->sequences[sequence].open);
    return &cache->sequences[sequence];
}

Status cache_open(Cache *cache, size_t *sequence, Error *err) {
    size_t number = 0;
    while (number < cache->sequence_count && cache->sequences[number].open) number++;
    if (number == cache->sequence_count) {
        Sequence *grown = buffer_grown(cache->sequences, &cache->sequence_capacity, number,
                                       number + 1, sizeof *grown, "the cache's sequences", err);
        if (!grown) return ERR_MACHINE;
        cache->sequences = grown;
        cache->sequence_count++;
        cache->sequences[number] = (Sequence){ 0 };
    }
    Sequence *s = &cache->sequences[number];
    if (cache->coding) TRY(coding_open(cache->coding, &s->coded, err));
    s->open = true;
    *sequence = number;
    return OK;
}

void cache_truncate(Cache *cache, const Kernels *kernels, size_t sequence, size_t tokens) {
    Sequence *s = sequence_at(cache, sequence);
    if (tokens >= s->tokens) return;
    if (cache->coding) {
        const KvSequence view = cache_sequence(cache, sequence);
        coding_truncate(cache->coding, kernels, &view, &s->coded, tokens);
    }
    const size_t kept = blocks_for(cache, stream_tokens(cache, s, tokens));
    while (s->blocks > kept) cache->freed[cache->freed_count++] = s->table[--s->blocks];
    s->tokens = tokens;
}

void cache_close(Cache *cache, size_t sequence) {
    Sequence *s = sequence_at(cache, sequence);
    while (s->blocks) cache->freed[cache->freed_count++] = s->table[--s->blocks];
    buffer_free(s->table);
    coding_close(&s->coded);
    *s = (Sequence){ 0 };
}

/* Gives a sequence the blocks that this many tokens need, or leaves it as it was. */
static Status own_blocks(Cache *cache, Sequence *s, size_t tokens, Error *err) {
    const size_t needed = blocks_for(cache, tokens);
    if (needed <= s->blocks) return OK;
    TRY(check_blocks(needed, err));
    uint32_t *table = buffer_grown(s->table, &s->capacity, s->blocks, needed, sizeof *table,
                                   "a block table", err);
    if (!table) return ERR_MACHINE;
    s->table = table;
    const size_t unused = cache->freed_count + (cache->pool_blocks - cache->fresh);
    const size_t missing = needed - s->blocks > unused ? needed - s->blocks - unused : 0;
    if (missing) {
        const size_t least = cache->pool_blocks + missing, doubled = 2 * cache->pool_blocks;
        TRY(grow_pool(cache, least > doubled ? least : doubled, err));
    }
    while (s->blocks < needed)
        s->table[s->blocks++] =
            cache->freed_count ? cache->freed[--cache->freed_count] : (uint32_t)cache->fresh++;
    return OK;
}

/* Where head `head` of token `token` lies: its key row, and its value row. */
static unsigned char *key_row(const Cache *cache, const Sequence *s, size_t token, size_t head) {
    const KvLayout *l = &cache->layout;
    return cache->pool + (size_t)s->table[token / l->block_tokens] * l->block_bytes + l->k_offset +
           head * l->k_head + token % l->block_tokens * l->k_row;
}

static unsigned char *value_row(const Cache *cache, const Sequence *s, size_t token, size_t head) {
    const KvLayout *l = &cache->layout;
    return cache->pool + (size_t)s->table[token / l->block_tokens] * l->block_bytes + l->v_offset +
           head * l->v_head + token % l->block_tokens * l->v_row;
}

Status cache_append(Cache *cache, const Kernels *kernels, int threads, size_t sequence,
                    size_t tokens, const float *k, const float *v, Error *err) {
    Sequence *s = sequence_at(cache, sequence);
    if (tokens > SIZE_MAX - s->tokens)
        return fail(err, ERR_MACHINE, "out of memory: %zu more tokens in a sequence", tokens);
    TRY(own_blocks(cache, s, stream_tokens(cache, s, s->tokens + tokens), err));
    if (cache->coding) {
        const KvSequence view = cache_sequence(cache, sequence);
        TRY(coding_append(cache->coding, kernels, threads, &view, &s->coded, s->tokens, tokens, k,
                          v, err));
        s->tokens += tokens;
        return OK;
    }
    const size_t heads = cache->shape.kv_heads, dk = cache->shape.key_dim,
                 dv = cache->shape.value_dim;
    const RowFormat *key = &cache->layout.k, *value = &cache->layout.v;
    const bool shared = cache->shape.shared;
#pragma omp parallel for schedule(static) num_threads(threads) if (tokens > 1)
    for (size_t t = 0; t < tokens; t++)
        for (size_t g = 0; g < heads; g++) {
            kernels->encode[key->type](key, k + (t * heads + g) * dk,
                                       key_row(cache, s, s->tokens + t, g));
            if (!shared)
                kernels->encode[value->type](value, v + (t * heads + g) * dv,
                                             value_row(cache, s, s->tokens + t, g));
        }
    s->tokens += tokens;
    return OK;
}

void cache_read(const Cache *cache, const Kernels *kernels, size_t sequence, size_t first,
                size_t tokens, float *k, float *v) {
    const Sequence *s = sequence_at(cache, sequence);
    assert(first <= s->tokens && tokens <= s->tokens - first);
    if (cache->coding) {
        const KvSequence view = cache_sequence(cache, sequence);
        coding_read(cache->coding, kernels, &view, first, tokens, k, v);
        return;
    }
    const size_t heads = cache->shape.kv_heads, dk = cache->shape.key_dim,
                 dv = cache->shape.value_dim;
    const RowFormat *key = &cache->layout.k, *value = &cache->layout.v;
    for (size_t t = 0; t < tokens; t++)
        for (size_t g = 0; g < heads; g++) {
            kernels->decode[key->type](key, dk, key_row(cache, s, first + t, g),
                                       k + (t * heads + g) * dk);
            if (!cache->shape.shared)
                kernels->decode[value->type](value, dv, value_row(cache, s, first + t, g),
                                             v + (t * heads + g) * dv);
        }
}

size_t cache_tokens(const Cache *cache, size_t sequence) {
    return sequence_at(cache, sequence)->tokens;
}

KvLayout cache_layout(const Cache *cache) {
    return cache->layout;
}

KvSequence cache_sequence(const Cache *cache, size_t sequence) {
    const Sequence *s = sequence_at(cache, sequence);
    return (KvSequence){ .pool = cache->pool,
                         .table = s->table,
                         .tokens = s->tokens,
                         .q_position = s->tokens,
                         .coded = &s->coded };
}

bool cache_turns(const Cache *cache) {
    return cache->coding && coding_turns(cache->coding);
}

void cache_turn_queries(const Cache *cache, size_t n, float *q) {
    if (cache_turns(cache)) coding_turn_queries(cache->coding, n, q);
}

void cache_turn_outputs(const Cache *cache, size_t n, float *out) {
    if (cache_turns(cache)) coding_turn_outputs(cache->coding, n, out);
}

/* Bytes of a sequence's rows as they lie: in its blocks (every head's key, and its value where that
 * is kept apart), and among exact rows. */
static void row_bytes_of(const Cache *cache, const Sequence *s, size_t *in_blocks, size_t *exact) {
    const KvLayout *l = &cache->layout;
    *exact = 0;
    *in_blocks = s->tokens * l->kv_heads * (l->k_row + (l->v_in_k ? 0 : l->v_row));
    if (cache->coding) coding_payload(cache->coding, &s->coded, s->tokens, in_blocks, exact);
}

CacheBytes cache_bytes(const Cache *cache) {
    const size_t block_bytes = cache->layout.block_bytes;
    CacheBytes bytes = { .pool_bytes = cache->pool_blocks * block_bytes,
                         .free_bytes = (cache->freed_count + cache->pool_blocks - cache->fresh) *
                                       block_bytes };
    for (size_t i = 0; i < cache->sequence_count; i++) {
        const Sequence *s = &cache->sequences[i];
        if (!s->open) continue;
        const size_t room = cache->coding ? cache->coding->exact_bytes : 0;
        size_t in_blocks, exact;
        row_bytes_of(cache, s, &in_blocks, &exact);
        bytes.payload_bytes += in_blocks + exact;
        bytes.block_waste_bytes += s->blocks * block_bytes - in_blocks + room - exact;
        bytes.pool_bytes += room;
        bytes.table_bytes += s->blocks * sizeof *s->table;
    }
    return bytes;
}

size_t cache_resident_bytes(const Cache *cache) {
    enum { PAGES = 4096 };
    unsigned char present[PAGES];
    const long page_size = sysconf(_SC_PAGESIZE);
    const size_t bytes = cache->pool_blocks * cache->layout.block_bytes;
    if (page_size <= 0 || bytes == 0) return 0;
    const size_t page = (size_t)page_size;
    const uintptr_t start = (uintptr_t)cache->pool, end = start + bytes;
    size_t resident = 0;
    for (uintptr_t at = start - start % page; at < end; at += PAGES * page) {
        const size_t rest = ((size_t)(end - at) + page - 1) / page;
        const size_t pages = rest < PAGES ? rest : PAGES;
        if (mincore((void *)at, pages * page, present) != 0) return 0;
        for (size_t i = 0; i < pages; i++) {
            if (!(present[i] & 1)) continue;
            /* The first and the last page may reach beyond the pool. */
            const uintptr_t from = at + i * page, to = from + page;
            resident += (to < end ? to : end) - (from > start ? from : start);
        }
    }
    return resident;
}
