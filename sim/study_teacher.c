/* study_teacher.c -- see study_teacher.h. */
#include "study_teacher.h"

#include "buffer.h"

enum { TEXT_SCORED = 0, TEXT_CALIBRATION = 1, SLAB_TOKENS = 512 };

Status teacher_model(const Model *base, const Config *config, bool true_size, Model *out,
                     Error *err) {
    Model m = *base;
    if (!config->error.as_model && !tensors_given(&config->tensors))
        TRY(model_contender(&m, base, "mha", err));
    if (!tensors_given(&config->tensors)) {
        m.attention_bias = m.output_bias = m.qk_norm = false;
        if (!true_size) TRY(model_divide(&m, config->error.shrink, err));
    }
    *out = m;
    return OK;
}

bool teacher_fits(const Teacher *teacher, const Config *config, size_t draw) {
    return teacher->x && teacher->tokens == config->error.tokens &&
           teacher->calibration_tokens == config->error.calibration_tokens &&
           teacher->layer == config->error.layer && teacher->draw == draw;
}

/* ---- statistics ---- */

/* Conversions start from maps of keys: MLA layers and norms of key heads have none. */
static bool can_convert(const Model *m) {
    return m->kind != ATTENTION_MLA && !m->qk_norm;
}

static Status calibrate_drawn(Teacher *t, const SequencesParams *params, Error *err) {
    float *text = NULL;
    TRY(BUFFER(&text, t->calibration_tokens * t->model.hidden, "hidden states", err));
    const Status status = sequences_hidden(params, TEXT_CALIBRATION, t->calibration_tokens,
                                           t->model.hidden, text, err);
    if (status == OK)
        statistics_add(&t->statistics, &t->model, t->weights, t->calibration_tokens, text);
    buffer_free(text);
    return status;
}

/* Streams real text: of its own, or the first tokens of the scored one. */
static Status calibrate_real(Teacher *t, Error *err) {
    const size_t own = real_layer_calibration_tokens(t->real);
    const size_t tokens = own && own < t->calibration_tokens ? own : t->calibration_tokens;
    float *text = NULL;
    Status status = BUFFER(&text, SLAB_TOKENS * t->model.hidden, "hidden states", err);
    for (size_t first = 0; status == OK && first < tokens; first += SLAB_TOKENS) {
        const size_t some = tokens - first < SLAB_TOKENS ? tokens - first : SLAB_TOKENS;
        status = real_layer_text(t->real, own > 0, first, some, text, err);
        if (status == OK) statistics_add(&t->statistics, &t->model, t->weights, some, text);
    }
    buffer_free(text);
    return status;
}

static Status calibrate(Teacher *t, const SequencesParams *params, unsigned more, Error *err) {
    if (!can_convert(&t->model)) return OK;
    TRY(statistics_new(&t->statistics, &t->model, more, err));
    TRY(t->real ? calibrate_real(t, err) : calibrate_drawn(t, params, err));
    statistics_finish(&t->statistics);
    t->calibrated = true;
    return OK;
}

/* ---- the layer and its text ---- */

static Status draw_layer(Teacher *t, const Model *base, const Config *config,
                         const SequencesParams *params, Error *err) {
    TRY(teacher_model(base, config, false, &t->model, err));
    TRY(BUFFER(&t->x, t->tokens * t->model.hidden, "hidden states", err));
    TRY(sequences_hidden(params, TEXT_SCORED, t->tokens, t->model.hidden, t->x, err));
    TRY(sequences_weights(params, &t->model, t->tokens, &t->drawn, err));
    t->weights = &t->drawn;
    t->asks = t->projects = true;
    return OK;
}

/* Scored tokens follow those that are calibrated on, unless these are of another text. Given keys
 * keep their places: they are scored from the first on where another text calibrates. */
static Status read_real(Teacher *t, const Model *base, const Config *config, Error *err) {
    TRY(real_layer_open(&t->real, &config->tensors, base, config->error.layer, err));
    t->model = *real_layer_model(t->real);
    t->weights = real_layer_weights(t->real);
    t->asks = real_layer_asks(t->real);
    t->projects = real_layer_projects(t->real);
    const size_t held = real_layer_tokens(t->real);
    const bool shared = !real_layer_calibration_tokens(t->real) && can_convert(&t->model);
    const size_t first = shared ? t->calibration_tokens : 0;
    if (held < first + t->tokens)
        return fail(err, ERR_INPUT,
                    "%zu tokens in the tensors of layer %zu; %zu to calibrate on and %zu to score "
                    "are wanted",
                    held, t->layer, first, t->tokens);
    TRY(BUFFER(&t->x, t->tokens * t->model.hidden, "hidden states", err));
    return real_layer_text(t->real, false, first, t->tokens, t->x, err);
}

Status teacher_new(Teacher *teacher, const Model *base, const Config *config, size_t draw,
                   unsigned more, Error *err) {
    Teacher *t = teacher;
    SequencesParams sequences = config->sequences;
    sequences.seed += draw;
    *t = (Teacher){ .tokens = config->error.tokens,
                    .calibration_tokens = config->error.calibration_tokens,
                    .layer = config->error.layer,
                    .draw = draw };
    const bool real = tensors_given(&config->tensors);
    TRY(real ? read_real(t, base, config, err) : draw_layer(t, base, config, &sequences, err));
    TRY(calibrate(t, &sequences, more, err));
    const size_t asked = config->error.queries;
    const size_t queries = asked && asked < t->tokens ? asked : t->tokens;
    return reference_run_last(&t->exact, &t->model, t->weights, t->tokens, queries, t->x, err);
}

void teacher_free(Teacher *teacher) {
    reference_free(&teacher->exact);
    spectra_free(&teacher->spectra);
    statistics_free(&teacher->statistics);
    weights_free(&teacher->drawn);
    real_layer_close(teacher->real);
    buffer_free(teacher->x);
    *teacher = (Teacher){ 0 };
}
