/* study_error.c -- the error phase: what is lost on the way from a teacher to each contender,
 * through the contender's own cache and kernels.
 *
 *   teacher --fp64 reference--> exact y                                        (study_teacher.h)
 *   teacher --convert on calibration text--> contender --cache in its codec, kernels--> y^
 *           with an eviction: rows of the cache, of which each query sees what is kept
 *
 * What is scored is what is stored: errors of keys and values are those of rows read back from the
 * cache. The bytes are the accountant's, held against a count of that cache. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "convert.h"
#include "evict.h"
#include "layer.h"
#include "metrics.h"
#include "study_run.h"
#include "study_teacher.h"

/* What a contender makes of the scored text. */
typedef struct {
    Conversion conversion;
    CacheShape shape;
    Cache *cache;
    Layer *layer;
    float *q, *k, *v;       /* projected: queries, rows to cache */
    float *rows_k, *rows_v; /* decoded from the cache */
    float *keys, *values;   /* [tokens, H, ..] per head, keys after RoPE */
    float *k_back, *v_back; /* in the teacher's terms */
    float *out, *y;         /* of the queries */
    unsigned char *kept;    /* what an eviction leaves to each query */
    size_t *positions;
} Student;

/* ---- what a point is ---- */

Status study_error_recipe(const Model *base, const Config *point, bool true_size, Recipe *recipe,
                          Error *err) {
    Method method;
    Model teacher;
    TRY(method_parse(&method, point->error.contender, err));
    TRY(teacher_model(base, point, true, &teacher, err));
    TRY(recipe_parse(recipe, method.conversion, &teacher, err));
    if (true_size || tensors_given(&point->tensors)) return OK;
    return recipe_divide(recipe, point->error.shrink, err);
}

/* Bytes that teacher, statistics and student hold together: doubles of the reference and moments of
 * keys and values above all. */
static size_t held_bytes(const Model *teacher, const Task *t) {
    const Config *c = &t->config;
    const Model *m = &t->model;
    const size_t tokens = c->error.tokens;
    const size_t wide = teacher->kv_heads * (teacher->key_dim + teacher->value_dim);
    const size_t head = m->heads * (m->key_dim + m->value_dim);
    const bool fits = m->kind == ATTENTION_MLA || t->method.conversion[0] == 'l';
    const size_t exact = tokens * 2 * wide * sizeof(double);
    const size_t texts = (tokens + c->error.calibration_tokens) * teacher->hidden * sizeof(float);
    const size_t draws = c->error.draws;
    const size_t student = 5 * tokens * head * sizeof(float);
    const size_t fitting = (fits ? 3 : 1) * wide * wide * sizeof(double);
    return draws * (exact + texts + fitting + weights_bytes(teacher)) + student +
           2 * weights_bytes(m);
}

/* Seconds of a point, about: projections, moments of the calibration text, what it is fitted by,
 * and the attention of the queries. A run corrects them as it goes. */
static double about_seconds(const Model *teacher, const Task *t) {
    static const double product_flops = 4e10, moment_flops = 2e10, attend_flops = 2e9;
    const Config *c = &t->config;
    const double tokens = c->error.tokens;
    const double queries =
        c->error.queries && c->error.queries < tokens ? c->error.queries : tokens;
    const double wide = (double)(teacher->kv_heads * (teacher->key_dim + teacher->value_dim));
    const double heads = (double)teacher->heads;
    const bool fits = t->model.kind == ATTENTION_MLA;
    const double projected = 2 * tokens * (double)teacher->hidden * wide / product_flops;
    const double fitted = fits ? 6 * wide * wide * 600 / moment_flops : 0;
    const double attended =
        4 * heads * queries * tokens * (double)(teacher->key_dim) / attend_flops;
    return c->error.draws * (0.2 + 2 * projected + fitted + attended);
}

