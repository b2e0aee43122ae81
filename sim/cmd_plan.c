/* cmd_plan.c -- `kvlab plan`: what fits, how fast it is, what binds, and what to change. */
#include "cmd_plan.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "commands.h"
#include "configs.h"
#include "options.h"
#include "quantity.h"
#include "sweep.h"
#include "textfile.h"

/* What the command line gives. */
typedef struct {
    RequestText request;
    const char *trace, *percentile, *sweep, *out, *check_model;
    OptionValues contenders, types;
    bool compare;
    bool ledger, json;
} Given;

/* What was given; static, so that the table of options is. */
static Given given;

static const char examples[] =
    "  kvlab plan DeepSeek-V3 --hardware 8xH200 --context 32k\n"
    "      how many users fit, at what speed, what binds, and the one change that helps most\n"
    "  kvlab plan gemma-3-27b-it --engine vllm --kv-pool 20GiB --context 32k --ledger\n"
    "      what vLLM makes of 20 GiB, with every step from logical bytes to its pages\n"
    "  kvlab plan Llama-3.1-70B --hardware 4xH100 --kv-dtype fp8 \\\n"
    "      --trace azure_conv_2023.csv --percentile 95\n"
    "      users held at once when contexts are those of a real service\n";

/* A file as it is named, or one of those that ship. */
static Status find_trace(const char *name, char path[PATH_SIZE], Error *err) {
    if (strchr(name, '/') || access(name, R_OK) == 0) {
        snprintf(path, PATH_SIZE, "%s", name);
        return OK;
    }
    return configs_find("traces", name, "", path, PATH_SIZE, err);
}

static Status read_trace(Planned *planned, Error *err) {
    double percentile = 95;
    if (given.percentile &&
        (!quantity_real(given.percentile, &percentile) || percentile < 1 || percentile > 99.9))
        return fail(err, ERR_INPUT, "--percentile %.80s: a number from 1 to 99.9 is allowed",
                    given.percentile);
    if (!given.trace) return OK;
    if (!planned->plan.has_pool)
        return fail(err, ERR_INPUT, "--trace: needs --hardware or --kv-pool to hold users in");
    Trace trace;
    char path[PATH_SIZE];
    TRY(find_trace(given.trace, path, err));
    TRY(trace_read(&trace, path, err));
    const Status status = users_held(&planned->held, &planned->plan, &trace, percentile, err);
    trace_free(&trace);
    planned->has_users = status == OK;
    snprintf(planned->trace_name, sizeof planned->trace_name, "%s", given.trace);
    return status;
}

static Status plan(Planned *planned, Error *err) {
    TRY(request_read(&planned->request, &given.request, err));
    TRY(plan_make(&planned->plan, &planned->request.input, err));
    request_note(&planned->request, &planned->plan, &given.request);
    planned->ledger = given.ledger;
    TRY(read_trace(planned, err));
    if (given.json) return plan_print_json(planned, err);
    plan_print_text(planned);
    return OK;
}

