/* faults.c -- everything that can go wrong, made to: see faults.h. Prints what was tried. */
#define _GNU_SOURCE
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store.h"

Counts counts;
char scratch[64];

/* ---- running ---- */

static void set_number(const char *name, long value) {
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    if (value) setenv(name, text, 1);
}

static void set_limit(int resource, size_t bytes) {
    if (!bytes) return;
    const struct rlimit limit = { bytes, bytes };
    setrlimit(resource, &limit);
}

/* Becomes kvlab; never returns. */
static void become(const Trial *t) {
    static char words[ARGUMENTS_MOST][512] = { "kvlab" };
    char *arguments[ARGUMENTS_MOST + 1] = { words[0] };
    for (size_t i = 0; i + 1 < ARGUMENTS_MOST && t->arguments[i]; i++) {
        snprintf(words[i + 1], sizeof words[0], "%s", t->arguments[i]);
        arguments[i + 1] = words[i + 1];
    }
    if (t->allocation || t->write) {
        setenv("LD_PRELOAD", FAULT_PRELOAD, 1);
        setenv("FAULT_REPORT", path_of("injected"), 1);
    }
    setenv("PATH", "/nowhere",
           1); /* figures are drawn by another program, which nothing is done to */
    set_number("FAULT_ALLOCATION", t->allocation);
    set_number("FAULT_WRITE", t->write);
    set_number("FAULT_ONCE", t->once);
    signal(SIGXFSZ, SIG_IGN);
    set_limit(RLIMIT_FSIZE, t->file_limit_bytes);
    set_limit(RLIMIT_AS, t->memory_limit_bytes);
    set_limit(RLIMIT_CORE, 1);
    const int error = open(path_of("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int out = open(path_of("stdout"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(out, 1);
    dup2(error, 2);
    if (t->as_nobody && (setgroups(0, NULL) || setgid(65534) || setuid(65534))) _exit(99);
    execv(KVLAB_BINARY, arguments);
    _exit(98);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Waits until the process ends, is to be killed, or is late. */
static void watch(const Trial *t, pid_t pid, double begin, Outcome *o) {
    const double limit = t->limit_s > 0 ? t->limit_s : 120;
    struct rusage usage;
    int status = 0;
    bool killed = false;
    while (wait4(pid, &status, WNOHANG, &usage) == 0) {
        const double seconds = now_s() - begin;
        bool kill_now = t->kill_after_s > 0 && seconds >= t->kill_after_s;
        if (kill_now && t->kill_worker) {
            if (!killed) t->kill_worker(pid);
            killed = true;
            kill_now = false;
        }
        o->late = seconds > limit;
        if (kill_now || o->late) {
            kill(pid, SIGKILL);
            wait4(pid, &status, 0, &usage);
            break;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
    }
    o->seconds = now_s() - begin;
    o->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    o->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    o->peak_bytes = (size_t)usage.ru_maxrss * 1024;
}

static void read_last_line(char *line) {
    char text[TEXT_MOST] = "";
    FILE *file = fopen(path_of("stderr"), "r");
    if (!file) return;
    fseek(file, 0, SEEK_END);
    const long size = ftell(file), keep = TEXT_MOST - 1;
    fseek(file, size > keep ? size - keep : 0, SEEK_SET);
    text[fread(text, 1, TEXT_MOST - 1, file)] = '\0';
    fclose(file);
    size_t length = strlen(text);
    while (length && text[length - 1] == '\n') text[--length] = '\0';
    const char *last = strrchr(text, '\n');
    snprintf(line, TEXT_MOST, "%s", last ? last + 1 : text);
}

Outcome trial_run(const Trial *trial) {
    Outcome outcome = { .code = -1 };
    remove_path("injected");
    const double begin = now_s();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) become(trial);
    watch(trial, pid, begin, &outcome);
    outcome.injected = access(path_of("injected"), F_OK) == 0;
    read_last_line(outcome.error);
    counts.runs++;
    counts.faults += outcome.injected;
    return outcome;
}

/* ---- judging ---- */

void complain(const Trial *trial, const Outcome *outcome, const char *format, ...) {
    va_list args;
    counts.failures++;
    printf("FAILED:");
    for (size_t i = 0; trial && trial->arguments[i]; i++) printf(" %s", trial->arguments[i]);
    if (trial && trial->allocation) printf(" [allocation %ld]", trial->allocation);
    if (trial && trial->write) printf(" [write %ld%s]", trial->write, trial->once ? " once" : "");
    printf(": ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    if (outcome)
        printf(" (code %d, signal %d, %.1f s, %zu MiB: %s)", outcome->code, outcome->signal,
               outcome->seconds, outcome->peak_bytes >> 20, outcome->error);
    printf("\n");
}

bool ended_well(const Trial *trial, const Outcome *o) {
    if (o->late)
        complain(trial, o, "took too long");
    else if (o->signal)
        complain(trial, o, "died");
    else if (o->code < 0 || o->code > 2)
        complain(trial, o, "ended oddly");
    else if (o->code > 0 && !o->error[0])
        complain(trial, o, "does not say why");
    else
        return true;
    return false;
}

/* ---- files ---- */

const char *path_of(const char *name) {
    static char paths[64][160];
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (!paths[i][0]) snprintf(paths[i], sizeof paths[0], "%s/%s", scratch, name);
        if (strcmp(paths[i] + strlen(scratch) + 1, name) == 0) return paths[i];
    }
    abort();
}

void write_file(const char *name, const char *text, size_t size) {
    FILE *file = fopen(path_of(name), "wb");
    if (!file || fwrite(text, 1, size, file) != size || fclose(file)) abort();
}

void remove_path(const char *name) {
    char command[320];
    const char *path = path_of(name);
    if (access(path, F_OK) != 0) return;
    if (unlink(path) == 0) return;
    snprintf(command, sizeof command, "rm -rf '%.200s'", path);
    if (system(command) != 0) abort();
}

double draw(void) {
    static unsigned state = 20240607;
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 24);
}

static bool is_repeatable(const StoredPoint *p, const Metric *m) {
    return m->kind == KIND_EXACT ||
           (m->kind == KIND_MEASURED && strcmp(p->point.phase, "error") == 0);
}

static bool same_point(const StoredPoint *a, const StoredPoint *b) {
    if (strcmp(a->point.key, b->point.key) != 0 || a->point.status != b->point.status ||
        a->metric_count != b->metric_count)
        return false;
    for (size_t i = 0; i < a->metric_count; i++)
        if (is_repeatable(a, &a->metrics[i]) &&
            memcmp(&a->metrics[i].value, &b->metrics[i].value, sizeof(double)) != 0)
            return false;
    return true;
}

size_t points_lost(const char *whole, const char *run) {
    StoredRun a = { 0 }, b = { 0 };
    Error err;
    if (store_read(&a, path_of(whole), &err) != OK) abort();
    if (store_read(&b, path_of(run), &err) != OK) {
        printf("FAILED: %s\n", err.text);
        store_run_free(&a);
        return 1;
    }
    size_t lost = a.point_count != b.point_count;
    for (size_t i = 0; i < a.point_count && i < b.point_count; i++)
        lost += !same_point(&a.points[i], &b.points[i]);
    store_run_free(&a);
    store_run_free(&b);
    counts.lost += lost;
    return lost;
}

/* ---- all of it ---- */

static const struct {
    const char *name, *what;
    void (*run)(void);
} tests[] = {
    { "allocations", "the n-th allocation fails, n = 1, 2, ...", fault_allocations },
    { "writes", "the n-th write fails, once and from then on", fault_writes },
    { "kills", "runs and workers killed, power lost, at random moments", fault_kills },
    { "machines", "full disk, no rights, little memory", fault_machines },
    { "inputs", "hostile files", fault_inputs },
};

int main(int argc, char **argv) {
    /* in memory where the system has a place for it: no disk sets the pace of thousands of runs */
    snprintf(scratch, sizeof scratch, "%s/kvlab-faults-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(scratch) || chmod(scratch, 0777) != 0) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) continue;
        const Counts before = counts;
        const double begin = now_s();
        tests[i].run();
        printf("%-12s %-55s %5zu runs, %4.0f s, %zu failures\n", tests[i].name, tests[i].what,
               counts.runs - before.runs, now_s() - begin, counts.failures - before.failures);
    }
    printf("kills survived %zu, faults injected %zu, inputs tried %zu, points lost %zu; %zu "
           "failures\n",
           counts.kills, counts.faults, counts.inputs, counts.lost, counts.failures);
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    return system(command) != 0 || counts.failures || counts.lost;
}
