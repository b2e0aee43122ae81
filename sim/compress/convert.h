/* convert.h -- from a layer of MHA, GQA or MQA to another shape by a recipe: the weights that come
 * nearest without training, and the way back from cached rows to the layer's keys and values, so
 * that what is scored is what is stored.
 *
 * Queries and the output projection stay the layer's but for the changes of basis that pay for
 * those of keys and values. Recipes: recipe.h. */
#ifndef KVLAB_CONVERT_H
#define KVLAB_CONVERT_H

#include <stdint.h>

#include "recipe.h"
#include "spectra.h"
#include "statistics.h"
#include "weights.h"

/* What a conversion starts from. */
typedef struct {
    const Model *layer;
    const LayerWeights *weights;
    const Statistics *statistics; /* of calibration text; copies, mean-pooling and lowrank-weights
                                     do without: NULL */
    Spectra *spectra; /* of this layer, kept from one conversion to the next; may be NULL */
    size_t context;   /* the sequence length that the layer is converted for */
    uint64_t seed;    /* of randomised decompositions */
} ConvertSource;

typedef struct {
    Recipe recipe;        /* gamma is the one that was used */
    Model layer;          /* that was converted */
    Model model;          /* that came out */
    LayerWeights weights; /* owned */
    double loss;          /* sqrt(tail / total) of what the method's eigenvalues say is lost of the
                             calibration text, in the method's own measure; NaN where none do */
    double *rope_basis;   /* MLA: [G d, R], rorope.h; else NULL */
    double *key_turns;    /* aligned: [G, d / 2, 2] unit numbers that bring keys to their group's */
    double *value_turns;  /* aligned: [G, V, V] likewise, v R */
} Conversion;

/* Are `tokens` of calibration text enough for the ranks of a recipe that converts `layer`? A
 * subspace of more directions than tokens is not determined. Errors: ERR_INPUT. */
Status convert_tokens(const Recipe *recipe, const Model *layer, size_t tokens, Error *err);

/* Converts. Errors: ERR_INPUT when there are fewer calibration tokens than a rank needs;
 * ERR_MACHINE. Release with convert_free. */
Status convert_layer(Conversion *out, const Recipe *recipe, const ConvertSource *source,
                     Error *err);
void convert_free(Conversion *conversion);

/* The layer's keys before RoPE, k [tokens, G, d], and values, v [tokens, G, V] (of an MLA layer H
 * heads, keys of P + R), that decoded cache rows stand for. rows_k and rows_v as cache_read gives
 * them: post-RoPE keys and values of heads, or latent rows (rows_v unused); token t is at position
 * t. */
Status convert_back(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *k, float *v, Error *err);

/* Per-head keys after RoPE as the new layer's own scores see them: k [tokens, H, key_dim]. */
Status convert_keys(const Conversion *conversion, size_t tokens, const float *rows_k, float *k,
                    Error *err);

/* Per-head values as the new layer's own sums see them: v [tokens, H, value_dim]. */
void convert_values(const Conversion *conversion, size_t tokens, const float *rows_k,
                    const float *rows_v, float *v);

/* ---- one function a family, behind convert_layer: fill out->weights for out->model ---- */
Status convert_pool(Conversion *out, const ConvertSource *source, Error *err);
Status convert_aligned(Conversion *out, const ConvertSource *source, Error *err);
Status convert_lowrank(Conversion *out, const ConvertSource *source, Error *err);
Status convert_mla(Conversion *out, const ConvertSource *source, Error *err);

/* The weights of a latent out of a projection of [K | V]: kv_a = down [W_K; W_V] in its first C
 * rows, with its bias, and kv_b = up for each of `heads` heads, head h from key head h heads_per.
 * down [C, n_k + n_v], up [n_k + n_v, C]. */
Status convert_latent(Conversion *out, const ConvertSource *source, const Projection *projection,
                      Error *err);

/* The gamma of recipe->gamma's sweep that loses least at the layer's output on the sample of the
 * calibration text. Errors: ERR_INPUT, ERR_MACHINE. */
Status convert_best_gamma(const Recipe *recipe, const ConvertSource *source, double *gamma,
                          Error *err);

#endif
