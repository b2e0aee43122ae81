/* cmd_plan_compare.c -- `kvlab plan MODEL --compare`: the model as it is and as other attentions of
 * the same size, in several cache types; with --out the report of the same. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "cmd_plan.h"
#include "json.h"
#include "quantity.h"
#include "report.h"
#include "study.h"
#include "variant.h"

enum { CONTEXTS = 3 };

/* The asked context, a quarter of it and four times. */
static void choose_contexts(size_t asked, size_t contexts[CONTEXTS]) {
    contexts[0] = asked > 4 ? asked / 4 : 1;
    contexts[1] = asked;
    contexts[2] = 4 * asked;
}

static void print_head(const Request *r, const size_t contexts[CONTEXTS]) {
    printf("%s on %zu x %s, engine %s; users at once by context   modelled\n\n", r->model.name,
           r->input.deployment.gpus, r->hardware.name, r->engine.name);
    printf("  %-12s %-10s %10s %10s %12s %10s", "contender", "cache", "B/token", "on a GPU",
           "weights/GPU", "cache/GPU");
    for (size_t i = 0; i < CONTEXTS; i++) {
        char tokens[32];
        quantity_format_count((double)contexts[i], tokens, sizeof tokens);
        printf(" %9s", tokens);
    }
    printf("\n");
}

static void print_row(const char *contender, const char *type, const Plan *plan,
                      const size_t contexts[CONTEXTS]) {
    char weights[32], pool[32], token[32], token_gpu[32];
    quantity_format_bytes(plan->memory.weights, weights, sizeof weights);
    quantity_format_bytes(plan->memory.pool, pool, sizeof pool);
    quantity_format_count(plan->growth, token, sizeof token);
    quantity_format_count(plan->growth_per_gpu, token_gpu, sizeof token_gpu);
    printf("  %-12s %-10s %10s %10s %12s %10s", contender, type, token, token_gpu, weights, pool);
    for (size_t i = 0; i < CONTEXTS; i++) printf(" %9.0f", plan_sequences(plan, contexts[i]));
    printf("\n");
}

static Json *row_json(const char *contender, const char *type, const Plan *plan,
                      const size_t contexts[CONTEXTS]) {
    Json *row = json_new_object(), *users = json_new_array();
    json_put_string(row, "contender", contender);
    json_put_string(row, "attention", plan->input.model->attention);
    json_put_string(row, "kv_dtype", type);
    json_put_number(row, "kv_bytes_per_token", plan->growth);
    json_put_number(row, "kv_bytes_per_token_per_gpu", plan->growth_per_gpu);
    json_put_number(row, "weight_bytes_per_gpu", round(plan->memory.weights));
    json_put_number(row, "kv_pool_bytes_per_gpu", floor(plan->memory.pool));
    for (size_t i = 0; i < CONTEXTS; i++) {
        Json *at = json_new_object();
        json_put_whole(at, "context", (long long)contexts[i]);
        json_put_number(at, "max_sequences", plan_sequences(plan, contexts[i]));
        json_append(users, at);
    }
    json_put(row, "users", users);
    return row;
}

/* A point that an engine or a type does not allow has its reason instead of numbers. */
static Status add_row(Compare *c, const char *contender, const char *type,
                      const size_t contexts[CONTEXTS], Json *rows, Error *err) {
    PlanInput input = c->request.input;
    Error why;
    TRY(variant_make(&c->variant, &c->request.model, contender, err));
    TRY(request_read_type("type", type, &input.type, err));
    input.model = &c->variant;
    const bool planned = plan_make(&c->plan, &input, &why) == OK;
    if (rows && planned) json_append(rows, row_json(contender, type, &c->plan, contexts));
    if (rows) return OK;
    if (planned)
        print_row(contender, type, &c->plan, contexts);
    else
        printf("  %-12s %-10s %s\n", contender, type, why.text);
    return OK;
}

