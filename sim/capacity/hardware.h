/* hardware.h -- devices by name: configs/hardware/NAME.yaml, each figure with its source. */
#ifndef KVLAB_HARDWARE_H
#define KVLAB_HARDWARE_H

#include <stdint.h>

#include "error.h"

typedef struct {
    char name[64];         /* as people write it */
    uint64_t memory_bytes; /* of one device */
} Hardware;

/* Reads configs/hardware/<name>.yaml. Errors: ERR_INPUT with the nearest right name, or the place
 * in the file and the key. */
Status hardware_read(Hardware *hardware, const char *name, Error *err);

#endif
