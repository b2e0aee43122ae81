/* store_layout.h -- the tables of a store: made, brought up from an older layout, mended. */
#ifndef KVLAB_STORE_LAYOUT_H
#define KVLAB_STORE_LAYOUT_H

#include "database.h"

enum { STORE_APPLICATION = 0x6b766c62 /* "kvlb" */, STORE_LAYOUT = 3 };

/* Makes the tables in an empty database. */
Status store_make_tables(const Database *db, Error *err);

/* Refuses files of other programs and of later layouts, and damaged ones; brings an older layout to
 * this one. *empty: a database with nothing in it yet. */
Status store_check_file(const Database *db, bool *empty, Error *err);

/* Takes out what is not as it was written, so that a run that goes on makes it again: points, whose
 * number goes to *dropped, facts and configuration. Errors: ERR_INPUT where more is damaged. */
Status store_mend(const Database *db, size_t *dropped, Error *err);

#endif
