/* store_merge.h -- the shards of one study put together into the store of one run. */
#ifndef KVLAB_STORE_MERGE_H
#define KVLAB_STORE_MERGE_H

#include "store.h"

typedef struct {
    size_t points, failed;
    char note[256]; /* "" or what a reader of the merged run should know */
} MergeSummary;

/* Merges the runs in `count` folders into a new run in `out`, whose points are then those of one
 * run, in its order, samples included; facts of the machine are the first folder's. Errors:
 * ERR_INPUT where the folders hold different studies or were made by different versions (the
 * message shows the difference), where a shard is missing, given twice or not finished, and where
 * `out` holds a run already. On failure `out` holds no run. */
Status store_merge(const char *out, size_t count, const char *const *folders, MergeSummary *summary,
                   Error *err);

#endif
