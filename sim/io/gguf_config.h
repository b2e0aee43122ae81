/* gguf_config.h -- reads the architecture of the model in a .gguf file: its metadata by the rules
 * of hf_config.h, its weights as they are stored. */
#ifndef KVLAB_GGUF_CONFIG_H
#define KVLAB_GGUF_CONFIG_H

#include "architecture.h"
#include "gguf.h"

/* `name` becomes the model's name. Of a file that was split, the first part is named; the others
 * lie beside it. Errors: ERR_INPUT, `file: key: what`: under its own name for a key of the file,
 * under Hugging Face's for the field that it stands for. */
Status gguf_architecture_read(Architecture *out, const char *path, const char *name, Error *err);

/* The same from the metadata alone, weights derived from the shapes. For fuzzing. */
Status gguf_architecture_parse(Architecture *out, const Gguf *gguf, const char *file,
                               const char *name, Error *err);

#endif
