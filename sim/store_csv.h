/* store_csv.h -- a stored run as one tidy table: a row a point and metric. */
#ifndef KVLAB_STORE_CSV_H
#define KVLAB_STORE_CSV_H

#include "database.h"
#include "store.h"

/* Writes the table of a run's database, point by point, whole or not at all: header line, then the
 * points in the order of their place. Fields
 * are quoted as RFC 4180 asks, lines end in LF, numbers carry 17 digits and so read back to the
 * bit; a value that is not finite is left empty. A point without metrics (failed, left out) has
 * one row whose metric is empty. */
Status store_csv_write(const Database *db, const char *path, Error *err);

#endif
