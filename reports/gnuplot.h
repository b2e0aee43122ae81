/* gnuplot.h -- runs gnuplot on a file of commands, without a shell. */
#ifndef KVLAB_GNUPLOT_H
#define KVLAB_GNUPLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

typedef enum { GNUPLOT_DREW, GNUPLOT_MISSING, GNUPLOT_FAILED } GnuplotResult;

/* Runs `gnuplot <name>.gp` in a folder; the environment variable KVLAB_GNUPLOT may name another
 * program. GNUPLOT_FAILED puts the first line of what it complained about into message [size].
 * Errors: ERR_MACHINE when no process can be started at all. */
Status gnuplot_run(const char *folder, const char *name, GnuplotResult *result, char *message,
                   size_t size, Error *err);

#endif
