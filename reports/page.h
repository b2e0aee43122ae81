/* page.h -- one page in two renderings: the same calls write HTML or Markdown.
 *
 * All text given is plain; the page escapes it. */
#ifndef KVLAB_PAGE_H
#define KVLAB_PAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "figure.h"

typedef struct {
    FILE *out;
    bool html;
    const char *plots; /* the folder of the figures, to inline them */
} Page;

enum { CELLS_MOST = 14 };

/* One row of a table; row_add appends a formatted cell. */
typedef struct {
    char cells[CELLS_MOST][200];
    size_t count;
} Row;

void row_add(Row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));

Status page_begin(Page *page, const char *title, Error *err);
void page_end(Page *page);
void page_heading(Page *page, const char *text);
void page_paragraph(Page *page, const char *text);
void page_list_begin(Page *page);
void page_list_item(Page *page, const char *text);
void page_list_end(Page *page);

/* A table: its caption (numbers: columns from the `first_number`-th on stand right), heads, rows.
 */
void page_table_begin(Page *page, const char *caption, const Row *heads, size_t first_number);
void page_table_row(Page *page, const Row *row, size_t first_number);
void page_table_end(Page *page);

/* A figure with its caption: inlined in HTML, linked in Markdown; one that was not drawn is said to
 * be so, with the command that draws it. */
Status page_figure(Page *page, const Figure *figure, Error *err);

#endif
