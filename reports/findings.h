/* findings.h -- the headline sentences of a report, each computed from the stored points. */
#ifndef KVLAB_FINDINGS_H
#define KVLAB_FINDINGS_H

#include "page.h"
#include "view.h"

/* Writes them as one list; a run without the data for any gets a sentence that says so. */
Status findings_write(const View *view, Page *page, Error *err);

#endif