static const Option options[] = {
    { .name = "hardware",
      .argument = "NAME",
      .help = "h200, 8xH200, ...: see configs/hardware",
      .text = &given.request.hardware },
    { .name = "context",
      .argument = "N",
      .help = "tokens of a sequence: 32k",
      .text = &given.request.context },
    { .name = "sequences",
      .argument = "N",
      .help = "sequences (users): 1",
      .text = &given.request.sequences },
    { .name = "kv-dtype",
      .argument = "T",
      .help = "type of cached rows: bf16; K,V where apart",
      .text = &given.request.kv_dtype },
    { .name = "engine",
      .argument = "PROFILE",
      .help = "logical (default), vllm, sglang, llamacpp, hf",
      .text = &given.request.engine },
    { .name = "block-tokens",
      .argument = "N",
      .help = "tokens of a block: the engine's",
      .text = &given.request.block_tokens },
    { .name = "batch-tokens",
      .argument = "N",
      .help = "tokens of a prefill step: the engine's",
      .text = &given.request.batch_tokens },
    { .name = "gpus", .argument = "N", .help = "GPUs in all", .text = &given.request.gpus },
    { .name = "tp",
      .argument = "N",
      .help = "tensor parallel ranks: GPUs of a node, where they divide the heads",
      .text = &given.request.tp },
    { .name = "dp",
      .argument = "N",
      .help = "data parallel ranks, requests of their own: 1",
      .text = &given.request.dp },
    { .name = "dcp",
      .argument = "N",
      .help = "of tp, ranks that split tokens: 1",
      .text = &given.request.dcp },
    { .name = "pp", .argument = "N", .help = "pipeline stages: 1", .text = &given.request.pp },
    { .name = "ep",
      .argument = "N",
      .help = "ranks that experts are spread over: dp x tp, 1 where dp is 1",
      .text = &given.request.ep },
    { .name = "utilization",
      .argument = "F",
      .help = "share of memory to use: the engine's",
      .text = &given.request.utilization },
    { .name = "kv-pool",
      .argument = "SIZE",
      .help = "bytes of a GPU for the cache: 2.89GiB",
      .text = &given.request.kv_pool },
    { .name = "draft", .help = "load and cache MTP or draft layers", .flag = &given.request.draft },
    { .name = "trace",
      .argument = "FILE",
      .help = "contexts of a trace or histogram: a file, or one of configs/traces",
      .text = &given.trace },
    { .name = "percentile",
      .argument = "P",
      .help = "of the users held, with --trace: 95",
      .text = &given.percentile },
    { .name = "compare", .help = "contenders x cache types in one table", .flag = &given.compare },
    { .name = "contender",
      .argument = "SPEC",
      .help = "with --compare: model, mha, gqa-8, mla-512+64, ...; repeat",
      .values = &given.contenders },
    { .name = "type",
      .argument = "T",
      .help = "with --compare: a type of cached rows; repeat",
      .values = &given.types },
    { .name = "out",
      .argument = "DIR",
      .help = "with --compare: the report with its figures",
      .text = &given.out },
    { .name = "check-model",
      .argument = "FILE",
      .help = "instead of MODEL: the model of speed against a result of kvlab bench --json",
      .text = &given.check_model },
    { .name = "sweep",
      .argument = "FILE",
      .help = "instead of MODEL: every plan of a file, as CSV",
      .text = &given.sweep },
    { .name = "ledger", .help = "every line of the working", .flag = &given.ledger },
    { .name = "json", .help = "one JSON object", .flag = &given.json },
};

/* Options that say nothing without another, or beside one. */
static Status check_company(Error *err) {
    const struct {
        const char *name;
        bool given, used;
        const char *because;
    } options_given[] = {
        { "out", given.out, given.compare, "needs --compare" },
        { "contender", given.contenders.count, given.compare, "needs --compare" },
        { "type", given.types.count, given.compare,
          "needs --compare; the plan's own is --kv-dtype" },
        { "percentile", given.percentile, given.trace, "needs --trace" },
        { "trace", given.trace, !given.compare, "is not part of --compare" },
        { "ledger", given.ledger, !given.compare, "is not part of --compare" },
        { "kv-dtype", given.request.kv_dtype, !given.compare, "--compare takes --type" },
    };
    for (size_t i = 0; i < sizeof options_given / sizeof *options_given; i++)
        if (options_given[i].given && !options_given[i].used)
            return fail(err, ERR_INPUT, "--%s: %s", options_given[i].name,
                        options_given[i].because);
    return OK;
}

static Status sweep(Error *err) {
    if (given.request.model)
        return fail(err, ERR_INPUT, "%.80s: --sweep takes its models from its file",
                    given.request.model);
    Sweep *s;
    TRY(sweep_read(&s, given.sweep, err));
    const Status status = sweep_write(s, stdout, err);
    sweep_free(s);
    return status;
}

static Status compare(Error *err) {
    Compare *c;
    TRY(BUFFER(&c, 1, "a comparison", err));
    c->text = given.request;
    c->contenders = given.contenders;
    c->types = given.types;
    c->given_contenders = given.contenders.count > 0;
    c->given_types = given.types.count > 0;
    c->out = given.out;
    const Status status = plan_compare(c, given.json, err);
    buffer_free(c);
    return status;
}

Status cmd_plan(int argc, char **argv, Error *err) {
    given = (Given){ 0 };
    const Command command = {
        .usage = "plan MODEL [options], or plan --sweep FILE.yaml",
        .summary = "What a model's cache takes, how many users fit, how fast, and what binds.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .most = 1,
        .examples = examples,
    };
    bool helped;
    TRY(options_parse(&command, argc, argv, &given.request.model, &helped, err));
    if (helped) return OK;
    if (given.sweep) return sweep(err);
    if (given.check_model) return plan_check_model(given.check_model, given.json, err);
    if (!given.request.model)
        return fail(err, ERR_INPUT, "MODEL is missing; usage: kvlab plan MODEL [options]");
    TRY(check_company(err));
    if (given.compare) return compare(err);
    Planned *planned;
    TRY(BUFFER(&planned, 1, "a plan", err));
    const Status status = plan(planned, err);
    buffer_free(planned);
    return status;
}
