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
                      .run = study_bytes_run,
                      .forget = study_bytes_forget },
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
    [PHASE_PLAN] = { .memory_key = "plan.context",
                     .plan = study_capacity_plan,
                     .run = study_capacity_run },
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

/* A list of types goes over contenders of several shapes: what does not fit is told of. */
static void leave_out_for_type(Task *task, const Error *why) {
    task->point.status = POINT_LEFT_OUT;
    snprintf(task->point.message, sizeof task->point.message, "%.250s", why->text);
}

Status study_plan(const Study *study, Phase phase, size_t index, Task *task, Error *err) {
    const StudyPhase *row = &study_phases[phase];
    *task = (Task){ .index = index };
    config_point(study->config, phase, index, &task->config);
    TRY(row->plan(study, task, err));
    task->point.place = study_place(phase, index);
    Error why;
    if (study_type_fits(task, phase, &why) != OK) {
        leave_out_for_type(task, &why);
    } else if (task->memory_bytes > study->memory_bytes) {
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

size_t study_place(Phase phase, size_t index) {
    return ((size_t)phase << 32) + index;
}

size_t study_place_index(size_t place) {
    return place & UINT32_MAX;
}

StudyShard study_shard(const ConfigFile *config, size_t number, size_t of) {
    StudyShard shard = { .number = number, .of = of };
    size_t before = 0;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const size_t points = config_points(config, (Phase)phase);
        shard.shape[phase] =
            (HandoutList){ .timed = study_phases[phase].timed,
                           .groups = points ? config_groups(config, (Phase)phase) : 0,
                           .members = config_group_points(config, (Phase)phase) };
        shard.before[phase] = before;
        before += shard.shape[phase].groups;
    }
    return shard;
}

bool study_shard_has(const StudyShard *shard, Phase phase, size_t slot) {
    return shard->of <= 1 || handout_shard(&shard->shape[phase], shard->before[phase], slot,
                                           shard->number, shard->of);
}

/* ---- what the list takes ---- */

/* Bytes a point, a metric and a sample take, in the store and in the table together. */
enum { POINT_BYTES = 700, METRIC_BYTES = 420, SAMPLE_BYTES = 20, REPORT_BYTES = 4 << 20 };

double study_seconds(const Task *task, Phase phase) {
    const double least = study_phases[phase].timed ? task->config.measure.min_seconds : 0;
    return task->more_seconds + (task->seconds > least ? task->seconds : least);
}

/* Adds a group's points; those of an untimed group are held and run one by one. */
static Status add_group(const Study *study, Phase phase, size_t group, const StudyShard *shard,
                        StudyPreview *list, Error *err) {
    const HandoutList *shape = &shard->shape[phase];
    size_t *most = shape->timed ? &list->timed_bytes : &list->other_bytes, bytes = 0;
    for (size_t i = 0; i < shape->members; i++) {
        Task task;
        if (!study_shard_has(shard, phase, group * shape->members + i)) continue;
        TRY(study_plan(study, phase, config_member(study->config, phase, group, i), &task, err));
        if (study_repeats(study, phase, &task)) continue;
        list->points++;
        list->phase_points[phase]++;
        list->disk_bytes += POINT_BYTES;
        if (task.point.status == POINT_LEFT_OUT) {
            list->left_out++;
            continue;
        }
        list->disk_bytes += task.metrics * METRIC_BYTES + task.samples * SAMPLE_BYTES;
        bytes = shape->timed ? bytes + task.memory_bytes : task.memory_bytes;
        if (bytes > study->memory_bytes) bytes = study->memory_bytes; /* then it is split */
        if (bytes > *most) *most = bytes;
        *(shape->timed ? &list->timed_seconds : &list->other_seconds) +=
            study_seconds(&task, phase);
    }
    return OK;
}

Status study_list(const Study *study, const StudyShard *shard, StudyPreview *list, Error *err) {
    StudyPreview draft = { .disk_bytes = REPORT_BYTES };
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (size_t g = 0; g < shard->shape[phase].groups; g++)
            TRY(add_group(study, (Phase)phase, g, shard, &draft, err));
    *list = draft;
    return OK;
}
