/* main.c -- finds the subcommand, runs it, and alone prints errors and chooses the exit code:
 * 0 done, 1 the machine failed, 2 the input was wrong. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "blas.h"
#include "commands.h"
#include "machine.h"
#include "names.h"

typedef struct {
    const char *name;
    Status (*run)(int argc, char **argv, Error *err);
    const char *help;
} Subcommand;

static const Subcommand subcommands[] = {
    { "plan", cmd_plan, "say what fits on some hardware, how fast it is, and what binds" },
    { "audit", cmd_audit, "hold the usual formulas for a model's cache against kvlab's" },
    { "run", cmd_run, "run a study and write its report" },
    { "merge", cmd_merge, "put the shards of a study together" },
    { "bench", cmd_bench, "time or check the kernels against this machine's limits" },
    { "forward", cmd_forward, "run one attention layer over given tensors" },
    { "convert", cmd_convert, "bring one attention layer to another shape" },
    { "report", cmd_report, "redraw a report from what is stored" },
    { "check", cmd_check, "check a study without running it" },
    { "describe", cmd_describe, "explain the keys of a study" },
    { "models", cmd_models, "list the models that ship with kvlab" },
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void print_usage(FILE *out) {
    fprintf(out, "kvlab: the memory of transformer attention, measured\n\n"
                 "usage: kvlab COMMAND [arguments]    kvlab COMMAND --help    kvlab --version\n\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        fprintf(out, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
}

static Status run(int argc, char **argv, Error *err) {
    if (argc < 2) {
        print_usage(stderr);
        return fail(err, ERR_INPUT, "a command is missing");
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        const Machine machine = machine_read();
        printf("kvlab %s (%s)\n", machine.version, machine.commit);
        return OK;
    }
    const char *names[SUBCOMMANDS];
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        names[i] = subcommands[i].name;
        if (strcmp(argv[1], names[i]) == 0) return subcommands[i].run(argc - 1, argv + 1, err);
    }
    const char *nearest = names_nearest(argv[1], names, SUBCOMMANDS);
    if (nearest)
        return fail(err, ERR_INPUT, "%.80s: no such command; did you mean %s?", argv[1], nearest);
    return fail(err, ERR_INPUT, "%.80s: no such command; kvlab --help lists them", argv[1]);
}

/* Where address space is limited: what the program and one buffer for each further thread of
 * OpenBLAS take. With less its threads ask for their buffers for ever, and no process with them can
 * end or fork. */
static Status check_address_space(Error *err) {
    static const size_t program = (size_t)160 << 20, buffer = (size_t)136 << 20;
    const size_t least = program + (size_t)(blas_threads() - 1) * buffer;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= least)
        return OK;
    return fail(err, ERR_MACHINE,
                "the address space is limited to %zu MiB; at least %zu MiB are needed (ulimit -v)",
                (size_t)limit.rlim_cur >> 20, least >> 20);
}

int main(int argc, char **argv) {
    Error err = { 0 };
    if (check_address_space(&err) != OK) {
        fprintf(stderr, "%s\n", err.text);
        fflush(stderr);
        _exit(1); /* without waiting for threads */
    }
    Status status = run(argc, argv, &err);
    if (status == OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = fail(&err, ERR_MACHINE, "cannot write to standard output");
    if (status == OK) return 0;
    fprintf(stderr, "%s\n", err.text);
    return status == ERR_INPUT ? 2 : 1;
}
