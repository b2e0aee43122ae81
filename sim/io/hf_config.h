/* hf_config.h -- reads a Hugging Face config.json by its fields and not by names of model families:
 * new families reuse old names, and old ones new fields.
 *
 * As an architecture: what each layer of the whole model keeps, and its parameters. As a model: the
 * attention of one layer, where all layers are alike and kvlab can run them.
 *
 * Both fail closed. A field that could change what is cached and that is not understood is refused
 * by its name; it never becomes a wrong number. A rotary scaling that is not computed changes no
 * size: it sets rope.scaling_left_out, and whoever wants a model's own outputs must refuse it. */
#ifndef KVLAB_HF_CONFIG_H
#define KVLAB_HF_CONFIG_H

#include "architecture.h"
#include "json.h"
#include "model.h"

/* The architecture that a parsed document describes. `file` stands for it in messages, `name`
 * becomes its name. Errors: ERR_INPUT, `file: key: what, the value, what is allowed`. */
Status hf_architecture_parse(Architecture *out, const Json *json, const char *file,
                             const char *name, Error *err);

/* The same from a file. */
Status hf_architecture_read(Architecture *out, const char *path, const char *name, Error *err);

/* The model that a parsed document describes. Errors: those of its architecture, and ERR_INPUT with
 * the fields that say so where its layers are not all plain heads or plain MLA. */
Status hf_config_parse(Model *model, const Json *json, const char *file, const char *name,
                       Error *err);

/* The same from a file. */
Status hf_config_read(Model *model, const char *path, const char *name, Error *err);

/* The config.json of a model, which hf_config_parse reads back, in *out for json_free. Errors:
 * ERR_INPUT for what no config.json describes. */
Status hf_config_write(const Model *model, Json **out, Error *err);

#endif
