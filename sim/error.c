/* error.c -- fills errors; see error.h. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line whatever the input held: names and values from files may carry any byte. */
static void keep_one_line(char *text) {
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

static Status fill(Error *err, Status status, const char *place, const char *format, va_list args) {
    err->status = status;
    const int used = snprintf(err->text, sizeof err->text, "%s", place);
    const size_t start = used < (int)sizeof err->text ? (size_t)used : sizeof err->text - 1;
    vsnprintf(err->text + start, sizeof err->text - start, format, args);
    keep_one_line(err->text);
    return status;
}

Status fail(Error *err, Status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(err, status, "", format, args);
    va_end(args);
    return status;
}

Status fail_at(Error *err, const char *file, unsigned long line, unsigned long column,
               const char *format, ...) {
    char place[512];
    if (line && column)
        snprintf(place, sizeof place, "%.400s:%lu:%lu: ", file, line, column);
    else if (line)
        snprintf(place, sizeof place, "%.400s:%lu: ", file, line);
    else
        snprintf(place, sizeof place, "%.400s: ", file);
    va_list args;
    va_start(args, format);
    fill(err, ERR_INPUT, place, format, args);
    va_end(args);
    return ERR_INPUT;
}
