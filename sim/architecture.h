/* architecture.h -- what each layer of a whole model keeps of its past, and how many parameters its
 * parts have: the shapes that capacity is planned from. model.h describes the attention of one
 * layer that can be run; this one describes all layers, also those that kvlab only accounts for.
 *
 * Everything here is read from a config.json by its fields, or computed from them: `exact`. */
#ifndef KVLAB_ARCHITECTURE_H
#define KVLAB_ARCHITECTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARCHITECTURE_LAYERS_MOST = 1024, CACHE_KINDS_MOST = 16, NO_CACHE = 255 };

typedef enum {
    KEEPS_HEADS,  /* a key row and a value row for each of kv_heads */
    KEEPS_LATENT, /* one row of C + R, the normalised latent and the rotated key (MLA) */
    KEEPS_ROW,    /* one row that is key and value at once (DeepSeek-V4) */
    KEEPS_STATE,  /* a state whose size does not depend on the tokens (Mamba, KDA, gated delta) */
    KEEPS_IMAGE   /* cross attention over an encoder's states: nothing of a text token */
} Keeps;

typedef enum {
    REACH_ALL,    /* every token of the sequence */
    REACH_WINDOW, /* the newest `window` tokens */
    REACH_CHUNK   /* the tokens of the current chunk of `window` */
} Reach;

/* One kind of cache; layers that keep the same share it. Widths in elements. */
typedef struct {
    Keeps keeps;
    size_t layers;                       /* caches of this kind in the model itself */
    size_t draft_layers;                 /* the same in its MTP or draft layers */
    size_t heads;                        /* H query heads */
    size_t kv_heads, key_dim, value_dim; /* KEEPS_HEADS and KEEPS_IMAGE */
    size_t kv_lora_rank, rope_dim, nope_dim, mla_value_dim; /* KEEPS_LATENT: C, R, P, V */
    size_t q_lora_rank;                                     /* Q, 0 when not factored */
    Reach reach;
    size_t window;     /* tokens, where reach is not all */
    size_t row_tokens; /* tokens that share one row: 1, or more where a layer compresses */
    size_t row_window; /* newest tokens that such a layer keeps uncompressed beside, 0 none */
    size_t index_dim;  /* width of the index key beside each row, 0 none */
    size_t index_heads, index_topk;
    size_t state_elements; /* KEEPS_STATE: of the state, a sequence */
    size_t conv_elements;  /* of the convolution's tail, a sequence */
    size_t state_heads;    /* heads that tensor parallelism can split the state by */
    char rule[96];         /* the fields that say so: "layer_types, sliding_window" */
} CacheKind;

/* Parameters by part. Experts are counted once each in `experts`; what one token passes through is
 * `active`. */
typedef struct {
    double embedding, head; /* head is 0 where it is tied to the embedding */
    double attention; /* all layers: projections, norms, linear attention, index projections */
    double dense_mlp; /* layers without experts */
    double shared_experts, experts, router;
    double norms;
    double draft;  /* all of the MTP or draft layers */
    double total;  /* all of the above */
    double active; /* of a token in a decode step, embedding rows aside */
} ParameterCount;

typedef struct {
    char name[128];
    char attention[32]; /* for people: "MLA-512+64 + index", "GQA-8", "GQA-8, 5 of 6 windowed" */
    size_t layers, hidden, heads, vocabulary;
    size_t longest_tokens; /* max_position_embeddings, 0 unknown */
    size_t dense_intermediate, expert_intermediate;
    size_t experts, experts_per_token, shared_experts;
    size_t kind_count;
    CacheKind kind[CACHE_KINDS_MOST];
    /* Of each layer: its kind (NO_CACHE for none) and how many caches of that kind it holds (two in
     * LongCat); draft layers follow the model's own. */
    uint8_t layer_kind[ARCHITECTURE_LAYERS_MOST], layer_caches[ARCHITECTURE_LAYERS_MOST];
    /* Is the layer's MLP made of experts? */
    bool layer_experts[ARCHITECTURE_LAYERS_MOST];
    size_t draft_layers;
    ParameterCount parameters;
    /* How the weights are stored: bits of one parameter of the quantised matrices, all scales
     * included, and of the rest. From dtype and quantization_config. */
    double quantised_bits, plain_bits;
    char weight_format[48]; /* for people: "fp8 e4m3, 128x128 blocks", "bf16", "mxfp4" */
} Architecture;

#endif
