/* store_scan.h -- the points of a database one by one, each held against the digest that was
 * written with it. */
#ifndef KVLAB_STORE_SCAN_H
#define KVLAB_STORE_SCAN_H

#include <stdint.h>

#include "database.h"
#include "store.h"

/* A point whose rows are not those that were written: the number of its row, its key as it reads
 * now, and the digest that its rows have. */
typedef struct {
    long long id;
    const char *key;
    uint64_t digest;
} StoreDamage;

/* Gives every point to `visit`, in order, as of one moment, also while another process writes.
 * A damaged one goes to `damaged` instead; where that is NULL it fails the scan, as an index that
 * leads astray does. Both may be NULL. Errors: ERR_INPUT for damage, those of the two. */
Status store_scan(const Database *db, StoreVisit visit,
                  Status (*damaged)(void *context, const StoreDamage *damage, Error *err),
                  void *context, Error *err);

#endif
