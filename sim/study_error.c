/* study_error.c -- the error phase: what is lost on the way from an MHA teacher to each contender,
 * through the contender's own cache and kernels.
 *
 *   teacher (generator's weights) --fp64 reference--> exact y
 *   teacher --convert on calibration text--> contender --cache in its type, kernels--> y^
 *
 * The layer may be the model's divided by error.shrink (D, d and MLA's C and R alike; heads stay),
 * which keeps every compression ratio; each point says which layer it was. */
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "convert.h"
#include "layer.h"
#include "metrics.h"
#include "study_run.h"

enum { TEXT_SCORED = 0, TEXT_CALIBRATION = 1 };

/* The teacher and its exact outputs: the same for all contenders of the same size. */
typedef struct {
    size_t tokens, calibration_tokens, shrink;
    Model model;
    LayerWeights weights;
    float *x;              /* [tokens, D] scored */
    Statistics statistics; /* of the calibration text */
    Spectra spectra;
    Reference exact;
} Teacher;

/* What a contender makes of the same text. */
typedef struct {
    Conversion conversion;
    Cache *cache;
    Layer *layer;
    float *q, *k, *v;       /* projected: queries, rows to cache */
    float *rows_k, *rows_v; /* decoded from the cache */
    float *keys;            /* [tokens, H, key_dim] per head, after RoPE */
    float *k_pre, *v_back;  /* [tokens, H, d] in the teacher's terms */
    float *out, *y;
    size_t *positions;
} Student;

/* The teacher's shape: MHA of the model's heads and widths, no biases, no query and key norms. */
static Status teacher_model(const Model *base, Model *out, Error *err) {
    TRY(model_contender(out, base, "mha", err));
    out->attention_bias = out->output_bias = out->qk_norm = false;
    return OK;
}

Status study_error_recipe(const Model *base, const Config *point, bool true_size, Recipe *recipe,
                          Error *err) {
    Model teacher;
    TRY(teacher_model(base, &teacher, err));
    TRY(recipe_parse(recipe, point->error.contender, &teacher, err));
    return true_size ? OK : recipe_divide(recipe, point->error.shrink, err);
}

static void teacher_free(Teacher *t) {
    weights_free(&t->weights);
    reference_free(&t->exact);
    buffer_free(t->x);
    statistics_free(&t->statistics);
    spectra_free(&t->spectra);
    *t = (Teacher){ 0 };
}

/* Statistics of the calibration text, which is not kept. */
static Status calibrate(const SequencesParams *params, Teacher *t, Error *err) {
    const size_t hidden = t->model.hidden;
    float *text = NULL;
    TRY(statistics_new(&t->statistics, &t->model, true, err));
    TRY(BUFFER(&text, t->calibration_tokens * hidden, "hidden states", err));
    const Status status =
        sequences_hidden(params, TEXT_CALIBRATION, t->calibration_tokens, hidden, text, err);
    if (status == OK)
        statistics_add(&t->statistics, &t->model, &t->weights, t->calibration_tokens, text);
    buffer_free(text);
    statistics_finish(&t->statistics);
    return status;
}

static Status teacher_new(const Study *study, const Config *config, Teacher *t, Error *err) {
    const SequencesParams *params = &config->sequences;
    *t = (Teacher){ .tokens = config->error.tokens,
                    .calibration_tokens = config->error.calibration_tokens,
                    .shrink = config->error.shrink };
    TRY(teacher_model(&study->model, &t->model, err));
    TRY(model_divide(&t->model, t->shrink, err));
    TRY(BUFFER(&t->x, t->tokens * t->model.hidden, "hidden states", err));
    TRY(sequences_hidden(params, TEXT_SCORED, t->tokens, t->model.hidden, t->x, err));
    TRY(sequences_weights(params, &t->model, t->tokens, &t->weights, err));
    TRY(calibrate(params, t, err));
    return reference_run(&t->exact, &t->model, &t->weights, t->tokens, t->x, err);
}

/* Is this the teacher that a point needs? */
static bool teacher_fits(const Teacher *t, const Config *config) {
    return t->x && t->tokens == config->error.tokens && t->shrink == config->error.shrink &&
           t->calibration_tokens == config->error.calibration_tokens;
}

