/* study_latency.c -- the decode and prefill phases: attention timed over caches really held.
 *
 * Points of the same context, query tokens and sequences form a group that is timed in turns, so
 * that contenders see the same machine; a group that memory does not hold at once is split. A cold
 * cache rotates over copies of a sequence set that together are twice the last-level cache. Rows
 * and queries come from the direct generator: one piece of PIECE_TOKENS tokens, appended again and
 * again (timing does not depend on which text it is). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "layer.h"
#include "quantity.h"
#include "random.h"
#include "study_run.h"

enum { PIECE_TOKENS = 256 };

/* What a point asks for, and what it takes. */
typedef struct {
    Point point;
    Config config;
    Model model;
    Path path;
    size_t context, query_tokens, sequences;
    size_t copies; /* sequence sets held, for a cold cache */
    Cost cost;     /* of one call */
    size_t memory_bytes;
    double seconds; /* estimated, warm-up and all samples */
    bool taken;     /* already in a group */
} Task;

typedef struct {
    Task *task;
    size_t count;
} TaskList;

/* A task made ready to be timed. */
typedef struct {
    const Task *task;
    LayerWeights weights; /* kv_b alone: attention needs no other */
    Cache *cache;
    Layer *layer;
    float *q, *out;
    size_t *sequence; /* [copies * sequences] */
    size_t *tokens;   /* [sequences], all query_tokens */
} Ready;

static size_t latent_weights(const Model *m) {
    return m->kind == ATTENTION_MLA ? m->heads * (m->nope_dim + m->value_dim) * m->kv_lora_rank : 0;
}

/* The least that one call computes and moves: closed forms. */
static Cost call_cost(const Task *t) {
    const Model *m = &t->model;
    const LayerFlops flops = model_layer_flops(m, t->path, t->context, t->query_tokens);
    const size_t row = model_cache_bytes_per_token_layer(m, t->path, t->config.cache.type);
    const bool folds = m->kind == ATTENTION_MLA && t->path != PATH_MATERIALISED;
    const double sequences = (double)t->sequences;
    Cost cost;
    cost.flops = sequences * (flops.attention + (folds ? flops.latent : 0));
    cost.bytes = sequences * (double)(t->context + t->query_tokens) * (double)row +
                 sequences * (double)t->query_tokens * (double)m->heads *
                     (double)(m->key_dim + m->value_dim) * sizeof(float) +
                 (folds ? (double)latent_weights(m) * sizeof(float) : 0);
    return cost;
}

/* Copies of the sequence set that make the cache cold. */
static size_t copies_for(const Study *study, const Task *t, size_t set_bytes) {
    if (!t->config.decode.cold || t->query_tokens > t->context) return 1;
    const size_t wanted = 2 * study->machine.llc_bytes;
    return set_bytes >= wanted ? 1 : (wanted + set_bytes - 1) / set_bytes;
}

static size_t workspace_bytes(const Task *t) {
    const Model *m = &t->model;
    const size_t queries = t->sequences * t->query_tokens;
    const size_t widest = m->kv_lora_rank + m->rope_dim + m->key_dim + m->value_dim;
    size_t bytes = 4 * queries * m->heads * widest * sizeof(float);
    bytes += latent_weights(m) * sizeof(float);
    if (t->path == PATH_EXPANDED)
        bytes +=
            t->config.expand_tokens * m->heads * 2 * (m->key_dim + m->value_dim) * sizeof(float);
    return bytes;
}

static void size_task(const Study *study, Task *t) {
    const size_t row = model_cache_bytes_per_token_layer(&t->model, t->path, t->config.cache.type);
    const size_t tokens = t->context + t->query_tokens, block = t->config.cache.block_tokens;
    const size_t held = (tokens + block - 1) / block * block;
    const size_t set_bytes = t->sequences * held * row;
    t->copies = copies_for(study, t, set_bytes);
    t->memory_bytes = t->copies * set_bytes + workspace_bytes(t);
    t->cost = call_cost(t);
}

