/* study.c -- sets a study up, says what it takes, runs the list of its points; see study.h. */
#include "study.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "digest.h"
#include "progress.h"
#include "quantity.h"
#include "ranks.h"
#include "study_schedule.h"
#include "study_talk.h"
#include "textfile.h"
#include "workers.h"

bool study_is_timed(const ConfigFile *config) {
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (study_phases[phase].timed && config_points(config, (Phase)phase)) return true;
    return false;
}

/* ---- setting up ---- */

/* Threads never multiply: where several points run at once, the cores are shared out. */
static Status share_threads(Study *study, size_t jobs, Error *err) {
    const size_t cores = (size_t)study->machine.cores, given = study->first.threads;
    jobs *= (size_t)ranks_place().local_size;
    if (jobs > 1 && given > 1 && jobs * given > cores)
        return fail(err, ERR_INPUT,
                    "threads: %zu points of %zu threads at once are more than this machine's %zu "
                    "cores; choose fewer, or 0 to share the cores out",
                    jobs, given, cores);
    study->alone_threads = (int)(given ? given : cores);
    study->shared_threads = (int)(given ? given : jobs < cores ? cores / jobs : 1);
    study->threads = study->alone_threads;
    return OK;
}

static Status set_up(Study *study, size_t jobs, Error *err) {
    TRY(study_check(study->config, &study->model, err));
    config_point(study->config, PHASE_BYTES, 0, &study->first);
    kernels_parse(study->first.isa, &study->tiers);
    study->kernels = kernels_select(study->tiers);
    study->machine = machine_read();
    TRY(share_threads(study, jobs, err));
    study->leave_out = study->first.limits.memory_bytes > 0;
    study->memory_bytes = study->leave_out ? (size_t)study->first.limits.memory_bytes
                                           : study->machine.available_bytes;
    return OK;
}

/* ---- what it takes ---- */

/* Free bytes where the folder is, or will be made. */
static size_t free_bytes(const char *folder) {
    char path[PATH_SIZE];
    struct statvfs disk;
    snprintf(path, sizeof path, "%s", folder);
    while (statvfs(path, &disk) != 0) {
        char *slash = strrchr(path, '/');
        if ((errno != ENOENT && errno != ENOTDIR) || strcmp(path, ".") == 0) return SIZE_MAX;
        if (slash && slash != path)
            *slash = '\0';
        else
            snprintf(path, sizeof path, "%s", slash ? "/" : ".");
    }
    return (size_t)disk.f_bavail * disk.f_frsize;
}

/* What depends on how many run at once. */
static void finish_preview(const Study *study, const StudyOptions *options, size_t workers,
                           StudyPreview *p) {
    const size_t beside = workers * p->other_bytes;
    p->workers = workers;
    p->seconds = p->timed_seconds + p->other_seconds / (double)workers;
    p->memory_limit_bytes = study->memory_bytes;
    p->memory_bytes = beside < study->memory_bytes ? beside : study->memory_bytes;
    if (p->timed_bytes > p->memory_bytes) p->memory_bytes = p->timed_bytes;
    p->disk_free_bytes = free_bytes(options->folder);
}

void study_preview_line(const StudyPreview *p, char *line, size_t size) {
    char time[48], memory[32], limit[32], disk[32], room[32];
    progress_format_seconds(p->seconds, time, sizeof time);
    quantity_format_bytes((double)p->memory_bytes, memory, sizeof memory);
    quantity_format_bytes((double)p->memory_limit_bytes, limit, sizeof limit);
    quantity_format_bytes((double)p->disk_bytes, disk, sizeof disk);
    quantity_format_bytes((double)p->disk_free_bytes, room, sizeof room);
    snprintf(line, size, "%zu points, about %s; memory to %s of %s, disk about %s of %s", p->points,
             time, memory, limit, disk, room);
}

static void say(const StudyOptions *options, const char *line) {
    const Progress nothing = { .left_seconds = -1 };
    if (options->progress) options->progress(options->context, &nothing, line, true);
}

/* Plans all points; where time is measured, by the peaks of this machine. */
static Status preview(Schedule *schedule, Error *err) {
    Study *study = schedule->study;
    StudyPreview *p = &schedule->preview;
    TRY(study_list(study, &schedule->shard, p, err)); /* refuses before all else */
    if (study_is_timed(study->config)) {
        say(schedule->options, "measuring what this machine can do: memory bandwidth, "
                               "multiply-adds");
        TRY(schedule_peaks(schedule, err));
        TRY(study_list(study, &schedule->shard, p, err));
    }
    finish_preview(study, schedule->options, schedule->crew->count, p);
    return OK;
}

