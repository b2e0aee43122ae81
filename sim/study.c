/* study.c -- sets a study up, runs the list of its points, and finishes the store; see study.h. */
#include "study.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blas.h"
#include "buffer.h"
#include "hardware.h"
#include "study_run.h"

/* A study on its way into a store. */
typedef struct {
    Study study;
    const StudyOptions *options;
    StudySummary *summary;
    Store *store;
} Run;

static void say(const Run *run, const char *line) {
    if (run->options->progress) run->options->progress(run->options->context, line);
}

/* ---- setting up ---- */

static bool is_timed(const ConfigFile *config) {
    return config_points(config, PHASE_DECODE) || config_points(config, PHASE_PREFILL) ||
           config_points(config, PHASE_PROJECTIONS);
}

static Status set_up(Study *study, Error *err) {
    TRY(study_check(study->config, &study->model, err));
    config_point(study->config, PHASE_BYTES, 0, &study->first);
    kernels_parse(study->first.isa, &study->tiers);
    study->kernels = kernels_select(study->tiers);
    study->machine = machine_read();
    study->threads = study->first.threads ? (int)study->first.threads : study->machine.cores;
    blas_set_threads(study->threads);
    study->leave_out = study->first.limits.memory_bytes > 0;
    study->memory_bytes = study->leave_out ? (size_t)study->first.limits.memory_bytes
                                           : study->machine.available_bytes;
    return OK;
}

/* ---- what is stored of the run itself ---- */

static Status set_number(Store *store, const char *name, double value, Error *err) {
    char text[32];
    snprintf(text, sizeof text, "%.10g", value);
    return store_set(store, name, text, err);
}

static Status store_machine(const Run *run, Error *err) {
    const Study *study = &run->study;
    Store *store = run->store;
    const Machine *m = &study->machine;
    const struct {
        const char *name, *value;
    } facts[] = { { "title", study->first.title },
                  { "model", study->model.name },
                  { "version", m->version },
                  { "commit", m->commit },
                  { "compiler", m->compiler },
                  { "flags", m->flags },
                  { "cpu", m->cpu },
                  { "governor", m->governor },
                  { "system", m->system },
                  { "isa", kernels_name(study->tiers) } };
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        TRY(store_set(store, facts[i].name, facts[i].value, err));
    TRY(set_number(store, "threads", study->threads, err));
    TRY(set_number(store, "seed", (double)study->first.seed, err));
    TRY(set_number(store, "memory_bytes", (double)m->memory_bytes, err));
    return set_number(store, "llc_bytes", (double)m->llc_bytes, err);
}

static Status store_device(const Study *study, Store *store, Error *err) {
    if (!study->first.device[0]) return OK;
    Hardware hardware;
    TRY(hardware_read(&hardware, study->first.device, err));
    TRY(store_set(store, "device", hardware.name, err));
    return set_number(store, "device_memory_bytes", (double)hardware.memory_bytes, err);
}

static Status store_configuration(const Study *study, Store *store, Error *err) {
    for (size_t i = 0; i < config_keys(study->config); i++) {
        const char *key, *value, *source;
        config_key(study->config, i, &key, &value, &source);
        TRY(store_set_config(store, key, value, source, err));
    }
    return OK;
}

static Status store_started(Store *store, Error *err) {
    char text[32];
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
    return store_set(store, "started", text, err);
}

/* The roofs of this machine, in the same run as what is held against them. */
static Status measure_peaks(Run *run, Error *err) {
    Study *study = &run->study;
    if (!is_timed(study->config)) return OK;
    say(run, "measuring what this machine can do: memory bandwidth, multiply-adds");
    unsigned char *scratch = NULL;
    TRY(BUFFER(&scratch, peaks_scratch_bytes(study->machine.llc_bytes), "bandwidth scratch", err));
    study->peaks =
        peaks_measure(study->tiers, study->threads, study->machine.llc_bytes, 1.5, scratch);
    buffer_free(scratch);
    TRY(set_number(run->store, "read_gbytes_s", study->peaks.read_gbytes_s, err));
    TRY(set_number(run->store, "l3_read_gbytes_s", study->peaks.l3_read_gbytes_s, err));
    return set_number(run->store, "fma_f32_gflops", study->peaks.fma_f32_gflops, err);
}

