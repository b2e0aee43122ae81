/* progress.h -- how far a run is and how long it will take, for people. */
#ifndef KVLAB_PROGRESS_H
#define KVLAB_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct {
    size_t points;       /* in all */
    size_t finished;     /* now and in earlier runs */
    double per_second;   /* points, in this run */
    double left_seconds; /* estimated; negative while nothing is known */
    char running[128];   /* what is being run */
} Progress;

/* Shows a run's progress on a stream: on a terminal the last line is kept up to date and `line`s
 * scroll above it; elsewhere plain lines, when something happened and no more than two a second,
 * so that a log of many quick points stays short (`important` ones always). */
typedef struct {
    FILE *out;
    bool terminal;
    double last_ns; /* when something was printed */
    bool open;      /* the terminal's last line is ours */
} ProgressView;

ProgressView progress_view(FILE *out);
/* line may be NULL: only time has passed. */
void progress_show(ProgressView *view, const Progress *progress, const char *line, bool important);
/* Clears the line that was kept up to date. */
void progress_close(ProgressView *view);

/* "3 s", "4 min 10 s", "2 h 5 min". */
void progress_format_seconds(double seconds, char *text, size_t size);

#endif
