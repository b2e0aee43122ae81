/* json.c -- jansson behind our own few functions; see json.h. The only file that includes it. */
#include "json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"

enum { FILE_BYTES_MOST = 64 * 1024 * 1024, DEPTH_MOST = 64 };

/* jansson's own recursion goes to 2,048; nothing of ours nests that far. Strings are skipped. */
static bool too_deep(const char *text, size_t length, unsigned long *line) {
    size_t depth = 0;
    bool quoted = false;
    *line = 1;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (c == '\n') ++*line;
        if (quoted) {
            if (c == '\\') i++;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MOST) return true;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return false;
}

/* The library's parser overlooks some refusals of memory and then reads another text, or stops the
 * process. So a refusal ends the parse at once; what it had read until then is not given back. */
static _Thread_local jmp_buf *refused;

static void *take_memory(size_t size) {
    void *memory = malloc(size);
    if (!memory && refused) longjmp(*refused, 1);
    return memory;
}

/* The parsed text; NULL for bad text, with *error, or where memory is refused, with *short_of_it.
 */
static Json *load(const char *text, size_t length, json_error_t *error, bool *short_of_it) {
    jmp_buf back;
    json_set_alloc_funcs(take_memory, free);
    *short_of_it = setjmp(back) != 0;
    refused = *short_of_it ? NULL : &back;
    Json *const json =
        *short_of_it ? NULL : json_loadb(text, length, JSON_REJECT_DUPLICATES, error);
    refused = NULL;
    return json;
}

Status json_parse(Json **out, const char *name, const char *text, size_t length, Error *err) {
    unsigned long line;
    if (too_deep(text, length, &line))
        return fail_at(err, name, line, 0, "JSON is nested deeper than %d levels", DEPTH_MOST);
    json_error_t error;
    bool short_of_memory;
    Json *json = load(text, length, &error, &short_of_memory);
    if (short_of_memory) return fail(err, ERR_MACHINE, "out of memory: %s", name);
    if (!json)
        return fail_at(err, name, error.line > 0 ? (unsigned long)error.line : 0,
                       error.column > 0 ? (unsigned long)error.column : 0, "JSON: %s", error.text);
    *out = json;
    return OK;
}

/* The whole of a file of bounded size, in a buffer of its own. */
static Status read_whole(FILE *file, const char *path, char **text, size_t *length, Error *err) {
    enum { STEP_BYTES = 1 << 16 };
    char *buffer = NULL;
    size_t used = 0, room = 0, got = 0;
    Status status = OK;
    do {
        char *larger = buffer_grown(buffer, &room, used, used + STEP_BYTES, 1, path, err);
        if (!larger) {
            status = ERR_MACHINE;
            break;
        }
        buffer = larger;
        errno = 0;
        used += got = fread(buffer + used, 1, room - used, file);
        if (ferror(file))
            status = fail_at(err, path, 0, 0, "cannot be read: %s", strerror(errno));
        else if (used > FILE_BYTES_MOST)
            status = fail_at(err, path, 0, 0, "is over 64 MiB");
    } while (status == OK && got > 0);
    if (status != OK) {
        buffer_free(buffer);
        return status;
    }
    *text = buffer;
    *length = used;
    return OK;
}

/* Writes over the numbers that Python writes and JSON lacks; places stay what they were. */
static void quote_non_numbers(char *text, size_t length) {
    static const char *const words[] = { "-Infinity", "Infinity", "NaN" };
    static const char *const texts[] = { "\"-inf\"   ", "\"inf\"   ", "\"?\"" };
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (quoted && text[i] == '\\') {
            i++;
            continue;
        }
        if (text[i] == '"') quoted = !quoted;
        for (size_t w = 0; !quoted && w < sizeof words / sizeof *words; w++) {
            const size_t size = strlen(words[w]);
            if (length - i < size || memcmp(text + i, words[w], size) != 0) continue;
            memcpy(text + i, texts[w], size);
            i += size - 1;
            break;
        }
    }
}

static Status read_file(const char *path, char **text, size_t *length, Error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) return fail_at(err, path, 0, 0, "cannot be opened: %s", strerror(errno));
    const Status status = read_whole(file, path, text, length, err);
    fclose(file);
    return status;
}

Status json_read(Json **out, const char *path, Error *err) {
    char *text = NULL;
    size_t length = 0;
    TRY(read_file(path, &text, &length, err));
    const Status status = json_parse(out, path, text, length, err);
    buffer_free(text);
    return status;
}

Status json_read_python(Json **out, char **kept, const char *path, Error *err) {
    char *text = NULL, *copy = NULL;
    size_t length = 0;
    TRY(read_file(path, &text, &length, err));
    quote_non_numbers(text, length);
    Status status = OK;
    if (kept && !(copy = strndup(text, length)))
        status = fail(err, ERR_MACHINE, "no memory for the text of %.400s", path);
    if (status == OK) status = json_parse(out, path, text, length, err);
    buffer_free(text);
    if (status != OK)
        free(copy);
    else if (kept)
        *kept = copy;
    return status;
}

/* ---- places ---- */

