/* study_facts.c -- what is stored of a run beside its points: machine, build, configuration. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hardware.h"
#include "published.h"
#include "study_run.h"

Status study_store_number(const Study *study, const char *name, double value, Error *err) {
    char text[32];
    snprintf(text, sizeof text, "%.10g", value);
    return store_set(study->store, name, text, err);
}

static Status store_machine(const Study *study, Store *store, Error *err) {
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
    TRY(study_store_number(study, "threads", study->alone_threads, err));
    TRY(study_store_number(study, "shared_threads", study->shared_threads, err));
    TRY(study_store_number(study, "seed", (double)study->first.seed, err));
    TRY(study_store_number(study, "memory_bytes", (double)m->memory_bytes, err));
    return study_store_number(study, "llc_bytes", (double)m->llc_bytes, err);
}

static Status store_device(const Study *study, Store *store, Error *err) {
    if (!study->first.device[0]) return OK;
    Hardware hardware;
    TRY(hardware_read(&hardware, study->first.device, err));
    TRY(store_set(store, "device", hardware.name, err));
    return study_store_number(study, "device_memory_bytes", (double)hardware.memory_bytes, err);
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

static Status store_peaks(const Study *study, Error *err) {
    if (!study_is_timed(study->config)) return OK;
    TRY(study_store_number(study, "read_gbytes_s", study->peaks.read_gbytes_s, err));
    TRY(study_store_number(study, "l3_read_gbytes_s", study->peaks.l3_read_gbytes_s, err));
    return study_store_number(study, "fma_f32_gflops", study->peaks.fma_f32_gflops, err);
}

/* What papers say, a fact a point, so that a report is drawn from the store alone. */
static Status store_published(const Study *study, Store *store, Error *err) {
    Published published;
    if (!study->first.published) return OK;
    TRY(published_read(&published, err));
    for (size_t i = 0; i < published.count; i++) {
        const PublishedPoint *p = &published.point[i];
        char name[32], text[512];
        snprintf(name, sizeof name, "published.%zu", i);
        snprintf(text, sizeof text, "%s\t%s\t%.10g\t%.10g\t%.10g\t%s", p->method, p->model,
                 p->times, p->perplexity, p->base, p->source);
        TRY(store_set(store, name, text, err));
    }
    return OK;
}

/* "3/8": which part of the study this is; "" for all of it. */
static void name_shard(const StudyOptions *options, char *text, size_t size) {
    text[0] = '\0';
    if (options->shards > 1) snprintf(text, size, "%zu/%zu", options->shard + 1, options->shards);
}

static Status store_shard(const Study *study, const StudyOptions *options, Error *err) {
    char text[48];
    name_shard(options, text, sizeof text);
    return *text ? store_set(study->store, "shard", text, err) : OK;
}

/* What goes on must be what was begun: by the same version, the same part of the study. */
static Status check_begun(const Study *study, const StudyOptions *options, Error *err) {
    char version[48], shard[48], own[48];
    TRY(store_get(study->store, "version", version, sizeof version, err));
    TRY(store_get(study->store, "shard", shard, sizeof shard, err));
    name_shard(options, own, sizeof own);
    if (!*version) return OK;
    if (strcmp(version, study->machine.version) != 0)
        return fail(err, ERR_INPUT, "%s: cannot resume, it was begun by version %s, and this is %s",
                    options->folder, version, study->machine.version);
    if (strcmp(shard, own) == 0) return OK;
    return fail(err, ERR_INPUT, "%s: cannot resume, it holds %s%s and %s%s is asked for",
                options->folder, *shard ? "shard " : "the whole study", shard,
                *own ? "shard " : "the whole study", own);
}

Status study_store_facts(const Study *study, const StudyOptions *options, Error *err) {
    TRY(check_begun(study, options, err));
    TRY(store_machine(study, study->store, err));
    TRY(store_device(study, study->store, err));
    TRY(store_configuration(study, study->store, err));
    TRY(store_published(study, study->store, err));
    TRY(store_started(study->store, err));
    TRY(store_shard(study, options, err));
    return store_peaks(study, err);
}
