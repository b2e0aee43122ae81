/* mapping.c -- see mapping.h. */
#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Empty files cannot be mapped, and need not be. */
static Status map(int descriptor, const char *path, Mapping *mapping, Error *err) {
    struct stat found;
    if (fstat(descriptor, &found) != 0)
        return fail(err, ERR_MACHINE, "cannot examine %.400s: %s", path, strerror(errno));
    if (!S_ISREG(found.st_mode)) return fail_at(err, path, 0, 0, "not a regular file");
    if ((uintmax_t)found.st_size > SIZE_MAX)
        return fail_at(err, path, 0, 0, "too large for this machine's addresses");
    const size_t size = (size_t)found.st_size;
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : NULL;
    if (bytes == MAP_FAILED)
        return fail(err, ERR_MACHINE, "cannot map %.400s: %s", path, strerror(errno));
    *mapping = (Mapping){ bytes, size };
    return OK;
}

Status mapping_open(Mapping *mapping, const char *path, Error *err) {
    /* Without O_NONBLOCK a named pipe would wait for its other end. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return fail_at(err, path, 0, 0, "cannot be opened: %s", strerror(errno));
    const Status status = map(descriptor, path, mapping, err);
    close(descriptor);
    return status;
}

void mapping_close(Mapping *mapping) {
    if (mapping->bytes) munmap(mapping->bytes, mapping->size);
    *mapping = (Mapping){ 0 };
}
