/* weights.h -- the weights of one attention layer, float, [out, in] as in checkpoints.
 *
 * MHA, GQA, MQA: q [H d, D], k [G d, D], v [G d, D], o [D, H d]. MLA: q_a [Q, D] and q_b [H(P+R),
 * Q] or q [H(P+R), D]; kv_a [C + R, D] (the latent, then the shared key), kv_b [H(P+V), C] (per
 * head P key rows, then V value rows), o [D, H V]; norms q_a_norm [Q], kv_a_norm [C] (NULL: the
 * latent is cached as it is, plain_latent). NULL where a layer has none. */
#ifndef KVLAB_WEIGHTS_H
#define KVLAB_WEIGHTS_H

#include "model.h"

typedef struct {
    float *q, *k, *v, *o;
    float *q_a, *q_a_norm, *q_b;
    float *kv_a, *kv_a_norm, *kv_b;
    float *q_bias, *k_bias, *v_bias, *o_bias, *q_a_bias, *kv_a_bias;
    float *q_norm, *k_norm; /* [d], qk_norm only */
} LayerWeights;

/* Which matrices a model's layer has, with their Hugging Face names and shapes: the one list that
 * allocation, parameters, the synthetic generator and safetensors walk. */
typedef struct {
    const char *name;  /* "kv_a_proj_with_mqa.weight": after `self_attn.` */
    size_t rows, cols; /* cols 1: a vector */
    size_t offset;     /* of the pointer in LayerWeights */
} WeightShape;
enum { WEIGHT_SHAPES_MOST = 20 };
size_t weights_shapes(const Model *model, WeightShape shapes[WEIGHT_SHAPES_MOST]);

/* The pointer of a shape's matrix. */
float **weights_at(LayerWeights *weights, const WeightShape *shape);

/* Allocates all matrices of a model, zeroed (norm weights 1). On failure nothing is left held. */
Status weights_alloc(LayerWeights *weights, const Model *model, Error *err);
void weights_free(LayerWeights *weights);

/* Bytes weights_alloc takes. */
size_t weights_bytes(const Model *model);

#endif
