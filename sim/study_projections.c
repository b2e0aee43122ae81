/* study_projections.c -- the projections phase: what surrounds attention in a layer, timed with the
 * generator's weights at the contender's true size. All contenders whose weights fit into memory
 * together are timed in turns. */
#include <math.h>
#include <stdio.h>

#include "buffer.h"
#include "layer.h"
#include "quantity.h"
#include "study_run.h"

typedef struct {
    Point point;
    Config config;
    Model model;
    size_t tokens, memory_bytes;
    LayerWeights weights;
    Layer *layer;
    float *x, *q, *k, *v, *out, *y;
    size_t *positions;
} Job;

static size_t job_bytes(const Job *j) {
    const Model *m = &j->model;
    const size_t row = 2 * m->hidden + 3 * m->heads * (m->key_dim + m->value_dim);
    return weights_bytes(m) + 2 * j->tokens * row * sizeof(float);
}

/* The up-projection belongs to attention on the absorbed path (study_latency.c), not here. */
static size_t latent_bytes(const Model *m) {
    return m->kind == ATTENTION_MLA
               ? m->heads * (m->nope_dim + m->value_dim) * m->kv_lora_rank * sizeof(float)
               : 0;
}

static Status prepare(const Study *study, Job *j, Error *err) {
    const Model *m = &j->model;
    const CacheShape shape = model_cache_shape(m, study_path(m, PATH_ABSORBED));
    TRY(BUFFER(&j->x, j->tokens * m->hidden, "hidden states", err));
    TRY(BUFFER(&j->q, j->tokens * m->heads * m->key_dim, "queries", err));
    TRY(BUFFER(&j->k, j->tokens * shape.kv_heads * shape.key_dim, "keys", err));
    TRY(BUFFER(&j->v, j->tokens * shape.kv_heads * shape.value_dim, "values", err));
    TRY(BUFFER(&j->out, j->tokens * m->heads * m->value_dim, "outputs", err));
    TRY(BUFFER(&j->y, j->tokens * m->hidden, "outputs", err));
    TRY(BUFFER(&j->positions, j->tokens, "positions", err));
    for (size_t i = 0; i < j->tokens; i++) j->positions[i] = i;
    TRY(sequences_hidden(&j->config.sequences, 0, j->tokens, m->hidden, j->x, err));
    TRY(sequences_weights(&j->config.sequences, m, j->tokens, &j->weights, err));
    const LayerParams params = { .model = m,
                                 .weights = &j->weights,
                                 .path = study_path(m, PATH_ABSORBED),
                                 .kernels = &study->kernels,
                                 .threads = study->threads,
                                 .expand_tokens = j->config.expand_tokens };
    TRY(layer_new(&j->layer, &params, j->tokens, j->tokens, err));
    for (size_t i = 0; i < j->tokens * m->heads * m->value_dim; i++) j->out[i] = 1.0f;
    return OK;
}

static void release(Job *j) {
    if (j->layer) layer_free(j->layer);
    weights_free(&j->weights);
    buffer_free(j->x);
    buffer_free(j->q);
    buffer_free(j->k);
    buffer_free(j->v);
    buffer_free(j->out);
    buffer_free(j->y);
    buffer_free(j->positions);
}

static void project_once(void *context, size_t i) {
    Job *j = context;
    (void)i;
    layer_project(j->layer, j->tokens, j->positions, j->x, j->q, j->k, j->v);
    layer_output(j->layer, j->tokens, j->out, j->y);
}

