/* convert.h -- from an MHA teacher to a contender of the same D, H and d: the weights that come
 * nearest by the plain method of each kind, and the way back from cached rows to the teacher's keys
 * and values, so that what is scored is what is stored.
 *
 *   mha           a copy
 *   gqa-G, mqa    mean-pool: a group's heads share the mean of their key and of their value weights
 *   mla-C+R       shared rotated key by complex principal components across heads, the rest of the
 *                 keys (without RoPE) and the values by balanced joint PCA to C
 *
 * No training. Queries and the output projection stay the teacher's but for the basis changes. */
#ifndef KVLAB_CONVERT_H
#define KVLAB_CONVERT_H

#include <stdint.h>

#include "weights.h"

typedef struct {
    Model model; /* the contender */
    LayerWeights
        weights;        /* owned; kv_a_norm is NULL: the latent of a converted layer has no norm */
    double *rope_basis; /* MLA: [R/2, H c, 2] complex, c = d/R; NULL otherwise */
} Conversion;

/* What a conversion may look at (MLA only). */
typedef struct {
    size_t tokens;
    const float *x; /* [tokens, D] hidden states of another text than is scored */
    size_t context; /* the sequence length that the layer is converted for */
    uint64_t seed;  /* of the randomised decomposition */
} Calibration;

/* Converts.
 * Errors: ERR_INPUT when a rank is above the width or the calibration tokens, or when R does not
 * divide d. Release with convert_free. */
Status convert_layer(Conversion *out, const Model *teacher, const LayerWeights *weights,
                     const Model *contender, const Calibration *text, Error *err);
void convert_free(Conversion *conversion);

/* The teacher's keys before RoPE and values, k and v [tokens, H, d], that decoded cache rows of
 * the contender stand for. rows_k and rows_v as cache_read gives them: post-RoPE keys and values of
 * G heads, or latent rows (rows_v unused); token t is at position t. */
Status convert_back(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *k, float *v, Error *err);

/* Per-head keys after RoPE as the contender's own scores see them: k [tokens, H, key_dim]. */
void convert_keys(const Conversion *conversion, size_t tokens, const float *rows_k, float *k);

/* ---- one function a kind, behind convert_layer: fill out->weights for out->model ---- */
Status convert_pool(Conversion *out, const LayerWeights *weights, Error *err);
Status convert_latent(Conversion *out, const Model *teacher, const LayerWeights *weights,
                      const Calibration *text, Error *err);

#endif
