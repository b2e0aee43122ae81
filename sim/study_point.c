/* study_point.c -- how a point of a study is named, scored, stored and told of. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "study_run.h"

void metric_add(MetricList *list, const char *name, const char *unit, double value,
                MetricKind kind) {
    if (list->count == METRICS_MOST) return;
    Metric *m = &list->metric[list->count++];
    *m = (Metric){ .value = value, .low = value, .high = value, .kind = kind };
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->unit, sizeof m->unit, "%s", unit);
}

void metric_add_samples(MetricList *list, const char *name, const char *unit,
                        const Measurement *measurement) {
    metric_add(list, name, unit, measurement->median_ns, KIND_MEASURED);
    Metric *m = &list->metric[list->count - 1];
    m->low = measurement->q1_ns;
    m->high = measurement->q3_ns;
    m->samples = measurement->samples_ns;
    m->sample_count = measurement->samples;
}

Path study_path(const Model *model, Path asked) {
    if (model->kind != ATTENTION_MLA) return PATH_MATERIALISED;
    return model->rotates_rebuilt && asked == PATH_ABSORBED ? PATH_EXPANDED : asked;
}

/* The options of a conversion: what follows its sizes. */
static const char *options_of(const char *name) {
    const char *dash = strchr(name, '-');
    if (!dash || dash > name + strcspn(name, "*@")) return "";
    const bool sized = dash[1] >= '0' && dash[1] <= '9';
    return sized ? dash + 1 + strspn(dash + 1, "0123456789+") : dash;
}

void study_label(const char *name, const Model *model, char *label, size_t size) {
    static const char lowrank[] = "lowrank-";
    char shape[64];
    const char *rest = options_of(name);
    model_label(model, shape, sizeof shape);
    if (model->rotates_rebuilt) { /* "GQA-2" of gqa-2-lowrank, whose model is a latent */
        snprintf(shape, sizeof shape, "%.*s", (int)(rest - name), name);
        for (char *c = shape; *c; c++) *c = (char)toupper((unsigned char)*c);
    }
    if (strncmp(name, lowrank, strlen(lowrank)) == 0) {
        shape[0] = '\0';
        rest = name + strlen(lowrank);
    }
    const size_t length = strcspn(rest, "*@");
    const size_t skipped = *rest == '-'; /* "-aligned" */
    const size_t conversion = length - skipped;
    snprintf(label, size, "%s%s%.*s", shape, shape[0] && conversion ? " " : "", (int)conversion,
             rest + skipped);
    const char *at = name + strcspn(name, "*@");
    for (size_t used = strlen(label); *at && used + 1 < size; used = strlen(label)) {
        const size_t part = 1 + strcspn(at + 1, "*@");
        snprintf(label + used, size - used, " %.*s", (int)part - 1, at + 1);
        at += part;
    }
}

static void describe_layer(const Model *m, char *text, size_t size) {
    if (m->kind == ATTENTION_MLA)
        snprintf(text, size, "D %zu, H %zu, C %zu, P %zu, R %zu, V %zu", m->hidden, m->heads,
                 m->kv_lora_rank, m->nope_dim, m->rope_dim, m->value_dim);
    else
        snprintf(text, size, "D %zu, H %zu, G %zu, d %zu", m->hidden, m->heads, m->kv_heads,
                 m->key_dim);
}

void study_name_point(Point *point, Phase phase, const char *specification, const Model *model,
                      Path path, KvType type, size_t block_tokens, size_t context,
                      size_t query_tokens, size_t sequences) {
    *point = (Point){ .context_tokens = context,
                      .query_tokens = query_tokens,
                      .sequences = sequences,
                      .status = POINT_DONE };
    snprintf(point->phase, sizeof point->phase, "%s", phase_name(phase));
    snprintf(point->contender, sizeof point->contender, "%s", specification);
    study_label(specification, model, point->label, sizeof point->label);
    snprintf(point->attention, sizeof point->attention, "%s", attention_kind_name(model->kind));
    snprintf(point->path, sizeof point->path, "%s", path_name(path));
    kv_type_name(type, point->kv_dtype);
    describe_layer(model, point->layer, sizeof point->layer);
    snprintf(point->key, sizeof point->key, "%s/%s/%s/%s/block=%zu/s=%zu/q=%zu/b=%zu", point->phase,
             specification, point->path, point->kv_dtype, block_tokens, context, query_tokens,
             sequences);
}

/* The number that people wait for, which is a point's first metric, or why there is none. */
static void describe_result(const Point *point, const MetricList *metrics, char *text,
                            size_t size) {
    const Metric *shown = &metrics->metric[0];
    if (point->status != POINT_DONE || !metrics->count)
        snprintf(text, size, "%s: %s", point_status_name(point->status), point->message);
    else if (strcmp(shown->unit, "ns") == 0)
        snprintf(text, size, "%s %.4g ms", shown->name, shown->value / 1e6);
    else
        snprintf(text, size, "%s %.8g%s%s", shown->name, shown->value,
                 strcmp(shown->unit, "1") == 0 ? "" : " ",
                 strcmp(shown->unit, "1") == 0 ? "" : shown->unit);
}

void study_describe(const Point *point, const MetricList *metrics, char *text, size_t size) {
    char result[384];
    describe_result(point, metrics, result, sizeof result);
    snprintf(text, size, "%-11s %-14s %-12s %-4s s=%zu q=%zu: %s", point->phase, point->label,
             point->path, point->kv_dtype, point->context_tokens, point->query_tokens, result);
}

Status study_put(Study *study, const Point *point, const MetricList *metrics, Error *err) {
    return study->put(study->put_context, point, metrics, err);
}

Status study_put_failed(Study *study, Point *point, const Error *why, Error *err) {
    point->status = POINT_FAILED;
    snprintf(point->message, sizeof point->message, "%.250s", why->text);
    return study_put(study, point, &(MetricList){ .count = 0 }, err);
}
