/* report.h -- figures and pages out of a stored run; reads the store, never the simulator. */
#ifndef KVLAB_REPORT_H
#define KVLAB_REPORT_H

#include "error.h"

typedef struct {
    int figures;    /* drawn as svg, pdf and png */
    char note[256]; /* "" or what is missing and how to get it (gnuplot) */
} ReportSummary;

/* No figure and no page shows more points than these. */
enum { REPORT_POINTS_MOST = 50000 };

/* Writes plots/ (tsv, gp, svg, pdf, png of each figure), report.html and report.md into the folder
 * of a run. Without gnuplot the data, the pages with their tables and the commands to draw are
 * still written, and the summary says what to install. Of a run of more than REPORT_POINTS_MOST
 * points only facts are read and written: the note says where the points are. */
Status report_write(const char *folder, ReportSummary *summary, Error *err);

#endif