static void name_point(const Model *true_size, Task *t) {
    const Config *c = &t->config;
    study_name_point(&t->point, PHASE_ERROR, c->error.contender, &t->model, t->path, c->error.type,
                     c->cache.block_tokens, c->error.tokens, 0, 1);
    study_label(c->error.contender, true_size, t->point.label, sizeof t->point.label);
    if (c->error.shrink > 1 && !tensors_given(&c->tensors)) {
        const size_t used = strlen(t->point.layer);
        snprintf(t->point.layer + used, sizeof t->point.layer - used, " (true size / %u)",
                 c->error.shrink);
    }
    if (tensors_given(&c->tensors)) {
        const size_t used = strlen(t->point.key);
        snprintf(t->point.key + used, sizeof t->point.key - used, "/layer=%u", c->error.layer);
    }
}

Status study_error_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    Recipe recipe, true_size;
    Model teacher;
    TRY(method_parse(&t->method, c->error.contender, err));
    TRY(study_error_recipe(&study->model, c, true, &true_size, err));
    TRY(study_error_recipe(&study->model, c, false, &recipe, err));
    TRY(teacher_model(&study->model, c, false, &teacher, err));
    t->model = recipe.model;
    t->coded = strchr(c->error.contender, '*') != NULL;
    t->path = study_path(&t->model, PATH_ABSORBED);
    TRY(study_fits(t, c->cache.block_tokens, err));
    TRY(convert_tokens(&recipe, &teacher, c->error.calibration_tokens, err));
    name_point(&true_size.model, t);
    t->tokens = c->error.tokens;
    t->memory_bytes = held_bytes(&teacher, t);
    t->seconds = about_seconds(&teacher, t);
    t->metrics = c->error.spectra ? METRICS_MOST : 32;
    return OK;
}

/* ---- the student ---- */

static Status student_alloc(Student *s, const Teacher *t, bool evicts, Error *err) {
    const Model *m = &s->conversion.model;
    const size_t tokens = t->tokens, queries = t->exact.queries;
    const size_t row_k = tokens * s->shape.kv_heads * s->shape.key_dim;
    const size_t row_v = s->shape.shared ? 0 : tokens * s->shape.kv_heads * s->shape.value_dim;
    TRY(BUFFER(&s->q, tokens * m->heads * m->key_dim, "queries", err));
    TRY(BUFFER(&s->k, row_k, "keys", err));
    TRY(BUFFER(&s->v, row_v, "values", err));
    TRY(BUFFER(&s->rows_k, row_k, "cached keys", err));
    TRY(BUFFER(&s->rows_v, row_v, "cached values", err));
    TRY(BUFFER(&s->keys, tokens * m->heads * m->key_dim, "keys by head", err));
    TRY(BUFFER(&s->values, evicts ? tokens * m->heads * m->value_dim : 0, "values by head", err));
    TRY(BUFFER(&s->k_back, tokens * t->exact.kv_heads * t->exact.key_dim, "keys", err));
    TRY(BUFFER(&s->v_back, tokens * t->exact.kv_heads * t->exact.value_dim, "values", err));
    TRY(BUFFER(&s->out, queries * m->heads * m->value_dim, "outputs", err));
    TRY(BUFFER(&s->y, queries * m->hidden, "outputs", err));
    TRY(BUFFER(&s->kept, evicts ? s->shape.kv_heads * queries * ((tokens + 7) / 8) : 0,
               "kept tokens", err));
    TRY(BUFFER(&s->positions, tokens, "positions", err));
    for (size_t i = 0; i < tokens; i++) s->positions[i] = i;
    return OK;
}

static void student_free(Student *s) {
    convert_free(&s->conversion);
    if (s->layer) layer_free(s->layer);
    if (s->cache) cache_free(s->cache);
    float *const buffers[] = { s->q,      s->k,      s->v,      s->rows_k, s->rows_v, s->keys,
                               s->values, s->k_back, s->v_back, s->out,    s->y };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
    buffer_free(s->kept);
    buffer_free(s->positions);
}

