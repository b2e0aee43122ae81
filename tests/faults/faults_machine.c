/* faults_machine.c -- what the machine does to a run: allocations and writes that fail, kills, a
 * full disk, a loss of power. After each, --resume must bring the store of an undisturbed run. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

static const char exact_study[] =
    "model: Llama-3.2-1B\nthreads: 1\ncontenders: [mha, mqa, mla-64+32]\n"
    "bytes: { tokens: [8, 24] }\n";
static const char mixed_study[] =
    "model: Llama-3.2-1B\nphases: [bytes, error]\nthreads: 1\n"
    "contenders: [mha, gqa-8, mqa, mla-64+32]\ncache: { block_tokens: [16, 64] }\n"
    "error: { shrink: 8, tokens: [16, 32], calibration_tokens: 64, contenders: [mha, gqa-8],"
    " type: [bf16, f32] }\n";
static const char error_study[] =
    "model: Llama-3.2-1B\nphases: [error]\nthreads: 1\nerror: { shrink: 8, tokens: 16,"
    " calibration_tokens: 64, contenders: [mha, mla-64+32] }\n";

/* `run STUDY --out NAME [--jobs 2] [--resume]` */
static Trial run_of(const char *study, const char *out, bool resume) {
    Trial t = { .arguments = { "run", path_of(study), "--out", path_of(out), "--jobs", "2",
                               resume ? "--resume" : NULL } };
    return t;
}

/* What an undisturbed run stores, into NAME. */
static void make_whole(const char *study, const char *text, const char *name) {
    write_file(study, text, strlen(text));
    remove_path(name);
    const Trial t = run_of(study, name, false);
    const Outcome o = trial_run(&t);
    if (o.code != 0) complain(&t, &o, "an undisturbed run fails");
}

/* Goes on with a disturbed run; what it stores must be what an undisturbed one does. */
static void resume(const char *study, const char *out, const char *whole) {
    const Trial t = run_of(study, out, true);
    const Outcome o = trial_run(&t);
    if (o.code != 0) {
        complain(&t, &o, "does not resume");
        return;
    }
    const size_t lost = points_lost(whole, out);
    if (lost) complain(&t, &o, "%zu points are missing or differ", lost);
}

/* ---- the n-th allocation, the n-th write ---- */

/* The next n: each one at first, then in growing steps. */
static long next_number(long n, long each) {
    return n < each ? n + 1 : n + 1 + (n - each) / 40;
}

/* Commands that write nothing but what they print. */
static void disturb_command(const char *const *arguments, long each) {
    bool injected = true;
    for (long n = 1; injected; n = next_number(n, each)) {
        Trial t = { .allocation = n };
        for (size_t i = 0; arguments[i]; i++) t.arguments[i] = arguments[i];
        const Outcome o = trial_run(&t);
        injected = o.injected;
        ended_well(&t, &o);
    }
}

static void disturb_run(const char *study, const char *whole, bool allocation, bool once,
                        long each) {
    bool injected = true;
    for (long n = 1; injected; n = next_number(n, each)) {
        remove_path("disturbed");
        Trial t = run_of(study, "disturbed", false);
        if (allocation)
            t.allocation = n;
        else
            t.write = n;
        t.once = once;
        const Outcome o = trial_run(&t);
        injected = o.injected;
        if (ended_well(&t, &o)) resume(study, "disturbed", whole);
    }
}

void fault_allocations(void) {
    make_whole("exact.yaml", exact_study, "whole");
    const char *const check[] = { "check", path_of("exact.yaml"), NULL };
    const char *const forward[] = { "forward", KVLAB_TESTS "/golden/mla_v3_small.safetensors",
                                    NULL };
    const char *const models[] = { "models", NULL };
    const char *const report[] = { "report", path_of("whole"), NULL };
    disturb_command(check, 100);
    disturb_command(forward, 100);
    disturb_command(models, 60);
    disturb_command(report, 100);
    disturb_run("exact.yaml", "whole", true, true, 120);
    make_whole("error.yaml", error_study, "errors");
    disturb_run("error.yaml", "errors", true, true, 20);
}

void fault_writes(void) {
    make_whole("exact.yaml", exact_study, "whole");
    disturb_run("exact.yaml", "whole", false, true, 120);
    disturb_run("exact.yaml", "whole", false, false, 60);
}

/* ---- kills ---- */

enum { KILLS = 50, CUTS = 15, MURDERS = 15 };

/* Cuts what the log of the store had not yet on disk, or fills its end with zeros: what a loss of
 * power leaves. */
static void lose_power(const char *out) {
    char name[128];
    struct stat log;
    snprintf(name, sizeof name, "%s/results.sqlite-wal", out);
    if (stat(path_of(name), &log) != 0 || log.st_size == 0) return;
    const off_t kept = (off_t)(draw() * (double)log.st_size);
    if (truncate(path_of(name), kept) != 0) abort();
    if (draw() < 0.5 && truncate(path_of(name), log.st_size) != 0) abort();
    snprintf(name, sizeof name, "%s/results.sqlite-shm", out);
    remove_path(name);
}

