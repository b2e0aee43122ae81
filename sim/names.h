/* names.h -- the nearest right name for a wrong one, by edit distance. */
#ifndef KVLAB_NAMES_H
#define KVLAB_NAMES_H

#include <stddef.h>

/* The name nearest to `wrong`, or NULL when none is near enough to be meant. */
const char *names_nearest(const char *wrong, const char *const *names, size_t count);

#endif
