/* study_check.c -- what can be known to be wrong with a study before anything runs. */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "hardware.h"
#include "kernel.h"
#include "models.h"
#include "published.h"
#include "study_run.h"

Status study_blame_point(const ConfigFile *config, Phase phase, size_t index, const char *key,
                         Status status, Error *err) {
    enum { ROOM = 512 };
    char place[ROOM];
    const Error why = *err;
    config_value_place(config, phase, index, key, place, sizeof place);
    if (strcmp(place, "default") == 0) return fail(err, status, "%s: %s", key, why.text);
    return fail(err, status, "%s: %s: %s", place, key, why.text);
}

Status study_blame(const ConfigFile *config, const char *key, Status status, Error *err) {
    return study_blame_point(config, PHASE_BYTES, 0, key, status, err);
}

/* A contender of a point, what its method asks of the rows, and into *fits whether its cache holds
 * them in the type of the point; else why not. */
static Status check_contender(const Model *model, Phase phase, Task *task, bool *fits, Error *why,
                              Error *err) {
    const Config *c = &task->config;
    TRY(study_contender(model, c->contender, task, err));
    task->path =
        study_path(&task->model, phase == PHASE_PREFILL ? c->prefill.path : c->decode.path);
    TRY(study_fits(task, c->cache.block_tokens, err));
    if (study_type_fits(task, phase, why) == OK) *fits = true;
    return OK;
}

/* Points whose type does not fit are left out, unless that is all of them. */
static Status check_contenders(const ConfigFile *config, const Model *model, Error *err) {
    static const Phase phases[] = { PHASE_BYTES, PHASE_DECODE, PHASE_PREFILL, PHASE_PROJECTIONS,
                                    PHASE_PLAN };
    for (size_t p = 0; p < sizeof phases / sizeof *phases; p++) {
        const size_t points = config_points(config, phases[p]);
        bool fits = points == 0;
        Error why;
        for (size_t i = 0; i < points; i++) {
            Task task = { .index = i };
            config_point(config, phases[p], i, &task.config);
            const Status status = check_contender(model, phases[p], &task, &fits, &why, err);
            if (status != OK)
                return study_blame_point(config, phases[p], i, "contenders", status, err);
        }
        if (fits) continue;
        *err = why;
        return study_blame(config, "cache.type", ERR_INPUT, err);
    }
    return OK;
}

/* The files of tensors are there and have headers that can be read. */
static Status check_tensors(const ConfigFile *config, const TensorParams *t, Error *err) {
    const struct {
        const char *key, *path;
    } files[] = {
        { "tensors.weights", t->weights },         { "tensors.hidden_states", t->hidden_states },
        { "tensors.calibration", t->calibration }, { "tensors.keys", t->keys },
        { "tensors.values", t->values },           { "tensors.queries", t->queries }
    };
    if (tensors_given(t)) TRY(real_layer_check(t, err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        Checkpoint *file = NULL;
        if (!files[i].path[0]) continue;
        const Status status = checkpoint_open_headers(&file, files[i].path, err);
        checkpoint_close(file);
        if (status != OK) return study_blame(config, files[i].key, status, err);
    }
    return OK;
}

/* The error phase computes attention; a scaling of RoPE that is only read past would be wrong. */
static Status check_errors(const ConfigFile *config, const Model *model, Error *err) {
    if (!config_points(config, PHASE_ERROR)) return OK;
    if (model->rope.scaling_left_out) {
        fail(err, ERR_INPUT,
             "the error phase needs RoPE, and the scaling that %s asks for is not "
             "computed",
             model->name);
        return study_blame(config, "model", ERR_INPUT, err);
    }
    Config first;
    config_point(config, PHASE_ERROR, 0, &first);
    if (first.error.draws > 1 && tensors_given(&first.tensors)) {
        fail(err, ERR_INPUT, "%u: tensors are given, nothing is drawn; allowed: 1",
             first.error.draws);
        return study_blame(config, "error.draws", ERR_INPUT, err);
    }
    if (first.error.shrink > 1 && tensors_given(&first.tensors)) {
        fail(err, ERR_INPUT, "%u: tensors are given, and are as wide as they are; allowed: 1",
             first.error.shrink);
        return study_blame(config, "error.shrink", ERR_INPUT, err);
    }
    TRY(check_tensors(config, &first.tensors, err));
    bool fits = false;
    Error why;
    for (size_t i = 0; i < config_points(config, PHASE_ERROR); i++) {
        Config point;
        Recipe recipe;
        Task task = { .index = i };
        const Study study = { .config = config, .model = *model };
        config_point(config, PHASE_ERROR, i, &point);
        Status status = study_error_recipe(model, &point, true, &recipe, err);
        if (status != OK)
            return study_blame_point(config, PHASE_ERROR, i, "error.contenders", status, err);
        status = study_error_recipe(model, &point, false, &recipe, err);
        if (status != OK)
            return study_blame_point(config, PHASE_ERROR, i, "error.shrink", status, err);
        task.config = point;
        status = study_error_plan(&study, &task, err);
        if (status != OK)
            return study_blame_point(config, PHASE_ERROR, i, "error.contenders", status, err);
        if (study_type_fits(&task, PHASE_ERROR, &why) == OK) fits = true;
    }
    if (fits) return OK;
    *err = why;
    return study_blame(config, "error.type", ERR_INPUT, err);
}

/* What the plan phase serves the model on. */
static Status check_plan(const ConfigFile *config, const Config *first, Error *err) {
    Hardware hardware;
    Engine engine;
    size_t devices;
    if (!config_points(config, PHASE_PLAN)) return OK;
    Status status = hardware_parse(&hardware, &devices, first->plan.hardware, err);
    if (status != OK) return study_blame(config, "plan.hardware", status, err);
    status = engine_read(&engine, first->plan.engine, err);
    return status == OK ? OK : study_blame(config, "plan.engine", status, err);
}

/* What figures are asked for can be drawn: spectra are stored with the teacher as it is. */
static Status check_figures(const ConfigFile *config, const Config *first, Error *err) {
    Published published;
    Config c;
    if (first->published) {
        const Status status = published_read(&published, err);
        if (status != OK) return study_blame(config, "published", status, err);
    }
    const size_t points = config_points(config, PHASE_ERROR);
    for (size_t i = 0; i < points; i++) {
        config_point(config, PHASE_ERROR, i, &c);
        if (!c.error.spectra || strcmp(c.error.contender, "mha") == 0 ||
            strcmp(c.error.contender, "model") == 0)
            return OK;
    }
    if (!points) return OK;
    fail(err, ERR_INPUT,
         "spectra are stored with the teacher: mha or model must be among "
         "error.contenders");
    return study_blame(config, "error.spectra", ERR_INPUT, err);
}

Status study_check(const ConfigFile *config, Model *model, Error *err) {
    Config first;
    Hardware hardware;
    unsigned tiers;
    config_point(config, PHASE_BYTES, 0, &first);
    const char *why = kernels_parse(first.isa, &tiers);
    if (why) {
        fail(err, ERR_INPUT, "%s: %s", first.isa, why);
        return study_blame(config, "isa", ERR_INPUT, err);
    }
    Status status = first.device[0] ? hardware_read(&hardware, first.device, err) : OK;
    if (status != OK) return study_blame(config, "device", status, err);
    status = model_read(model, first.model, err);
    if (status != OK) return study_blame(config, "model", status, err);
    TRY(check_contenders(config, model, err));
    TRY(check_plan(config, &first, err));
    TRY(check_figures(config, &first, err));
    return check_errors(config, model, err);
}
