/* store_read.h -- what store.c and store_read.c share: the layout of the database. */
#ifndef KVLAB_STORE_READ_H
#define KVLAB_STORE_READ_H

#include "database.h"
#include "store.h"

enum { STORE_APPLICATION = 0x6b766c62 /* "kvlb" */, STORE_LAYOUT = 2 };

/* Refuses files of other programs and of later layouts, and damaged ones; brings an older layout to
 * this one. *empty: a database with nothing in it yet. */
Status store_check_file(const Database *db, bool *empty, Error *err);

/* The study that a folder's run was made from, as text; release with buffer_free. */
Status store_read_study(const char *folder, char **text, Error *err);

/* The database of an open store. */
const Database *store_database(const Store *store);

/* Are two studies the same? If not, the first line that differs, with both its readings. */
bool store_compare(const char *stored, const char *now, char *difference, size_t size);

/* Every point as of one moment, also while another process writes. */
Status store_each_point(const Database *db, StoreVisit visit, void *context, Error *err);

#endif
