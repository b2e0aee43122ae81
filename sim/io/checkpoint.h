/* checkpoint.h -- tensors by name, wherever they lie: in one .safetensors file, in the shards that
 * a
 * *.safetensors.index.json lists, in a folder, or alone in a .npy file. */
#ifndef KVLAB_CHECKPOINT_H
#define KVLAB_CHECKPOINT_H

#include <stdbool.h>

#include "safetensors.h"

typedef struct Checkpoint Checkpoint;

/* Opens (maps) what is there; nothing of the tensors' size is allocated. Of a folder
 * model.safetensors.index.json is taken, else model.safetensors, else every *.safetensors: all of
 * the parts where their names say how many there are. A .npy file holds one tensor,
 * named as the file without its ending. Errors: ERR_INPUT for a missing file, a shard that is no
 * plain file name beside its index, a tensor that its shard does not hold or that two shards hold;
 * else those of the readers. Close with checkpoint_close. */
Status checkpoint_open(Checkpoint **checkpoint, const char *path, Error *err);

/* The same for names, types, shapes and sizes alone, of tensors of every type; their data is NULL.
 */
Status checkpoint_open_headers(Checkpoint **checkpoint, const char *path, Error *err);

/* Does a folder hold a checkpoint, whether or not it can be read? */
bool checkpoint_lies_in(const char *folder);

void checkpoint_close(Checkpoint *checkpoint);

/* The file that was named, for messages. */
const char *checkpoint_path(const Checkpoint *checkpoint);

size_t checkpoint_count(const Checkpoint *checkpoint);
const Tensor *checkpoint_tensor(const Checkpoint *checkpoint, size_t i);
const Tensor *checkpoint_find(const Checkpoint *checkpoint, const char *name); /* NULL: none */

/* The only tensor, of a checkpoint that holds one; NULL otherwise. */
const Tensor *checkpoint_only(const Checkpoint *checkpoint);

/* A value of the metadata of a single safetensors file, or NULL. */
const char *checkpoint_metadata(const Checkpoint *checkpoint, const char *key);

#endif
