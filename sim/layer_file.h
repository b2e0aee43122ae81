/* layer_file.h -- one attention layer and its inputs, as a safetensors file carries them.
 *
 * Metadata: `config`, the Hugging Face keys as JSON; `prefill_tokens` and `decode_tokens`, how to
 * feed the input (all of it is prefill where both are missing, the rest where one is).
 * Tensors: the layer's weights as self_attn.* under their Hugging Face names, `hidden_states`
 * [B, T, D] already input-normalised, and to compare with, each optional: `output` and
 * `output_absorbed` [B, T, D], `cache_latent` [B, T, C + R] in the RoPE layout of the weights. */
#ifndef KVLAB_LAYER_FILE_H
#define KVLAB_LAYER_FILE_H

#include "safetensors.h"
#include "weights.h"

typedef struct {
    const char *path;
    Safetensors *tensors;
    Model model;
    size_t sequences, tokens;             /* B and T */
    size_t prefill_tokens, decode_tokens; /* their sum is T */
    const Tensor *hidden_states;
    const Tensor *output, *output_absorbed, *cache_latent; /* NULL where the file has none */
} LayerFile;

/* Opens a file and checks every name and shape; nothing of the tensors' size is allocated. A bias
 * may be missing unless the config declares it (o_proj's may even then: not every model has it).
 * `path` stays with the caller. Errors: ERR_INPUT naming the file and the key or tensor. */
Status layer_file_open(LayerFile *file, const char *path, Error *err);
void layer_file_close(LayerFile *file);

/* The weights; released by weights_free. Errors: ERR_INPUT for a value that is not finite,
 * ERR_MACHINE. */
Status layer_file_weights(const LayerFile *file, LayerWeights *weights, Error *err);

/* A tensor's values, all finite, in float or double. Errors: ERR_INPUT naming the tensor and the
 * place. */
Status layer_file_values(const LayerFile *file, const Tensor *tensor, float *out, Error *err);
Status layer_file_values_f64(const LayerFile *file, const Tensor *tensor, double *out, Error *err);

/* Writes a layer of other weights over the input of a file: config, prefill and decode tokens,
 * weights, hidden_states, and the file's `output` where it has one, to compare with. Errors:
 * ERR_INPUT for a layer that no config describes; ERR_MACHINE for the disk, which then holds what
 * it held. */
Status layer_file_write(const char *path, const Model *model, const LayerWeights *weights,
                        const LayerFile *input, Error *err);

/* Writes the layer's config.json into the folder of `path`, for tools that read one there. An equal
 * one may be there already. Errors: ERR_INPUT where another one is, and for a layer that no config
 * describes; ERR_MACHINE. */
Status layer_file_write_config(const char *path, const Model *model, Error *err);

#endif
