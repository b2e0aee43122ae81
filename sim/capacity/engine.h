/* engine.h -- how a serving engine keeps the cache: configs/engines/NAME.yaml, declared in keys.
 *
 * The same model costs different bytes in different engines, and each profile names the version
 * that it describes. `logical` is no engine: what the mathematics stores, rounded to nothing. */
#ifndef KVLAB_ENGINE_H
#define KVLAB_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

typedef enum { MLA_LATENT, MLA_MATERIALISED } LatentRule;

/* What a sequence reserves of a layer whose reach is limited. */
typedef enum {
    LIMITED_WINDOW, /* min(window - less + batch_tokens, T) tokens and extra_blocks */
    LIMITED_ALL,    /* all of T: the limit saves nothing */
    LIMITED_SHARE   /* `share` of T, since the pools are cut in that proportion, or the window */
} LimitedRule;

typedef struct {
    int rule; /* LimitedRule */
    size_t less, batch_tokens, extra_blocks;
    double share;
} LimitedReserve;

typedef enum {
    GROUPS_NONE, /* a pool for each kind */
    GROUPS_EQUAL /* one pool: layers of a kind in groups of equal size, short ones padded, one page
                    size for all (vLLM) */
} GroupRule;

typedef struct {
    char name[32], title[64], version[96], source[256];
    size_t block_tokens;        /* of a block (page, cells) */
    size_t latent_block_tokens; /* of MLA rows, 0: the same */
    size_t null_blocks;         /* of a pool, that hold nothing */
    size_t padding_tokens;      /* of a pool, allocated beside it */
    int latent;                 /* LatentRule */
    size_t materialised_rank;   /* kv_lora_rank of MLA that is materialised all the same, 0 none */
    bool value_padded;          /* a materialised value is as wide as its key */
    bool index_fp8_ds_mla;      /* fp8 of layers with an index key means fp8_ds_mla */
    LimitedReserve window, chunk;
    int groups; /* GroupRule */
    double group_slack;
    double state_bytes, conv_bytes; /* of an element of a linear layer's state and tail */
    bool state_paged;       /* blocks are made as large as the state, which is padded to one */
    bool uneven_heads;      /* splits query heads over ranks that do not divide them */
    bool dcp_limited;       /* can split the tokens of limited layers over ranks */
    bool dcp_copies_only;   /* splits tokens only where heads would be copied */
    bool casts_f32;         /* weights of f32 are loaded in 16 bits unless it is told otherwise */
    double utilization;     /* of device memory, by default */
    size_t batch_tokens;    /* of a step of prefill: what activations are sized by */
    uint64_t runtime_bytes; /* a device's runtime, libraries and graphs: an allowance */
} Engine;

/* Reads configs/engines/<name>.yaml. Errors: ERR_INPUT with the nearest right name, or the place in
 * the file, the key and what is allowed. */
Status engine_read(Engine *engine, const char *name, Error *err);

/* The same from memory; name stands for the file in messages. For fuzzing. */
Status engine_parse(Engine *engine, const char *name, const char *text, size_t length, Error *err);

#endif
