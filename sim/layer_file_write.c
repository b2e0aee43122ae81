/* layer_file_write.c -- writes a layer as layer_file.c reads it; see layer_file.h. */
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "hf_config.h"
#include "json.h"
#include "layer_file.h"
#include "textfile.h"

enum { NAME_ROOM = 64, NUMBER_ROOM = 24, MORE_TENSORS = 2 };

typedef struct {
    Tensor tensor[WEIGHT_SHAPES_MOST + MORE_TENSORS];
    char name[WEIGHT_SHAPES_MOST][NAME_ROOM];
    size_t count;
} TensorList;

/* The weights that are there, under their Hugging Face names. */
static void list_weights(TensorList *list, const Model *model, const LayerWeights *weights) {
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    LayerWeights all = *weights;
    const size_t count = weights_shapes(model, shapes);
    for (size_t i = 0; i < count; i++) {
        const float *matrix = *weights_at(&all, &shapes[i]);
        if (!matrix) continue;
        char *name = list->name[list->count];
        snprintf(name, NAME_ROOM, "self_attn.%s", shapes[i].name);
        list->tensor[list->count++] = (Tensor){ .name = name,
                                                .type = TENSOR_F32,
                                                .rank = shapes[i].cols == 1 ? 1 : 2,
                                                .shape = { shapes[i].rows, shapes[i].cols },
                                                .elements = shapes[i].rows * shapes[i].cols,
                                                .data = matrix };
    }
}

static Status write_described(const char *path, const TensorList *list, const char *config,
                              const LayerFile *input, Error *err) {
    char prefill[NUMBER_ROOM], decode[NUMBER_ROOM];
    snprintf(prefill, sizeof prefill, "%zu", input->prefill_tokens);
    snprintf(decode, sizeof decode, "%zu", input->decode_tokens);
    const char *const metadata[][2] = { { "config", config },
                                        { "prefill_tokens", prefill },
                                        { "decode_tokens", decode } };
    return safetensors_write(path, list->count, list->tensor, 3, metadata, err);
}

Status layer_file_write(const char *path, const Model *model, const LayerWeights *weights,
                        const LayerFile *input, Error *err) {
    TensorList *list = NULL;
    Json *json = NULL;
    char *config = NULL;
    TRY(hf_config_write(model, &json, err));
    Status status = json_format(json, &config, err);
    if (status == OK) status = BUFFER(&list, 1, "a list of tensors", err);
    if (status == OK) {
        list_weights(list, model, weights);
        list->tensor[list->count++] = *input->hidden_states;
        if (input->output) list->tensor[list->count++] = *input->output;
        status = write_described(path, list, config, input, err);
    }
    buffer_free(list);
    buffer_free(config);
    json_free(json);
    return status;
}

/* ---- config.json ---- */

/* Does the file that is there hold this text and no more? */
static bool holds(FILE *file, const char *text) {
    for (; *text; text++)
        if (getc(file) != (unsigned char)*text) return false;
    return getc(file) == EOF;
}

static Status write_config(const char *path, const char *text, Error *err) {
    FILE *there = fopen(path, "rb");
    const bool same = there && holds(there, text);
    if (there) fclose(there);
    if (same) return OK;
    if (there)
        return fail(err, ERR_INPUT,
                    "%s: describes another model and is not replaced; write into a folder of its "
                    "own",
                    path);
    TextFile file;
    TRY(textfile_open(&file, path, err));
    fputs(text, file.stream);
    return textfile_close(&file, OK, err);
}

Status layer_file_write_config(const char *path, const Model *model, Error *err) {
    char folder[PATH_SIZE], config[PATH_SIZE];
    Json *json = NULL;
    char *text = NULL;
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder) return fail(err, ERR_INPUT, "%.64s...: too long a path", path);
    snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    TRY(textfile_path(config, *folder ? folder : ".", "config.json", err));
    TRY(hf_config_write(model, &json, err));
    Status status = json_format(json, &text, err);
    if (status == OK) status = write_config(config, text, err);
    buffer_free(text);
    json_free(json);
    return status;
}
