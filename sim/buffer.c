/* buffer.c -- checked, aligned allocation; see buffer.h. */
#define _DEFAULT_SOURCE /* madvise */
#include "buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 * 1024 * 1024 };

void *buffer_new(size_t count, size_t size, const char *what, Error *err) {
    if (count == 0) count = 1;
    if (size > (SIZE_MAX / 4) / count) {
        fail(err, ERR_MACHINE, "out of memory: %zu elements for %s", count, what);
        return NULL;
    }
    const size_t bytes = count * size;
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    void *memory = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (!memory) {
        fail(err, ERR_MACHINE, "out of memory: %zu bytes for %s", bytes, what);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memset(memory, 0, bytes);
}

void *buffer_grown(void *old, size_t *capacity, size_t used, size_t needed, size_t size,
                   const char *what, Error *err) {
    if (old && needed <= *capacity) return old;
    size_t wanted = *capacity < 16 ? 16 : *capacity;
    while (wanted < needed) wanted = wanted > SIZE_MAX / 2 ? needed : wanted * 2;
    void *larger = buffer_new(wanted, size, what, err);
    if (!larger) return NULL;
    if (used) memcpy(larger, old, used * size);
    buffer_free(old);
    *capacity = wanted;
    return larger;
}

void buffer_free(void *buffer) {
    free(buffer);
}
