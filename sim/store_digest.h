/* store_digest.h -- the digest that is written with a point, over all its rows: a bit that flips in
 * the file later is found when the point is read. Rows of the other tables have one each. */
#ifndef KVLAB_STORE_DIGEST_H
#define KVLAB_STORE_DIGEST_H

#include "digest.h"
#include "store.h"

uint64_t store_digest_texts(size_t count, const char *const *texts);

/* A point's is that of its own row, then of each metric in the order stored, each followed by its
 * samples. */
uint64_t store_digest_point(const Point *point);
uint64_t store_digest_metric(uint64_t digest, const Metric *metric);
uint64_t store_digest_sample(uint64_t digest, size_t place, double value);

#endif
