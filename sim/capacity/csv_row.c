/* csv_row.c -- see csv_row.h. */
#include "csv_row.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static void append(CsvRow *row, const char *text, size_t length) {
    if (row->used + length > CSV_ROOM) csv_flush(row);
    memcpy(row->text + row->used, text, length);
    row->used += length;
}

static void begin_field(CsvRow *row) {
    if (row->started) append(row, ",", 1);
    row->started = true;
}

void csv_begin(CsvRow *row, FILE *out, const char *header) {
    row->out = out;
    row->failed = row->started = false;
    row->used = 0;
    append(row, header, strlen(header));
}

void csv_text(CsvRow *row, const char *text) {
    begin_field(row);
    const size_t length = strnlen(text, CSV_FIELD_MOST);
    if (!memchr(text, ',', length) && !memchr(text, '"', length) && !memchr(text, '\n', length)) {
        append(row, text, length);
        return;
    }
    append(row, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') append(row, "\"", 1);
        append(row, text + i, 1);
    }
    append(row, "\"", 1);
}

void csv_number(CsvRow *row, double value) {
    char text[32];
    begin_field(row);
    if (!isfinite(value)) return;
    if (value >= 0 && value < 0x1p53 && value == floor(value)) {
        char *at = text + sizeof text;
        uint64_t whole = (uint64_t)value;
        do *--at = (char)('0' + whole % 10);
        while (whole /= 10);
        append(row, at, (size_t)(text + sizeof text - at));
        return;
    }
    append(row, text, (size_t)snprintf(text, sizeof text, "%.9g", value));
}

void csv_empty(CsvRow *row, size_t count) {
    for (size_t i = 0; i < count; i++) begin_field(row);
}

void csv_end(CsvRow *row) {
    append(row, "\n", 1);
    row->started = false;
}

bool csv_flush(CsvRow *row) {
    if (fwrite(row->text, 1, row->used, row->out) != row->used) row->failed = true;
    row->used = 0;
    return !row->failed;
}
