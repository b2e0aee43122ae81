/* field.h -- one value of one row of the schema: from text, checked, to text again, into a Config.
 */
#ifndef KVLAB_FIELD_H
#define KVLAB_FIELD_H

#include "schema.h"

/* Room for any value as text, and for any sentence that says what a row allows. */
enum { VALUE_ROOM = 512, ALLOWED_ROOM = 256 };

typedef struct {
    char text[VALUE_ROOM]; /* as config_text writes it, without quotes */
    uint64_t count;        /* counts, bytes, the index of a choice */
    double real;
    KvType rows;
    unsigned long line, column; /* of the file that wrote it; 0: none did */
} Value;

/* The row of a key, or NULL. */
const Field *field_find(const char *key);

/* The key nearest to a wrong one: of all keys, else of their last parts; NULL when none is near. */
const char *field_nearest(const char *wrong);

/* Checks a value as a user wrote it. Errors: ERR_INPUT, `place: key: value: what is allowed`. */
Status field_parse(const Field *field, const char *text, const char *place, Value *out, Error *err);

/* What the row allows, to follow "must be ": "a whole number from 1 to 16M tokens". */
void field_allowed(const Field *field, char *text, size_t size);

/* Writes values[pick] where the row says; a FIELD_SET takes all `count` values. */
void field_store(const Field *field, const Value *values, size_t count, size_t pick, Config *out);

/* The value in a form that YAML reads back as the same text: quoted where it must be. */
void field_quote(const char *value, char *text, size_t size);

/* Room for a value of VALUE_ROOM bytes with every character escaped, its quotes and NUL. */
enum { QUOTED_ROOM = 2 * VALUE_ROOM + 3 };

#endif