static void make_task(const Study *study, Phase phase, const Config *config, Task *t) {
    const bool decode = phase == PHASE_DECODE;
    t->config = *config;
    t->path = study_path(&t->model, decode ? config->decode.path : config->prefill.path);
    t->context = decode ? config->decode.context : 0;
    t->query_tokens = decode ? config->decode.query_tokens : config->prefill.tokens;
    t->sequences = decode ? config->decode.sequences : config->prefill.sequences;
    study_name_point(&t->point, phase, config->contender, &t->model, t->path, config->cache.type,
                     config->cache.block_tokens, t->context, t->query_tokens, t->sequences);
    size_task(study, t);
}

static bool is_listed(const TaskList *list, const char *key) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->task[i].point.key, key) == 0) return true;
    return false;
}

/* All tasks of a phase; points that differ only in a path their contender does not have are one. */
static Status list_tasks(const Study *study, Phase phase, TaskList *list, Error *err) {
    const size_t points = config_points(study->config, phase);
    *list = (TaskList){ 0 };
    TRY(BUFFER(&list->task, points, "points", err));
    for (size_t i = 0; i < points; i++) {
        Config config;
        Task *t = &list->task[list->count];
        config_point(study->config, phase, i, &config);
        const Status status = model_contender(&t->model, &study->model, config.contender, err);
        if (status != OK) {
            buffer_free(list->task);
            return status;
        }
        make_task(study, phase, &config, t);
        if (!is_listed(list, t->point.key)) list->count++;
    }
    return OK;
}

Status study_latency_plan(Study *study, Phase phase, Error *err) {
    TaskList list;
    TRY(list_tasks(study, phase, &list, err));
    Status status = OK;
    for (size_t i = 0; status == OK && !study->leave_out && i < list.count; i++) {
        const Task *t = &list.task[i];
        if (t->memory_bytes <= study->memory_bytes) continue;
        status = study_refuse(study, phase == PHASE_DECODE ? "decode.context" : "prefill.tokens",
                              &t->point, t->context + t->query_tokens, t->memory_bytes, err);
    }
    buffer_free(list.task);
    return status;
}

/* ---- making a task ready ---- */

static void fill_weights(uint64_t seed, size_t n, size_t rank, float *w) {
    const double scale = sqrt(12.0 / (double)rank);
#pragma omp parallel for
    for (size_t i = 0; i < n; i++) w[i] = (float)(scale * (random_uniform(seed, 77, i) - 0.5));
}

/* Opens all sequences of a task and fills them with rows. */
static Status fill_cache(const Study *study, Ready *r, Error *err) {
    const Task *t = r->task;
    const CacheShape shape = model_cache_shape(&t->model, t->path);
    const SequencesParams *params = &t->config.sequences;
    const size_t tokens = t->context + t->query_tokens;
    const size_t piece = tokens < PIECE_TOKENS ? tokens : PIECE_TOKENS;
    float *k = NULL, *v = NULL;
    Status status = BUFFER(&k, piece * shape.kv_heads * shape.key_dim, "keys", err);
    if (status == OK) status = BUFFER(&v, piece * shape.kv_heads * shape.value_dim, "values", err);
    if (status == OK)
        status = sequences_direct(params, 1, piece, shape.kv_heads, shape.key_dim,
                                  params->key_decay, k, err);
    if (status == OK)
        status = sequences_direct(params, 2, piece, shape.kv_heads, shape.value_dim,
                                  params->value_decay, v, err);
    for (size_t s = 0; status == OK && s < t->copies * t->sequences; s++) {
        status = cache_open(r->cache, &r->sequence[s], err);
        for (size_t done = 0; status == OK && done < tokens; done += piece)
            status = cache_append(r->cache, &study->kernels, study->threads, r->sequence[s],
                                  tokens - done < piece ? tokens - done : piece, k,
                                  shape.shared ? NULL : v, err);
    }
    buffer_free(k);
    buffer_free(v);
    return status;
}

static Status prepare_layer(const Study *study, Ready *r, Error *err) {
    const Task *t = r->task;
    const size_t latent = latent_weights(&t->model);
    if (latent) {
        TRY(BUFFER(&r->weights.kv_b, latent, "up-projection weights", err));
        fill_weights(t->config.seed, latent, t->model.kv_lora_rank, r->weights.kv_b);
    }
    const LayerParams params = { .model = &t->model,
                                 .weights = &r->weights,
                                 .path = t->path,
                                 .kernels = &study->kernels,
                                 .threads = study->threads,
                                 .expand_tokens = t->config.expand_tokens };
    return layer_new(&r->layer, &params, t->sequences * t->query_tokens,
                     t->context + t->query_tokens, err);
}

