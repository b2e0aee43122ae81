/* study_capacity.c -- the plan phase: users, memory and modelled speed of each contender on the
 * study's hardware. Closed forms, so nothing is held or timed. */
#include <math.h>
#include <stdio.h>

#include "buffer.h"
#include "request.h"
#include "speed.h"
#include "study_run.h"
#include "variant.h"

/* What one point needs; too large for a stack. */
typedef struct {
    Request request;
    Architecture variant;
    Plan plan;
} Work;

Status study_capacity_plan(const Study *study, Task *t, Error *err) {
    const Config *c = &t->config;
    TRY(model_contender(&t->model, &study->model, c->contender, err));
    t->path = study_path(&t->model, PATH_ABSORBED);
    t->tokens = c->plan.context;
    t->metrics = 10;
    study_name_point(&t->point, PHASE_PLAN, c->contender, &t->model, t->path, c->cache.type, 1,
                     t->tokens, 0, 1);
    return OK;
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

/* A number as text for the request, NULL for 0. */
static const char *count_text(uint32_t value, char text[16]) {
    snprintf(text, 16, "%u", value);
    return value ? text : NULL;
}

static Status make_plan(Work *w, const Study *study, const Task *t, Error *err) {
    const Config *c = &t->config;
    char context[16], tp[16], dp[16], dcp[16], pp[16], type[KV_TYPE_ROOM];
    const RequestText text = { .model = study->first.model,
                               .hardware = or_null(c->plan.hardware),
                               .engine = or_null(c->plan.engine),
                               .context = count_text(c->plan.context, context),
                               .kv_dtype = kv_type_name(c->cache.type, type),
                               .tp = count_text(c->plan.tp, tp),
                               .dp = count_text(c->plan.dp, dp),
                               .dcp = count_text(c->plan.dcp, dcp),
                               .pp = count_text(c->plan.pp, pp) };
    TRY(request_read(&w->request, &text, err));
    TRY(variant_make(&w->variant, &w->request.model, c->contender, err));
    w->request.input.model = &w->variant;
    return plan_make(&w->plan, &w->request.input, err);
}

static void add_metrics(MetricList *list, const Plan *plan) {
    const PlanMemory *m = &plan->memory;
    metric_add(list, "users", "1", plan->max_sequences, KIND_MODELLED);
    metric_add(list, "kv_bytes_per_token", "B", plan->growth, KIND_EXACT);
    metric_add(list, "kv_bytes_per_user_gpu", "B", plan->per_gpu, KIND_EXACT);
    metric_add(list, "weight_bytes_per_gpu", "B", m->weights, KIND_EXACT);
    metric_add(list, "kv_pool_bytes_per_gpu", "B", m->pool, KIND_MODELLED);
    metric_add(list, "reserve_bytes_per_gpu", "B", m->usable - m->used + m->activation + m->runtime,
               KIND_MODELLED);
    metric_add(list, "memory_bytes_per_gpu", "B", m->usable, KIND_EXACT);
    if (plan->max_sequences < 1 || !speed_known(plan)) return;
    const double users = fmin(plan->max_sequences, 1 << 20);
    const StepTime step = speed_decode(plan, users, plan->input.context_tokens);
    metric_add(list, "decode_low_ns", "ns", step.seconds.low * 1e9, KIND_MODELLED);
    metric_add(list, "decode_high_ns", "ns", step.seconds.high * 1e9, KIND_MODELLED);
}

Status study_capacity_run(Study *study, size_t count, Task *const *tasks, Error *err) {
    Work *work = NULL;
    TRY(BUFFER(&work, 1, "a plan", err));
    Status status = OK;
    for (size_t i = 0; status == OK && i < count; i++) {
        MetricList list = { .count = 0 };
        Error why;
        if (make_plan(work, study, tasks[i], &why) != OK) {
            status = study_put_failed(study, &tasks[i]->point, &why, err);
            continue;
        }
        add_metrics(&list, &work->plan);
        status = study_put(study, &tasks[i]->point, &list, err);
    }
    buffer_free(work);
    return status;
}