static Status student_alloc(Student *s, const Model *m, Path path, size_t tokens, Error *err) {
    const CacheShape shape = model_cache_shape(m, path);
    const size_t row_k = tokens * shape.kv_heads * shape.key_dim;
    const size_t row_v = tokens * shape.kv_heads * shape.value_dim;
    TRY(BUFFER(&s->q, tokens * m->heads * m->key_dim, "queries", err));
    TRY(BUFFER(&s->k, row_k, "keys", err));
    TRY(BUFFER(&s->v, row_v, "values", err));
    TRY(BUFFER(&s->rows_k, row_k, "cached keys", err));
    TRY(BUFFER(&s->rows_v, row_v, "cached values", err));
    TRY(BUFFER(&s->keys, tokens * m->heads * m->key_dim, "keys by head", err));
    TRY(BUFFER(&s->k_pre, tokens * m->heads * m->value_dim, "keys by head", err));
    TRY(BUFFER(&s->v_back, tokens * m->heads * m->value_dim, "values by head", err));
    TRY(BUFFER(&s->out, tokens * m->heads * m->value_dim, "outputs", err));
    TRY(BUFFER(&s->y, tokens * m->hidden, "outputs", err));
    TRY(BUFFER(&s->positions, tokens, "positions", err));
    for (size_t i = 0; i < tokens; i++) s->positions[i] = i;
    return OK;
}

static void student_free(Student *s) {
    convert_free(&s->conversion);
    if (s->layer) layer_free(s->layer);
    if (s->cache) cache_free(s->cache);
    float *const buffers[] = { s->q,    s->k,     s->v,      s->rows_k, s->rows_v,
                               s->keys, s->k_pre, s->v_back, s->out,    s->y };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
    buffer_free(s->positions);
}

/* The contender's layer over the scored text, through its cache. */
static Status student_run(const Study *study, Student *s, Path path, const Teacher *t, Error *err) {
    const Model *m = &s->conversion.model;
    const CacheShape shape = model_cache_shape(m, path);
    size_t sequence;
    TRY(cache_open(s->cache, &sequence, err));
    layer_project(s->layer, t->tokens, s->positions, t->x, s->q, s->k, s->v);
    TRY(cache_append(s->cache, &study->kernels, study->threads, sequence, t->tokens, s->k,
                     shape.shared ? NULL : s->v, err));
    const LayerBatch batch = { 1, &sequence, &t->tokens };
    layer_attend(s->layer, s->cache, &batch, s->q, s->out);
    layer_output(s->layer, t->tokens, s->out, s->y);
    cache_read(s->cache, &study->kernels, sequence, 0, t->tokens, s->rows_k,
               shape.shared ? NULL : s->rows_v);
    TRY(convert_keys(&s->conversion, t->tokens, s->rows_k, s->keys, err));
    return convert_back(&s->conversion, t->tokens, s->rows_k, s->rows_v, s->k_pre, s->v_back, err);
}

static Status student_new(const Study *study, const Config *config, const Model *model, Path path,
                          Teacher *t, Student *s, Error *err) {
    *s = (Student){ 0 };
    const ConvertSource source = { .layer = &t->model,
                                   .weights = &t->weights,
                                   .statistics = &t->statistics,
                                   .spectra = &t->spectra,
                                   .context = t->tokens,
                                   .seed = config->seed };
    Recipe recipe;
    TRY(study_error_recipe(&study->model, config, false, &recipe, err));
    TRY(convert_layer(&s->conversion, &recipe, &source, err));
    const CacheShape shape = model_cache_shape(model, path);
    const CacheParams params = { .type = config->error.type,
                                 .block_tokens = config->cache.block_tokens };
    TRY(cache_new(&s->cache, &params, &shape, 1, t->tokens, err));
    const LayerParams layer = { .model = &s->conversion.model,
                                .weights = &s->conversion.weights,
                                .path = path,
                                .kernels = &study->kernels,
                                .threads = study->threads,
                                .expand_tokens = config->expand_tokens };
    TRY(layer_new(&s->layer, &layer, t->tokens, t->tokens, err));
    return student_alloc(s, model, path, t->tokens, err);
}

