/* store_read.h -- what store.c and store_read.c share: the layout of the database. */
#ifndef KVLAB_STORE_READ_H
#define KVLAB_STORE_READ_H

#include "database.h"
#include "store.h"

enum { STORE_APPLICATION = 0x6b766c62 /* "kvlb" */, STORE_LAYOUT = 1 };

/* Refuses files of other programs and of other layouts, and damaged ones. *empty: a database with
 * nothing in it yet. */
Status store_check_file(const Database *db, bool *empty, Error *err);

/* The whole run as of one moment, also while another process writes it. */
Status store_read_database(StoredRun *run, const Database *db, Error *err);

#endif
