/* checkpoint.c -- one file or many behind one list of names; see checkpoint.h. */
#include "checkpoint.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buffer.h"
#include "json.h"
#include "npy.h"
#include "textfile.h"

enum { STEM_ROOM = 128 };

struct Checkpoint {
    char path[PATH_SIZE];
    bool headers;         /* no more than the headers is asked for */
    char stem[STEM_ROOM]; /* name of the tensor of a .npy file */
    Npy *npy;
    size_t shards;
    Safetensors **shard;
    char (*shard_name)[STEM_ROOM]; /* of an index */
    size_t count;
    const Tensor **tensors; /* by name */
};

static bool ends_with(const char *text, const char *ending) {
    const size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

static bool is_folder(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static bool exists(const char *path) {
    struct stat found;
    return stat(path, &found) == 0;
}

/* ---- shards ---- */

static Status open_safetensors(const Checkpoint *c, Safetensors **out, const char *path,
                               Error *err) {
    return c->headers ? safetensors_open_header(out, path, err) : safetensors_open(out, path, err);
}

static Status add_shard(Checkpoint *c, const char *name, size_t *index, Error *err) {
    for (*index = 0; *index < c->shards; ++*index)
        if (strcmp(c->shard_name[*index], name) == 0) return OK;
    if (!*name || strlen(name) >= STEM_ROOM || strchr(name, '/') || strcmp(name, "..") == 0)
        return fail_at(err, c->path, 0, 0, "weight_map: '%.80s' is no file name", name);
    char path[PATH_SIZE], folder[PATH_SIZE];
    const char *slash = strrchr(c->path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - c->path) : 1,
             slash ? c->path : ".");
    TRY(textfile_path(path, folder, name, err));
    TRY(open_safetensors(c, &c->shard[c->shards], path, err));
    snprintf(c->shard_name[c->shards++], STEM_ROOM, "%s", name);
    return OK;
}

static Status check_name(const Checkpoint *c, size_t shard, const char *name, Error *err) {
    if (safetensors_find(c->shard[shard], name)) return OK;
    return fail_at(err, c->path, 0, 0, "weight_map: %.80s holds no tensor '%.120s'",
                   c->shard_name[shard], name);
}

static Status open_shards(Checkpoint *c, const Json *map, Error *err) {
    if (!json_is_object(map))
        return fail_at(err, c->path, 0, 0, "weight_map is missing or not an object");
    TRY(BUFFER(&c->shard, json_size(map), "shards", err));
    TRY(BUFFER(&c->shard_name, json_size(map), "names of shards", err));
    for (void *at = json_first(map); at; at = json_next(map, at)) {
        const char *name = json_text(json_value(at));
        size_t index;
        if (!name)
            return fail_at(err, c->path, 0, 0, "weight_map: %.120s: not a file name", json_key(at));
        TRY(add_shard(c, name, &index, err));
        TRY(check_name(c, index, json_key(at), err));
    }
    return OK;
}

static Status open_index(Checkpoint *c, Error *err) {
    Json *json = NULL;
    TRY(json_read(&json, c->path, err));
    const Status status = open_shards(c, json_get(json, "weight_map"), err);
    json_free(json);
    return status;
}

static Status open_single(Checkpoint *c, Error *err) {
    TRY(BUFFER(&c->shard, 1, "shards", err));
    TRY(open_safetensors(c, &c->shard[0], c->path, err));
    c->shards = 1;
    return OK;
}

static Status open_npy(Checkpoint *c, Error *err) {
    const char *slash = strrchr(c->path, '/');
    const char *name = slash ? slash + 1 : c->path;
    snprintf(c->stem, sizeof c->stem, "%.*s", (int)(strlen(name) - strlen(".npy")), name);
    return npy_open(&c->npy, c->path, c->stem, err);
}

/* ---- a folder without an index ---- */

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

/* "model-00001-of-00003.safetensors" says that there are three. */
static Status check_parts(const Checkpoint *c, size_t found, Error *err) {
    for (size_t i = 0; i < found; i++) {
        const char *of = strstr(c->shard_name[i], "-of-");
        const size_t parts = of ? strtoul(of + 4, NULL, 10) : 0;
        if (parts > found)
            return fail_at(err, c->path, 0, 0, "%.120s is one of %zu parts, and %zu are there",
                           c->shard_name[i], parts, found);
    }
    return OK;
}

/* Names of the *.safetensors of c->path, sorted, into c->shard_name; c->shards stays 0. */
static Status list_folder(Checkpoint *c, DIR *folder, size_t *found, Error *err) {
    size_t room = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        room += ends_with(entry->d_name, ".safetensors");
    rewinddir(folder);
    *found = 0;
    TRY(BUFFER(&c->shard, room, "shards", err));
    TRY(BUFFER(&c->shard_name, room, "names of shards", err));
    for (struct dirent *entry; *found < room && (entry = readdir(folder)) != NULL;) {
        if (!ends_with(entry->d_name, ".safetensors")) continue;
        const size_t length = strlen(entry->d_name);
        if (length >= STEM_ROOM)
            return fail_at(err, c->path, 0, 0, "%.80s...: the name is too long", entry->d_name);
        memcpy(c->shard_name[(*found)++], entry->d_name, length + 1);
    }
    qsort(c->shard_name, *found, sizeof *c->shard_name, by_text);
    return OK;
}

static Status open_folder(Checkpoint *c, Error *err) {
    size_t found = 0;
    DIR *folder = opendir(c->path);
    if (!folder) return fail_at(err, c->path, 0, 0, "cannot be read");
    Status status = list_folder(c, folder, &found, err);
    closedir(folder);
    if (status == OK) status = check_parts(c, found, err);
    for (size_t i = 0; i < found && status == OK; i++) {
        char path[PATH_SIZE];
        status = textfile_path(path, c->path, c->shard_name[i], err);
        if (status == OK) status = open_safetensors(c, &c->shard[i], path, err);
        if (status == OK) c->shards++;
    }
    return status;
}

/* ---- the list of names ---- */

static int by_name(const void *a, const void *b) {
    const Tensor *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static Status list_tensors(Checkpoint *c, Error *err) {
    size_t most = c->npy ? 1 : 0;
    for (size_t s = 0; s < c->shards; s++) most += safetensors_count(c->shard[s]);
    TRY(BUFFER(&c->tensors, most, "names of tensors", err));
    if (c->npy) c->tensors[c->count++] = npy_tensor(c->npy);
    for (size_t s = 0; s < c->shards; s++)
        for (size_t i = 0; i < safetensors_count(c->shard[s]); i++)
            c->tensors[c->count++] = safetensors_tensor(c->shard[s], i);
    qsort(c->tensors, c->count, sizeof *c->tensors, by_name);
    for (size_t i = 1; i < c->count; i++)
        if (strcmp(c->tensors[i - 1]->name, c->tensors[i]->name) == 0)
            return fail_at(err, c->path, 0, 0, "tensor '%.200s' lies in two shards",
                           c->tensors[i]->name);
    return OK;
}

/* ---- opening ---- */

/* Does a folder hold any .safetensors? */
static bool holds_any(const char *path) {
    DIR *folder = opendir(path);
    bool any = false;
    for (struct dirent *entry; folder && !any && (entry = readdir(folder)) != NULL;)
        any = ends_with(entry->d_name, ".safetensors");
    if (folder) closedir(folder);
    return any;
}

/* The file that a path stands for, or the folder itself where no file speaks for the others. */
static Status resolve(char *out, const char *path, Error *err) {
    if (!is_folder(path)) {
        if (strlen(path) >= PATH_SIZE)
            return fail(err, ERR_INPUT, "%.80s...: the path is too long", path);
        snprintf(out, PATH_SIZE, "%s", path);
        return OK;
    }
    TRY(textfile_path(out, path, "model.safetensors.index.json", err));
    if (exists(out)) return OK;
    TRY(textfile_path(out, path, "model.safetensors", err));
    if (exists(out)) return OK;
    if (holds_any(path)) {
        snprintf(out, PATH_SIZE, "%.*s", PATH_SIZE - 1, path);
        return OK;
    }
    return fail_at(err, path, 0, 0, "holds neither model.safetensors.index.json nor *.safetensors");
}

static Status open_file(Checkpoint *c, const char *path, Error *err) {
    TRY(resolve(c->path, path, err));
    Status status = is_folder(c->path)            ? open_folder(c, err)
                    : ends_with(c->path, ".json") ? open_index(c, err)
                    : ends_with(c->path, ".npy")  ? open_npy(c, err)
                                                  : open_single(c, err);
    return status == OK ? list_tensors(c, err) : status;
}

static Status open_checkpoint(Checkpoint **checkpoint, const char *path, bool headers, Error *err) {
    Checkpoint *draft;
    TRY(BUFFER(&draft, 1, "a checkpoint", err));
    draft->headers = headers;
    const Status status = open_file(draft, path, err);
    if (status == OK)
        *checkpoint = draft;
    else
        checkpoint_close(draft);
    return status;
}

Status checkpoint_open(Checkpoint **checkpoint, const char *path, Error *err) {
    return open_checkpoint(checkpoint, path, false, err);
}

Status checkpoint_open_headers(Checkpoint **checkpoint, const char *path, Error *err) {
    return open_checkpoint(checkpoint, path, true, err);
}

bool checkpoint_lies_in(const char *folder) {
    char path[PATH_SIZE];
    Error none;
    return is_folder(folder) && resolve(path, folder, &none) == OK;
}

void checkpoint_close(Checkpoint *checkpoint) {
    if (!checkpoint) return;
    for (size_t s = 0; s < checkpoint->shards; s++) safetensors_close(checkpoint->shard[s]);
    npy_close(checkpoint->npy);
    buffer_free(checkpoint->shard);
    buffer_free(checkpoint->shard_name);
    buffer_free(checkpoint->tensors);
    buffer_free(checkpoint);
}

/* ---- what is in it ---- */

const char *checkpoint_path(const Checkpoint *checkpoint) {
    return checkpoint->path;
}

size_t checkpoint_count(const Checkpoint *checkpoint) {
    return checkpoint->count;
}

const Tensor *checkpoint_tensor(const Checkpoint *checkpoint, size_t i) {
    return checkpoint->tensors[i];
}

const Tensor *checkpoint_find(const Checkpoint *checkpoint, const char *name) {
    const Tensor wanted = { .name = name }, *key = &wanted;
    const Tensor *const *found =
        bsearch(&key, checkpoint->tensors, checkpoint->count, sizeof *checkpoint->tensors, by_name);
    return found ? *found : NULL;
}

const Tensor *checkpoint_only(const Checkpoint *checkpoint) {
    return checkpoint->count == 1 ? checkpoint->tensors[0] : NULL;
}

const char *checkpoint_metadata(const Checkpoint *checkpoint, const char *key) {
    return checkpoint->shards == 1 ? safetensors_metadata(checkpoint->shard[0], key) : NULL;
}
