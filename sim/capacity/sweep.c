/* sweep.c -- reading of a sweep and its loops; see sweep.h. */
#include "sweep.h"

#include <math.h>
#include <string.h>

#include "buffer.h"
#include "csv_row.h"
#include "models.h"
#include "quantity.h"
#include "record.h"
#include "speed.h"

enum { VALUES_MOST = 256 };

typedef struct {
    size_t value[VALUES_MOST];
    size_t count;
} Counts;

struct Sweep {
    Architecture *models;
    size_t model_count;
    Engine engines[16];
    size_t engine_count;
    Hardware hardware[64];
    size_t hardware_count; /* 0: none */
    KvType types[VALUES_MOST];
    size_t type_count;
    Counts tp, dp, dcp, pp, contexts, sequences;
    bool speed;
};

/* The file as lists of text. */
typedef struct {
    RecordList models, engines, hardware, kv_dtypes, tp, dp, dcp, pp, contexts, sequences;
    bool speed;
} SweepText;

#define LIST(name)                                                                                 \
    { .key = #name, .type = RECORD_LIST, .offset = offsetof(SweepText, name) }

static const RecordRow rows[] = {
    { .key = "models",
      .type = RECORD_LIST,
      .offset = offsetof(SweepText, models),
      .required = true },
    LIST(engines),
    LIST(hardware),
    LIST(kv_dtypes),
    LIST(tp),
    LIST(dp),
    LIST(dcp),
    LIST(pp),
    LIST(contexts),
    LIST(sequences),
    { .key = "speed", .type = RECORD_FLAG, .offset = offsetof(SweepText, speed) },
};

/* ---- reading ---- */

/* Puts the place of a value before what is wrong with it. */
static Status blame(const char *path, const TreeNode *node, Error *err) {
    const Error why = *err;
    return fail_at(err, path, node->line, node->column, "%s", why.text);
}

static Status check_scalar(const char *path, const TreeNode *node, Error *err) {
    if (node->kind == TREE_SCALAR) return OK;
    return fail_at(err, path, node->line, node->column, "must be a single value");
}

static Status read_counts(Counts *out, const char *path, const char *key, const RecordList *list,
                          size_t initial, size_t most, Error *err) {
    *out = (Counts){ .value = { initial }, .count = 1 };
    if (!list->count) return OK;
    if (list->count > VALUES_MOST)
        return fail_at(err, path, list->first->line, 0, "%s: at most %d values", key, VALUES_MOST);
    out->count = 0;
    for (const TreeNode *node = list->first; out->count < list->count; node = node->next) {
        uint64_t value;
        TRY(check_scalar(path, node, err));
        if (!quantity_count(node->text, &value) || value < 1 || value > most)
            return fail_at(err, path, node->line, node->column,
                           "%s: %.80s: must be a whole number from 1 to %zu", key, node->text,
                           most);
        out->value[out->count++] = (size_t)value;
    }
    return OK;
}

static Status read_models(Sweep *s, const char *path, const RecordList *list, Error *err) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const bool all = list->count == 1 && list->first->text && strcmp(list->first->text, "all") == 0;
    const size_t shipped = all ? models_names(names) : 0;
    const size_t count = all ? shipped : list->count;
    TRY(BUFFER(&s->models, count, "models of a sweep", err));
    const TreeNode *node = list->first;
    for (size_t i = 0; i < count; i++) {
        TRY(check_scalar(path, node, err));
        const Status status =
            architecture_read(&s->models[s->model_count], all ? names[i] : node->text, err);
        if (status == ERR_MACHINE) return status;
        if (status != OK && !all) return blame(path, node, err);
        s->model_count += status == OK; /* of all, those that are refused are left out */
        if (!all) node = node->next;
    }
    return OK;
}

static Status read_engines(Sweep *s, const char *path, const RecordList *list, Error *err) {
    s->engine_count = 1;
    if (!list->count) return engine_read(&s->engines[0], "logical", err);
    const size_t most = sizeof s->engines / sizeof *s->engines;
    if (list->count > most)
        return fail_at(err, path, list->first->line, 0, "engines: at most %zu", most);
    s->engine_count = 0;
    for (const TreeNode *node = list->first; s->engine_count < list->count; node = node->next) {
        TRY(check_scalar(path, node, err));
        if (engine_read(&s->engines[s->engine_count++], node->text, err) != OK)
            return blame(path, node, err);
    }
    return OK;
}

