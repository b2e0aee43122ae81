/* study_projections.c -- the projections phase: what surrounds attention in a layer, timed with the
 * generator's weights at the contender's true size. All contenders whose weights fit into memory
 * together are timed in turns. */
#include <math.h>

#include "buffer.h"
#include "layer.h"
#include "random.h"
#include "study_run.h"

/* How fast weights are drawn, about. */
static const double DRAWN_BYTES_S = 0.1e9;

/* A point made ready. */
typedef struct {
    size_t tokens;
    LayerWeights weights;
    Layer *layer;
    float *x, *q, *k, *v, *out, *y;
    size_t *positions;
} Job;

/* The up-projection belongs to attention on the absorbed path (study_latency.c), not here. */
static size_t latent_bytes(const Model *m) {
    return m->kind == ATTENTION_MLA
               ? m->heads * (m->nope_dim + m->value_dim) * m->kv_lora_rank * sizeof(float)
               : 0;
}

/* The generator's weights; the time of a product does not depend on them, so that shapes which only
 * conversions have make do with any. */
static Status make_weights(const Task *t, Job *j, Error *err) {
    const Model *m = &t->model;
    if (!m->plain_latent)
        return sequences_weights(&t->config.sequences, m, j->tokens, &j->weights, err);
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(m, shapes);
    TRY(weights_alloc(&j->weights, m, err));
    for (size_t s = 0; s < count; s++) {
        float *w = *weights_at(&j->weights, &shapes[s]);
#pragma omp parallel for
        for (size_t i = 0; i < shapes[s].rows * shapes[s].cols; i++)
            w[i] = (float)(random_uniform(t->config.seed, s, i) - 0.5);
    }
    return OK;
}

static Status prepare(const Study *study, const Task *t, void *ready, Error *err) {
    Job *j = ready;
    const Model *m = &t->model;
    const CacheShape shape = model_cache_shape(m, t->path);
    j->tokens = t->tokens;
    TRY(BUFFER(&j->x, j->tokens * m->hidden, "hidden states", err));
    TRY(BUFFER(&j->q, j->tokens * m->heads * m->key_dim, "queries", err));
    TRY(BUFFER(&j->k, j->tokens * shape.kv_heads * shape.key_dim, "keys", err));
    TRY(BUFFER(&j->v, j->tokens * shape.kv_heads * shape.value_dim, "values", err));
    TRY(BUFFER(&j->out, j->tokens * m->heads * m->value_dim, "outputs", err));
    TRY(BUFFER(&j->y, j->tokens * m->hidden, "outputs", err));
    TRY(BUFFER(&j->positions, j->tokens, "positions", err));
    for (size_t i = 0; i < j->tokens; i++) j->positions[i] = i;
    TRY(sequences_hidden(&t->config.sequences, 0, j->tokens, m->hidden, j->x, err));
    TRY(make_weights(t, j, err));
    const LayerParams params = { .model = m,
                                 .weights = &j->weights,
                                 .path = t->path,
                                 .kernels = &study->kernels,
                                 .threads = study->threads,
                                 .expand_tokens = t->config.expand_tokens };
    TRY(layer_new(&j->layer, &params, j->tokens, j->tokens, err));
    for (size_t i = 0; i < j->tokens * m->heads * m->value_dim; i++) j->out[i] = 1.0f;
    return OK;
}

static void release(void *ready) {
    Job *j = ready;
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

static void project_once(void *ready, size_t i) {
    Job *j = ready;
    (void)i;
    layer_project(j->layer, j->tokens, j->positions, j->x, j->q, j->k, j->v);
    layer_output(j->layer, j->tokens, j->out, j->y);
}

/* The least that the projections of a task compute and move: closed forms. */
static Cost call_cost(const Task *t) {
    const double row = 2.0 * (double)(t->tokens * t->model.hidden) * sizeof(float);
    return (Cost){
        .flops = (double)t->tokens * model_layer_flops(&t->model, t->path, 0, 1).projection,
        .bytes = (double)(weights_bytes(&t->model) - latent_bytes(&t->model)) + row,
    };
}

static double roofline_ns(const Study *study, Cost cost) {
    return fmax(cost.flops / study->peaks.fma_f32_gflops, cost.bytes / study->peaks.read_gbytes_s);
}

static void score(const Study *study, const Task *t, const Measurement *m, MetricList *list) {
    const Cost cost = call_cost(t);
    const double roofline = roofline_ns(study, cost);
    metric_add_samples(list, "projection_ns", "ns", m);
    metric_add(list, "flops", "flop", cost.flops, KIND_EXACT);
    metric_add(list, "bytes", "B", cost.bytes, KIND_EXACT);
    metric_add(list, "roofline_ns", "ns", roofline, KIND_MODELLED);
    metric_add(list, "roofline_fraction", "1", roofline / m->median_ns, KIND_MODELLED);
}

Status study_projections_plan(const Study *study, Task *t, Error *err) {
    TRY(study_contender(&study->model, t->config.contender, t, err));
    const Model *m = &t->model;
    t->path = study_path(m, PATH_ABSORBED);
    t->tokens = t->config.projections.tokens;
    const size_t row = 2 * m->hidden + 3 * m->heads * (m->key_dim + m->value_dim);
    t->memory_bytes = weights_bytes(m) + 2 * t->tokens * row * sizeof(float);
    study_name_point(&t->point, PHASE_PROJECTIONS, t->config.contender, m, t->path,
                     kv_type(ROW_F32), 0, 0, t->tokens, 1);
    t->metrics = 5;
    t->samples = t->config.measure.min_samples;
    t->more_seconds = (double)weights_bytes(m) / DRAWN_BYTES_S;
    if (study->peaks.fma_f32_gflops > 0)
        t->seconds = 2e-9 * roofline_ns(study, call_cost(t)) * (double)(t->samples + 1);
    return OK;
}

Status study_projections_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    static const Timing timing = { .size = sizeof(Job),
                                   .prepare = prepare,
                                   .release = release,
                                   .call = project_once,
                                   .score = score };
    return study_time(study, &timing, count, tasks, err);
}
