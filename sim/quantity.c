/* quantity.c -- reading and writing of numbers with units; see quantity.h. */
#include "quantity.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *suffix;
    double factor;
} Unit;

static bool find_unit(const Unit *units, size_t count, const char *suffix, double *factor) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].suffix, suffix) == 0) {
            *factor = units[i].factor;
            return true;
        }
    return false;
}

bool quantity_count(const char *text, uint64_t *out) {
    static const Unit units[] = { { "", 1 },       { "k", 0x1p10 }, { "K", 0x1p10 },
                                  { "m", 0x1p20 }, { "M", 0x1p20 }, { "g", 0x1p30 },
                                  { "G", 0x1p30 } };
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    double factor;
    if (errno || !find_unit(units, sizeof units / sizeof *units, end, &factor)) return false;
    if (value > UINT64_MAX / (uint64_t)factor) return false;
    *out = value * (uint64_t)factor;
    return true;
}

/* strtod, without its hexadecimal numbers; what follows the number is in *end. */
static bool decimal(const char *text, char **end, double *out) {
    const size_t sign = *text == '-' || *text == '+';
    if (text[sign] == '0' && (text[sign + 1] == 'x' || text[sign + 1] == 'X')) return false;
    errno = 0;
    *out = strtod(text, end);
    return errno == 0 && *end != text && isfinite(*out);
}

bool quantity_real(const char *text, double *out) {
    char *end;
    double value;
    if (isspace((unsigned char)text[0]) || !decimal(text, &end, &value) || *end) return false;
    *out = value;
    return true;
}

bool quantity_bytes(const char *text, uint64_t *out) {
    static const Unit units[] = { { "", 1 },         { "B", 1 },        { "kB", 1e3 },
                                  { "MB", 1e6 },     { "GB", 1e9 },     { "TB", 1e12 },
                                  { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 },
                                  { "TiB", 0x1p40 } };
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    double value, factor;
    if (!decimal(text, &end, &value)) return false;
    while (*end == ' ') end++;
    if (!find_unit(units, sizeof units / sizeof *units, end, &factor)) return false;
    if (!(value * factor < 0x1p63)) return false;
    *out = (uint64_t)(value * factor);
    return true;
}

bool quantity_rate(const char *text, const char *unit, double *out) {
    static const Unit prefixes[] = { { "", 1 },    { "k", 1e3 },  { "M", 1e6 },
                                     { "G", 1e9 }, { "T", 1e12 }, { "P", 1e15 } };
    char *end, prefix[2] = "";
    double value, factor;
    if (!isdigit((unsigned char)text[0]) || !decimal(text, &end, &value)) return false;
    while (*end == ' ') end++;
    if (strcmp(end, unit) != 0 && *end) prefix[0] = *end++;
    if (strcmp(end, unit) != 0) return false;
    if (!find_unit(prefixes, sizeof prefixes / sizeof *prefixes, prefix, &factor)) return false;
    *out = value * factor;
    return isfinite(*out);
}

void quantity_format_count(double value, char *text, size_t size) {
    char plain[32];
    const int digits =
        snprintf(plain, sizeof plain, "%.0f", value > 0 ? fmin(floor(value), 1e18) : 0);
    size_t at = 0;
    for (int i = 0; i < digits && at + 2 < size; i++) {
        if (i && (digits - i) % 3 == 0) text[at++] = ',';
        text[at++] = plain[i];
    }
    text[at] = '\0';
}

void quantity_format_bytes(double bytes, char *text, size_t size) {
    static const char *const units[] = { "MiB", "GiB", "TiB" };
    if (bytes < 1e6) {
        char number[32];
        quantity_format_count(bytes, number, sizeof number);
        snprintf(text, size, "%s B", number);
        return;
    }
    size_t unit = 0;
    double value = bytes / 0x1p20;
    while (value >= 1000 && unit + 1 < sizeof units / sizeof *units) value /= 1024, unit++;
    snprintf(text, size, value < 999.5 ? "%.3g %s" : "%.0f %s", value, units[unit]);
}
