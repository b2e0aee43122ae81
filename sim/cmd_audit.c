/* cmd_audit.c -- `kvlab audit`: the usual formulas for a model's cache, and what is wrong with
 * them. */
#include <stdio.h>

#include "audit.h"
#include "buffer.h"
#include "commands.h"
#include "json.h"
#include "options.h"
#include "quantity.h"
#include "request.h"

typedef struct {
    Request request;
    Plan plan, scratch;
    StatedKeys keys;
    Audit audit;
} Audited;

static Status print_json(const Audited *audited, Error *err) {
    const Plan *plan = &audited->plan;
    char type[KV_TYPE_ROOM];
    Json *json = json_new_object(), *rows = json_new_array();
    json_put_string(json, "model", audited->request.model.name);
    json_put_string(json, "attention", audited->request.model.attention);
    json_put_string(json, "engine", audited->request.engine.name);
    json_put_string(json, "kv_dtype", kv_type_name(plan->input.type, type));
    json_put_whole(json, "context", (long long)plan->input.context_tokens);
    json_put_number(json, "kv_bytes", plan->bytes.reserved / (double)plan->input.sequences);
    json_put_number(json, "kv_bytes_per_token", plan->growth);
    for (size_t i = 0; i < audited->audit.count; i++) {
        const AuditRow *r = &audited->audit.row[i];
        Json *row = json_new_object();
        json_put_string(row, "formula", r->formula);
        json_put_string(row, "cause", r->cause);
        json_put_string(row, "seen", r->seen);
        json_put_number(row, "bytes", r->bytes);
        json_put_number(row, "kvlab_bytes", r->truth);
        json_put_number(row, "factor", r->factor);
        json_append(rows, row);
    }
    json_put(json, "formulas", rows);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

/* "24.9x", "0.39x", and "-11 %" near one. */
static void print_factor(double factor) {
    char text[32];
    if (factor > 0.8 && factor < 1.25 && (factor < 0.9995 || factor > 1.0005))
        snprintf(text, sizeof text, "%+.0f %%", (factor - 1) * 100);
    else if (factor < 10)
        snprintf(text, sizeof text, "%.2fx", factor);
    else
        snprintf(text, sizeof text, "%.1fx", factor);
    printf("  %8s", text);
}

static void print_table(const Audited *audited) {
    const Plan *plan = &audited->plan;
    char context[32], bytes[48], type[KV_TYPE_ROOM], token[48];
    quantity_format_count((double)plan->input.context_tokens, context, sizeof context);
    quantity_format_bytes(plan->bytes.reserved / (double)plan->input.sequences, bytes,
                          sizeof bytes);
    quantity_format_bytes(plan->growth, token, sizeof token);
    printf("%s: %s, %zu layers; %s tokens in %s under %s %s\n\n", audited->request.model.name,
           audited->request.model.attention, audited->request.model.layers, context,
           kv_type_name(plan->input.type, type), audited->request.engine.title,
           audited->request.engine.version);
    printf("  kvlab     %s a sequence, %s a token at the margin   exact\n\n", bytes, token);
    for (size_t i = 0; i < audited->audit.count; i++) {
        const AuditRow *r = &audited->audit.row[i];
        quantity_format_bytes(r->bytes, bytes, sizeof bytes);
        print_factor(r->factor);
        printf("  %10s  %s (%s)\n%24s%s\n", bytes, r->formula, r->seen, "", r->cause);
    }
}

static Status audit(Audited *audited, const RequestText *text, bool json, Error *err) {
    TRY(request_read(&audited->request, text, err));
    TRY(plan_make(&audited->plan, &audited->request.input, err));
    TRY(audit_read_keys(&audited->keys, text->model, &audited->request.model, err));
    TRY(audit_model(&audited->audit, &audited->keys, &audited->plan, &audited->scratch, err));
    if (json) return print_json(audited, err);
    print_table(audited);
    return OK;
}

Status cmd_audit(int argc, char **argv, Error *err) {
    RequestText text = { 0 };
    bool json = false, helped;
    const Option options[] = {
        { .name = "context",
          .argument = "N",
          .help = "tokens of a sequence: 32k",
          .text = &text.context },
        { .name = "kv-dtype",
          .argument = "T",
          .help = "type of cached rows: bf16",
          .text = &text.kv_dtype },
        { .name = "engine",
          .argument = "PROFILE",
          .help = "whose bytes are the truth: logical",
          .text = &text.engine },
        { .name = "tp", .argument = "N", .help = "tensor parallel ranks: 1", .text = &text.tp },
        { .name = "json", .help = "one JSON object", .flag = &json },
    };
    const Command command = {
        .usage = "audit MODEL [options]",
        .summary = "What the usual formulas for a KV cache give for this model, beside what it "
                   "takes,\nwith the factor and the cause.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples = "  kvlab audit DeepSeek-V3\n"
                    "  kvlab audit MiniCPM3-4B --engine vllm\n"
                    "  kvlab audit DeepSeek-R1 --tp 8 --json\n",
    };
    TRY(options_parse(&command, argc, argv, &text.model, &helped, err));
    if (helped) return OK;
    Audited *audited;
    TRY(BUFFER(&audited, 1, "an audit", err));
    const Status status = audit(audited, &text, json, err);
    buffer_free(audited);
    return status;
}
