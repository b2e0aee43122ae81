/* cmd_forward.c -- `kvlab forward`: one attention layer over given tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "forward.h"
#include "json.h"
#include "machine.h"
#include "option_values.h"
#include "options.h"
#include "quantity.h"

enum { BLOCK_TOKENS = 16, BLOCK_TOKENS_MOST = 1 << 20 };

/* What the command line gives, as text. */
typedef struct {
    const char *file, *path, *kv_dtype, *isa, *threads, *block_tokens, *out;
    bool json;
} Given;

static Status parse_path(const char *text, Path *path, Error *err) {
    if (path_parse(text, path)) return OK;
    const char *const names[] = { path_name(PATH_MATERIALISED), path_name(PATH_EXPANDED),
                                  path_name(PATH_ABSORBED) };
    return option_unknown("path", text, "no such path", 3, names, err);
}

/* One type or two; of two the message names the one that is wrong. */
static Status parse_type(const char *text, KvType *type, Error *err) {
    if (kv_type_parse(text, type)) return OK;
    const char *names[ROW_TYPE_COUNT], *comma = strchr(text, ',');
    for (size_t i = 0; i < ROW_TYPE_COUNT; i++) names[i] = row_type_name((RowType)i);
    char key[KV_TYPE_ROOM] = "";
    RowType known;
    if (comma && comma - text < KV_TYPE_ROOM) memcpy(key, text, (size_t)(comma - text));
    const char *wrong = row_type_parse(key, &known) ? comma + 1 : *key ? key : text;
    return option_unknown("kv-dtype", wrong, "no such type", ROW_TYPE_COUNT, names, err);
}

/* Everything but the path, whose default waits for the model. */
static Status resolve(const Given *given, const Machine *machine, ForwardParams *params,
                      Error *err) {
    uint64_t block_tokens = BLOCK_TOKENS;
    if (given->kv_dtype) TRY(parse_type(given->kv_dtype, &params->cache.type, err));
    TRY(option_isa(given->isa, &params->tiers, err));
    TRY(option_threads(given->threads, machine->cores, &params->threads, err));
    if (given->block_tokens)
        TRY(option_count("block-tokens", given->block_tokens, BLOCK_TOKENS_MOST, &block_tokens,
                         err));
    params->cache.block_tokens = (size_t)block_tokens;
    params->memory_bytes = machine->available_bytes;
    params->out = given->out;
    params->measure = (MeasureParams){ .min_samples = 10, .min_seconds = 0.5 };
    return OK;
}

static double or_null(bool given, double value) {
    return given ? value : NAN;
}