static Status convert(const Study *study, const Task *task, Teacher *t, Conversion *out,
                      Error *err) {
    const ConvertSource source = { .layer = &t->model,
                                   .weights = t->weights,
                                   .statistics = t->calibrated ? &t->statistics : NULL,
                                   .spectra = &t->spectra,
                                   .context = t->tokens,
                                   .seed = task->config.seed };
    Recipe recipe;
    TRY(study_error_recipe(&study->model, &task->config, false, &recipe, err));
    recipe.model.hidden = t->model.hidden;
    if (t->model.qk_norm && recipe.kind != RECIPE_COPY && recipe.kind != RECIPE_POOL)
        return fail(err, ERR_INPUT,
                    "%s: norms of key heads stand between this layer's weights and its keys",
                    recipe.name);
    if (!t->projects && recipe.kind == RECIPE_WEIGHTS)
        return fail(err, ERR_INPUT, "%s: keys and values are given without weights", recipe.name);
    recipe.model.attention_bias = t->model.attention_bias;
    recipe.model.output_bias = t->model.output_bias;
    return convert_layer(out, &recipe, &source, err);
}

static Status student_new(const Study *study, const Task *task, Teacher *t, Student *s,
                          Error *err) {
    enum { PROJECTED = 256 }; /* tokens that a layer projects at a time */
    const Config *config = &task->config;
    *s = (Student){ .conversion = { .loss = NAN } };
    TRY(convert(study, task, t, &s->conversion, err));
    s->shape = model_cache_shape(&s->conversion.model, task->path);
    const CacheParams params = study_cache(task, config->error.type, config->cache.block_tokens);
    TRY(cache_new(&s->cache, &params, &s->shape, 1, t->tokens, err));
    const LayerParams layer = { .model = &s->conversion.model,
                                .weights = &s->conversion.weights,
                                .path = task->path,
                                .kernels = &study->kernels,
                                .threads = study->threads,
                                .expand_tokens = config->expand_tokens };
    const size_t least = t->tokens < PROJECTED ? t->tokens : PROJECTED;
    const size_t rows = t->exact.queries > least ? t->exact.queries : least;
    TRY(layer_new(&s->layer, &layer, rows, t->tokens, err));
    return student_alloc(s, t, task->method.eviction.kind != EVICT_NONE, err);
}

/* The queries over what an eviction keeps, by rows as they were read back. */
static Status attend_kept(const Study *study, const Task *task, const Teacher *t, Student *s,
                          Error *err) {
    const Model *m = &s->conversion.model;
    convert_values(&s->conversion, t->tokens, s->rows_k, s->rows_v, s->values);
    const EvictionText text = { .tokens = t->tokens,
                                .queries = t->exact.queries,
                                .heads = m->heads,
                                .kept_heads = s->shape.kv_heads,
                                .key_dim = m->key_dim,
                                .value_dim = m->value_dim,
                                .scale = model_softmax_scale(m),
                                .q = s->q,
                                .k = s->keys,
                                .v = s->values };
    return evict_run(&task->method.eviction, &text, &study->kernels, s->kept, s->out, err);
}

/* The contender's layer over the scored text, through its cache. */
static Status student_run(const Study *study, const Task *task, const Teacher *t, Student *s,
                          Error *err) {
    const Model *m = &s->conversion.model;
    const size_t queries = t->exact.queries, first = t->tokens - queries;
    size_t sequence;
    TRY(cache_open(s->cache, &sequence, err));
    /* earlier queries matter to evictions alone, which they vote for */
    const size_t asks = task->method.eviction.kind == EVICT_NONE ? first : 0;
    layer_project(s->layer, t->tokens - asks, s->positions + asks, t->x + asks * m->hidden,
                  s->q + asks * m->heads * m->key_dim, NULL, NULL);
    layer_project(s->layer, t->tokens, s->positions, t->x, NULL, s->k, s->v);
    TRY(cache_append(s->cache, &study->kernels, study->threads, sequence, t->tokens, s->k,
                     s->shape.shared ? NULL : s->v, err));
    cache_read(s->cache, &study->kernels, sequence, 0, t->tokens, s->rows_k,
               s->shape.shared ? NULL : s->rows_v);
    TRY(convert_keys(&s->conversion, t->tokens, s->rows_k, s->keys, err));
    if (task->method.eviction.kind != EVICT_NONE) {
        TRY(attend_kept(study, task, t, s, err));
    } else {
        const LayerBatch batch = { 1, &sequence, &queries };
        layer_attend(s->layer, s->cache, &batch, s->q + first * m->heads * m->key_dim, s->out);
    }
    layer_output(s->layer, queries, s->out, s->y);
    return convert_back(&s->conversion, t->tokens, s->rows_k, s->rows_v, s->k_back, s->v_back, err);
}

