/* layer_file.c -- reading of layer_file.h: names and shapes first, values later. */
#include "layer_file.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"
#include "json.h"
#include "names.h"
#include "quantity.h"

enum { SHAPE_TEXT = 160, NAME_ROOM = 96 };

static const char prefix[] = "self_attn.";

/* "[4, 5]" */
static void format_shape(size_t rank, const size_t *shape, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

static Status check_shape(const LayerFile *file, const Tensor *tensor, size_t rank,
                          const size_t *shape, Error *err) {
    if (tensor->rank == rank && memcmp(tensor->shape, shape, rank * sizeof *shape) == 0) return OK;
    char is[SHAPE_TEXT], wanted[SHAPE_TEXT];
    format_shape(tensor->rank, tensor->shape, is, sizeof is);
    format_shape(rank, shape, wanted, sizeof wanted);
    return fail(err, ERR_INPUT, "%s: %s: shape %s; the config wants %s", file->path, tensor->name,
                is, wanted);
}

/* ---- metadata ---- */

static Status read_config(LayerFile *file, Error *err) {
    const char *text = safetensors_metadata(file->tensors, "config");
    if (!text)
        return fail(err, ERR_INPUT,
                    "%s: no metadata key config: it holds the Hugging Face keys as JSON",
                    file->path);
    char name[512];
    snprintf(name, sizeof name, "%.480s: config", file->path);
    Json *json = NULL;
    TRY(json_parse(&json, name, text, strlen(text), err));
    const Status status = hf_config_parse(&file->model, json, name, "layer", err);
    json_free(json);
    return status;
}

/* A count of tokens under a metadata key; *given says whether there is one. */
static Status read_tokens(const LayerFile *file, const char *key, size_t *tokens, bool *given,
                          Error *err) {
    const char *text = safetensors_metadata(file->tensors, key);
    uint64_t count = 0;
    *given = text != NULL;
    *tokens = 0;
    if (!text) return OK;
    if (!quantity_count(text, &count) || count > file->tokens)
        return fail(err, ERR_INPUT,
                    "%s: metadata %s: %s; a whole number of at most the %zu tokens of "
                    "hidden_states is allowed",
                    file->path, key, text, file->tokens);
    *tokens = (size_t)count;
    return OK;
}

static Status read_split(LayerFile *file, Error *err) {
    bool prefill = false, decode = false;
    TRY(read_tokens(file, "prefill_tokens", &file->prefill_tokens, &prefill, err));
    TRY(read_tokens(file, "decode_tokens", &file->decode_tokens, &decode, err));
    if (!prefill) file->prefill_tokens = file->tokens - file->decode_tokens;
    if (prefill && !decode) file->decode_tokens = file->tokens - file->prefill_tokens;
    if (file->prefill_tokens + file->decode_tokens == file->tokens) return OK;
    return fail(err, ERR_INPUT,
                "%s: metadata prefill_tokens %zu and decode_tokens %zu; together they must be the "
                "%zu tokens of hidden_states",
                file->path, file->prefill_tokens, file->decode_tokens, file->tokens);
}

/* ---- tensors ---- */

static bool ends_with(const char *name, const char *ending) {
    const size_t length = strlen(name), tail = strlen(ending);
    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

static const Tensor *find_weight(const LayerFile *file, const char *name) {
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return safetensors_find(file->tensors, full);
}

/* Not every config says that there are biases or norms of heads: the tensors do. */
static void adopt_extras(LayerFile *file) {
    const size_t count = safetensors_count(file->tensors);
    for (size_t i = 0; i < count; i++) {
        const char *name = safetensors_tensor(file->tensors, i)->name;
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        if (ends_with(name, ".bias")) file->model.attention_bias = true;
    }
    if (find_weight(file, "q_norm.weight")) file->model.qk_norm = true;
}

static Status check_weights(const LayerFile *file, size_t count, const WeightShape *shapes,
                            bool biases_declared, Error *err) {
    const bool mla = file->model.kind == ATTENTION_MLA;
    for (size_t i = 0; i < count; i++) {
        const Tensor *tensor = find_weight(file, shapes[i].name);
        const bool seldom = strcmp(shapes[i].name, "o_proj.bias") == 0 ||
                            (mla && strcmp(shapes[i].name, "q_proj.bias") == 0);
        const bool optional = ends_with(shapes[i].name, ".bias") && (!biases_declared || seldom);
        if (!tensor && optional) continue;
        if (!tensor)
            return fail(err, ERR_INPUT, "%s: no tensor %s%s", file->path, prefix, shapes[i].name);
        const size_t shape[] = { shapes[i].rows, shapes[i].cols };
        TRY(check_shape(file, tensor, shapes[i].cols == 1 ? 1 : 2, shape, err));
    }
    return OK;
}

/* A weight that the layer would leave aside would make its output another one's. The inverse
 * frequencies that old checkpoints carry follow from the config. */
static Status check_names(const LayerFile *file, size_t count, const WeightShape *shapes,
                          Error *err) {
    const char *names[WEIGHT_SHAPES_MOST];
    for (size_t i = 0; i < count; i++) names[i] = shapes[i].name;
    for (size_t t = 0; t < safetensors_count(file->tensors); t++) {
        const char *full = safetensors_tensor(file->tensors, t)->name;
        if (strncmp(full, prefix, strlen(prefix)) != 0) continue;
        const char *name = full + strlen(prefix);
        bool known = strcmp(name, "rotary_emb.inv_freq") == 0;
        for (size_t i = 0; i < count && !known; i++) known = strcmp(name, names[i]) == 0;
        if (known) continue;
        const char *nearest = names_nearest(name, names, count);
        return fail(err, ERR_INPUT, "%s: %.200s: no such weight in this layer%s%s%s%s", file->path,
                    full, nearest ? "; did you mean " : "", nearest ? prefix : "",
                    nearest ? nearest : "", nearest ? "?" : "");
    }
    return OK;
}

/* A tensor to compare with: [B, T, width] when it is there. */
static Status find_result(const LayerFile *file, const char *name, size_t width,
                          const Tensor **tensor, Error *err) {
    const size_t shape[] = { file->sequences, file->tokens, width };
    *tensor = safetensors_find(file->tensors, name);
    return *tensor ? check_shape(file, *tensor, 3, shape, err) : OK;
}

static Status find_input(LayerFile *file, Error *err) {
    const Tensor *x = safetensors_find(file->tensors, "hidden_states");
    if (!x) return fail(err, ERR_INPUT, "%s: no tensor hidden_states", file->path);
    if (x->rank != 3 || x->elements == 0 || x->shape[2] != file->model.hidden) {
        char is[SHAPE_TEXT];
        format_shape(x->rank, x->shape, is, sizeof is);
        return fail(err, ERR_INPUT,
                    "%s: hidden_states: shape %s; [sequences, tokens, %zu] is wanted, none empty",
                    file->path, is, file->model.hidden);
    }
    file->hidden_states = x;
    file->sequences = x->shape[0];
    file->tokens = x->shape[1];
    return OK;
}

static Status check_file(LayerFile *file, Error *err) {
    TRY(read_config(file, err));
    const bool biases_declared = file->model.attention_bias;
    adopt_extras(file);
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(&file->model, shapes);
    TRY(check_weights(file, count, shapes, biases_declared, err));
    TRY(check_names(file, count, shapes, err));
    TRY(find_input(file, err));
    TRY(read_split(file, err));
    const Model *m = &file->model;
    TRY(find_result(file, "output", m->hidden, &file->output, err));
    TRY(find_result(file, "output_absorbed", m->hidden, &file->output_absorbed, err));
    return find_result(file, "cache_latent", m->kv_lora_rank + m->rope_dim, &file->cache_latent,
                       err);
}

Status layer_file_open(LayerFile *file, const char *path, Error *err) {
    LayerFile draft = { .path = path };
    TRY(safetensors_open(&draft.tensors, path, err));
    const Status status = check_file(&draft, err);
    if (status == OK)
        *file = draft;
    else
        layer_file_close(&draft);
    return status;
}

void layer_file_close(LayerFile *file) {
    if (file->tensors) safetensors_close(file->tensors);
    *file = (LayerFile){ 0 };
}

/* ---- values ---- */

/* Names the place of element i of a tensor. */
static Status fail_at_element(const LayerFile *file, const Tensor *tensor, size_t i, double value,
                              Error *err) {
    size_t place[TENSOR_RANK_MOST];
    for (size_t d = tensor->rank; d-- > 0; i /= tensor->shape[d]) place[d] = i % tensor->shape[d];
    char text[SHAPE_TEXT];
    format_shape(tensor->rank, place, text, sizeof text);
    return fail(err, ERR_INPUT, "%s: %s: element %s is %g; only finite float values are allowed",
                file->path, tensor->name, text, value);
}

Status layer_file_values(const LayerFile *file, const Tensor *tensor, float *out, Error *err) {
    tensor_read(tensor, out);
    for (size_t i = 0; i < tensor->elements; i++)
        if (!isfinite(out[i])) return fail_at_element(file, tensor, i, out[i], err);
    return OK;
}

Status layer_file_values_f64(const LayerFile *file, const Tensor *tensor, double *out, Error *err) {
    tensor_read_f64(tensor, out);
    for (size_t i = 0; i < tensor->elements; i++)
        if (!isfinite(out[i])) return fail_at_element(file, tensor, i, out[i], err);
    return OK;
}

Status layer_file_weights(const LayerFile *file, LayerWeights *weights, Error *err) {
    LayerWeights draft;
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(&file->model, shapes);
    TRY(weights_alloc(&draft, &file->model, err));
    Status status = OK;
    for (size_t i = 0; i < count && status == OK; i++) {
        const Tensor *tensor = find_weight(file, shapes[i].name);
        if (tensor) status = layer_file_values(file, tensor, *weights_at(&draft, &shapes[i]), err);
    }
    if (status == OK)
        *weights = draft;
    else
        weights_free(&draft);
    return status;
}
