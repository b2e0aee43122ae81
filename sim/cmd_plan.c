/* cmd_plan.c -- `kvlab plan`: what fits, how fast it is, what binds, and what to change. */
#include "cmd_plan.h"

#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "commands.h"
#include "options.h"
#include "quantity.h"

/* What the command line gives. */
typedef struct {
    RequestText request;
    const char *trace, *percentile;
    bool ledger, json;
} Given;

static const char examples[] =
    "  kvlab plan DeepSeek-V3 --hardware 8xH200 --context 32k\n"
    "      how many users fit, at what speed, what binds, and the one change that helps most\n"
    "  kvlab plan gemma-3-27b-it --engine vllm --kv-pool 20GiB --context 32k --ledger\n"
    "      what vLLM makes of 20 GiB, with every step from logical bytes to its pages\n"
    "  kvlab plan Llama-3.1-70B --hardware 4xH100 --kv-dtype fp8 \\\n"
    "      --trace configs/traces/azure_conv_2023.csv --percentile 95\n"
    "      users held at once when contexts are those of a real service\n";

static Status read_trace(Planned *planned, const Given *given, Error *err) {
    double percentile = 95;
    if (given->percentile && (!quantity_real(given->percentile, &percentile) || percentile < 1 ||
                              percentile > 99.9))
        return fail(err, ERR_INPUT, "--percentile %.80s: a number from 1 to 99.9 is allowed",
                    given->percentile);
    if (!given->trace) return OK;
    if (!planned->plan.has_pool)
        return fail(err, ERR_INPUT, "--trace: needs --hardware or --kv-pool to hold users in");
    Trace trace;
    TRY(trace_read(&trace, given->trace, err));
    const Status status = users_held(&planned->held, &planned->plan, &trace, percentile, err);
    trace_free(&trace);
    planned->has_users = status == OK;
    snprintf(planned->trace_name, sizeof planned->trace_name, "%s", given->trace);
    return status;
}

static Status plan(Planned *planned, const Given *given, Error *err) {
    TRY(request_read(&planned->request, &given->request, err));
    TRY(plan_make(&planned->plan, &planned->request.input, err));
    request_note(&planned->request, &planned->plan, &given->request);
    planned->ledger = given->ledger;
    TRY(read_trace(planned, given, err));
    if (given->json) return plan_print_json(planned, err);
    plan_print_text(planned);
    return OK;
}

Status cmd_plan(int argc, char **argv, Error *err) {
    Given given = { 0 };
    RequestText *r = &given.request;
    const Option options[] = {
        { .name = "hardware", .argument = "NAME", .help = "h200, 8xH200, ...: see configs/hardware",
          .text = &r->hardware },
        { .name = "context", .argument = "N", .help = "tokens of a sequence: 32k",
          .text = &r->context },
        { .name = "sequences", .argument = "N", .help = "sequences (users): 1",
          .text = &r->sequences },
        { .name = "kv-dtype", .argument = "T", .help = "type of cached rows: bf16; K,V where apart",
          .text = &r->kv_dtype },
        { .name = "engine", .argument = "PROFILE",
          .help = "logical (default), vllm, sglang, llamacpp, hf", .text = &r->engine },
        { .name = "block-tokens", .argument = "N", .help = "tokens of a block: the engine's",
          .text = &r->block_tokens },
        { .name = "batch-tokens", .argument = "N", .help = "tokens of a prefill step: the engine's",
          .text = &r->batch_tokens },
        { .name = "gpus", .argument = "N", .help = "GPUs in all", .text = &r->gpus },
        { .name = "tp", .argument = "N", .help = "tensor parallel ranks: all GPUs",
          .text = &r->tp },
        { .name = "dp", .argument = "N", .help = "data parallel ranks, requests of their own: 1",
          .text = &r->dp },
        { .name = "dcp", .argument = "N", .help = "of tp, ranks that split tokens: 1",
          .text = &r->dcp },
        { .name = "pp", .argument = "N", .help = "pipeline stages: 1", .text = &r->pp },
        { .name = "ep", .argument = "N", .help = "ranks that experts are spread over: dp x tp",
          .text = &r->ep },
        { .name = "utilization", .argument = "F", .help = "share of memory to use: the engine's",
          .text = &r->utilization },
        { .name = "kv-pool", .argument = "SIZE", .help = "bytes of a GPU for the cache: 2.89GiB",
          .text = &r->kv_pool },
        { .name = "draft", .help = "load and cache MTP or draft layers", .flag = &r->draft },
        { .name = "trace", .argument = "FILE", .help = "contexts from a trace or histogram",
          .text = &given.trace },
        { .name = "percentile", .argument = "P", .help = "of the users held, with --trace: 95",
          .text = &given.percentile },
        { .name = "ledger", .help = "every line of the working", .flag = &given.ledger },
        { .name = "json", .help = "one JSON object", .flag = &given.json },
    };
    const Command command = {
        .usage = "plan MODEL [options]",
        .summary = "What a model's cache takes, how many users fit, how fast, and what binds.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples = examples,
    };
    bool helped;
    TRY(options_parse(&command, argc, argv, &r->model, &helped, err));
    if (helped) return OK;
    Planned *planned;
    TRY(BUFFER(&planned, 1, "a plan", err));
    const Status status = plan(planned, &given, err);
    buffer_free(planned);
    return status;
}