/* ---- the list ---- */

/* Refuses what no point of the list could run with, before anything is written. */
static Status check_list(const Study *study, Error *err) {
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (size_t i = 0; i < config_points(study->config, (Phase)phase); i++) {
            Task task;
            TRY(study_plan(study, (Phase)phase, i, &task, err));
        }
    return OK;
}

static Status put_stored(void *context, const Point *point, const MetricList *metrics, Error *err) {
    Run *run = context;
    char line[640];
    TRY(store_put(run->store, point, metrics->metric, metrics->count, err));
    study_describe(point, metrics, line, sizeof line);
    say(run, line);
    if (point->status == POINT_DONE) run->summary->done++;
    if (point->status == POINT_LEFT_OUT) run->summary->left_out++;
    if (point->status == POINT_FAILED) run->summary->failed++;
    return OK;
}

/* Plans a point; *open when it is still to be run. */
static Status open_task(Run *run, Phase phase, size_t index, Task *task, bool *open, Error *err) {
    bool closed = false;
    TRY(study_plan(&run->study, phase, index, task, err));
    closed = study_repeats(&run->study, phase, task);
    if (!closed) TRY(store_has(run->store, task->point.key, &closed, err));
    *open = !closed && task->point.status != POINT_LEFT_OUT;
    if (closed || *open) return OK;
    return study_put(&run->study, &task->point, &(MetricList){ .count = 0 }, err);
}

static Status run_group(Run *run, Phase phase, size_t group, Task *tasks, Task **open, Error *err) {
    const StudyPhase *row = &study_phases[phase];
    const size_t members = config_group_points(run->study.config, phase);
    size_t count = 0;
    for (size_t i = 0; i < members; i++) {
        bool is_open;
        Task *task = &tasks[count];
        const size_t index = config_member(run->study.config, phase, group, i);
        TRY(open_task(run, phase, index, task, &is_open, err));
        if (is_open) open[count++] = task;
    }
    if (row->timed) return count ? row->run(&run->study, count, open, err) : OK;
    for (size_t i = 0; i < count; i++) TRY(row->run(&run->study, 1, &open[i], err));
    return OK;
}

static Status run_phase(Run *run, Phase phase, Error *err) {
    const ConfigFile *config = run->study.config;
    const size_t members = config_group_points(config, phase);
    Task *tasks = NULL, **open = NULL;
    Status status = BUFFER(&tasks, members, "points", err);
    if (status == OK) status = BUFFER(&open, members, "points", err);
    for (size_t i = 0; status == OK && i < config_groups(config, phase); i++)
        status = run_group(run, phase, i, tasks, open, err);
    if (study_phases[phase].forget) study_phases[phase].forget(run->study.kept[phase]);
    buffer_free(tasks);
    buffer_free(open);
    return status;
}

static Status run_stored(Run *run, Error *err) {
    const double start = measure_now_ns();
    TRY(store_machine(run, err));
    TRY(store_device(&run->study, run->store, err));
    TRY(store_configuration(&run->study, run->store, err));
    TRY(store_started(run->store, err));
    TRY(measure_peaks(run, err));
    for (int phase = 0; phase < PHASE_COUNT; phase++) TRY(run_phase(run, (Phase)phase, err));
    TRY(set_number(run->store, "seconds", (measure_now_ns() - start) / 1e9, err));
    return store_write_csv(run->store, err);
}

Status study_run(const ConfigFile *config, const StudyOptions *options, StudySummary *summary,
                 Error *err) {
    *summary = (StudySummary){ 0 };
    Run run = { .study = { .config = config }, .options = options, .summary = summary };
    run.study.put = put_stored;
    run.study.put_context = &run;
    TRY(set_up(&run.study, err));
    TRY(check_list(&run.study, err));
    TRY(store_open(&run.store, options->folder, config_text(config), options->resume, err));
    const Status status = run_stored(&run, err);
    store_close(run.store);
    return status;
}