/* ---- scores ---- */

/* The errors of all draws pooled, and the least and the most that one draw has by itself. */
typedef struct {
    ErrorSums sums;
    struct {
        double least, most;
    } y, out, k, v, logits;
} Pool;

#define WIDEN(pool, name, before)                                                                  \
    widen(&(pool)->name.least, &(pool)->name.most, &(before)->name, &(pool)->sums.name)

/* Widens a range by the draw that took the sums from `before` to `after`. */
static void widen(double *least, double *most, const ErrorPair *before, const ErrorPair *after) {
    const double difference = after->difference - before->difference;
    const double own = difference == 0 ? 0 : sqrt(difference / (after->size - before->size));
    if (before->size == 0 || own < *least) *least = own;
    if (before->size == 0 || own > *most) *most = own;
}

/* A relative error with its range, and what it is a ratio of, so that layers can be pooled. */
static void add_relative(MetricList *list, const char *name, double value, const ErrorPair *pair,
                         double least, double most) {
    char part[48];
    metric_add(list, name, "1", value, KIND_MEASURED);
    list->metric[list->count - 1].low = least;
    list->metric[list->count - 1].high = most;
    snprintf(part, sizeof part, "%s_difference", name);
    metric_add(list, part, "1", pair->difference, KIND_MEASURED);
    snprintf(part, sizeof part, "%s_size", name);
    metric_add(list, part, "1", pair->size, KIND_MEASURED);
}