static Status put_result(Study *study, const Job *j, const Measurement *m, Error *err) {
    MetricList list = { .count = 0 };
    const Path path = study_path(&j->model, PATH_ABSORBED);
    const double flops = (double)j->tokens * model_layer_flops(&j->model, path, 0, 1).projection;
    const double bytes = (double)(weights_bytes(&j->model) - latent_bytes(&j->model)) +
                         2.0 * (double)(j->tokens * j->model.hidden) * sizeof(float);
    const double roofline =
        fmax(flops / study->peaks.fma_f32_gflops, bytes / study->peaks.read_gbytes_s);
    metric_add_samples(&list, "projection_ns", "ns", m);
    metric_add(&list, "flops", "flop", flops, KIND_EXACT);
    metric_add(&list, "bytes", "B", bytes, KIND_EXACT);
    metric_add(&list, "roofline_ns", "ns", roofline, KIND_MODELLED);
    metric_add(&list, "roofline_fraction", "1", roofline / m->median_ns, KIND_MEASURED);
    return study_put(study, &j->point, &list, err);
}

/* Times jobs that are in memory together; what cannot be made ready is stored as failed. */
static Status time_group(Study *study, size_t count, Job *const *jobs, Error *err) {
    MeasureCase *cases = NULL;
    Measurement *results = NULL;
    Error why = { 0 };
    Status status = BUFFER(&cases, count, "timed cases", err);
    if (status == OK) status = BUFFER(&results, count, "measurements", err);
    Status made = status;
    for (size_t i = 0; made == OK && i < count; i++) {
        made = prepare(study, jobs[i], &why);
        cases[i] = (MeasureCase){ project_once, jobs[i] };
    }
    if (status == OK && made == OK)
        made = measure_cases(&jobs[0]->config.measure, count, cases, results, &why);
    for (size_t i = 0; status == OK && i < count; i++)
        status = made == OK ? put_result(study, jobs[i], &results[i], err)
                            : study_put_failed(study, &jobs[i]->point, &why, err);
    for (size_t i = 0; i < count; i++) {
        if (results) measure_free(&results[i]);
        release(jobs[i]);
    }
    buffer_free(cases);
    buffer_free(results);
    return status;
}

static Status leave_out(Study *study, Job *j, bool *left_out, Error *err) {
    *left_out = job_bytes(j) > study->memory_bytes;
    if (!*left_out) return OK;
    char bytes[32];
    quantity_format_bytes((double)job_bytes(j), bytes, sizeof bytes);
    j->point.status = POINT_LEFT_OUT;
    snprintf(j->point.message, sizeof j->point.message, "would need %s of memory", bytes);
    return study_put(study, &j->point, &(MetricList){ .count = 0 }, err);
}

/* Reads point i into a job; *open says whether it is still to be run. */
static Status open_job(Study *study, size_t i, Job *j, bool *open, Error *err) {
    config_point(study->config, PHASE_PROJECTIONS, i, &j->config);
    TRY(model_contender(&j->model, &study->model, j->config.contender, err));
    j->tokens = j->config.projections.tokens;
    study_name_point(&j->point, PHASE_PROJECTIONS, j->config.contender, &j->model,
                     study_path(&j->model, PATH_ABSORBED), ROW_F32, 0, 0, j->tokens, 1);
    bool closed;
    TRY(study_finished(study, &j->point, &closed, err));
    if (!closed) TRY(leave_out(study, j, &closed, err));
    *open = !closed;
    return OK;
}

static Status run_jobs(Study *study, size_t points, Job *jobs, Job **group, Error *err) {
    size_t count = 0, held = 0;
    for (size_t i = 0; i < points; i++) {
        bool open;
        TRY(open_job(study, i, &jobs[i], &open, err));
        if (!open) continue;
        if (count && held + job_bytes(&jobs[i]) > study->memory_bytes) {
            TRY(time_group(study, count, group, err));
            count = held = 0;
        }
        held += job_bytes(&jobs[i]);
        group[count++] = &jobs[i];
    }
    return count ? time_group(study, count, group, err) : OK;
}

Status study_projections(Study *study, Error *err) {
    const size_t points = config_points(study->config, PHASE_PROJECTIONS);
    Job *jobs = NULL, **group = NULL;
    Status status = BUFFER(&jobs, points, "points", err);
    if (status == OK) status = BUFFER(&group, points, "points", err);
    if (status == OK) status = run_jobs(study, points, jobs, group, err);
    buffer_free(jobs);
    buffer_free(group);
    return status;
}
