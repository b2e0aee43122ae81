/* field.c -- values of rows; see field.h. */
#include "field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "quantity.h"

/* ---- finding rows ---- */

const Field *field_find(const char *key) {
    for (size_t i = 0; i < config_field_count; i++)
        if (strcmp(config_fields[i].key, key) == 0) return &config_fields[i];
    return NULL;
}

const char *field_nearest(const char *wrong) {
    enum { KEYS_MOST = 128 };
    const char *keys[KEYS_MOST], *tails[KEYS_MOST];
    size_t count = 0;
    for (; count < config_field_count && count < KEYS_MOST; count++) {
        keys[count] = config_fields[count].key;
        const char *dot = strchr(keys[count], '.');
        tails[count] = dot ? dot + 1 : keys[count];
    }
    const char *dot = strchr(wrong, '.');
    const char *tail = names_nearest(dot ? dot + 1 : wrong, tails, count);
    const char *key = names_nearest(wrong, keys, count);
    for (size_t i = 0; !key && tail && i < count; i++)
        if (tails[i] == tail) key = keys[i];
    return key;
}

/* ---- what is allowed ---- */

static size_t choice_count(const Field *field) {
    size_t count = 0;
    while (count < FIELD_CHOICES_MOST && field->choices[count]) count++;
    return count;
}

/* A text that is empty unless given may be given as empty. */
static bool may_be_empty(const Field *field) {
    return field->initial && !*field->initial;
}

static void append(char *text, size_t size, const char *more) {
    const size_t used = strlen(text);
    snprintf(text + used, size - used, "%s", more);
}

/* A bound as a user would write it: 16M, 64k, 1024TiB, 0.999. */
static void format_bound(const Field *field, double bound, char *text, size_t size) {
    const bool bytes = field->type == FIELD_SIZE;
    static const struct {
        double factor;
        const char *count, *bytes;
    } units[] = { { 0x1p40, NULL, "TiB" },
                  { 0x1p30, "G", "GiB" },
                  { 0x1p20, "M", "MiB" },
                  { 0x1p10, "k", "KiB" } };
    for (size_t i = 0; field->type != FIELD_REAL && i < sizeof units / sizeof *units; i++) {
        const char *unit = bytes ? units[i].bytes : units[i].count;
        const double whole = bound / units[i].factor;
        if (unit && whole >= 1 && whole <= 4096 && whole == (double)(uint64_t)whole) {
            snprintf(text, size, "%.0f%s", whole, unit);
            return;
        }
    }
    if (field->type == FIELD_REAL)
        snprintf(text, size, "%.10g", bound);
    else
        snprintf(text, size, "%.0f", bound);
}

void field_allowed(const Field *field, char *text, size_t size) {
    static const char *const kinds[] = { [FIELD_COUNT32] = "a whole number",
                                         [FIELD_COUNT64] = "a whole number",
                                         [FIELD_SIZE] = "a size such as 6GiB",
                                         [FIELD_REAL] = "a number" };
    if (field->choices[0]) {
        snprintf(text, size, "%s", field->type == FIELD_SET ? "some of " : "one of ");
        for (size_t i = 0; i < choice_count(field); i++) {
            if (i) append(text, size, ", ");
            append(text, size, field->choices[i]);
        }
        if (field->type == FIELD_ROWS) append(text, size, ", or two of them as K,V");
    } else if (field->form) {
        snprintf(text, size, "%s", field->form_text);
    } else if (field->type == FIELD_TEXT) {
        snprintf(text, size, "one line of %s %zu bytes", may_be_empty(field) ? "at most" : "1 to",
                 field->room - 1);
    } else {
        char least[32], most[32];
        format_bound(field, field->min, least, sizeof least);
        format_bound(field, field->max, most, sizeof most);
        const bool unit = field->unit && field->type != FIELD_SIZE;
        snprintf(text, size, "%s from %s to %s%s%s", kinds[field->type], least, most,
                 unit ? " " : "", unit ? field->unit : "");
    }
}

/* ---- text to value ---- */

/* Text on one line, of characters that YAML can hold: no controls, no line breaks of any alphabet,
 * no U+FFFE and U+FFFF. The text is UTF-8. */
static bool is_line(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) return false;
        if (c[0] == 0xc2 && c[1] < 0xa0) return false;
        if (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)) return false;
        if (c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe) return false;
    }
    return true;
}

static bool find_choice(const Field *field, const char *text, uint64_t *index) {
    for (size_t i = 0; i < choice_count(field); i++)
        if (strcmp(field->choices[i], text) == 0) {
            *index = i;
            return true;
        }
    return false;
}