/* The next `"name"` from `text` on that a colon follows; NULL for none. */
static const char *find_name(const char *text, const char *name, size_t length) {
    for (const char *at = text; (at = strchr(at, '"')) != NULL;) {
        const char *end = at + 1;
        while (*end && *end != '"') end += end[0] == '\\' && end[1] ? 2 : 1;
        if (!*end) return NULL;
        const char *after = end + 1 + strspn(end + 1, " \t\r\n");
        if (*after == ':' && (size_t)(end - at - 1) == length && strncmp(at + 1, name, length) == 0)
            return at;
        at = end + 1;
    }
    return NULL;
}

JsonPlace json_find_key(const char *text, const char *path, const char *key) {
    const char *from = text;
    for (const char *part = path; *part; part += strcspn(part, ".") + 1) {
        const char *found = find_name(from, part, strcspn(part, "."));
        if (found) from = found + 1 + strcspn(part, ".") + 1;
        if (!part[strcspn(part, ".")]) break;
    }
    const char *found = find_name(from, key, strlen(key));
    if (!found) return (JsonPlace){ 0 };
    JsonPlace place = { 1, 1 };
    for (const char *c = text; c < found; c++) {
        place.column++;
        if (*c == '\n') place = (JsonPlace){ place.line + 1, 1 };
    }
    return place;
}

const char *json_shown(const Json *json, char *out, size_t size) {
    char *text = json ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(out, size, "%s", text ? text : "missing");
    free(text);
    return out;
}

void json_free(Json *json) {
    json_decref(json);
}

/* jansson's iterators want a mutable object even where they only read. */
static Json *plain(const Json *json) {
    union {
        const Json *in;
        Json *out;
    } cast = { .in = json };
    return cast.out;
}

/* json_is_* of jansson are macros of the names that json.h declares as functions. */
#undef json_is_object
#undef json_is_array
#undef json_is_null

bool json_is_object(const Json *json) {
    return json && json_typeof(json) == JSON_OBJECT;
}
bool json_is_array(const Json *json) {
    return json && json_typeof(json) == JSON_ARRAY;
}
bool json_is_null(const Json *json) {
    return json && json_typeof(json) == JSON_NULL;
}

size_t json_size(const Json *json) {
    if (json_is_object(json)) return json_object_size(json);
    return json_is_array(json) ? json_array_size(json) : 0;
}

const Json *json_get(const Json *object, const char *key) {
    return json_is_object(object) ? json_object_get(object, key) : NULL;
}

const Json *json_at(const Json *array, size_t i) {
    return json_is_array(array) ? json_array_get(array, i) : NULL;
}

void *json_first(const Json *object) {
    return json_is_object(object) ? json_object_iter(plain(object)) : NULL;
}

void *json_next(const Json *object, void *at) {
    return json_object_iter_next(plain(object), at);
}

const char *json_key(void *at) {
    return json_object_iter_key(at);
}

const Json *json_value(void *at) {
    return json_object_iter_value(at);
}

bool json_number(const Json *json, double *out) {
    if (!json || (json_typeof(json) != JSON_INTEGER && json_typeof(json) != JSON_REAL))
        return false;
    *out = json_number_value(json);
    return true;
}

bool json_whole(const Json *json, long long *out) {
    if (!json || json_typeof(json) != JSON_INTEGER) return false;
    *out = json_integer_value(json);
    return true;
}

bool json_bool(const Json *json, bool *out) {
    if (!json || (json_typeof(json) != JSON_TRUE && json_typeof(json) != JSON_FALSE)) return false;
    *out = json_typeof(json) == JSON_TRUE;
    return true;
}

const char *json_text(const Json *json) {
    return json && json_typeof(json) == JSON_STRING ? json_string_value(json) : NULL;
}

/* Set when a value could not be put into its place; json_print then refuses. */
static bool incomplete;

Json *json_new_object(void) {
    return json_object();
}

Json *json_new_array(void) {
    return json_array();
}

void json_put(Json *object, const char *key, Json *value) {
    if (json_object_set_new(object, key, value) != 0) incomplete = true;
}

Json *json_new_string(const char *text) {
    return json_string(text);
}

Json *json_new_null(void) {
    return json_null();
}

void json_put_string(Json *object, const char *key, const char *value) {
    json_put(object, key, json_string(value));
}

void json_put_number(Json *object, const char *key, double value) {
    json_put(object, key, isfinite(value) ? json_real(value) : json_null());
}

void json_put_whole(Json *object, const char *key, long long value) {
    json_put(object, key, json_integer(value));
}

void json_put_bool(Json *object, const char *key, bool value) {
    json_put(object, key, json_boolean(value));
}

void json_append(Json *array, Json *value) {
    if (json_array_append_new(array, value) != 0) incomplete = true;
}

void json_append_string(Json *array, const char *value) {
    json_append(array, json_string(value));
}

Status json_write(const Json *json, FILE *out, Error *err) {
    if (incomplete) return fail(err, ERR_MACHINE, "out of memory: the JSON document");
    if (json_dumpf(json, out, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) != 0)
        return fail(err, ERR_MACHINE, "cannot write the JSON document");
    fputc('\n', out);
    return OK;
}

Status json_print(const Json *json, Error *err) {
    return json_write(json, stdout, err);
}

Status json_format(const Json *json, char **text, Error *err) {
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(12);
    if (incomplete) return fail(err, ERR_MACHINE, "out of memory: the JSON document");
    const size_t length = json_dumpb(json, NULL, 0, flags);
    TRY(BUFFER(text, length + 1, "a JSON document", err));
    json_dumpb(json, *text, length, flags);
    return OK;
}
