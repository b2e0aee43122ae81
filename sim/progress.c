/* progress.c -- lines of progress for terminals and for logs; see progress.h. */
#include "progress.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static const double PLAIN_NS = 0.5e9, TERMINAL_NS = 0.1e9;

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

ProgressView progress_view(FILE *out) {
    return (ProgressView){ .out = out, .terminal = isatty(fileno(out)) };
}

void progress_format_seconds(double seconds, char *text, size_t size) {
    const long long whole = (long long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(text, size, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(text, size, "%lld s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%lld min %lld s", whole / 60, whole % 60);
    else
        snprintf(text, size, "%lld h %lld min", whole / 3600, whole / 60 % 60);
}

/* "12/40 points, 3.1/s, 9 s left" */
static void describe(const Progress *p, char *text, size_t size) {
    char left[48] = "";
    int used = snprintf(text, size, "%zu/%zu points", p->finished, p->points);
    if (p->per_second > 0)
        used += snprintf(text + used, size - (size_t)used, ", %.3g/s", p->per_second);
    if (p->left_seconds < 0 || p->finished == p->points) return;
    progress_format_seconds(p->left_seconds, left, sizeof left);
    snprintf(text + used, size - (size_t)used, ", %s left", left);
}

void progress_close(ProgressView *view) {
    if (view->open) fputs("\r\033[K", view->out);
    view->open = false;
    fflush(view->out);
}

static void show_terminal(ProgressView *view, const Progress *progress, const char *line) {
    char state[128];
    describe(progress, state, sizeof state);
    if (line) {
        progress_close(view);
        fprintf(view->out, "%s\n", line);
    }
    /* cut to a terminal's usual width: a line that wraps cannot be taken back */
    fprintf(view->out, "\r\033[K[%s] %.*s", state, 100 - (int)strlen(state), progress->running);
    view->open = true;
    fflush(view->out);
}

void progress_show(ProgressView *view, const Progress *progress, const char *line, bool important) {
    const double now = now_ns();
    const double pause = view->terminal ? TERMINAL_NS : PLAIN_NS;
    if (!important && now - view->last_ns < pause) return;
    if (!view->terminal && !line) return;
    view->last_ns = now;
    if (view->terminal) {
        show_terminal(view, progress, line);
        return;
    }
    char state[128];
    describe(progress, state, sizeof state);
    fprintf(view->out, progress->points ? "[%s] %s\n" : "%s%s\n", progress->points ? state : "",
            line);
}
