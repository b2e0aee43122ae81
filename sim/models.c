/* models.c -- finds the file a model's name stands for: model_read of model.h,
 * architecture_read of architecture.h, and models.h. */
#include "models.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "gguf_config.h"
#include "hf_config.h"
#include "names.h"
#include "stored_weights.h"

enum { PATH_SIZE = 4096 };

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static void shipped_path(char path[PATH_SIZE], const char *name) {
    snprintf(path, PATH_SIZE, "%s/models/%s/config.json", configs_folder(), name);
}

size_t models_names(char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE]) {
    const size_t entries = configs_names("models", "", names);
    size_t count = 0;
    for (size_t i = 0; i < entries; i++) {
        char path[PATH_SIZE];
        shipped_path(path, names[i]);
        if (is_file(path)) memmove(names[count++], names[i], CONFIGS_NAME_SIZE);
    }
    return count;
}

/* The folder a file lies in, without those above: "a/b/config.json" is "b". */
static void folder_name(char *out, size_t size, const char *path) {
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    while ((slash = strrchr(folder, '/')) && !slash[1]) *slash = '\0';
    const char *last = slash ? slash + 1 : folder;
    const size_t length = strnlen(last, size - 1); /* a long name is cut */
    memcpy(out, last, length);
    out[length] = '\0';
}

static Status unknown_model(const char *name, Error *err) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const char *list[CONFIGS_NAMES_MOST];
    const size_t count = models_names(names);
    for (size_t i = 0; i < count; i++) list[i] = names[i];
    const char *nearest = names_nearest(name, list, count);
    return fail(err, ERR_INPUT,
                "%.256s: no such model; allowed: a name that `kvlab models` lists, a config.json, "
                "a folder that holds one, a .gguf file%s%s%s",
                name, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* The config.json that a name stands for, and what to call its model. */
static Status find_config(const char *name, char path[PATH_SIZE], char *label, size_t size,
                          Error *err) {
    snprintf(label, size, "%s", name);
    if (*name && *name != '.' && !strchr(name, '/')) {
        shipped_path(path, name);
        if (is_file(path)) return OK;
    }
    snprintf(path, PATH_SIZE, "%s/config.json", name);
    if (!is_file(path)) snprintf(path, PATH_SIZE, "%s", name);
    if (!is_file(path)) return unknown_model(name, err);
    folder_name(label, size, path);
    return OK;
}

Status models_find(const char *name, char *path, size_t size, Error *err) {
    char found[PATH_SIZE], label[128];
    TRY(find_config(name, found, label, sizeof label, err));
    if (strlen(found) >= size) return fail(err, ERR_INPUT, "%.80s...: the path is too long", found);
    memcpy(path, found, strlen(found) + 1);
    return OK;
}

Status model_read(Model *model, const char *name, Error *err) {
    char path[PATH_SIZE], label[sizeof model->name];
    TRY(find_config(name, path, label, sizeof label, err));
    return hf_config_read(model, path, label, err);
}

static bool is_gguf(const char *name) {
    const size_t length = strlen(name), tail = strlen(".gguf");
    return length > tail && strcmp(name + length - tail, ".gguf") == 0;
}

/* "a/b/model.gguf" is "model". */
static Status read_gguf(Architecture *out, const char *path, Error *err) {
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    char label[sizeof out->name];
    snprintf(label, sizeof label, "%.*s", (int)(strlen(file) - strlen(".gguf")), file);
    return gguf_architecture_read(out, path, label, err);
}

Status architecture_read(Architecture *out, const char *name, Error *err) {
    char path[PATH_SIZE], label[sizeof out->name];
    Architecture a;
    if (is_gguf(name)) return read_gguf(out, name, err);
    TRY(find_config(name, path, label, sizeof label, err));
    TRY(hf_architecture_read(&a, path, label, err));
    char in_folder[PATH_SIZE];
    snprintf(in_folder, sizeof in_folder, "%s/config.json", name);
    if (strcmp(path, in_folder) == 0 && checkpoint_lies_in(name))
        TRY(stored_weights_of_folder(&a, name, err));
    *out = a;
    return OK;
}
