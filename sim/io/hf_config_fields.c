/* hf_config_fields.c -- typed, bounded access to the fields of a config.json; see
 * hf_config_fields.h. */
#include "hf_config_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "names.h"

enum { KEYS_MOST = 256, VALUE_ROOM = 64 };

Status fields_fail(const Fields *fields, const char *key, Error *err, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    JsonPlace place = { 0 };
    if (fields->text) place = json_find_key(fields->text, fields->prefix, key);
    return fail_at(err, fields->file, place.line, place.column, "%s%s: %s", fields->prefix, key,
                   text);
}

static void ask(const Fields *fields, const char *key, bool found) {
    Asked *asked = fields->asked;
    if (!asked) return;
    size_t i = 0;
    while (i < asked->count && strcmp(asked->keys[i], key) != 0) i++;
    if (i == ASKED_MOST) return;
    if (i == asked->count) {
        asked->keys[asked->count++] = key;
        asked->found[i] = false;
    }
    asked->found[i] |= found;
}

const Json *fields_get(const Fields *fields, const char *key) {
    const Json *value = json_get(fields->object, key);
    const bool found = value && !json_is_null(value);
    ask(fields, key, found);
    return found ? value : NULL;
}

void fields_ignore(const Fields *fields, Spellings spellings) {
    for (; *spellings; spellings++) ask(fields, *spellings, true);
}

const char *fields_spelled(const Fields *fields, Spellings spellings) {
    for (; *spellings; spellings++)
        if (fields_get(fields, *spellings)) return *spellings;
    return NULL;
}

/* Names the other spellings, and the key of the file that may be meant. */
static Status missing(const Fields *fields, Spellings spellings, Error *err) {
    const char *keys[KEYS_MOST];
    size_t count = 0;
    for (void *at = json_first(fields->object); at && count < KEYS_MOST;
         at = json_next(fields->object, at))
        if (!json_is_null(json_value(at))) keys[count++] = json_key(at);
    char others[128] = "";
    size_t used = 0;
    for (Spellings s = spellings + 1; *s && used < sizeof others; s++)
        used += (size_t)snprintf(others + used, sizeof others - used, "%s%s",
                                 s == spellings + 1 ? "; also read: " : ", ", *s);
    const char *nearest = names_nearest(spellings[0], keys, count);
    return fields_fail(fields, spellings[0], err, "missing%s%s%.64s", others,
                       nearest ? "; the file has " : "", nearest ? nearest : "");
}

static Status read_size(const Fields *fields, const char *key, size_t most, size_t *out,
                        Error *err) {
    long long value = 0;
    char written[VALUE_ROOM];
    if (!json_whole(fields_get(fields, key), &value))
        return fields_fail(fields, key, err, "%s: not a whole number; allowed: 1 to %zu",
                           json_shown(fields_get(fields, key), written, sizeof written), most);
    if (value < 1 || (unsigned long long)value > most)
        return fields_fail(fields, key, err, "%lld; allowed: 1 to %zu", value, most);
    *out = (size_t)value;
    return OK;
}

Status fields_size(const Fields *fields, Spellings spellings, Need need, size_t most, size_t *out,
                   Error *err) {
    const char *first = fields_spelled(fields, spellings);
    if (!first) return need == REQUIRED ? missing(fields, spellings, err) : OK;
    size_t value = 0;
    TRY(read_size(fields, first, most, &value, err));
    for (; *spellings; spellings++) {
        if (!fields_get(fields, *spellings)) continue;
        size_t other = 0;
        TRY(read_size(fields, *spellings, most, &other, err));
        if (other != value)
            return fields_fail(fields, *spellings, err, "%zu, but %s says %zu", other, first,
                               value);
    }
    *out = value;
    return OK;
}

Status fields_real(const Fields *fields, Spellings spellings, Need need, double least, double most,
                   double *out, Error *err) {
    const char *key = fields_spelled(fields, spellings);
    if (!key) return need == REQUIRED ? missing(fields, spellings, err) : OK;
    char written[VALUE_ROOM];
    double value = 0;
    for (Spellings s = spellings; *s; s++) fields_get(fields, *s); /* all count as asked for */
    if (!json_number(fields_get(fields, key), &value))
        return fields_fail(fields, key, err, "%s: not a number",
                           json_shown(fields_get(fields, key), written, sizeof written));
    if (!(value >= least && value <= most))
        return fields_fail(fields, key, err, "%g; allowed: %g to %g", value, least, most);
    *out = value;
    return OK;
}

Status fields_flag(const Fields *fields, const char *key, bool *out, Error *err) {
    char written[VALUE_ROOM];
    const Json *value = fields_get(fields, key);
    if (value && !json_bool(value, out))
        return fields_fail(fields, key, err, "%s: neither true nor false",
                           json_shown(value, written, sizeof written));
    return OK;
}

Status fields_choice(const Fields *fields, const char *key, Spellings choices, size_t *out,
                     Error *err) {
    const Json *value = fields_get(fields, key);
    const char *text = json_text(value);
    if (!value) return OK;
    for (size_t i = 0; text && choices[i]; i++)
        if (strcmp(text, choices[i]) == 0) {
            *out = i;
            return OK;
        }
    char list[256] = "";
    size_t used = 0;
    for (size_t i = 0; choices[i] && used < sizeof list; i++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", choices[i]);
    return fields_fail(fields, key, err, "%.64s; allowed: %s", text ? text : "not a string", list);
}

Status fields_nested(Fields *out, const Fields *fields, const char *key, const char *prefix,
                     Error *err) {
    const Json *value = fields_get(fields, key);
    if (value && !json_is_object(value)) return fields_fail(fields, key, err, "not an object");
    *out = (Fields){ value, fields->file, prefix, NULL, fields->text };
    return OK;
}
