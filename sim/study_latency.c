/* study_latency.c -- the decode and prefill phases: attention timed over caches really held. A cold
 * cache rotates over copies of a sequence set that together are twice the last-level cache. Rows
 * and queries come from the direct generator: one piece of PIECE_TOKENS tokens, appended again and
 * again (timing does not depend on which text it is). */
#include <math.h>
#include <stdio.h>

#include "buffer.h"
#include "layer.h"
#include "random.h"
#include "study_run.h"

enum { PIECE_TOKENS = 256 };

/* How fast rows are drawn, encoded and stored, about. */
static const double FILLED_BYTES_S = 2e9;

/* What is called: what a point's name says, and what follows from it. */
typedef struct {
    size_t context, query_tokens, sequences; /* context: tokens that the cache holds */
    size_t copies;                           /* sequence sets held, for a cold cache */
    Cost cost; /* the least that a call computes and moves: closed forms */
} Call;

/* A task made ready to be timed. */
typedef struct {
    const Task *task;
    Call call;
    LayerWeights weights; /* kv_b alone: attention needs no other */
    Cache *cache;
    Layer *layer;
    float *q, *out;
    size_t *sequence; /* [copies * sequences] */
    size_t *tokens;   /* [sequences], all query_tokens */
} Ready;

static size_t latent_weights(const Model *m) {
    return m->kind == ATTENTION_MLA
               ? model_up_heads(m) * (m->nope_dim + m->value_dim) * m->kv_lora_rank
               : 0;
}

static Cost call_cost(const Task *t, const Call *call) {
    const Model *m = &t->model;
    const LayerFlops flops = model_layer_flops(m, t->path, call->context, call->query_tokens);
    const size_t read =
        study_method_bytes(t, t->config.cache.type, t->point.context_tokens + call->query_tokens,
                           t->config.cache.block_tokens)
            .read_bytes;
    const bool folds = m->kind == ATTENTION_MLA && t->path != PATH_MATERIALISED;
    const double sequences = (double)call->sequences;
    Cost cost;
    cost.flops = sequences * (flops.attention + (folds ? flops.latent : 0));
    cost.bytes = sequences * (double)read +
                 sequences * (double)call->query_tokens * (double)m->heads *
                     (double)(m->key_dim + m->value_dim) * sizeof(float) +
                 (folds ? (double)latent_weights(m) * sizeof(float) : 0);
    return cost;
}

/* Bytes that the cache of all sequences of a call holds. */
static size_t set_bytes(const Task *t, const Call *call) {
    const MethodBytes b =
        study_method_bytes(t, t->config.cache.type, t->point.context_tokens + call->query_tokens,
                           t->config.cache.block_tokens);
    return call->sequences * b.held_bytes;
}

/* Tokens of a context that an eviction leaves in the cache. */
static size_t held_context(const Task *t) {
    const size_t context = t->point.context_tokens;
    return context ? eviction_kept(&t->method.eviction, context) : 0;
}

/* Decode alone rotates over a cold cache: a prompt of its own is never cached before. */
static bool is_cold(const Task *t) {
    return t->config.decode.cold && t->point.context_tokens > 0;
}

static Call call_of(const Study *study, const Task *t) {
    Call call = { .context = held_context(t),
                  .query_tokens = t->point.query_tokens,
                  .sequences = t->point.sequences,
                  .copies = 1 };
    const size_t bytes = set_bytes(t, &call), wanted = 2 * study->machine.llc_bytes;
    if (is_cold(t) && bytes < wanted) call.copies = (wanted + bytes - 1) / bytes;
    call.cost = call_cost(t, &call);
    return call;
}

static size_t workspace_bytes(const Task *t, const Call *call) {
    const Model *m = &t->model;
    const size_t queries = call->sequences * call->query_tokens;
    const size_t widest = m->kv_lora_rank + m->rope_dim + m->key_dim + m->value_dim;
    size_t bytes = 4 * queries * m->heads * widest * sizeof(float);
    bytes += latent_weights(m) * sizeof(float);
    if (t->path == PATH_EXPANDED)
        bytes +=
            t->config.expand_tokens * m->heads * 2 * (m->key_dim + m->value_dim) * sizeof(float);
    return bytes;
}

static double bandwidth(const Study *study, const Task *t, const Call *call) {
    const bool fits = call->cost.bytes < 0.5 * (double)study->machine.llc_bytes;
    return !is_cold(t) && fits ? study->peaks.l3_read_gbytes_s : study->peaks.read_gbytes_s;
}

static double roofline_ns(const Study *study, const Task *t, const Call *call) {
    return fmax(call->cost.flops / study->peaks.fma_f32_gflops,
                call->cost.bytes / bandwidth(study, t, call));
}

/* Points of evictions that have no kernel of their own to time. */
static void leave_out_untimed(Task *t) {
    const EvictionKind kind = t->method.eviction.kind;
    if (kind == EVICT_NONE || (kind != EVICT_ORACLE && t->point.context_tokens)) return;
    t->point.status = POINT_LEFT_OUT;
    snprintf(t->point.message, sizeof t->point.message, "nothing to time: %s",
             kind == EVICT_ORACLE ? "no cache knows what the oracle knows"
                                  : "tokens are evicted after the prompt");
}

