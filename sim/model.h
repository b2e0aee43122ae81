/* model.h -- the shapes of a model's attention, its contenders at the same size, and the closed
 * forms of what it stores and computes.
 *
 * Letters as everywhere: L layers, D hidden size, H query heads, G key/value heads, d head
 * dimension; MLA: C kv_lora_rank, Q q_lora_rank, P qk_nope_head_dim, R qk_rope_head_dim,
 * V v_head_dim. A number from here is `exact`. */
#ifndef KVLAB_MODEL_H
#define KVLAB_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "codec.h"
#include "error.h"
#include "rope.h"

typedef enum { ATTENTION_MHA, ATTENTION_GQA, ATTENTION_MQA, ATTENTION_MLA } AttentionKind;

/* How the cache of an MLA layer is kept and read; everything else is `materialised`. */
typedef enum { PATH_MATERIALISED, PATH_EXPANDED, PATH_ABSORBED } Path;

typedef struct {
    char name[128];
    AttentionKind kind;
    size_t layers;       /* L */
    size_t hidden;       /* D */
    size_t heads;        /* H */
    size_t kv_heads;     /* G; H for MHA and for materialised MLA, 1 for MQA */
    size_t key_dim;      /* width of one head's key: d, or P + R */
    size_t value_dim;    /* width of one head's value: d, or V */
    size_t q_lora_rank;  /* Q, 0 when the query is not factored */
    size_t kv_lora_rank; /* C, 0 unless MLA */
    size_t nope_dim;     /* P, 0 unless MLA */
    size_t rope_dim;     /* R of MLA; the rotated part of a head for the others */
    bool attention_bias; /* biases on the projections into attention: q, k, v; q_a, kv_a of MLA */
    bool output_bias;    /* a bias on the output projection */
    bool qk_norm;        /* RMSNorm over each query and key head before RoPE */
    double rms_norm_eps; /* of qk_norm; the latent norms of MLA always use 1e-6 */
    /* MLA without a shared rotated key (R = 0): the G heads' keys are rebuilt from the latent, then
     * rotated, so there is no absorbed path. What low-rank conversions make; no file says so. */
    bool rotates_rebuilt;
    bool plain_latent; /* MLA: no RMSNorm over the latent, as converted layers have it */
    Rope rope;
} Model;

/* Heads that W_UK and W_UV of MLA rebuild: H, or G where rebuilt keys are rotated. */
size_t model_up_heads(const Model *model);

/* "mha", "gqa", "mqa", "mla" and "materialised", "expanded", "absorbed". */
const char *attention_kind_name(AttentionKind kind);
const char *path_name(Path path);

/* The path of that name; false when there is none. */
bool path_parse(const char *name, Path *out);

/* Reads the model a name stands for: one under configs/models/, a Hugging Face config.json, or a
 * folder that holds one. Errors: ERR_INPUT with file and key, the nearest name where a name is
 * wrong. */
Status model_read(Model *model, const char *name, Error *err);

/* A contender of a model at the same D, H and L, by its specification:
 *   "model"     the model as it is
 *   "mha"       G = H                  "gqa-G"  G key/value heads; G divides H
 *   "mqa"       G = 1                  "mla-C+R" kv_lora_rank C, qk_rope_head_dim R
 * Head widths: those of the model, d = V where the model is MLA; P = V = d for a new MLA. An MLA
 * model keeps its q_lora_rank, P and V. A new head of an MLA model rotates all of its width; YaRN
 * and other scaling carry over.
 * Errors: ERR_INPUT naming the specification and what is allowed. */
Status model_contender(Model *out, const Model *base, const char *specification, Error *err);

/* Divides all widths of a model by a number, heads and layers stay: the same ratios in a smaller
 * layer. Errors: ERR_INPUT naming a width that it does not divide. */
Status model_divide(Model *model, size_t by, Error *err);

/* A label for figures: "MHA", "GQA-8", "MQA", "MLA-512+64", "Latent-512". At least 32 bytes. */
void model_label(const Model *model, char *label, size_t size);

/* Softmax scale: key_dim^-1/2, times mscale(mscale_all_dim)^2 under YaRN (compression.md 1.2). */
double model_softmax_scale(const Model *model);

/* What a path caches of one token in one layer: kv_heads rows of key_dim and of value_dim, or one
 * shared row of C + R whose first C are the value. Fails no model. */
typedef struct {
    size_t kv_heads, key_dim, value_dim;
    bool shared; /* the value lies in the key row */
} CacheShape;
CacheShape model_cache_shape(const Model *model, Path path);

/* How the rows of such a cache are stored: a key row (the latent, where it is shared) and a value
 * row; and the bytes that one token leaves in one layer. */
RowFormat cache_shape_key(const CacheShape *shape, KvType type);
RowFormat cache_shape_value(const CacheShape *shape, KvType type);
size_t cache_shape_bytes(const CacheShape *shape, KvType type);

/* Errors: ERR_INPUT where rows of that shape cannot be stored so, with the type, the width and what
 * it needs; where a latent, which is one row, is given two types. */
Status cache_shape_check(const CacheShape *shape, KvType type, Error *err);

/* Elements and bytes cached a token: in one layer, and in all layers. Closed forms: 2 G d, C + R,
 * H (P + R + V). */
size_t model_cache_elements(const Model *model, Path path);
size_t model_cache_bytes_per_token_layer(const Model *model, Path path, KvType type);
size_t model_cache_bytes_per_token(const Model *model, Path path, KvType type);

/* The baseline of every compression ratio: elements of MHA with the same H and V, 2 H V, and of
 * GQA with 8 heads, 2 * 8 * V. */
size_t model_mha_elements(const Model *model);
size_t model_gqa8_elements(const Model *model);

/* Parameters of the attention of one layer (projections, biases and norms). */
size_t model_attention_parameters(const Model *model);

/* Flops of one layer, by part, for q_tokens new tokens of one sequence after `cached` older ones;
 * only unmasked pairs count. compression.md 1.3. */
typedef struct {
    double projection; /* q, k, v or q_a, q_b, kv_a, and the output */
    double latent;     /* products with W_UK and W_UV: new tokens, re-expansion, or absorption */
    double attention;  /* scores and values */
} LayerFlops;
LayerFlops model_layer_flops(const Model *model, Path path, size_t cached, size_t q_tokens);

/* Query tokens above which expanding the latent of `cached` tokens costs fewer flops than absorbing
 * into each query: where model_layer_flops is equal by both, the causal pairs among the queries
 * counted; INFINITY where absorbing always wins. cached 0 gives the limit of a long context,
 * C(P+V) / (2C - P - V). compression.md 1.3 gives it for query tokens far below `cached`. */
double model_path_crossover(const Model *model, size_t cached);

#endif
