/* study.c -- sets a study up, runs its phases in order, and finishes the store; see study.h. */
#include "study.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blas.h"
#include "buffer.h"
#include "hardware.h"
#include "quantity.h"
#include "study_run.h"

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

static Status store_machine(Study *study, Error *err) {
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
        TRY(store_set(study->store, facts[i].name, facts[i].value, err));
    TRY(set_number(study->store, "threads", study->threads, err));
    TRY(set_number(study->store, "seed", (double)study->first.seed, err));
    TRY(set_number(study->store, "memory_bytes", (double)m->memory_bytes, err));
    return set_number(study->store, "llc_bytes", (double)m->llc_bytes, err);
}

static Status store_device(Study *study, Error *err) {
    if (!study->first.device[0]) return OK;
    Hardware hardware;
    TRY(hardware_read(&hardware, study->first.device, err));
    TRY(store_set(study->store, "device", hardware.name, err));
    return set_number(study->store, "device_memory_bytes", (double)hardware.memory_bytes, err);
}

static Status store_configuration(Study *study, Error *err) {
    for (size_t i = 0; i < config_keys(study->config); i++) {
        const char *key, *value, *source;
        config_key(study->config, i, &key, &value, &source);
        TRY(store_set_config(study->store, key, value, source, err));
    }
    return OK;
}

static Status store_started(Study *study, Error *err) {
    char text[32];
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
    return store_set(study->store, "started", text, err);
}

/* The roofs of this machine, in the same run as what is held against them. */
static Status measure_peaks(Study *study, Error *err) {
    if (!is_timed(study->config)) return OK;
    study_say(study, "measuring what this machine can do: memory bandwidth, multiply-adds");
    unsigned char *scratch = NULL;
    TRY(BUFFER(&scratch, peaks_scratch_bytes(study->machine.llc_bytes), "bandwidth scratch", err));
    study->peaks =
        peaks_measure(study->tiers, study->threads, study->machine.llc_bytes, 1.5, scratch);
    buffer_free(scratch);
    TRY(set_number(study->store, "read_gbytes_s", study->peaks.read_gbytes_s, err));
    TRY(set_number(study->store, "l3_read_gbytes_s", study->peaks.l3_read_gbytes_s, err));
    return set_number(study->store, "fma_f32_gflops", study->peaks.fma_f32_gflops, err);
}

static Status run_phases(Study *study, Error *err) {
    if (config_points(study->config, PHASE_BYTES)) TRY(study_bytes(study, err));
    if (config_points(study->config, PHASE_DECODE)) TRY(study_latency(study, PHASE_DECODE, err));
    if (config_points(study->config, PHASE_PREFILL)) TRY(study_latency(study, PHASE_PREFILL, err));
    if (config_points(study->config, PHASE_PROJECTIONS)) TRY(study_projections(study, err));
    if (config_points(study->config, PHASE_ERROR)) TRY(study_error(study, err));
    return OK;
}

static Status run_stored(Study *study, Error *err) {
    const double start = measure_now_ns();
    TRY(store_machine(study, err));
    TRY(store_device(study, err));
    TRY(store_configuration(study, err));
    TRY(store_started(study, err));
    TRY(measure_peaks(study, err));
    TRY(run_phases(study, err));
    TRY(set_number(study->store, "seconds", (measure_now_ns() - start) / 1e9, err));
    return store_write_csv(study->store, err);
}

Status study_run(const ConfigFile *config, const StudyOptions *options, StudySummary *summary,
                 Error *err) {
    *summary = (StudySummary){ 0 };
    Study study = { .config = config, .options = options, .summary = summary };
    TRY(set_up(&study, err));
    TRY(study_bytes_plan(&study, err));
    TRY(study_latency_plan(&study, PHASE_DECODE, err));
    TRY(study_latency_plan(&study, PHASE_PREFILL, err));
    TRY(store_open(&study.store, options->folder, config_text(config), options->resume, err));
    const Status status = run_stored(&study, err);
    store_close(study.store);
    return status;
}
