/* published.h -- what papers report of compressed caches: configs/published.yaml, a source a point.
 *
 * Perplexities of whole models, beside that of the model with its own cache: another measure than
 * any error here, for figures that keep both apart. */
#ifndef KVLAB_PUBLISHED_H
#define KVLAB_PUBLISHED_H

#include <stddef.h>

#include "error.h"

enum { PUBLISHED_MOST = 64 };

typedef struct {
    char method[48], model[48];
    double times;            /* less cache than the model's own */
    double perplexity, base; /* with it, and of the model as it is */
    char source[160];
} PublishedPoint;

typedef struct {
    PublishedPoint point[PUBLISHED_MOST];
    size_t count;
} Published;

/* Reads configs/published.yaml. Errors: ERR_INPUT, file:line:column. */
Status published_read(Published *published, Error *err);

#endif
