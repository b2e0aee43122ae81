/* real_layer.h -- a layer out of real tensors: the weights of a checkpoint with hidden states, or
 * keys, values and queries as somebody has dumped them.
 *
 * Given keys, values and queries become a layer of their own: its hidden states are | q | k | v |
 * and its projections pick the parts out, so that all that is done to layers can be done to it. It
 * has no output projection: y is then the heads' outputs.
 *
 * Tensors of layer i are looked for under "model.layers.i.", "layers.i." and without a prefix:
 * self_attn.* weights by Hugging Face's names, input_layernorm.weight, hidden_states, keys, values,
 * queries. A file of one tensor needs no name. Rows may have a dimension of layers before them,
 * [layers, tokens, ...], of which row i is taken ([1, tokens, ...] serves all). */
#ifndef KVLAB_REAL_LAYER_H
#define KVLAB_REAL_LAYER_H

#include <stdbool.h>

#include "checkpoint.h"
#include "weights.h"

enum { TENSOR_PATH = 512 };

/* Each field is a key `tensors.*` of a study; "" where a study does not give it. */
typedef struct {
    char weights[TENSOR_PATH];       /* a checkpoint */
    char hidden_states[TENSOR_PATH]; /* [tokens, D] */
    char calibration[TENSOR_PATH];   /* other hidden states to calibrate on */
    char keys[TENSOR_PATH];          /* [tokens, G, d] or [tokens, G d] */
    char values[TENSOR_PATH];
    char queries[TENSOR_PATH]; /* [tokens, H, d] or [tokens, H d] */
    bool rotated;              /* keys and queries are given after RoPE */
    bool raw;                  /* hidden states come before the layer's input norm */
} TensorParams;

/* Does a study name tensors at all? */
bool tensors_given(const TensorParams *params);

typedef struct RealLayer RealLayer;

/* Do the files that are named make a layer: weights with hidden states, or keys with values? Opens
 * none of them. Errors: ERR_INPUT. */
Status real_layer_check(const TensorParams *params, Error *err);

/* Opens a layer of a model and checks every name and shape; reads the weights. Errors: ERR_INPUT
 * for files that do not go together (weights without hidden states, keys without values), a missing
 * tensor or a wrong shape, with file, tensor, shape and what is wanted; values that are not
 * finite. Close with real_layer_close. */
Status real_layer_open(RealLayer **layer, const TensorParams *params, const Model *model,
                       size_t number, Error *err);
void real_layer_close(RealLayer *layer);

const Model *real_layer_model(const RealLayer *layer);
const LayerWeights *real_layer_weights(const RealLayer *layer);

/* Are there queries, and so attention? And an output projection? */
bool real_layer_asks(const RealLayer *layer);
bool real_layer_projects(const RealLayer *layer);

/* Tokens of the text, and of the calibration text where that is another. */
size_t real_layer_tokens(const RealLayer *layer);
size_t real_layer_calibration_tokens(const RealLayer *layer); /* 0: none of its own */

/* Hidden states first .. first + tokens - 1, x [tokens, D]: of the text, or (calibration) of the
 * calibration text. Errors: ERR_INPUT for a value that is not finite; ERR_MACHINE. */
Status real_layer_text(const RealLayer *layer, bool calibration, size_t first, size_t tokens,
                       float *x, Error *err);

#endif
