/* tables.h -- the tables of a report: what was measured, what was not, on what and how. */
#ifndef KVLAB_TABLES_H
#define KVLAB_TABLES_H

#include "page.h"
#include "view.h"

/* Each writes nothing where the run has nothing for it. */
void table_bytes(const View *view, Page *page);
void table_times(const View *view, Page *page); /* decode, prefill, projections, steps */
/* Users, bytes and memory of a GPU, of the plan phase. */
void table_capacity(const View *view, Page *page);

void table_errors(const View *view, Page *page);
void table_missing(const View *view, Page *page);  /* left out and failed points */
void table_warnings(const View *view, Page *page); /* of finished points */
void table_machine(const View *view, Page *page);
void table_config(const View *view, Page *page);

#endif