static Status prepare(const Study *study, const Task *t, Ready *r, Error *err) {
    *r = (Ready){ .task = t };
    const CacheShape shape = model_cache_shape(&t->model, t->path);
    const size_t sets = t->copies * t->sequences, queries = t->sequences * t->query_tokens;
    TRY(cache_new(&r->cache, &t->config.cache, &shape, sets, t->context + t->query_tokens, err));
    TRY(BUFFER(&r->sequence, sets, "sequence numbers", err));
    TRY(BUFFER(&r->tokens, t->sequences, "query tokens", err));
    for (size_t i = 0; i < t->sequences; i++) r->tokens[i] = t->query_tokens;
    TRY(BUFFER(&r->q, queries * t->model.heads * t->model.key_dim, "queries", err));
    TRY(BUFFER(&r->out, queries * t->model.heads * t->model.value_dim, "outputs", err));
    TRY(sequences_direct(&t->config.sequences, 3, queries, t->model.heads, t->model.key_dim,
                         t->config.sequences.query_decay, r->q, err));
    TRY(prepare_layer(study, r, err));
    return fill_cache(study, r, err);
}

static void release(Ready *r) {
    if (r->layer) layer_free(r->layer);
    if (r->cache) cache_free(r->cache);
    buffer_free(r->weights.kv_b);
    buffer_free(r->q);
    buffer_free(r->out);
    buffer_free(r->sequence);
    buffer_free(r->tokens);
}

static void attend_once(void *context, size_t i) {
    Ready *r = context;
    const Task *t = r->task;
    const LayerBatch batch = { .sequences = t->sequences,
                               .sequence = r->sequence + (i % t->copies) * t->sequences,
                               .tokens = r->tokens };
    layer_attend(r->layer, r->cache, &batch, r->q, r->out);
}

/* ---- timing and storing ---- */

static double bandwidth(const Study *study, const Task *t) {
    const bool resident = !t->config.decode.cold || t->query_tokens > t->context;
    const bool fits = t->cost.bytes < 0.5 * (double)study->machine.llc_bytes;
    return resident && fits ? study->peaks.l3_read_gbytes_s : study->peaks.read_gbytes_s;
}

static double roofline_ns(const Study *study, const Task *t) {
    return fmax(t->cost.flops / study->peaks.fma_f32_gflops, t->cost.bytes / bandwidth(study, t));
}

static Status put_result(Study *study, Task *t, const Measurement *m, Error *err) {
    MetricList list = { .count = 0 };
    const Model *model = &t->model;
    const double roofline = roofline_ns(study, t), ns = m->median_ns;
    const double mha = (double)row_bytes(ROW_BF16, model_mha_elements(model));
    metric_add_samples(&list, "attention_ns", "ns", m);
    metric_add(&list, "attention_min_ns", "ns", m->min_ns, KIND_MEASURED);
    metric_add(&list, "flops", "flop", t->cost.flops, KIND_EXACT);
    metric_add(&list, "bytes", "B", t->cost.bytes, KIND_EXACT);
    metric_add(&list, "gflops", "GFLOP/s", t->cost.flops / ns, KIND_MEASURED);
    metric_add(&list, "gbytes_s", "GB/s", t->cost.bytes / ns, KIND_MEASURED);
    metric_add(&list, "roofline_ns", "ns", roofline, KIND_MODELLED);
    metric_add(&list, "roofline_fraction", "1", roofline / ns, KIND_MEASURED);
    metric_add(&list, "ratio_to_mha", "1",
               mha /
                   (double)model_cache_bytes_per_token_layer(model, t->path, t->config.cache.type),
               KIND_EXACT);
    metric_add(&list, "cache_sets", "1", (double)t->copies, KIND_EXACT);
    if (model->kind == ATTENTION_MLA && t->context)
        metric_add(&list, "crossover_query_tokens", "1", model_path_crossover(model, t->context),
                   KIND_EXACT);
    size_t used = 0;
    for (unsigned bit = 1; bit <= WARN_SHORT; bit <<= 1)
        if (m->warnings & bit && used < sizeof t->point.message)
            used += (size_t)snprintf(t->point.message + used, sizeof t->point.message - used,
                                     "%s%s", used ? "; " : "", measure_warning(bit));
    return study_put(study, &t->point, &list, err);
}

