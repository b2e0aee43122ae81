/* configs.h -- the folder of what ships with kvlab: models, hardware, studies.
 *
 * KVLAB_CONFIGS of the environment names another one. */
#ifndef KVLAB_CONFIGS_H
#define KVLAB_CONFIGS_H

#include <stddef.h>

#include "error.h"

enum { CONFIGS_NAMES_MOST = 512, CONFIGS_NAME_SIZE = 128 };

/* The folder itself. */
const char *configs_folder(void);

/* Names of the entries of configs/<kind> that end with `ending` ("" for folders), without it,
 * sorted; entries that begin with '_' or '.' are left out. Returns how many; 0 when the folder
 * cannot be read. */
size_t configs_names(const char *kind, const char *ending,
                     char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE]);

/* path = configs/<kind>/<name><ending>, which exists. Errors: ERR_INPUT with the nearest right
 * name; a name may hold no '/'. */
Status configs_find(const char *kind, const char *name, const char *ending, char *path, size_t size,
                    Error *err);

#endif
