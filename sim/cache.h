/* cache.h -- the paged cache of one layer: blocks really held, rows in their stored type, a block
 * table for each sequence, and an exact count of the bytes.
 *
 * A pool grows by blocks of block_tokens tokens; a sequence owns ceil(tokens / block_tokens) of
 * them; freed blocks are used again, last freed first. Layout of a block: attention.h. */
#ifndef KVLAB_CACHE_H
#define KVLAB_CACHE_H

#include "attention.h"
#include "error.h"
#include "method.h"
#include "model.h"

typedef struct {
    KvType type; /* of rows, unless there is a codec */
    size_t block_tokens;
    const Codec *codec; /* of a method that fits (method_check); NULL: plain rows */
} CacheParams;

typedef struct Cache Cache;

/* An empty cache for rows of this shape, with room for at least `tokens` tokens in each of
 * `sequences` sequences. Errors: ERR_INPUT where rows of that shape cannot be stored so
 * (cache_shape_check) or a codec cannot be held; ERR_MACHINE when memory is refused. */
Status cache_new(Cache **cache, const CacheParams *params, const CacheShape *shape,
                 size_t sequences, size_t tokens, Error *err);
void cache_free(Cache *cache);

/* Opens a sequence, its number in *sequence; releases one, whose blocks go back to the pool. */
Status cache_open(Cache *cache, size_t *sequence, Error *err);
void cache_close(Cache *cache, size_t sequence);

/* Appends tokens to a sequence: k [tokens, kv_heads, key_dim] and v [tokens, kv_heads, value_dim]
 * (v is NULL when the value lies in the key row), encoded by the kernels' codec with that many
 * threads. Errors: ERR_MACHINE when the pool cannot grow; the sequence is then as it was. */
Status cache_append(Cache *cache, const Kernels *kernels, int threads, size_t sequence,
                    size_t tokens, const float *k, const float *v, Error *err);

/* Decodes tokens first .. first+tokens-1 of a sequence, in the form cache_append takes. */
void cache_read(const Cache *cache, const Kernels *kernels, size_t sequence, size_t first,
                size_t tokens, float *k, float *v);

size_t cache_tokens(const Cache *cache, size_t sequence);

/* Forgets all but the first `tokens` tokens of a sequence; whole blocks go back to the pool. Where
 * a codec groups tokens the kernels bring the tokens of a group that is cut back out of it. */
void cache_truncate(Cache *cache, const Kernels *kernels, size_t sequence, size_t tokens);

/* What attention.h needs; the view of a sequence holds until the cache changes. */
KvLayout cache_layout(const Cache *cache);
KvSequence cache_sequence(const Cache *cache, size_t sequence);

/* Are rows stored turned (rotation.h)? Then queries [n, key_dim] must be turned before they meet
 * the cache's rows in place, and outputs [n, value_dim] back after; cache_read turns back by
 * itself. */
bool cache_turns(const Cache *cache);
void cache_turn_queries(const Cache *cache, size_t n, float *q);
void cache_turn_outputs(const Cache *cache, size_t n, float *out);

/* What is held, counted on the structures themselves, not computed from a formula. */
typedef struct {
    size_t payload_bytes;     /* rows of tokens that are there */
    size_t block_waste_bytes; /* room in owned blocks, and in windows, that holds no token */
    size_t table_bytes;       /* block tables of the open sequences, 4 bytes a block */
    size_t free_bytes;        /* blocks of the pool that no sequence owns */
    size_t pool_bytes;        /* all blocks and windows: payload + waste + free */
} CacheBytes;
CacheBytes cache_bytes(const Cache *cache);

/* Bytes of the pool that are resident in memory now, as the kernel reports pages (mincore); 0 where
 * it cannot be read. `measured`. */
size_t cache_resident_bytes(const Cache *cache);

#endif
