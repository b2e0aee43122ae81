/* attention.h -- causal softmax attention of query rows over a paged cache.
 *
 * One driver serves MHA, GQA, MQA and absorbed MLA, prefill and decode: absorbed MLA is MQA whose
 * keys are whole latent rows (dk = C + R) and whose values are the first dv = C of the same bytes.
 *
 * Glossary: H query heads, G key/value heads (G divides H), dk and dv widths of a key and a value
 * row, B sequences, T query tokens of a sequence in this call, S its cached tokens.
 *
 * Layout of a block of P tokens (head-major, so that one head reads sequentially):
 *
 *   | K: G heads x P tokens x dk | V: G heads x P tokens x dv |      materialised, MHA, GQA, MQA
 *   | P tokens x (C + R)         |                                   latent: V lies inside K
 *
 * described by offsets and strides, so other layouts need no other driver. */
#ifndef KVLAB_ATTENTION_H
#define KVLAB_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel.h"

struct KvSequence;

/* Rows that are not rows of a format each by itself, as where tokens share a scale. */
typedef struct KvCoding {
    /* Tokens first .. first+n-1 of a head of a sequence as floats: keys [n, ld_k] and, unless they
     * lie in the key rows, values [n, ld_v]. */
    void (*decode)(const struct KvCoding *coding, const Kernels *kernels,
                   const struct KvSequence *sequence, size_t head, size_t first, size_t n,
                   float *keys, size_t ld_k, float *values, size_t ld_v);
    double token_bytes; /* of a token in a full block, all heads: the least a call must read */
} KvCoding;

/* Where K and V rows lie within a block; all offsets and strides in bytes. */
typedef struct {
    RowFormat k, v;            /* how a key and a value row is stored; the same row for v_in_k */
    size_t kv_heads;           /* G */
    size_t dk, dv;             /* elements */
    size_t k_offset, v_offset; /* of head 0, token 0 */
    size_t k_head, v_head;     /* from head to head */
    size_t k_row, v_row;       /* from token to token */
    size_t block_tokens;       /* P */
    size_t block_bytes;        /* from block to block of the pool */
    bool v_in_k;               /* values are the first dv elements of the key row */
    const KvCoding *coding;    /* NULL: every row is one of its format */
} KvLayout;

/* The block layout above for G heads. v_in_k is for the latent: then rows are of type.k, C is dv,
 * v_head = k_head and v_row = k_row. */
KvLayout kv_layout(KvType type, size_t kv_heads, size_t dk, size_t dv, bool v_in_k,
                   size_t block_tokens);

/* One sequence: its cached rows and the query tokens that look at them. */
typedef struct KvSequence {
    const unsigned char *pool; /* block b lies at pool + b*block_bytes */
    const uint32_t *table;     /* block numbers, ceil(tokens / block_tokens) of them */
    size_t tokens;             /* rows held in these blocks */
    size_t position;           /* of the first of these rows in the sequence (0: all of it) */
    size_t q_tokens;           /* T */
    size_t q_position;         /* of the first query token: it sees rows at positions <= its own */
    const void *coded;         /* what the layout's coding keeps of this sequence beside blocks */
} KvSequence;

typedef struct {
    KvLayout layout;
    size_t heads;               /* H */
    float scale;                /* softmax scale */
    size_t sequences;           /* B */
    const KvSequence *sequence; /* [B] */
    const float *q;             /* [sum of T, H, dk], sequence after sequence */
    float *out;                 /* [sum of T, H, dv]; rows that see nothing become 0 */
    float *lse;                 /* [sum of T, H] log of the sum of exp(scores), or NULL */
} Attention;

/* Floats of workspace that attention_run needs with that many threads. */
size_t attention_workspace(const Attention *a, int threads);

/* Runs it. The split of long contexts does not depend on the number of threads, and partial results
 * are merged in order, so the result is the same to the bit for any number. */
void attention_run(const Kernels *kernels, const Attention *a, int threads, float *workspace);

/* Merges a partial result into another over `rows` rows of width dv, both normalised with their
 * log-sum-exp: l = log(e^la + e^lb), o = e^(la-l) oa + e^(lb-l) ob. */
void attention_merge(size_t rows, size_t dv, float *out, float *lse, const float *part_out,
                     const float *part_lse);

/* The least a call must compute and move. */
typedef struct {
    double flops; /* 2 (dk + dv) for each visible (query row, token) pair and head */
    double bytes; /* every visible cached row once, queries and outputs once */
} Cost;

Cost attention_cost(const Attention *a);

#endif
