/* option_values.h -- values of options that several commands take: read, or refused with what is
 * allowed and the nearest right name. */
#ifndef KVLAB_OPTION_VALUES_H
#define KVLAB_OPTION_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* `--option value: why; allowed are a, b, c; did you mean a?` Returns ERR_INPUT. */
Status option_unknown(const char *option, const char *value, const char *why, size_t count,
                      const char *const *names, Error *err);

/* A whole number from 1 to `most`. */
Status option_count(const char *option, const char *text, uint64_t most, uint64_t *count,
                    Error *err);

/* --threads: 1 to 1,024; NULL: `otherwise`. */
Status option_threads(const char *text, int otherwise, int *threads, Error *err);

/* --isa: the mask of a tier and all below it; NULL and "auto": all that this machine runs. */
Status option_isa(const char *text, unsigned *tiers, Error *err);

#endif
