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

#include "error.h"

enum { ARCHITECTURE_LAYERS_MOST = 1024, CACHE_KINDS_MOST = 16, NO_CACHE = 255 };
enum { ARCHITECTURE_NOTES_MOST = 6, ARCHITECTURE_NOTE_SIZE = 320 };

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
    size_t state_elements;      /* KEEPS_STATE: of the state, a sequence */
    size_t conv_elements;       /* of the convolution's tail, a sequence */
    size_t state_heads;         /* heads that tensor parallelism can split the state by */
    size_t state_element_bytes; /* where the file says it (mamba_ssm_cache_dtype), else 0 */
    double parameters;          /* of the attention of one layer with one such cache */
    char rule[96];              /* the fields that say so: "layer_types, sliding_window" */
} CacheKind;

/* The parts that weights are counted, stored and sharded by. */
typedef enum {
    PART_EMBEDDING,
    PART_HEAD,      /* none where it is tied to the embedding */
    PART_ATTENTION, /* all layers: projections, norms, linear attention, index projections */
    PART_DENSE_MLP, /* layers without experts */
    PART_SHARED_EXPERTS,
    PART_EXPERTS, /* each once */
    PART_ROUTER,
    PART_NORMS,
    PART_DRAFT, /* all of the MTP or draft layers */
    PART_OTHER, /* towers for images or sound; known where the tensors are */
    WEIGHT_PARTS
} WeightPart;

typedef struct {
    double part[WEIGHT_PARTS];
    double total;  /* all of them */
    double active; /* that a token of a decode step passes through, embedding and draft aside */
} ParameterCount;

/* What a layer has besides attention. */
typedef enum { MLP_NONE, MLP_DENSE, MLP_EXPERTS } LayerMlp;

typedef struct {
    char name[128];
    char attention[64]; /* for people: "MLA-512+64, indexed", "GQA-8, 52 of 62 windowed" */
    size_t layers, hidden, heads, vocabulary;
    size_t longest_tokens; /* max_position_embeddings, 0 unknown */
    size_t dense_intermediate, expert_intermediate;
    size_t experts, experts_per_token, shared_experts;
    size_t kind_count;
    CacheKind kind[CACHE_KINDS_MOST];
    /* Of each layer: its kind (NO_CACHE for none) and how many caches of that kind it holds (two in
     * LongCat); draft layers follow the model's own. */
    uint8_t layer_kind[ARCHITECTURE_LAYERS_MOST], layer_caches[ARCHITECTURE_LAYERS_MOST];
    uint8_t layer_mlp[ARCHITECTURE_LAYERS_MOST]; /* LayerMlp */
    size_t draft_layers;
    ParameterCount parameters;
    /* How they are stored: bits of one parameter of each part, scales included. From dtype and
     * quantization_config, or of the tensors themselves. */
    double weight_bits[WEIGHT_PARTS];
    bool weights_exact;     /* sizes are those of stored tensors, not of the shapes in a file */
    char weight_format[48]; /* for people: "fp8 e4m3, 128x128 blocks", "bf16", "mxfp4" */
    /* Not in `parameters`: the matrices of a tower for images, as vision_config gives them. */
    double tower_parameters;
    char weights_missing[48]; /* the key without which the weights cannot be counted; "" none */
    /* What whoever uses this should know of how it was read, a sentence each. */
    size_t notes;
    char note[ARCHITECTURE_NOTES_MOST][ARCHITECTURE_NOTE_SIZE];
} Architecture;

/* Reads the architecture a name stands for: a model under configs/models/, a config.json, a folder
 * that holds one, or a .gguf file. Where the folder holds its .safetensors too, and of a .gguf
 * file, the weights are those that are stored. A field that could change the cache and is not
 * understood is refused by its name. Errors: ERR_INPUT with file and key, the nearest name where a
 * name is wrong. */
Status architecture_read(Architecture *out, const char *name, Error *err);

/* Elements of one row that a kind keeps, its index key aside: G (dk + dv), C + R, or the width of
 * the one row; 0 of a state. Of KEEPS_IMAGE: a row for each state of the encoder. */
size_t cache_kind_row_elements(const CacheKind *kind);

/* Elements that one cache of a kind grows by with each token of a long text: a row, or the share of
 * one that a token has; nothing for states and images, and for windows and chunks, which are full
 * by then. */
double cache_kind_growth(const CacheKind *kind);

/* Adds a note; beyond the last that there is room for, none. */
void architecture_note(Architecture *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What `attention` says, written for people. */
void architecture_label(const Architecture *model, char *label, size_t size);

/* Sets total and active from the parts. */
void architecture_count_totals(Architecture *model);

/* Bytes of the weights of one part as stored, and of all parts. */
double architecture_part_bytes(const Architecture *model, WeightPart part);
double architecture_weight_bytes(const Architecture *model);

#endif
