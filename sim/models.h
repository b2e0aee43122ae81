/* models.h -- the models that ship with kvlab: folders of configs/models that hold a config.json.
 */
#ifndef KVLAB_MODELS_H
#define KVLAB_MODELS_H

#include "configs.h"
#include "model.h"

/* Their names, sorted. Returns how many; 0 when the folder cannot be read. */
size_t models_names(char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE]);

/* path = the file that a model's name stands for: a shipped config.json, a file, or the config.json
 * of a folder. Errors: ERR_INPUT with the nearest right name. */
Status models_find(const char *name, char *path, size_t size, Error *err);

#endif