static Status read_hardware(Sweep *s, const char *path, const RecordList *list, Error *err) {
    const size_t most = sizeof s->hardware / sizeof *s->hardware;
    if (list->count > most)
        return fail_at(err, path, list->first->line, 0, "hardware: at most %zu devices", most);
    for (const TreeNode *node = list->first; s->hardware_count < list->count; node = node->next) {
        TRY(check_scalar(path, node, err));
        if (hardware_read(&s->hardware[s->hardware_count++], node->text, err) != OK)
            return blame(path, node, err);
    }
    return OK;
}

static Status read_types(Sweep *s, const char *path, const RecordList *list, Error *err) {
    s->types[0] = kv_type(ROW_BF16);
    s->type_count = 1;
    if (!list->count) return OK;
    if (list->count > VALUES_MOST)
        return fail_at(err, path, list->first->line, 0, "kv_dtypes: at most %d", VALUES_MOST);
    s->type_count = 0;
    for (const TreeNode *node = list->first; s->type_count < list->count; node = node->next) {
        TRY(check_scalar(path, node, err));
        if (!kv_type_parse(node->text, &s->types[s->type_count++]))
            return fail_at(err, path, node->line, node->column,
                           "kv_dtypes: %.80s: must be a type of cached rows such as bf16 or fp8",
                           node->text);
    }
    return OK;
}

static Status read_values(Sweep *s, const char *path, const SweepText *t, Error *err) {
    s->speed = t->speed;
    TRY(read_models(s, path, &t->models, err));
    TRY(read_engines(s, path, &t->engines, err));
    TRY(read_hardware(s, path, &t->hardware, err));
    TRY(read_types(s, path, &t->kv_dtypes, err));
    TRY(read_counts(&s->tp, path, "tp", &t->tp, 1, GPUS_MOST, err));
    TRY(read_counts(&s->dp, path, "dp", &t->dp, 1, GPUS_MOST, err));
    TRY(read_counts(&s->dcp, path, "dcp", &t->dcp, 1, GPUS_MOST, err));
    TRY(read_counts(&s->pp, path, "pp", &t->pp, 1, STAGES_MOST, err));
    TRY(read_counts(&s->contexts, path, "contexts", &t->contexts, 32768, (size_t)1 << 40, err));
    return read_counts(&s->sequences, path, "sequences", &t->sequences, 1, (size_t)1 << 30, err);
}

Status sweep_read(Sweep **sweep, const char *path, Error *err) {
    Tree tree;
    SweepText text = { .speed = false };
    Sweep *s = NULL;
    TRY(yaml_tree_read(&tree, path, err));
    Status status = record_read(&text, rows, sizeof rows / sizeof *rows, path, tree.root, err);
    if (status == OK) status = BUFFER(&s, 1, "a sweep", err);
    if (status == OK) status = read_values(s, path, &text, err);
    yaml_tree_free(&tree);
    if (status == OK)
        *sweep = s;
    else
        sweep_free(s);
    return status;
}

void sweep_free(Sweep *sweep) {
    if (sweep) buffer_free(sweep->models);
    buffer_free(sweep);
}

double sweep_rows(const Sweep *s) {
    return (double)s->model_count * (double)s->engine_count *
           (double)(s->hardware_count ? s->hardware_count : 1) * (double)s->type_count *
           (double)s->tp.count * (double)s->dp.count * (double)s->dcp.count * (double)s->pp.count *
           (double)s->contexts.count * (double)s->sequences.count;
}

/* ---- writing ---- */

static const char header[] =
    "model,engine,hardware,tp,dp,dcp,pp,gpus,kv_dtype,context,sequences,kv_bytes_per_token,"
    "kv_bytes_per_token_per_gpu,kv_logical_bytes,kv_layout_bytes,kv_reserved_bytes,kv_per_gpu_"
    "bytes,"
    "kv_deployment_bytes,weight_bytes_per_gpu,kv_pool_bytes_per_gpu,blocks,cache_tokens,"
    "concurrency,"
    "max_sequences,fits,decode_ms_low,decode_ms_high,refused\n";

enum { NUMBERS = 16 }; /* columns from kv_bytes_per_token to refused, refused aside */