static bool parse_text(const Field *field, const char *text, Value *out) {
    if (field->choices[0] && !find_choice(field, text, &out->count)) return false;
    if (field->form && !field->form(text)) return false;
    if (field->type == FIELD_TEXT && strlen(text) >= field->room) return false;
    if (!*text && !may_be_empty(field)) return false;
    if (!is_line(text)) return false;
    snprintf(out->text, sizeof out->text, "%s", text);
    return true;
}

static bool parse_rows(const char *text, Value *out) {
    char name[KV_TYPE_ROOM];
    if (!kv_type_parse(text, &out->rows)) return false;
    snprintf(out->text, sizeof out->text, "%s", kv_type_name(out->rows, name));
    return true;
}

static bool parse_count(const Field *field, const char *text, Value *out) {
    const bool size = field->type == FIELD_SIZE;
    if (!(size ? quantity_bytes(text, &out->count) : quantity_count(text, &out->count)))
        return false;
    snprintf(out->text, sizeof out->text, "%llu", (unsigned long long)out->count);
    return (double)out->count >= field->min && (double)out->count <= field->max;
}

/* The shortest text that reads back as the same number; minus zero is zero. */
static bool parse_real(const Field *field, const char *text, Value *out) {
    if (!quantity_real(text, &out->real)) return false;
    out->real += 0.0;
    snprintf(out->text, sizeof out->text, "%.15g", out->real);
    if (strtod(out->text, NULL) != out->real)
        snprintf(out->text, sizeof out->text, "%.17g", out->real);
    return out->real >= field->min && out->real <= field->max;
}

static bool parse(const Field *field, const char *text, Value *out) {
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_CHOICE:
    case FIELD_SET:
        return parse_text(field, text, out);
    case FIELD_ROWS:
        return parse_rows(text, out);
    case FIELD_COUNT32:
    case FIELD_COUNT64:
    case FIELD_SIZE:
        return parse_count(field, text, out);
    case FIELD_REAL:
        return parse_real(field, text, out);
    }
    return false;
}

Status field_parse(const Field *field, const char *text, const char *place, Value *out,
                   Error *err) {
    enum { SHOWN_MOST = 60 };
    Value value = { .text = "" };
    if (parse(field, text, &value)) {
        *out = value;
        return OK;
    }
    char allowed[ALLOWED_ROOM];
    field_allowed(field, allowed, sizeof allowed);
    const char *nearest =
        field->choices[0] ? names_nearest(text, field->choices, choice_count(field)) : NULL;
    const bool cut = strlen(text) > SHOWN_MOST;
    size_t shown = cut ? SHOWN_MOST : strlen(text);
    while (cut && ((unsigned char)text[shown] & 0xc0) == 0x80) shown--; /* no half character */
    return fail(err, ERR_INPUT, "%s: %s: %.*s%s: must be %s%s%s%s", place, field->key,
                *text ? (int)shown : 5, *text ? text : "empty", cut ? "..." : "", allowed,
                nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* ---- value to Config and back to text ---- */

void field_store(const Field *field, const Value *values, size_t count, size_t pick, Config *out) {
    char *at = (char *)out + field->offset;
    const Value *value = &values[pick];
    uint32_t narrow = (uint32_t)value->count;
    switch (field->type) {
    case FIELD_TEXT:
        snprintf(at, field->room, "%s", value->text);
        break;
    case FIELD_SET:
        narrow = 0;
        for (size_t i = 0; i < count; i++) narrow |= UINT32_C(1) << values[i].count;
        memcpy(at, &narrow, sizeof narrow);
        break;
    case FIELD_CHOICE:
        if (field->room == sizeof(bool))
            *(bool *)at = value->count != 0;
        else
            memcpy(at, &narrow, sizeof narrow);
        break;
    case FIELD_ROWS:
        memcpy(at, &value->rows, sizeof value->rows);
        break;
    case FIELD_COUNT32:
        memcpy(at, &narrow, sizeof narrow);
        break;
    case FIELD_COUNT64:
    case FIELD_SIZE:
        memcpy(at, &value->count, sizeof value->count);
        break;
    case FIELD_REAL:
        memcpy(at, &value->real, sizeof value->real);
        break;
    }
}

void field_quote(const char *value, char *text, size_t size) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    if (strcspn(value, letters) == 0 && *value && strspn(value, plain) == strlen(value)) {
        snprintf(text, size, "%s", value);
        return;
    }
    size_t at = 0;
    text[at++] = '"';
    for (const char *c = value; *c && at + 4 < size; c++) {
        if (*c == '"' || *c == '\\') text[at++] = '\\';
        text[at++] = *c;
    }
    text[at++] = '"';
    text[at] = '\0';
}