static Status write_table(Compare *c, bool as_json, Error *err) {
    size_t contexts[CONTEXTS];
    choose_contexts(c->request.input.context_tokens, contexts);
    Json *rows = as_json ? json_new_array() : NULL;
    Status status = OK;
    if (!rows) print_head(&c->request, contexts);
    for (size_t i = 0; status == OK && i < c->contenders.count; i++)
        for (size_t t = 0; status == OK && t < c->types.count; t++)
            status = add_row(c, c->contenders.value[i], c->types.value[t], contexts, rows, err);
    if (!rows) return status;
    Json *json = json_new_object();
    json_put_string(json, "model", c->request.model.name);
    json_put_string(json, "hardware", c->request.hardware.name);
    json_put_string(json, "engine", c->request.engine.name);
    json_put(json, "rows", rows);
    if (status == OK) status = json_print(json, err);
    json_free(json);
    return status;
}

/* ---- the report ---- */

static void write_list(FILE *out, const char *key, const OptionValues *values) {
    fprintf(out, "%s [", key);
    for (size_t i = 0; i < values->count; i++)
        fprintf(out, "%s\"%s\"", i ? ", " : "", values->value[i]);
    fprintf(out, "]");
}

/* The study of the plan phase that says the same, run into the folder. */
static Status write_report(const Compare *c, Error *err) {
    char text[8192];
    size_t contexts[CONTEXTS];
    const Request *r = &c->request;
    const Deployment *d = &r->input.deployment;
    choose_contexts(r->input.context_tokens, contexts);
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out) return fail(err, ERR_MACHINE, "out of memory: a study");
    fprintf(out, "title: \"%s: users against context\"\nmodel: \"%s\"\nphases: [plan]\n",
            r->model.name, c->text.model);
    write_list(out, "contenders:", &c->contenders);
    write_list(out, "\ncache: { type:", &c->types);
    fprintf(out, " }\nplan:\n  hardware: \"%s\"\n  engine: %s\n  context: [%zu, %zu, %zu]\n",
            c->text.hardware, r->engine.name, contexts[0], contexts[1], contexts[2]);
    fprintf(out, "  tp: %zu\n  dp: %zu\n  dcp: %zu\n  pp: %zu\n", d->tp, d->dp, d->dcp, d->pp);
    const long length = ftell(out);
    fclose(out);
    ConfigFile *config;
    StudySummary study;
    ReportSummary report;
    const StudyOptions options = { .folder = c->out };
    TRY(config_parse(&config, "--compare", text, (size_t)length, err));
    Status status = study_run(config, &options, &study, err);
    if (status == OK) status = report_write(c->out, &report, err);
    config_free(config);
    if (status == OK) fprintf(stderr, "report: %s/report.html\n", c->out);
    return status;
}

/* What is given may be wrong: before anything is printed. */
static Status check(Compare *c, Error *err) {
    KvType type;
    for (size_t t = 0; t < c->types.count; t++)
        TRY(request_read_type("type", c->types.value[t], &type, err));
    for (size_t i = 0; i < c->contenders.count; i++)
        TRY(variant_make(&c->variant, &c->request.model, c->contenders.value[i], err));
    return OK;
}

/* The model, and the usual attentions that its heads allow and that it has not. */
static void add_contenders(Compare *c) {
    static const char *const usual[] = { "mha", "gqa-8", "mqa", "mla-512+64" };
    Error ignored;
    c->contenders.value[c->contenders.count++] = "model";
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (variant_make(&c->variant, &c->request.model, usual[i], &ignored) == OK &&
            strcmp(c->variant.attention, c->request.model.attention) != 0)
            c->contenders.value[c->contenders.count++] = usual[i];
}

Status plan_compare(Compare *c, bool as_json, Error *err) {
    static const char *const types[] = { "bf16", "fp8", "int4" };
    if (!c->text.hardware)
        return fail(err, ERR_INPUT, "--compare: needs --hardware to hold users in");
    TRY(request_read(&c->request, &c->text, err));
    if (!c->given_contenders) add_contenders(c);
    for (size_t i = 0; !c->given_types && i < 3; i++) c->types.value[c->types.count++] = types[i];
    TRY(check(c, err));
    TRY(write_table(c, as_json, err));
    return c->out ? write_report(c, err) : OK;
}
