/* pages.h -- the cache pool of one rank: which layers it holds, how an engine cuts their rows into
 * blocks, and what a sequence of T tokens reserves there. `exact`.
 *
 * A block is the unit in which a pool is given out. Where kinds have pools of their own
 * (GROUPS_NONE) it holds block_tokens tokens of all layers that grow. Where they share one pool
 * (GROUPS_EQUAL) layers of a kind form groups of equal size, padded, and a block holds one page for
 * each layer of a group:
 *
 *   kind  layers  groups of 10     gemma-3-27b: 62 layers in 7 groups, 8 slots hold nothing
 *   full  10      1
 *   window 52     6 (8 padded)                                                                  */
#ifndef KVLAB_PAGES_H
#define KVLAB_PAGES_H

#include "row_cost.h"

/* What a rank is of its deployment. */
typedef struct {
    size_t tp;            /* ranks that split heads */
    size_t dcp;           /* of them, ranks that split tokens instead; divides tp */
    const size_t *caches; /* of each kind of the model that lie on this rank's stage */
} RankShare;

typedef struct {
    const CacheKind *kind;
    size_t caches;       /* on this rank */
    RowCost row;         /* of one of them, on this rank */
    double state_bytes;  /* of one of them, a sequence */
    size_t split_tokens; /* ranks that its tokens are split over */
    size_t block_tokens;
    size_t groups;     /* 0: a pool of its own */
    double page_bytes; /* of one layer */
} KindPages;

typedef struct {
    const Engine *engine;
    size_t count;
    KindPages part[CACHE_KINDS_MOST];
    bool any_full;      /* some kind grows with all tokens */
    size_t group_size;  /* layer slots of a group on this rank, 0: no groups */
    double block_bytes; /* of one block of the pool */
    size_t block_tokens;
} RankPages;

/* What a model's caches and an engine make of a rank. block_tokens 0: the engine's own; `draft`
 * counts the caches of MTP and draft layers too. Errors: ERR_INPUT where the type cannot store the
 * rows of a kind, or the engine cannot split tokens like that. */
Status pages_of_rank(RankPages *out, const Architecture *model, const Engine *engine, KvType type,
                     const RankShare *share, size_t block_tokens, Error *err);

/* What one sequence of `tokens` tokens takes on the rank, in the order of the ledger; each field
 * holds what the one before it holds and more. */
typedef struct {
    double logical;  /* values of visible tokens */
    double layout;   /* rows of visible tokens as stored */
    double rounded;  /* whole blocks of them */
    double windowed; /* and what limited layers reserve beyond their window */
    double reserved; /* and padded slots, pages and states */
} SequenceBytes;

SequenceBytes pages_sequence(const RankPages *pages, size_t tokens);
SequenceBytes pages_sequence_of_kind(const RankPages *pages, size_t part, size_t tokens);

/* Bytes by which a sequence of `tokens` tokens grows with one more, block rounding aside. */
double pages_growth(const RankPages *pages, size_t tokens);

/* Tokens of a sequence that a layer of the kind still sees: all, or at most its window. */
size_t pages_visible(const CacheKind *kind, size_t tokens);

/* Tokens for which a layer of the part reserves rows, rounding aside. */
size_t pages_reserved_tokens(const RankPages *pages, size_t part, size_t tokens);

#endif