static void write_numbers(CsvRow *row, const Plan *plan, bool speed) {
    const double bytes[] = { plan->growth,         plan->growth_per_gpu,
                             plan->bytes.logical,  plan->bytes.layout,
                             plan->bytes.reserved, plan->per_gpu,
                             plan->deployment,     round(plan->weight_bytes_per_gpu) };
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) csv_number(row, bytes[i]);
    if (plan->has_pool) {
        csv_number(row, floor(plan->memory.pool));
        csv_number(row, plan->blocks);
        csv_number(row, plan->cache_tokens);
        csv_number(row, plan->concurrency);
        csv_number(row, plan->max_sequences);
        csv_text(row, plan->max_sequences >= (double)plan->input.sequences ? "yes" : "no");
    } else {
        csv_empty(row, 6);
    }
    if (speed && speed_known(plan)) {
        const StepTime time =
            speed_decode(plan, (double)plan->input.sequences, plan->input.context_tokens);
        csv_number(row, time.seconds.low * 1e3);
        csv_number(row, time.seconds.high * 1e3);
    } else {
        csv_empty(row, 2);
    }
    csv_empty(row, 1);
}

static void write_row(CsvRow *row, const Sweep *s, const PlanInput *in, const char *type,
                      Plan *plan) {
    const Deployment *d = &in->deployment;
    Error why;
    csv_text(row, in->model->name);
    csv_text(row, in->engine->name);
    csv_text(row, in->hardware ? in->hardware->name : "");
    const size_t ranks[] = { d->tp, d->dp, d->dcp, d->pp, d->tp * d->dp * d->pp };
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) csv_number(row, (double)ranks[i]);
    csv_text(row, type);
    csv_number(row, (double)in->context_tokens);
    csv_number(row, (double)in->sequences);
    PlanInput input = *in;
    Status status = deployment_resolve(&input.deployment, *d, in->model, in->hardware, &why);
    if (status == OK) status = plan_make(plan, &input, &why);
    if (status == OK) {
        write_numbers(row, plan, s->speed);
    } else {
        csv_empty(row, NUMBERS);
        csv_text(row, why.text);
    }
    csv_end(row);
}

/* The loops within one model, engine, device and type. */
static Status write_ranks(const Sweep *s, PlanInput *in, CsvRow *row, Plan *plan, Error *err) {
    char type[KV_TYPE_ROOM];
    kv_type_name(in->type, type);
    for (size_t a = 0; a < s->tp.count; a++)
        for (size_t b = 0; b < s->dp.count; b++)
            for (size_t c = 0; c < s->dcp.count; c++)
                for (size_t d = 0; d < s->pp.count; d++) {
                    in->deployment = (Deployment){ .tp = s->tp.value[a],
                                                   .dp = s->dp.value[b],
                                                   .dcp = s->dcp.value[c],
                                                   .pp = s->pp.value[d] };
                    for (size_t e = 0; e < s->contexts.count; e++)
                        for (size_t f = 0; f < s->sequences.count; f++) {
                            in->context_tokens = s->contexts.value[e];
                            in->sequences = s->sequences.value[f];
                            write_row(row, s, in, type, plan);
                        }
                    if (!csv_flush(row)) return fail(err, ERR_MACHINE, "cannot write the sweep");
                }
    return OK;
}

static Status write_all(const Sweep *s, CsvRow *row, Plan *plan, Error *err) {
    const size_t devices = s->hardware_count ? s->hardware_count : 1;
    for (size_t m = 0; m < s->model_count; m++)
        for (size_t e = 0; e < s->engine_count; e++)
            for (size_t h = 0; h < devices; h++)
                for (size_t t = 0; t < s->type_count; t++) {
                    PlanInput in = { .model = &s->models[m],
                                     .engine = &s->engines[e],
                                     .hardware = s->hardware_count ? &s->hardware[h] : NULL,
                                     .type = s->types[t] };
                    TRY(write_ranks(s, &in, row, plan, err));
                }
    return OK;
}

Status sweep_write(const Sweep *s, FILE *out, Error *err) {
    Plan *plan = NULL;
    CsvRow *row = NULL;
    Status status = BUFFER(&plan, 1, "a plan", err);
    if (status == OK) status = BUFFER(&row, 1, "a row", err);
    if (status == OK) {
        csv_begin(row, out, header);
        status = write_all(s, row, plan, err);
        if (status == OK && (!csv_flush(row) || fflush(out) != 0))
            status = fail(err, ERR_MACHINE, "cannot write the sweep");
    }
    buffer_free(row);
    buffer_free(plan);
    return status;
}