/* What the point takes, once it has its name. */
static void size_task(const Study *study, Task *t) {
    leave_out_untimed(t);
    const Call call = call_of(study, t);
    const size_t held = call.copies * set_bytes(t, &call);
    t->tokens = call.context + call.query_tokens;
    t->memory_bytes = held + workspace_bytes(t, &call);
    t->metrics = 12;
    t->samples = t->config.measure.min_samples;
    t->more_seconds = (double)held / FILLED_BYTES_S;
    if (study->peaks.fma_f32_gflops > 0)
        t->seconds = 2e-9 * roofline_ns(study, t, &call) * (double)(t->samples + 1);
}

Status study_decode_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    TRY(study_contender(&study->model, c->contender, t, err));
    t->path = study_path(&t->model, c->decode.path);
    TRY(study_fits(t, c->cache.block_tokens, err));
    study_name_point(&t->point, PHASE_DECODE, c->contender, &t->model, t->path, c->cache.type,
                     c->cache.block_tokens, c->decode.context, c->decode.query_tokens,
                     c->decode.sequences);
    size_task(study, t);
    return OK;
}

Status study_prefill_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    TRY(study_contender(&study->model, c->contender, t, err));
    t->path = study_path(&t->model, c->prefill.path);
    TRY(study_fits(t, c->cache.block_tokens, err));
    study_name_point(&t->point, PHASE_PREFILL, c->contender, &t->model, t->path, c->cache.type,
                     c->cache.block_tokens, 0, c->prefill.tokens, c->prefill.sequences);
    size_task(study, t);
    return OK;
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
    const size_t tokens = t->tokens;
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
    for (size_t s = 0; status == OK && s < r->call.copies * r->call.sequences; s++) {
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
    return layer_new(&r->layer, &params, r->call.sequences * r->call.query_tokens, t->tokens, err);
}

static Status prepare(const Study *study, const Task *t, void *ready, Error *err) {
    Ready *r = ready;
    r->task = t;
    r->call = call_of(study, t);
    const CacheShape shape = model_cache_shape(&t->model, t->path);
    const size_t sets = r->call.copies * r->call.sequences;
    const size_t queries = r->call.sequences * r->call.query_tokens;
    const CacheParams params = study_cache(t, t->config.cache.type, t->config.cache.block_tokens);
    TRY(cache_new(&r->cache, &params, &shape, sets, t->tokens, err));
    TRY(BUFFER(&r->sequence, sets, "sequence numbers", err));
    TRY(BUFFER(&r->tokens, r->call.sequences, "query tokens", err));
    for (size_t i = 0; i < r->call.sequences; i++) r->tokens[i] = r->call.query_tokens;
    TRY(BUFFER(&r->q, queries * t->model.heads * t->model.key_dim, "queries", err));
    TRY(BUFFER(&r->out, queries * t->model.heads * t->model.value_dim, "outputs", err));
    TRY(sequences_direct(&t->config.sequences, 3, queries, t->model.heads, t->model.key_dim,
                         t->config.sequences.query_decay, r->q, err));
    TRY(prepare_layer(study, r, err));
    return fill_cache(study, r, err);
}

static void release(void *ready) {
    Ready *r = ready;
    if (r->layer) layer_free(r->layer);
    if (r->cache) cache_free(r->cache);
    buffer_free(r->weights.kv_b);
    buffer_free(r->q);
    buffer_free(r->out);
    buffer_free(r->sequence);
    buffer_free(r->tokens);
}

static void attend_once(void *ready, size_t i) {
    Ready *r = ready;
    const size_t set = i % r->call.copies;
    const LayerBatch batch = { .sequences = r->call.sequences,
                               .sequence = r->sequence + set * r->call.sequences,
                               .tokens = r->tokens };
    layer_attend(r->layer, r->cache, &batch, r->q, r->out);
}

/* ---- timing ---- */

static void score(const Study *study, const Task *t, const Measurement *m, MetricList *list) {
    const Model *model = &t->model;
    const Call call = call_of(study, t);
    const double roofline = roofline_ns(study, t, &call), ns = m->median_ns;
    const size_t tokens = t->point.context_tokens + call.query_tokens;
    const MethodBytes bytes =
        study_method_bytes(t, t->config.cache.type, tokens, t->config.cache.block_tokens);
    metric_add_samples(list, "attention_ns", "ns", m);
    metric_add(list, "attention_min_ns", "ns", m->min_ns, KIND_MEASURED);
    metric_add(list, "flops", "flop", call.cost.flops, KIND_EXACT);
    metric_add(list, "bytes", "B", call.cost.bytes, KIND_EXACT);
    metric_add(list, "gflops", "GFLOP/s", call.cost.flops / ns, KIND_MEASURED);
    metric_add(list, "gbytes_s", "GB/s", call.cost.bytes / ns, KIND_MEASURED);
    metric_add(list, "roofline_ns", "ns", roofline, KIND_MODELLED);
    metric_add(list, "roofline_fraction", "1", roofline / ns, KIND_MODELLED);
    study_add_ratios(t, &bytes, tokens, list);
    metric_add(list, "cache_sets", "1", (double)call.copies, KIND_EXACT);
    metric_add(list, "cold", "1", is_cold(t), KIND_EXACT);
    if (model->kind == ATTENTION_MLA && call.context)
        metric_add(list, "crossover_query_tokens", "1", model_path_crossover(model, call.context),
                   KIND_EXACT);
}

/* Two warm caches would drive each other out of the last-level cache. */
static bool is_warm(const Task *task) {
    return !task->config.decode.cold;
}

Status study_latency_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    static const Timing timing = { .size = sizeof(Ready),
                                   .prepare = prepare,
                                   .release = release,
                                   .call = attend_once,
                                   .score = score,
                                   .apart = is_warm };
    return study_time(study, &timing, count, tasks, err);
}