static Status refuse_disk(const StudyOptions *options, const StudyPreview *p, Error *err) {
    char disk[32], room[32];
    if (p->disk_bytes <= p->disk_free_bytes) return OK;
    quantity_format_bytes((double)p->disk_bytes, disk, sizeof disk);
    quantity_format_bytes((double)p->disk_free_bytes, room, sizeof room);
    return fail(err, ERR_MACHINE, "%s: the run would write about %s and the disk has %s free",
                options->folder, disk, room);
}

/* ---- running ---- */

static Status run_stored(Schedule *schedule, Error *err) {
    const double start = measure_now_ns();
    const Study *study = schedule->study;
    char before[32]; /* seconds of the run that this one goes on with */
    TRY(study_store_facts(study, schedule->options, err));
    TRY(store_set(study->store, "finished", "no", err));
    TRY(schedule_run(schedule, err));
    TRY(store_get(study->store, "seconds", before, sizeof before, err));
    TRY(study_store_number(study, "seconds", atof(before) + (measure_now_ns() - start) / 1e9, err));
    if (schedule->summary->stopped) return OK;
    TRY(store_set(study->store, "finished", "yes", err));
    return store_write_csv(study->store, err);
}

/* With the crew at hand: what it takes, the store, the points. */
static Status run_with_crew(Schedule *schedule, Error *err) {
    Study *study = schedule->study;
    const StudyOptions *options = schedule->options;
    char line[256];
    TRY(preview(schedule, err));
    TRY(refuse_disk(options, &schedule->preview, err));
    study_preview_line(&schedule->preview, line, sizeof line);
    say(options, line);
    TRY(store_open(&study->store, options->folder, config_text(study->config), options->resume,
                   err));
    if (store_mended(study->store)) {
        snprintf(line, sizeof line, "%zu stored points were damaged and are run again",
                 store_mended(study->store));
        say(options, line);
    }
    const Status status = run_stored(schedule, err);
    store_close(study->store);
    return status;
}

static RankCard own_card(const Study *study) {
    RankCard card = { .study = digest_text(DIGEST_NOTHING, config_text(study->config)),
                      .memory_bytes = study->memory_bytes };
    snprintf(card.version, sizeof card.version, "%s (%s)", study->machine.version,
             study->machine.commit);
    return card;
}

/* As a rank of a job: acts with the workers of all ranks, or serves the first. */
static Status act_with_ranks(Schedule *schedule, Workers *workers, Status status,
                             Status (*act)(Schedule *, Error *), Error *err) {
    Study *study = schedule->study;
    RankCard card = own_card(study);
    Ranks *ranks = NULL;
    TRY(ranks_open(&ranks, workers, &card, study->first.cluster.lost_seconds, status, err));
    study->memory_bytes = (size_t)card.memory_bytes;
    schedule->summary->served = ranks_place().number > 0;
    if (schedule->summary->served) {
        status = ranks_serve(ranks, err);
    } else {
        schedule->crew = ranks_crew(ranks);
        status = act(schedule, err);
        if (status != OK) schedule->crew->halt(schedule->crew);
    }
    ranks_close(ranks);
    return status;
}

static Status start_workers(Study *study, size_t jobs, Workers **workers, Error *err) {
    TRY(set_up(study, jobs, err));
    return workers_start(workers, jobs, study_work, study, err);
}

/* Starts the workers, while nothing else runs in this process, and does with them what is asked. */
static Status with_crew(const ConfigFile *config, const StudyOptions *options,
                        Status (*act)(Schedule *, Error *), StudySummary *summary,
                        StudyPreview *seen, Error *err) {
    Study study = { .config = config };
    Schedule schedule = { .study = &study, .options = options, .summary = summary };
    Workers *workers = NULL;
    schedule.shard = study_shard(config, options->shard, options->shards);
    Status status = start_workers(&study, options->jobs ? options->jobs : 1, &workers, err);
    if (ranks_place().size > 1) {
        status = act_with_ranks(&schedule, workers, status, act, err);
    } else if (status == OK) {
        schedule.crew = workers_crew(workers);
        status = act(&schedule, err);
        if (status != OK) schedule.crew->halt(schedule.crew);
    }
    workers_free(workers);
    if (seen && status == OK) *seen = schedule.preview;
    return status;
}

Status study_give_up(Status status, Error *err) {
    RankCard card = { .version = "" };
    Ranks *ranks;
    return ranks_place().size > 1 ? ranks_open(&ranks, NULL, &card, 1, status, err) : status;
}

Status study_preview(const ConfigFile *config, const StudyOptions *options, StudyPreview *out,
                     Error *err) {
    StudySummary summary = { 0 };
    return with_crew(config, options, preview, &summary, out, err);
}

Status study_run(const ConfigFile *config, const StudyOptions *options, StudySummary *summary,
                 Error *err) {
    *summary = (StudySummary){ 0 };
    return with_crew(config, options, run_with_crew, summary, NULL, err);
}
