/* csv_row.h -- rows of CSV into a stream, fast: whole numbers without printf, text quoted where it
 * must be. */
#ifndef KVLAB_CSV_ROW_H
#define KVLAB_CSV_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CSV_ROOM = 1 << 16, CSV_FIELD_MOST = 2048 };

typedef struct {
    FILE *out;
    bool failed;  /* the stream took less than it was given */
    bool started; /* the row has a field */
    size_t used;
    char text[CSV_ROOM];
} CsvRow;

/* Begins a stream with its first line, which ends in a newline. */
void csv_begin(CsvRow *row, FILE *out, const char *header);

/* Appends a field. Numbers are exact where whole and below 2^53, else have nine digits; what is not
 * finite is left empty. */
void csv_text(CsvRow *row, const char *text);
void csv_number(CsvRow *row, double value);
void csv_empty(CsvRow *row, size_t count);

/* Ends the row. */
void csv_end(CsvRow *row);

/* Gives everything to the stream; false once it has failed. */
bool csv_flush(CsvRow *row);

#endif
