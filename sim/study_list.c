/* study_list.c -- the points of a study before it runs: what each is and takes, which are left out,
 * which are the same. */
#include <stdio.h>
#include <string.h>

#include "quantity.h"
#include "study_run.h"

const StudyPhase study_phases[PHASE_COUNT] = {
    [PHASE_BYTES] = { .memory_key = "bytes.tokens",
                      .path_key = "decode.path",
                      .plan = study_bytes_plan,
                      .run = study_bytes_run },
    [PHASE_DECODE] = { .timed = true,
                       .memory_key = "decode.context",
                       .path_key = "decode.path",
                       .plan = study_decode_plan,
                       .run = study_latency_run },
    [PHASE_PREFILL] = { .timed = true,
                        .memory_key = "prefill.tokens",
                        .path_key = "prefill.path",
                        .plan = study_prefill_plan,
                        .run = study_latency_run },
    [PHASE_PROJECTIONS] = { .timed = true,
                            .memory_key = "projections.tokens",
                            .plan = study_projections_plan,
                            .run = study_projections_run },
    [PHASE_ERROR] = { .memory_key = "error.tokens",
                      .plan = study_error_plan,
                      .run = study_error_run,
                      .forget = study_error_forget },
};

static Status refuse(const Study *study, const char *key, const Task *task, Error *err) {
    char needed[32], available[32];
    quantity_format_bytes((double)task->memory_bytes, needed, sizeof needed);
    quantity_format_bytes((double)study->memory_bytes, available, sizeof available);
    fail(err, ERR_INPUT,
         "%zu tokens of %s need %s and %s are available; choose fewer, or set limits.memory to "
         "leave such points out",
         task->tokens, task->point.label, needed, available);
    return study_blame(study->config, key, ERR_INPUT, err);
}

static void leave_out_for_memory(Task *task) {
    char needed[32];
    quantity_format_bytes((double)task->memory_bytes, needed, sizeof needed);
    task->point.status = POINT_LEFT_OUT;
    snprintf(task->point.message, sizeof task->point.message, "would need %s of memory", needed);
}

static void leave_out_for_time(Task *task) {
    task->point.status = POINT_LEFT_OUT;
    snprintf(task->point.message, sizeof task->point.message, "would need about %.3g s",
             task->seconds);
}

Status study_plan(const Study *study, Phase phase, size_t index, Task *task, Error *err) {
    const StudyPhase *row = &study_phases[phase];
    *task = (Task){ .index = index };
    config_point(study->config, phase, index, &task->config);
    TRY(row->plan(study, task, err));
    if (task->memory_bytes > study->memory_bytes) {
        if (!study->leave_out) return refuse(study, row->memory_key, task, err);
        leave_out_for_memory(task);
    } else if (row->timed && task->seconds > task->config.limits.point_seconds) {
        leave_out_for_time(task);
    }
    return OK;
}

bool study_repeats(const Study *study, Phase phase, const Task *task) {
    const StudyPhase *row = &study_phases[phase];
    Task earlier;
    Error err;
    for (size_t pick = 0; row->path_key; pick++) {
        earlier = (Task){ 0 };
        if (!config_earlier(study->config, phase, task->index, row->path_key, pick,
                            &earlier.config))
            return false;
        if (row->plan(study, &earlier, &err) == OK &&
            strcmp(earlier.point.key, task->point.key) == 0)
            return true;
    }
    return false;
}
