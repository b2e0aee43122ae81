/* buffer.h -- every allocation of the program passes here: sizes checked for overflow, memory
 * zeroed and aligned to 64 bytes, large arrays on huge pages where the system grants them. */
#ifndef KVLAB_BUFFER_H
#define KVLAB_BUFFER_H

#include <stddef.h>

#include "error.h"

/* Zeroed room for count elements of size bytes each (never NULL for count 0). NULL with err filled
 * (ERR_MACHINE) when the product overflows or memory is refused. Release with buffer_free. */
void *buffer_new(size_t count, size_t size, const char *what, Error *err);

/* Room for at least `needed` elements: `old` itself when *capacity suffices, else a larger copy of
 * its `used` elements (then old is released and *capacity updated). NULL on failure: old stays. */
void *buffer_grown(void *old, size_t *capacity, size_t used, size_t needed, size_t size,
                   const char *what, Error *err);

/* Releases what buffer_new and buffer_grown gave; NULL is allowed. */
void buffer_free(void *buffer);

/* Allocates with the type of the pointer, as a Status: TRY(BUFFER(&rows, count, "rows", err)). */
#define BUFFER(pointer, count, what, err)                                                          \
    ((*(pointer) = buffer_new((count), sizeof **(pointer), (what), (err))) ? OK : ERR_MACHINE)

#endif