static void add_errors(MetricList *list, const Teacher *t, const Pool *pool) {
    const ErrorSums *sums = &pool->sums;
    const ErrorMetrics e = metrics_of(sums);
    if (t->asks && t->projects)
        add_relative(list, "y_rel", e.y_rel, &sums->y, pool->y.least, pool->y.most);
    if (t->asks)
        add_relative(list, "out_rel", e.out_rel, &sums->out, pool->out.least, pool->out.most);
    add_relative(list, "k_rel", e.k_rel, &sums->k, pool->k.least, pool->k.most);
    add_relative(list, "v_rel", e.v_rel, &sums->v, pool->v.least, pool->v.most);
    if (!t->asks) return;
    add_relative(list, "logit_rel", e.logit_rel, &sums->logits, pool->logits.least,
                 pool->logits.most);
    const struct {
        const char *name;
        double value;
    } rows[] = { { "attn_kl", e.attn_kl },   { "attn_tv", e.attn_tv }, { "out_cos", e.out_cos },
                 { "cos_diff", e.cos_diff }, { "max_abs", e.max_abs }, { "p99_abs", e.p99_abs } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        metric_add(list, rows[i].name, "1", rows[i].value, KIND_MEASURED);
}

/* Rows whose numbers are beyond what a codec stores come back as NaN. */
static Status check_finite(const ErrorSums *sums, const Method *method, Error *err) {
    const double all = sums->y.difference + sums->out.difference + sums->k.difference +
                       sums->v.difference + sums->logits.difference;
    if (isfinite(all)) return OK;
    return fail(err, ERR_INPUT,
                "%s: rows do not come back as numbers: a value, a scale or a norm is beyond "
                "what is stored (f16 ends at 65504)",
                method->name);
}

static Status score(const Teacher *t, const Student *s, const Method *method, Pool *pool,
                    Error *err) {
    const Model *m = &s->conversion.model;
    const size_t first = t->tokens - t->exact.queries;
    const bool evicts = method->eviction.kind != EVICT_NONE;
    const Approximation approx = { .k_pre = s->k_back,
                                   .v = s->v_back,
                                   .out = s->out,
                                   .y = s->y,
                                   .q_rot = s->q + first * m->heads * m->key_dim,
                                   .k_rot = s->keys,
                                   .key_dim = m->key_dim,
                                   .scale = model_softmax_scale(m),
                                   .kept = evicts ? s->kept : NULL,
                                   .kept_heads = s->shape.kv_heads };
    const ErrorSums before = pool->sums;
    TRY(metrics_add(&pool->sums, &t->exact, &approx, err));
    TRY(check_finite(&pool->sums, method, err));
    WIDEN(pool, y, &before);
    WIDEN(pool, out, &before);
    WIDEN(pool, k, &before);
    WIDEN(pool, v, &before);
    WIDEN(pool, logits, &before);
    return OK;
}

/* How far a conversion was pressed, and what it found. */
static void add_conversion(MetricList *list, const Conversion *c) {
    const Recipe *r = &c->recipe;
    if (!isnan(c->loss)) metric_add(list, "fitted_loss", "1", c->loss, KIND_EXACT);
    if (c->model.kv_lora_rank)
        metric_add(list, "latent_rank", "1", (double)c->model.kv_lora_rank, KIND_EXACT);
    if (!isnan(r->gamma)) metric_add(list, "gamma", "1", r->gamma, KIND_EXACT);
    if (r->key_rank) metric_add(list, "key_rank", "1", (double)r->key_rank, KIND_EXACT);
    if (r->value_rank) metric_add(list, "value_rank", "1", (double)r->value_rank, KIND_EXACT);
}

/* The bytes of the rows that attention met, counted where they lie; of an eviction, the bytes of a
 * cache of as many tokens as it keeps. */
static Status count_held(const Study *study, const Task *task, const Student *s,
                         const MethodBytes *bytes, size_t *held, Error *err) {
    const EvictionKind kind = task->method.eviction.kind;
    if (kind == EVICT_NONE || kind == EVICT_ORACLE) {
        *held = cache_bytes(s->cache).payload_bytes;
        return OK;
    }
    const CacheParams params =
        study_cache(task, task->config.error.type, task->config.cache.block_tokens);
    Cache *cache = NULL;
    size_t sequence;
    TRY(cache_new(&cache, &params, &s->shape, 1, bytes->kept_tokens, err));
    Status status = cache_open(cache, &sequence, err);
    if (status == OK)
        status = cache_append(cache, &study->kernels, study->threads, sequence, bytes->kept_tokens,
                              s->rows_k, s->shape.shared ? NULL : s->rows_v, err);
    *held = cache_bytes(cache).payload_bytes + bytes->index_bytes;
    cache_free(cache);
    return status;
}

static Status add_bytes(const Study *study, const Task *task, const Teacher *t, const Student *s,
                        MetricList *list, Error *err) {
    const MethodBytes b = study_method_bytes(task, task->config.error.type, t->tokens,
                                             task->config.cache.block_tokens);
    size_t held = 0;
    TRY(count_held(study, task, s, &b, &held, err));
    study_add_ratios(task, &b, t->tokens, list);
    metric_add(list, "cache_bytes_per_token_layer", "B", (double)b.stored_bytes / (double)t->tokens,
               KIND_EXACT);
    metric_add(list, "stored_bytes", "B", (double)b.stored_bytes, KIND_EXACT);
    metric_add(list, "held_bytes", "B", (double)held, KIND_EXACT);
    metric_add(list, "cache_elements", "1", (double)model_cache_elements(&task->model, task->path),
               KIND_EXACT);
    if (held == b.stored_bytes) return OK;
    return fail(err, ERR_MACHINE, "held %zu bytes where the accountant says %zu", held,
                b.stored_bytes);
}

/* Is the contender the teacher as it is, rows apart? Its point carries the teacher's spectra. */
static bool is_teacher(const Task *task, const Recipe *recipe) {
    return recipe->kind == RECIPE_COPY && !task->coded && task->method.eviction.kind == EVICT_NONE;
}

/* What is told of the first draw alone: bytes, the conversion, spectra. */
static Status describe(const Study *study, const Task *task, Teacher *t, const Student *s,
                       MetricList *list, Error *err) {
    TRY(add_bytes(study, task, t, s, list, err));
    add_conversion(list, &s->conversion);
    if (tensors_given(&task->config.tensors))
        metric_add(list, "layer_index", "1", task->config.error.layer, KIND_EXACT);
    if (!task->config.error.spectra || !is_teacher(task, &s->conversion.recipe)) return OK;
    return study_add_spectra(t, task->config.seed, list, err);
}

static Status measure(const Study *study, const Task *task, Teacher *t, Pool *pool,
                      MetricList *list, Error *err) {
    Student s;
    Status status = student_new(study, task, t, &s, err);
    if (status == OK) status = student_run(study, task, t, &s, err);
    if (status == OK) status = score(t, &s, &task->method, pool, err);
    if (status == OK && t->draw == 0) status = describe(study, task, t, &s, list, err);
    student_free(&s);
    return status;
}

/* ---- the phase ---- */

/* What the points of a study ask of a teacher together. */
typedef struct {
    unsigned more; /* statistics: of hidden states, which are wide, for a contender that whitens; of
                      rotated keys for their spectrum */
    size_t wide;   /* the highest rank of [K | V] */
} Wishes;

static Wishes wishes_of(const Study *study, const Model *teacher) {
    Wishes w = { .more = 0 };
    for (size_t i = 0; i < config_points(study->config, PHASE_ERROR); i++) {
        Config c;
        Method method;
        Recipe recipe;
        Error ignored;
        config_point(study->config, PHASE_ERROR, i, &c);
        if (c.error.spectra) w.more |= STATISTICS_ROTATED;
        if (method_parse(&method, c.error.contender, &ignored) != OK ||
            recipe_parse(&recipe, method.conversion, teacher, &ignored) != OK)
            continue;
        if (recipe.kind == RECIPE_WHITENED) w.more |= STATISTICS_INPUT;
        if (recipe.kind == RECIPE_JOINT && recipe.model.kv_lora_rank > w.wide)
            w.wide = recipe.model.kv_lora_rank;
    }
    return w;
}

/* The teachers that points share, one a draw. */
typedef struct {
    Teacher *draw;
    size_t count;
} Teachers;

/* The teacher that a point needs for a draw: the one kept from the point before, or a new one. */
static Status find_teacher(Study *study, const Config *config, size_t draw, Teacher **teacher,
                           Error *err) {
    Teachers *kept = study->kept[PHASE_ERROR];
    if (!kept) TRY(BUFFER(&kept, 1, "teachers", err));
    study->kept[PHASE_ERROR] = kept;
    if (!kept->draw) TRY(BUFFER(&kept->draw, config->error.draws, "teachers", err));
    kept->count = config->error.draws;
    Teacher *t = *teacher = &kept->draw[draw];
    if (teacher_fits(t, config, draw)) return OK;
    teacher_free(t);
    Model true_size;
    TRY(teacher_model(&study->model, config, true, &true_size, err));
    const Wishes wishes = wishes_of(study, &true_size);
    const Status status = teacher_new(t, &study->model, config, draw, wishes.more, err);
    t->spectra.wide = wishes.wide / config->error.shrink;
    if (status != OK) teacher_free(t);
    return status;
}

static Status run_point(Study *study, Task *t, Error *err) {
    MetricList list = { .count = 0 };
    Pool pool = { .sums = { .max_abs = 0 } };
    Teacher *teacher = NULL;
    Error why;
    Status made = OK;
    for (size_t draw = 0; made == OK && draw < t->config.error.draws; draw++) {
        made = find_teacher(study, &t->config, draw, &teacher, &why);
        if (made == OK) made = measure(study, t, teacher, &pool, &list, &why);
    }
    if (made == OK) add_errors(&list, teacher, &pool);
    metrics_free(&pool.sums);
    if (made != OK) return study_put_failed(study, &t->point, &why, err);
    return study_put(study, &t->point, &list, err);
}

Status study_error_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    for (size_t i = 0; i < count; i++) TRY(run_point(study, tasks[i], err));
    return OK;
}

void study_error_forget(void *kept) {
    Teachers *teachers = kept;
    for (size_t i = 0; teachers && i < teachers->count; i++) teacher_free(&teachers->draw[i]);
    if (teachers) buffer_free(teachers->draw);
    buffer_free(teachers);
}
