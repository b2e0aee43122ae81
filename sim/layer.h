/* layer.h -- one attention layer run for real: projections, norms, RoPE, cache, attention, output.
 *
 *   x [tokens, D] -> project -> q [tokens, H, key] and the rows to cache -> cache_append
 *                 -> attend (by the path) -> o [tokens, H, value] -> output -> y [tokens, D]
 *
 * The parts can be called alone, which is how latency is measured. Paths: model.h.
 *
 * Attention gives the same bits for any number of threads; so do projections of few rows; those
 * of many are as repeatable as BLAS is. */
#ifndef KVLAB_LAYER_H
#define KVLAB_LAYER_H

#include "cache.h"
#include "kernel.h"
#include "weights.h"

typedef struct {
    const Model *model;
    const LayerWeights *weights;
    Path path;
    const Kernels *kernels;
    int threads;
    size_t expand_tokens; /* cached tokens that `expanded` rebuilds at a time */
} LayerParams;

typedef struct Layer Layer;

/* A layer with workspace for calls of at most `tokens` new tokens in all, to sequences that hold at
 * most `cached_tokens` tokens before the call. Borrows everything in params and sets the number of
 * BLAS threads. Errors: ERR_INPUT for a path that keeps a latent where the model has none;
 * ERR_MACHINE for lack of memory. */
Status layer_new(Layer **layer, const LayerParams *params, size_t tokens, size_t cached_tokens,
                 Error *err);
void layer_free(Layer *layer);

/* The new tokens of a call: sequence numbers of the cache, and how many tokens each brings. */
typedef struct {
    size_t sequences;
    const size_t *sequence; /* [sequences] */
    const size_t *tokens;   /* [sequences] */
} LayerBatch;

typedef struct {
    double project_ns, append_ns, attend_ns, output_ns;
} LayerTimes;

/* The whole layer: y [tokens, D] from x [tokens, D] (already input-normalised, as in checkpoints),
 * sequence after sequence; rows are appended to the cache. A sequence may be named once. times may
 * be NULL. Errors: ERR_INPUT for more tokens than the layer was made for, ERR_MACHINE for lack of
 * memory; the cache then holds what it held. */
Status layer_forward(Layer *layer, Cache *cache, const LayerBatch *batch, const float *x, float *y,
                     LayerTimes *times, Error *err);

/* The attention part alone over what the cache holds: q [tokens, H, key_dim] after RoPE to
 * out [tokens, H, value_dim] before the output projection, the batch's tokens being the last of
 * each sequence. For absorbed this includes both foldings, for expanded the rebuilding. The first
 * call of a shape brings its workspace; should memory for that be refused, out becomes NaN. */
void layer_attend(Layer *layer, const Cache *cache, const LayerBatch *batch, const float *q,
                  float *out);

/* The projections alone: q and the rows to cache of `tokens` tokens at the given positions
 * (k and v as cache_append takes them for this path). q may be NULL, or k (and then v): those are
 * not wanted. */
void layer_project(Layer *layer, size_t tokens, const size_t *positions, const float *x, float *q,
                   float *k, float *v);
void layer_output(Layer *layer, size_t tokens, const float *out, float *y);

#endif
