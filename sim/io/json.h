/* json.h -- JSON in and out; the one module that uses jansson. */
#ifndef KVLAB_JSON_H
#define KVLAB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "error.h"

typedef struct json_t Json;

/* Parses a whole document; `name` stands for the file in messages. Repeated keys, trailing text and
 * nesting beyond what any of our files needs are refused. Errors: ERR_INPUT, name:line:column. */
Status json_parse(Json **out, const char *name, const char *text, size_t length, Error *err);
/* The same from a file of at most 64 MiB. */
Status json_read(Json **out, const char *path, Error *err);
/* The same where Python may have written the file, with Infinity, -Infinity and NaN among its
 * numbers: texts take their place ("inf", "-inf" and "?"). *text is what the file holds, for
 * json_find_key; free() releases it. NULL: not asked for. */
Status json_read_python(Json **out, char **text, const char *path, Error *err);
void json_free(Json *json);

/* Where a key stands in a text, both from 1; 0 where it does not. `path` names the objects that it
 * is in, "a.b."; a part of it that the text does not have is passed over. */
typedef struct {
    unsigned long line, column;
} JsonPlace;
JsonPlace json_find_key(const char *text, const char *path, const char *key);

/* The value as it would be written, cut to `size` bytes; "missing" of NULL. Returns `out`. */
const char *json_shown(const Json *json, char *out, size_t size);

bool json_is_object(const Json *json);
bool json_is_array(const Json *json);
bool json_is_null(const Json *json);
size_t json_size(const Json *json); /* entries of an object or array, else 0 */

/* The value of a key, or NULL; item i of an array, or NULL. Borrowed. */
const Json *json_get(const Json *object, const char *key);
const Json *json_at(const Json *array, size_t i);

/* Walks an object in file order: for (void *at = json_first(o); at; at = json_next(o, at)). */
void *json_first(const Json *object);
void *json_next(const Json *object, void *at);
const char *json_key(void *at);
const Json *json_value(void *at);

/* The value when it is of that type; false (and *out untouched) otherwise. */
bool json_number(const Json *json, double *out);
bool json_whole(const Json *json, long long *out);
bool json_bool(const Json *json, bool *out);
const char *json_text(const Json *json); /* of a string; NULL otherwise */

/* Building. json_put_* replace a key's value and take over the Json given; a failed allocation
 * makes json_print fail, so single calls need no check. */
Json *json_new_object(void);
Json *json_new_array(void);
void json_put(Json *object, const char *key, Json *value);
void json_put_string(Json *object, const char *key, const char *value);
void json_put_number(Json *object, const char *key, double value); /* null when not finite */
void json_put_whole(Json *object, const char *key, long long value);
void json_put_bool(Json *object, const char *key, bool value);
void json_append(Json *array, Json *value);
void json_append_string(Json *array, const char *value);
Json *json_new_string(const char *text);
Json *json_new_null(void);

/* The document with a final newline, into a file, or on standard output. Errors: ERR_MACHINE. */
Status json_write(const Json *json, FILE *out, Error *err);
Status json_print(const Json *json, Error *err);
/* The same as text that buffer_free releases. */
Status json_format(const Json *json, char **text, Error *err);

#endif
