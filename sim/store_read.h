/* store_read.h -- a stored run as who merges it needs it: its study, its database. */
#ifndef KVLAB_STORE_READ_H
#define KVLAB_STORE_READ_H

#include "database.h"
#include "store.h"

/* The study that a folder's run was made from, as text; release with buffer_free. */
Status store_read_study(const char *folder, char **text, Error *err);

/* The database of an open store. */
const Database *store_database(const Store *store);

/* Are two studies the same? If not, the first line that differs, with both its readings. */
bool store_compare(const char *stored, const char *now, char *difference, size_t size);

#endif