static Status print_json(const ForwardParams *params, const ForwardResult *r, Error *err) {
    Json *json = json_new_object();
    char type[KV_TYPE_ROOM];
    json_put_number(json, "rel_error", or_null(r->output.compared, r->output.rel_error));
    json_put_number(json, "max_abs_error", or_null(r->output.compared, r->output.max_abs_error));
    json_put_whole(json, "cache_bytes", (long long)r->cache_bytes);
    json_put_whole(json, "cache_bytes_per_token", (long long)r->payload_bytes_per_token);
    json_put_string(json, "path", path_name(params->path));
    json_put_string(json, "isa", kernels_name(params->tiers));
    json_put_string(json, "kv_dtype", kv_type_name(params->cache.type, type));
    json_put_number(json, "prefill_ns", or_null(r->prefill_tokens > 0, r->prefill_ns));
    json_put_number(json, "decode_ns_per_token",
                    or_null(r->decode_tokens > 0, r->decode_ns_per_token));
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

static void print_error(const char *what, const ForwardError *error) {
    if (error->compared)
        printf("  %-22s %.3g relative, %.3g at most   measured\n", what, error->rel_error,
               error->max_abs_error);
}

static void print_table(const char *file, const ForwardParams *params, const ForwardResult *r) {
    char label[32], held[48], payload[48], resident[48], type[KV_TYPE_ROOM];
    model_label(&r->model, label, sizeof label);
    quantity_format_bytes((double)r->cache_bytes, held, sizeof held);
    quantity_format_bytes((double)r->payload_bytes_per_token, payload, sizeof payload);
    quantity_format_bytes((double)r->resident_bytes, resident, sizeof resident);
    printf("%s: %s, D %zu, H %zu\n", file, label, r->model.hidden, r->model.heads);
    printf("  %-22s %s over %s rows, %s kernels, %d thread%s\n", "path", path_name(params->path),
           kv_type_name(params->cache.type, type), kernels_name(params->tiers), params->threads,
           params->threads == 1 ? "" : "s");
    printf("  %-22s %zu sequences of %zu tokens by prefill, %zu by decode\n", "input", r->sequences,
           r->prefill_tokens, r->decode_tokens);
    if (!r->output.compared) printf("  %-22s none in the file\n", "output to compare with");
    print_error("error of output", &r->output);
    print_error("to output_absorbed", &r->absorbed);
    print_error("of rows, cache_latent", &r->latent);
    printf("  %-22s %s: rows, waste in blocks, tables   exact\n", "cache held", held);
    printf("  %-22s %s   exact\n", "rows of a token", payload);
    printf("  %-22s %s   measured\n", "pool in memory", resident);
    if (r->prefill_tokens)
        printf("  %-22s %.3f ms, median of %zu   measured\n", "prefill", r->prefill_ns / 1e6,
               r->samples);
    if (r->decode_tokens)
        printf("  %-22s %.3f us, one token in each sequence   measured\n", "decode step",
               r->decode_ns_per_token / 1e3);
    if (params->out) printf("  %-22s %s\n", "written", params->out);
}

static Status run(const Given *given, Error *err) {
    const Machine machine = machine_read();
    ForwardParams params = { .path = PATH_MATERIALISED };
    ForwardResult result;
    LayerFile file;
    TRY(resolve(given, &machine, &params, err));
    if (given->path) TRY(parse_path(given->path, &params.path, err));
    TRY(layer_file_open(&file, given->file, err));
    if (!given->path) params.path = forward_default_path(&file.model);
    Status status = forward_run(&result, &file, &params, err);
    layer_file_close(&file);
    if (status != OK) return status;
    if (given->json) return print_json(&params, &result, err);
    print_table(given->file, &params, &result);
    return OK;
}

Status cmd_forward(int argc, char **argv, Error *err) {
    Given given = { 0 };
    const Option options[] = {
        { .name = "path",
          .argument = "P",
          .help = "materialised, expanded or absorbed; MLA: absorbed",
          .text = &given.path },
        { .name = "kv-dtype",
          .argument = "T",
          .help = "type of cached rows, or K,V where they differ: f32",
          .text = &given.kv_dtype },
        { .name = "isa",
          .argument = "TIER",
          .help = "kernels up to this tier; auto: the machine's best",
          .text = &given.isa },
        { .name = "threads", .argument = "N", .help = "all cores", .text = &given.threads },
        { .name = "block-tokens",
          .argument = "N",
          .help = "tokens of a cache block: 16",
          .text = &given.block_tokens },
        { .name = "out",
          .argument = "FILE",
          .help = "write output [B, T, D] as safetensors",
          .text = &given.out },
        { .name = "json", .help = "one JSON object instead of the table", .flag = &given.json },
    };
    const Command command = {
        .usage = "forward FILE.safetensors [options]",
        .summary = "Run one attention layer over given tensors: one prefill, then token by token\n"
                   "through the cache; compare with the output that the file carries.\n"
                   "T is f32, bf16, f16, fp8, int8, int4, q8_0, q4_0, fp8_ds_mla, fp8_e5m2,\n"
                   "mxfp4 or nvfp4.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples = "  kvlab forward tests/golden/mla_v3_small.safetensors --path absorbed\n"
                    "  kvlab forward layer.safetensors --kv-dtype bf16 --json\n",
    };
    bool helped;
    TRY(options_parse(&command, argc, argv, &given.file, &helped, err));
    return helped ? OK : run(&given, err);
}
