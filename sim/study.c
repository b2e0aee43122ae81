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

/* ---- points and their metrics ---- */

void metric_add(MetricList *list, const char *name, const char *unit, double value,
                MetricKind kind) {
    if (list->count == METRICS_MOST) return;
    Metric *m = &list->metric[list->count++];
    *m = (Metric){ .value = value, .low = value, .high = value, .kind = kind };
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->unit, sizeof m->unit, "%s", unit);
}

void metric_add_samples(MetricList *list, const char *name, const char *unit,
                        const Measurement *measurement) {
    metric_add(list, name, unit, measurement->median_ns, KIND_MEASURED);
    Metric *m = &list->metric[list->count - 1];
    m->low = measurement->q1_ns;
    m->high = measurement->q3_ns;
    m->samples = measurement->samples_ns;
    m->sample_count = measurement->samples;
}

Path study_path(const Model *model, Path asked) {
    return model->kind == ATTENTION_MLA ? asked : PATH_MATERIALISED;
}

static void describe_layer(const Model *m, char *text, size_t size) {
    if (m->kind == ATTENTION_MLA)
        snprintf(text, size, "D %zu, H %zu, C %zu, P %zu, R %zu, V %zu", m->hidden, m->heads,
                 m->kv_lora_rank, m->nope_dim, m->rope_dim, m->value_dim);
    else
        snprintf(text, size, "D %zu, H %zu, G %zu, d %zu", m->hidden, m->heads, m->kv_heads,
                 m->key_dim);
}

void study_name_point(Point *point, Phase phase, const char *specification, const Model *model,
                      Path path, RowType type, size_t block_tokens, size_t context,
                      size_t query_tokens, size_t sequences) {
    *point = (Point){ .context_tokens = context,
                      .query_tokens = query_tokens,
                      .sequences = sequences,
                      .status = POINT_DONE };
    snprintf(point->phase, sizeof point->phase, "%s", phase_name(phase));
    snprintf(point->contender, sizeof point->contender, "%s", specification);
    model_label(model, point->label, sizeof point->label);
    snprintf(point->attention, sizeof point->attention, "%s", attention_kind_name(model->kind));
    snprintf(point->path, sizeof point->path, "%s", path_name(path));
    snprintf(point->kv_dtype, sizeof point->kv_dtype, "%s", row_type_name(type));
    describe_layer(model, point->layer, sizeof point->layer);
    snprintf(point->key, sizeof point->key, "%s/%s/%s/%s/block=%zu/s=%zu/q=%zu/b=%zu", point->phase,
             specification, point->path, point->kv_dtype, block_tokens, context, query_tokens,
             sequences);
}

static void say(const Study *study, const char *line) {
    if (study->options->progress) study->options->progress(study->options->context, line);
}

Status study_finished(Study *study, const Point *point, bool *finished, Error *err) {
    return store_has(study->store, point->key, finished, err);
}

/* The number that people wait for, which is a point's first metric, or why there is none. */
static void describe_result(const Point *point, const MetricList *metrics, char *text,
                            size_t size) {
    const Metric *shown = &metrics->metric[0];
    if (point->status != POINT_DONE || !metrics->count)
        snprintf(text, size, "%s: %s", point_status_name(point->status), point->message);
    else if (strcmp(shown->unit, "ns") == 0)
        snprintf(text, size, "%s %.4g ms", shown->name, shown->value / 1e6);
    else
        snprintf(text, size, "%s %.8g%s%s", shown->name, shown->value,
                 strcmp(shown->unit, "1") == 0 ? "" : " ",
                 strcmp(shown->unit, "1") == 0 ? "" : shown->unit);
}

static void say_point(const Study *study, const Point *point, const MetricList *metrics) {
    char result[384], line[640];
    describe_result(point, metrics, result, sizeof result);
    snprintf(line, sizeof line, "%-11s %-14s %-12s %-4s s=%zu q=%zu: %s", point->phase,
             point->label, point->path, point->kv_dtype, point->context_tokens, point->query_tokens,
             result);
    say(study, line);
}

Status study_put(Study *study, const Point *point, const MetricList *metrics, Error *err) {
    TRY(store_put(study->store, point, metrics->metric, metrics->count, err));
    say_point(study, point, metrics);
    if (point->status == POINT_DONE) study->summary->done++;
    if (point->status == POINT_LEFT_OUT) study->summary->left_out++;
    if (point->status == POINT_FAILED) study->summary->failed++;
    return OK;
}

Status study_put_failed(Study *study, Point *point, const Error *why, Error *err) {
    point->status = POINT_FAILED;
    snprintf(point->message, sizeof point->message, "%.250s", why->text);
    return study_put(study, point, &(MetricList){ .count = 0 }, err);
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
    say(study, "measuring what this machine can do: memory bandwidth, multiply-adds");
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
    TRY(study_latency_plan(&study, PHASE_DECODE, err));
    TRY(study_latency_plan(&study, PHASE_PREFILL, err));
    TRY(store_open(&study.store, options->folder, config_text(config), options->resume, err));
    const Status status = run_stored(&study, err);
    store_close(study.store);
    return status;
}
