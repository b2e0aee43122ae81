/* hf_config.h -- reads a Hugging Face config.json into a model, by its fields and not by names of
 * model families: new families reuse old names, and old ones new fields.
 *
 * It fails closed. A field that changes what is cached and that kvlab does not compute (a sliding
 * window, an index key, linear or recurrent layers, widths that differ by layer) is refused by its
 * name; it never becomes a wrong number. A rotary scaling that is not computed changes no size: it
 * sets rope.scaling_left_out, and whoever wants a model's own outputs must refuse it. */
#ifndef KVLAB_HF_CONFIG_H
#define KVLAB_HF_CONFIG_H

#include "json.h"
#include "model.h"

/* The model that a parsed document describes. `file` stands for it in messages, `name` becomes the
 * name of the model. Errors: ERR_INPUT, `file: key: what, the value, what is allowed`. */
Status hf_config_parse(Model *model, const Json *json, const char *file, const char *name,
                       Error *err);

/* The same from a file. */
Status hf_config_read(Model *model, const char *path, const char *name, Error *err);

#endif
