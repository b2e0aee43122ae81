/* mapping.h -- a whole file mapped into memory for reading. */
#ifndef KVLAB_MAPPING_H
#define KVLAB_MAPPING_H

#include <stddef.h>

#include "error.h"

typedef struct {
    void *bytes; /* NULL for an empty file */
    size_t size;
} Mapping;

/* Maps a regular file. It must not shrink while it is mapped. Errors: ERR_INPUT for what cannot be
 * opened or is no regular file, ERR_MACHINE where it cannot be mapped. Release with
 * mapping_close. */
Status mapping_open(Mapping *mapping, const char *path, Error *err);
void mapping_close(Mapping *mapping);

#endif