/* Kills a worker process of a run while it goes on. */
static void kill_worker(pid_t parent) {
    char path[64];
    long pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%ld", &pid) == 1 && kill((pid_t)pid, SIGKILL) == 0) counts.kills++;
    if (file) fclose(file);
}

static void murder_worker(const char *whole, double seconds) {
    remove_path("disturbed");
    Trial t = run_of("mixed.yaml", "disturbed", false);
    t.kill_worker = kill_worker;
    t.kill_after_s = draw() * seconds;
    const Outcome o = trial_run(&t);
    if (ended_well(&t, &o) && o.code != 0)
        complain(&t, &o, "does not survive a worker");
    else if (points_lost(whole, "disturbed"))
        complain(&t, &o, "points are missing or differ");
}

void fault_kills(void) {
    make_whole("mixed.yaml", mixed_study, "mixed");
    Trial t = run_of("mixed.yaml", "timed", false);
    const double seconds = trial_run(&t).seconds;
    for (int i = 0; i < KILLS + CUTS; i++) {
        remove_path("disturbed");
        for (int again = 0; again < 2; again++) { /* the resumed run is killed too */
            t = run_of("mixed.yaml", "disturbed", again);
            t.kill_after_s = draw() * seconds;
            const Outcome o = trial_run(&t);
            counts.kills += o.signal == SIGKILL;
            if (o.signal != SIGKILL && !ended_well(&t, &o)) break;
            if (i >= KILLS) lose_power("disturbed");
        }
        resume("mixed.yaml", "disturbed", "mixed");
    }
    for (int i = 0; i < MURDERS; i++) murder_worker("mixed", seconds);
}

/* ---- disk, rights, memory ---- */

enum { DAMAGES = 60 };

static void fill_disk(void) {
    for (size_t bytes = 1024; bytes < (size_t)4 << 20; bytes += bytes / 4) {
        remove_path("disturbed");
        Trial t = run_of("exact.yaml", "disturbed", false);
        t.file_limit_bytes = bytes;
        const Outcome o = trial_run(&t);
        counts.faults += o.code != 0;
        if (ended_well(&t, &o)) resume("exact.yaml", "disturbed", "whole");
    }
}

/* A folder that is only to be read: for nobody, where this runs as root. */
static void lock_folder(void) {
    remove_path("locked");
    if (mkdir(path_of("locked"), 0555) != 0) abort();
    Trial t = run_of("exact.yaml", "locked", false);
    t.as_nobody = getuid() == 0;
    const Outcome o = trial_run(&t);
    if (o.code != 1 || !strstr(o.error, "locked")) complain(&t, &o, "writes into a locked folder");
    ended_well(&t, &o);
    counts.faults++;
}

static void take_memory(void) {
    make_whole("error.yaml", error_study, "errors");
    for (size_t mib = 320; mib <= 1024; mib += 64) {
        remove_path("disturbed");
        Trial t = run_of("error.yaml", "disturbed", false);
        t.memory_limit_bytes = mib << 20;
        const Outcome o = trial_run(&t);
        counts.faults += o.code != 0;
        if (ended_well(&t, &o)) resume("error.yaml", "disturbed", "errors");
    }
}

/* Overwrites bytes of a store, one bit or a stretch. */
static void damage(const char *name, size_t bytes) {
    FILE *file = fopen(path_of(name), "r+b");
    if (!file) abort();
    fseek(file, 0, SEEK_END);
    const long at = (long)(draw() * (double)ftell(file));
    fseek(file, at, SEEK_SET);
    const int old = fgetc(file);
    fseek(file, at, SEEK_SET);
    if (bytes == 1) fputc(old ^ 1 << (int)(draw() * 8), file);
    for (size_t i = 0; bytes > 1 && i < bytes; i++) fputc((int)(draw() * 256), file);
    fclose(file);
}

/* A damaged store is never taken for another: going on says what is wrong with it, or brings the
 * store of an undisturbed run. */
static void damage_store(void) {
    const Trial first = run_of("exact.yaml", "disturbed", false);
    const Trial again = run_of("exact.yaml", "disturbed", true);
    for (int i = 0; i < DAMAGES; i++) {
        remove_path("disturbed");
        trial_run(&first);
        damage("disturbed/results.sqlite", i % 2 ? 64 : 1);
        const Outcome o = trial_run(&again);
        counts.faults++;
        if (!ended_well(&again, &o)) continue;
        if (o.code == 0 && points_lost("whole", "disturbed"))
            complain(&again, &o, "goes on with other numbers");
        if (o.code != 0 && !strstr(o.error, "results.sqlite"))
            complain(&again, &o, "does not say which file is damaged");
    }
}

void fault_machines(void) {
    make_whole("exact.yaml", exact_study, "whole");
    fill_disk();
    lock_folder();
    take_memory();
    damage_store();
}
