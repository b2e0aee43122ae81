/* test_mpi.c -- one study by the ranks of an MPI job: the store of one rank, whatever dies. Needs
 * mpirun, and kvlab built with MPI; skipped without. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "study_runs.h"

TestSuite(mpi, .init = make_folder, .fini = remove_folder, .timeout = 120);

static const char mixed[] =
    "model: Llama-3.2-1B\nphases: [bytes, decode, error]\nthreads: 1\n"
    "contenders: [mha, gqa-8, mqa, mla-64+32]\n"
    "decode: { context: [64, 128] }\nmeasure: { min_seconds: 0, min_samples: 3 }\n"
    "error: { shrink: 8, tokens: [16, 32], calibration_tokens: 64, contenders: [mha, gqa-8],"
    " type: [bf16, f32] }\ncluster: { lost_seconds: 2 }\n";

static void write_study(const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/study.yaml", folder);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* What is started as root, or by more ranks than cores, is so on purpose here. */
static void allow(void) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_btl_base_warn_component_unused", "0", 1);
    setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 1);
}

/* mpirun ARGUMENTS kvlab run study.yaml --out NAME MORE, its errors into `errors`; its pid. */
static pid_t start(const char *arguments, const char *name, const char *more) {
    char command[1024];
    snprintf(command, sizeof command,
             "exec '%s' %s '%s' run %s/study.yaml --out %s/%s %s >%s/out 2>%s/errors", KVLAB_MPIRUN,
             arguments, KVLAB_BINARY, folder, folder, name, more, folder, folder);
    fflush(NULL);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid) return pid;
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void nap(double seconds) {
    nanosleep(&(struct timespec){ .tv_nsec = (long)(seconds * 1e9) }, NULL);
}

static int finish(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *errors(void) {
    static char text[8192];
    char path[128];
    snprintf(path, sizeof path, "%s/errors", folder);
    FILE *file = fopen(path, "r");
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = '\0';
    if (file) fclose(file);
    return text;
}

static void ready(const char *text) {
    if (!KVLAB_MPIRUN[0]) cr_skip_test("no MPI");
    allow();
    write_study(text);
}

/* What one process stores. */
static StoredRun run_alone(const char *text) {
    return run_and_read(text, "alone");
}

static void expect_same(const char *text, const char *name) {
    StoredRun alone = run_alone(text), ranks = read_run(name);
    expect_equal_runs(&alone, &ranks);
    store_run_free(&alone);
    store_run_free(&ranks);
}

Test(mpi, four_ranks_give_the_store_of_one) {
    ready(mixed);
    cr_assert_eq(finish(start("-n 4", "four", "")), 0, "%s", errors());
    expect_same(mixed, "four");
    StoredRun stored = read_run("four");
    bool other = false;
    for (size_t i = 0; i < stored.point_count; i++) {
        cr_assert(stored.points[i].point.host[0], "what ran where is stored");
        other |= stored.points[i].point.rank > 0;
    }
    cr_assert(other, "ranks beside the first ran points");
    store_run_free(&stored);
}

Test(mpi, what_is_wrong_is_said_once) {
    ready("model: Llama-3.2-1B\nsede: 3\n");
    cr_assert_eq(finish(start("-n 3", "wrong", "")), 2, "%s", errors());
    const char *first = strstr(errors(), "did you mean seed?");
    cr_assert(first && !strstr(first + 1, "did you mean seed?"), "%s", errors());
    write_study("model: Llama-3.2-1B\ncontenders: gqa-5\n");
    cr_assert_eq(finish(start("-n 3", "wrong", "")), 2, "%s", errors());
    first = strstr(errors(), "did you mean gqa-4?");
    cr_assert(first && !strstr(first + 1, "did you mean gqa-4?"), "%s", errors());
}

/* Processes of the run into NAME that belong to this rank: the rank itself, or its worker. */
static pid_t find_process(const char *name, int rank, bool worker) {
    char command[512];
    long pid = 0;
    snprintf(command, sizeof command,
             "for p in $(pgrep -f '[k]vlab run .*%s/%s'); do"
             " tr '\\0' '\\n' 2>/dev/null </proc/$p/environ | grep -qx OMPI_COMM_WORLD_RANK=%d || "
             "continue;"
             " parent=$(awk '/^PPid/{print $2}' /proc/$p/status);"
             " tr '\\0' ' ' </proc/$parent/cmdline | grep -q '^[^ ]*kvlab' && kind=1 || kind=0;"
             " [ $kind = %d ] && echo $p && break; done",
             folder, name, rank, worker);
    FILE *pipe = popen(command, "r");
    if (!pipe || fscanf(pipe, "%ld", &pid) != 1) pid = 0;
    if (pipe) pclose(pipe);
    return (pid_t)pid;
}

/* Waits until points are stored. */
static void wait_for_points(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (int i = 0; i < 400; i++) {
        StoredRun run;
        size_t points = 0;
        Error err;
        if (store_read_facts(&run, path, &points, &err) == OK) store_run_free(&run);
        if (points > 2) return;
        nap(0.02);
    }
}

static const char slow[] =
    "model: Llama-3.2-1B\nphases: [error]\nthreads: 1\nerror: { shrink: 8, tokens: [64, 96, 128],"
    " calibration_tokens: 128, contenders: [mha, gqa-8, mqa, gqa-2], type: [bf16, f32] }\n"
    "cluster: { lost_seconds: 2 }\n";

Test(mpi, a_lost_worker_process_costs_no_point) {
    ready(slow);
    const pid_t job = start("-n 3", "worker", "");
    wait_for_points("worker");
    const pid_t worker = find_process("worker", 1, true);
    const bool killed = worker && kill(worker, SIGKILL) == 0;
    cr_assert_eq(finish(job), 0, "%s", errors());
    expect_same(slow, "worker");
    if (!killed) cr_skip_test("the worker was not found in time");
}

Test(mpi, a_lost_rank_costs_no_point_where_the_job_goes_on) {
    ready(slow);
    const pid_t job = start("-n 3 --enable-recovery", "rank", "");
    wait_for_points("rank");
    const pid_t rank = find_process("rank", 1, false);
    if (!rank || kill(rank, SIGKILL) != 0) {
        finish(job);
        cr_skip_test("the rank was not found in time, or the job takes no --enable-recovery");
    }
    cr_assert_eq(finish(job), 0, "%s", errors());
    expect_same(slow, "rank");
}

Test(mpi, a_job_that_is_stopped_or_dies_resumes) {
    static const int signals[] = { SIGINT, SIGKILL };
    ready(slow);
    for (size_t i = 0; i < 2; i++) {
        const char *name = i ? "killed" : "stopped";
        const pid_t job = start("-n 3", name, "");
        wait_for_points(name);
        kill(job, signals[i]);
        finish(job);
        nap(0.5); /* ranks of a killed job notice by themselves */
        cr_assert_eq(finish(start("-n 2", name, "--resume")), 0, "%s", errors());
        expect_same(slow, name);
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s/alone", folder);
        cr_assert_eq(system(command), 0);
    }
}
