/* gnuplot.c -- fork, change into the folder, execute, read what it complains about; see gnuplot.h.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "textfile.h"

enum { NOT_EXECUTED = 127, PATIENCE_S = 120 };

/* The program: a relative path is made absolute, as the child changes its folder. */
static const char *program(char *resolved) {
    const char *named = getenv("KVLAB_GNUPLOT");
    if (!named || !named[0]) return "gnuplot";
    if (!strchr(named, '/')) return named;
    return realpath(named, resolved) ? resolved : named;
}

/* In the child: no input, complaints into the pipe, an alarm that outlives exec as patience. */
static void become_gnuplot(const char *path, const char *folder, const char *script, int pipe_end) {
    const int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(pipe_end, 2) < 0 ||
        chdir(folder) != 0)
        _exit(1);
    alarm(PATIENCE_S);
    execlp(path, path, script, (char *)NULL);
    _exit(NOT_EXECUTED);
}

/* Reads until the other end closes; keeps the beginning. */
static void read_complaints(int pipe_end, char *text, size_t size) {
    size_t used = 0;
    char block[512];
    for (;;) {
        const ssize_t got = read(pipe_end, block, sizeof block);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        const size_t room = size - 1 - used, taken = (size_t)got < room ? (size_t)got : room;
        memcpy(text + used, block, taken);
        used += taken;
    }
    text[used] = '\0';
}

/* The line that says what is wrong: gnuplot quotes the command and points at it first. */
static void first_complaint(const char *text, char *message, size_t size) {
    const char *line = text;
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strstr(at, " line ") && strcspn(at, "\n") > (size_t)(strstr(at, " line ") - at)) {
            line = at;
            break;
        }
    line += strspn(line, "\n \t^");
    snprintf(message, size, "%.*s", (int)strcspn(line, "\n"), line);
}

Status gnuplot_run(const char *folder, const char *name, GnuplotResult *result, char *message,
                   size_t size, Error *err) {
    char resolved[PATH_SIZE], script[64], complaints[2048];
    const char *path = program(resolved);
    int ends[2], code = 0;
    snprintf(script, sizeof script, "%s.gp", name);
    if (pipe(ends) != 0) return fail(err, ERR_MACHINE, "cannot make a pipe: %s", strerror(errno));
    const pid_t child = fork();
    if (child == 0) become_gnuplot(path, folder, script, ends[1]);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return fail(err, ERR_MACHINE, "cannot start gnuplot: %s", strerror(errno));
    }
    read_complaints(ends[0], complaints, sizeof complaints);
    close(ends[0]);
    while (waitpid(child, &code, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(code) && WEXITSTATUS(code) == NOT_EXECUTED) {
        *result = GNUPLOT_MISSING;
    } else if (WIFEXITED(code) && WEXITSTATUS(code) == 0) {
        *result = GNUPLOT_DREW;
    } else {
        *result = GNUPLOT_FAILED;
        first_complaint(complaints, message, size);
        if (WIFSIGNALED(code)) snprintf(message, size, "stopped by signal %d", WTERMSIG(code));
    }
    return OK;
}
