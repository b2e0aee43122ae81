/* hf_reading.h -- what the parts of the reader of an architecture hand on to each other; inside of
 * hf_architecture.
 *
 *   sizes -> role of each layer (hf_layers) -> the kind of cache of each role (hf_kinds, hf_states)
 *         -> what is left over (hf_config_leftovers) -> weights (hf_weights, hf_quantization) */
#ifndef KVLAB_HF_READING_H
#define KVLAB_HF_READING_H

#include "architecture.h"
#include "hf_config_fields.h"

enum { HIDDEN_MOST = 1 << 20, HEADS_MOST = 4096, WIDTH_MOST = 16384, TOKENS_MOST = 1 << 30 };

/* What the attention of a layer is, before its widths are known. */
typedef enum {
    ROLE_FULL,
    ROLE_WINDOW,
    ROLE_CHUNK,
    ROLE_STATE,      /* linear attention, Mamba, a short convolution */
    ROLE_IMAGE,      /* cross attention over an encoder's states */
    ROLE_COMPRESSED, /* rows that stand for `ratio` tokens each, and a window (DeepSeek-V4) */
    ROLE_NONE        /* no attention at all */
} LayerRole;

/* What the code of a model's family decides and its files may leave out (hf_code.c). */
typedef struct {
    const char *model_type;
    size_t full_every;       /* the last layer of so many reaches all tokens, 0: all do */
    LayerRole others;        /* ... and the rest: windows or chunks */
    bool all_windowed;       /* a window without a list or a period is that of every layer */
    size_t attention_blocks; /* attentions in one layer, 0 as 1 */
    size_t vocabulary, longest_tokens; /* where the file has none */
    bool tied;                         /* embedding and head, where the file does not say */
    bool ungated;                      /* the MLP has two matrices, not three */
    bool biased, qkv_biased;           /* every projection; q, k and v alone */
    bool qk_norm;                      /* a norm over the heads of q and of k */
    bool parallel;                     /* attention and MLP share one norm */
    bool sandwiched;                   /* a norm after attention and after the MLP too */
    bool halved_mlp;                   /* intermediate_size is that of two halves */
    bool expert_biases;                /* biases within experts and router */
    size_t shared_experts;             /* where the file does not say */
    size_t dense_beside;               /* dense MLPs beside the experts of a layer */
    bool gated_output;                 /* q is twice as wide: a gate on attention's output */
    size_t positions_extra;            /* learned positions: rows beyond longest_tokens, plus 1 */
} HfCode;

typedef struct {
    const char *name;
    Fields document, text; /* `text` is `document` itself where nothing is nested */
    const HfCode *code;
    /* Layers, hidden values, heads and widths of the attention that reaches all tokens. */
    Model shape;
    bool latent;
    size_t longest_tokens;
    size_t window, chunk; /* tokens, 0 none or as wide as the longest context */
    const char *schedule; /* the key that says which layer is what, NULL: all are alike */
    uint8_t role[ARCHITECTURE_LAYERS_MOST]; /* LayerRole; draft layers follow */
    uint16_t ratio[ARCHITECTURE_LAYERS_MOST];
    bool shared[ARCHITECTURE_LAYERS_MOST];  /* attends to the cache of an earlier layer */
    bool indexed[ARCHITECTURE_LAYERS_MOST]; /* has index keys of its own */
    size_t draft_layers;
} Reading;

/* The MLPs of a model: dense ones, and experts. */
typedef struct {
    size_t matrices;     /* 3 where gated, else 2 */
    bool width_missing;  /* the file gives none of a width that some layer needs */
    size_t intermediate; /* of a dense one */
    size_t dense_beside; /* dense ones beside the experts of a layer */
    size_t experts, per_token, expert_intermediate;
    size_t expert_hidden;                /* values that go into an expert: hidden, or fewer */
    size_t shared_experts, shared_width; /* ... and the intermediate width of all of them */
    bool shared_gate, expert_biases;
} Mlp;

/* The row of a model_type; one that leaves nothing to code where there is none. */
const HfCode *hf_code(const char *model_type);

/* Is it a family whose files kvlab has read, in a config.json or a .gguf file? */
bool hf_code_known(const char *model_type);

/* Layers, hidden values; then the heads of attention or its latent (hf_shape.c). */
Status hf_sizes(const Fields *fields, Model *shape, Error *err);
Status hf_attention(const Fields *fields, Model *shape, Error *err);

/* The object that holds the text model: nested, or the document itself. */
Status hf_text_model(Fields *out, const Fields *document, Error *err);

/* Fills role, ratio, indexed, window and the draft layers (hf_layers.c). */
Status hf_layers(Reading *reading, Error *err);

/* The kind of cache of a layer (hf_kinds.c), and of one with a state (hf_states.c). */
Status hf_kind(const Reading *reading, size_t layer, CacheKind *out, Error *err);
Status hf_state(const Reading *reading, CacheKind *out, Error *err);

/* Widths of the MLPs, and what each layer has (hf_mlp.c). */
Status hf_mlp(const Reading *reading, Mlp *out, uint8_t layer_mlp[ARCHITECTURE_LAYERS_MOST],
              Error *err);

/* block_configs (hf_blocks.c): the role of every layer; key/value heads, where it says so; the MLP
 * of one layer, over that of the model. */
Status hf_block_roles(const Reading *reading, const char *key, uint8_t *role, Error *err);
Status hf_block_kv_heads(const Fields *fields, size_t heads, size_t *kv_heads, Error *err);
Status hf_block_mlp(const Reading *reading, size_t layer, Mlp *mlp, uint8_t *layer_mlp, Error *err);

/* Parameters of every part (hf_weights.c), and how they are stored (hf_quantization.c). */
Status hf_weights(const Reading *reading, Architecture *out, Error *err);
Status hf_quantization(const Reading *reading, Architecture *out, Error *err);

/* Appends keys to a kind's rule: "layer_types, sliding_window". */
void hf_rule(CacheKind *kind, const char *key);

#endif