/* Times tasks that are in memory together. What cannot be made ready is stored as failed. */
static Status time_group(Study *study, size_t count, Task *const *tasks, Error *err) {
    Ready *ready = NULL;
    MeasureCase *cases = NULL;
    Measurement *results = NULL;
    Status status = BUFFER(&ready, count, "prepared points", err);
    if (status == OK) status = BUFFER(&cases, count, "timed cases", err);
    if (status == OK) status = BUFFER(&results, count, "measurements", err);
    Error why = { 0 };
    Status made = status;
    for (size_t i = 0; made == OK && i < count; i++) {
        made = prepare(study, tasks[i], &ready[i], &why);
        cases[i] = (MeasureCase){ attend_once, &ready[i] };
    }
    if (status == OK && made == OK)
        made = measure_cases(&tasks[0]->config.measure, count, cases, results, &why);
    for (size_t i = 0; status == OK && i < count; i++)
        status = made == OK ? put_result(study, tasks[i], &results[i], err)
                            : study_put_failed(study, &tasks[i]->point, &why, err);
    for (size_t i = 0; i < count; i++) {
        if (results) measure_free(&results[i]);
        if (ready) release(&ready[i]);
    }
    buffer_free(ready);
    buffer_free(cases);
    buffer_free(results);
    return status;
}

/* Leaves out what is beyond the limits, saying what it would take; *left_out when it did. */
static Status leave_out(Study *study, Task *t, bool *left_out, Error *err) {
    const MeasureParams *m = &t->config.measure;
    t->seconds = 2 * roofline_ns(study, t) / 1e9 * (double)(m->min_samples + 1);
    char needed[64] = "";
    if (t->memory_bytes > study->memory_bytes) {
        char bytes[32];
        quantity_format_bytes((double)t->memory_bytes, bytes, sizeof bytes);
        snprintf(needed, sizeof needed, "would need %s of memory", bytes);
    } else if (t->seconds > t->config.limits.point_seconds) {
        snprintf(needed, sizeof needed, "would need about %.3g s", t->seconds);
    }
    *left_out = needed[0] != '\0';
    if (!*left_out) return OK;
    t->point.status = POINT_LEFT_OUT;
    snprintf(t->point.message, sizeof t->point.message, "%s", needed);
    return study_put(study, &t->point, &(MetricList){ .count = 0 }, err);
}

static bool same_group(const Task *a, const Task *b) {
    return a->context == b->context && a->query_tokens == b->query_tokens &&
           a->sequences == b->sequences && a->config.decode.cold && b->config.decode.cold;
}

/* Takes the first open task and all of its group that fit into memory beside it. */
static Status time_next(Study *study, TaskList *list, size_t first, Task **group, Error *err) {
    size_t count = 0, held = 0;
    for (size_t i = first; i < list->count; i++) {
        Task *t = &list->task[i];
        if (t->taken || (count && !same_group(group[0], t))) continue;
        if (count && held + t->memory_bytes > study->memory_bytes) continue;
        t->taken = true;
        held += t->memory_bytes;
        group[count++] = t;
    }
    return time_group(study, count, group, err);
}

Status study_latency(Study *study, Phase phase, Error *err) {
    TaskList list;
    TRY(list_tasks(study, phase, &list, err));
    Task **group = NULL;
    Status status = BUFFER(&group, list.count, "points", err);
    for (size_t i = 0; status == OK && i < list.count; i++) {
        Task *t = &list.task[i];
        status = study_finished(study, &t->point, &t->taken, err);
        if (status == OK && !t->taken) status = leave_out(study, t, &t->taken, err);
    }
    for (size_t i = 0; status == OK && i < list.count; i++)
        if (!list.task[i].taken) status = time_next(study, &list, i, group, err);
    buffer_free(group);
    buffer_free(list.task);
    return status;
}
