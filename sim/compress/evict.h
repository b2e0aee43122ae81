/* evict.h -- eviction: which cached tokens a query still sees, and the attention over them.
 *
 * Every query is asked as the first token decoded after a prompt of all that came before it: the
 * cache is cut to eviction_kept tokens of those visible, and the probabilities of the kept ones are
 * scaled to sum to 1 again. Heads that share a cached head (a group of GQA, all heads of a latent)
 * share what is kept of it, so their votes are added up.
 *
 *   streaming  the first 4 and the newest (StreamingLLM, arXiv 2309.17453)
 *   h2o        the newest half, and those to which all earlier queries gave most probability
 *              (H2O, arXiv 2306.14048)
 *   snapkv     the newest 64 (half of what is kept where that is less), and those to which the last
 *              64 queries before this one gave most, pooled over 5 neighbours (SnapKV, arXiv
 *              2404.14469)
 *   oracle     those to which this very query gives most: what no method can know. Its attention
 *              differs least from the full one in total variation, pooled over the heads that share
 *              what is kept: a lower bound. It stores everything and reads its share */
#ifndef KVLAB_EVICT_H
#define KVLAB_EVICT_H

#include <stdint.h>

#include "kernel.h"
#include "method.h"

/* One sequence, every head as its own scores see it: for the heads of a group the same rows. */
typedef struct {
    size_t tokens, queries; /* the last so many of the tokens are scored */
    size_t heads, kept_heads;
    size_t key_dim, value_dim;
    double scale;
    const float *q; /* [tokens, heads, key_dim] after RoPE: earlier queries vote */
    const float *k; /* [tokens, heads, key_dim] after RoPE */
    const float *v; /* [tokens, heads, value_dim] */
} EvictionText;

/* Fills kept, bits as metrics.h takes them: [kept_heads, queries, (tokens + 7) / 8], and out
 * [queries, heads, value_dim]. The same bits for any number of threads. Errors: ERR_MACHINE for
 * lack of memory. */
Status evict_run(const Eviction *eviction, const EvictionText *text, const Kernels *kernels,
                 unsigned char *kept, float *out, Error *err);

/* The positions that are kept for the last query, in order: [kept_heads, eviction_kept(tokens)]. */
void evict_positions(const Eviction *eviction, const EvictionText *text, const unsigned char *kept,
                     uint32_t *positions);

/* The m largest of n votes as bits, ties to the lowest index; work [n]. */
void evict_choose(size_t n, const float *votes, size_t m, float *work, unsigned char *kept);

#endif