static void add_errors(MetricList *list, const ErrorMetrics *e) {
    const struct {
        const char *name;
        double value;
    } rows[] = { { "y_rel", e->y_rel },         { "out_rel", e->out_rel },
                 { "k_rel", e->k_rel },         { "v_rel", e->v_rel },
                 { "logit_rel", e->logit_rel }, { "attn_kl", e->attn_kl },
                 { "attn_tv", e->attn_tv },     { "out_cos", e->out_cos },
                 { "cos_diff", e->cos_diff },   { "max_abs", e->max_abs },
                 { "p99_abs", e->p99_abs } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        metric_add(list, rows[i].name, "1", rows[i].value, KIND_MEASURED);
}

/* Scores one contender against the teacher. */
static Status score(const Study *study, const Config *config, const Model *model, Path path,
                    Teacher *t, MetricList *list, Error *err) {
    Student s;
    Status status = student_new(study, config, model, path, t, &s, err);
    if (status == OK) status = student_run(study, &s, path, t, err);
    if (status == OK) {
        const Approximation approx = { .k_pre = s.k_pre,
                                       .v = s.v_back,
                                       .out = s.out,
                                       .y = s.y,
                                       .q_rot = s.q,
                                       .k_rot = s.keys,
                                       .key_dim = model->key_dim,
                                       .scale = model_softmax_scale(model) };
        ErrorMetrics errors;
        status = metrics_compute(&errors, &t->exact, &approx, err);
        if (status == OK) add_errors(list, &errors);
    }
    if (status == OK) {
        const double bytes =
            (double)model_cache_bytes_per_token_layer(model, path, config->error.type);
        const double mha = (double)row_bytes(row_format(ROW_BF16, model_mha_elements(model)));
        metric_add(list, "ratio_to_mha", "1", mha / bytes, KIND_EXACT);
        metric_add(list, "cache_elements", "1", (double)model_cache_elements(model, path),
                   KIND_EXACT);
    }
    student_free(&s);
    return status;
}

/* Bytes that teacher, text and student hold together: doubles of the reference above all. */
static size_t held_bytes(const Model *m, const Config *c) {
    const size_t head = m->heads * (m->key_dim + m->value_dim);
    const size_t teacher = c->error.tokens * (3 * head + m->hidden) * sizeof(double);
    const size_t texts =
        (c->error.tokens + c->error.calibration_tokens) * m->hidden * sizeof(float);
    const size_t student = 5 * c->error.tokens * head * sizeof(float);
    const size_t fitting = m->kind == ATTENTION_MLA
                               ? 4 * c->error.calibration_tokens * head * sizeof(double) +
                                     4 * head * head * sizeof(double)
                               : 0;
    return teacher + texts + student + fitting + 3 * weights_bytes(m);
}

/* Seconds of a point, about: its share of the teacher (projections and attention in fp64, which all
 * contenders of a group use), then its own fit. The rates are those of a core of a present machine;
 * a run corrects them as it goes. */
static double about_seconds(const Model *m, const Config *c, size_t group) {
    static const double setup_s = 0.6, product_flops = 6e9, attend_flops = 0.7e9, fit_flops = 4e9;
    const LayerFlops flops = model_layer_flops(m, PATH_MATERIALISED, 0, c->error.tokens);
    const double teacher = setup_s + (flops.projection + flops.latent) / product_flops +
                           flops.attention / attend_flops;
    const double width = (double)(m->heads * (m->key_dim + m->value_dim));
    const double fit = m->kind == ATTENTION_MLA ? width * width * width / fit_flops : 0;
    return teacher / (double)group + 0.2 * teacher + fit;
}

/* The contender at the error layer's size, named by its true one. */
Status study_error_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    Recipe recipe, true_size;
    TRY(study_error_recipe(&study->model, c, true, &true_size, err));
    TRY(study_error_recipe(&study->model, c, false, &recipe, err));
    t->model = recipe.model;
    t->path = study_path(&t->model, PATH_ABSORBED);
    study_name_point(&t->point, PHASE_ERROR, c->error.contender, &t->model, t->path, c->error.type,
                     c->cache.block_tokens, c->error.tokens, 0, 1);
    model_label(&true_size.model, t->point.label, sizeof t->point.label);
    if (c->error.shrink > 1) {
        const size_t used = strlen(t->point.layer);
        snprintf(t->point.layer + used, sizeof t->point.layer - used, " (true size / %u)",
                 c->error.shrink);
    }
    t->tokens = c->error.tokens;
    t->memory_bytes = held_bytes(&t->model, c);
    t->metrics = 13;
    t->seconds = about_seconds(&t->model, c, config_group_points(study->config, PHASE_ERROR));
    return OK;
}

/* The teacher that a point needs: the one kept from the point before, or a new one. */
static Status find_teacher(Study *study, const Config *config, Teacher **teacher, Error *err) {
    Teacher *t = study->kept[PHASE_ERROR];
    if (!t) TRY(BUFFER(&t, 1, "a teacher", err));
    study->kept[PHASE_ERROR] = *teacher = t;
    if (teacher_fits(t, config)) return OK;
    teacher_free(t);
    const Status status = teacher_new(study, config, t, err);
    if (status != OK) teacher_free(t);
    return status;
}

static Status run_point(Study *study, Task *t, Error *err) {
    MetricList list = { .count = 0 };
    Teacher *teacher = NULL;
    Error why;
    Status made = find_teacher(study, &t->config, &teacher, &why);
    if (made == OK) made = score(study, &t->config, &t->model, t->path, teacher, &list, &why);
    if (made != OK) return study_put_failed(study, &t->point, &why, err);
    return study_put(study, &t->point, &list, err);
}

Status study_error_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    for (size_t i = 0; i < count; i++) TRY(run_point(study, tasks[i], err));
    return OK;
}

void study_error_forget(void *kept) {
    if (kept) teacher_free(kept);
    buffer_free(kept);
}
