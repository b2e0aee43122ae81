/* faults.h -- runs kvlab while something goes wrong and looks at what is left: never a crash, one
 * line of reason, no finished point lost. */
#ifndef KVLAB_TESTS_FAULTS_H
#define KVLAB_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { ARGUMENTS_MOST = 24, TEXT_MOST = 4096 };

/* One run of kvlab. */
typedef struct {
    const char *arguments[ARGUMENTS_MOST]; /* after the program's name, NULL at the end */
    long allocation, write;                /* the fault to inject; 0: none */
    bool once;
    double kill_after_s;            /* SIGKILL after so long; 0: never */
    void (*kill_worker)(pid_t run); /* called then instead */
    double limit_s;                 /* a run that takes longer fails the test; 0: 120 */
    size_t file_limit_bytes, memory_limit_bytes; /* of the process; 0: none */
    bool as_nobody;                              /* without root's rights */
} Trial;

typedef struct {
    int code;      /* exit code, or -1 */
    int signal;    /* that ended it, or 0 */
    bool injected; /* did the fault come to pass? */
    bool late;     /* beyond limit_s */
    double seconds;
    size_t peak_bytes;     /* resident */
    char error[TEXT_MOST]; /* the last line of standard error */
} Outcome;

Outcome trial_run(const Trial *trial);

/* ---- counting ---- */
typedef struct {
    size_t kills, faults, inputs, runs, lost, failures;
} Counts;
extern Counts counts;

/* Notes a failure with its trial. */
void complain(const Trial *trial, const Outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Ended by itself, with 0, or with 1 or 2 and a line that says why? Complains otherwise. */
bool ended_well(const Trial *trial, const Outcome *outcome);

/* The folder that tests write into, and paths below it. */
extern char scratch[64];
const char *path_of(const char *name);
void write_file(const char *name, const char *text, size_t size);
void remove_path(const char *name);

/* A number in 0 .. 1, the same sequence each time. */
double draw(void);

/* Are the points of two runs the same? Missing and different ones are counted as lost. */
size_t points_lost(const char *whole, const char *run);

/* ---- the tests ---- */
void fault_allocations(void);
void fault_writes(void);
void fault_kills(void);
void fault_machines(void); /* disk, rights, memory */
void fault_inputs(void);

#endif
