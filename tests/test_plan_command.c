/* `kvlab plan` as a user meets it: the screen, the JSON, exit codes and messages. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "json.h"

static char output[1 << 18];

/* Runs `kvlab <arguments>`, both streams into output; the exit code. */
static int run(const char *arguments) {
    char command[2048];
    snprintf(command, sizeof command, "'%s' %s 2>&1", KVLAB_BINARY, arguments);
    FILE *stream = popen(command, "r");
    cr_assert_not_null(stream);
    output[fread(output, 1, sizeof output - 1, stream)] = '\0';
    const int status = pclose(stream);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static Json *run_json(const char *arguments) {
    Json *json = NULL;
    Error err;
    cr_assert_eq(run(arguments), 0, "%s", output);
    cr_assert_eq(json_parse(&json, "output", output, strlen(output), &err), OK, "%s", err.text);
    return json;
}

static double number(const Json *json, const char *key) {
    double value = -1;
    cr_assert(json_number(json_get(json, key), &value), "%s", key);
    return value;
}

static double kv(const Json *json, const char *key) {
    return number(json_get(json, "kv_bytes"), key) / 0x1p20;
}

Test(plan_command, the_first_screen_answers_without_scrolling) {
    const char *const commands[] = {
        "plan DeepSeek-V3 --hardware 8xH200 --context 32k",
        "plan DeepSeek-V3.2 --hardware 16xH100 --pp 2 --kv-dtype fp8 --engine vllm --sequences 64",
        "plan gemma-3-27b-it --kv-pool 20GiB --engine vllm",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cr_assert_eq(run(commands[i]), 0, "%s", output);
        size_t lines = 0;
        for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n")) {
            cr_expect_leq(strlen(line), 100, "%s", line);
            lines++;
        }
        cr_expect_leq(lines, 24, "%s: %zu lines", commands[i], lines);
    }
}

Test(plan_command, help_shows_three_examples_that_run) {
    cr_assert_eq(run("plan --help"), 0);
    static char help[1 << 16];
    memcpy(help, output, sizeof help - 1);
    size_t examples = 0;
    for (char *at = strstr(help, "  kvlab "); at; at = strstr(at + 1, "  kvlab ")) {
        char arguments[512];
        size_t used = 0; /* a line that ends in a backslash goes on */
        for (const char *c = at + strlen("  kvlab "); *c && used + 1 < sizeof arguments; c++) {
            if (*c == '\\' && c[1] == '\n')
                c++;
            else if (*c == '\n')
                break;
            else
                arguments[used++] = *c;
        }
        arguments[used] = '\0';
        cr_expect_eq(run(arguments), 0, "%s: %s", arguments, output);
        examples++;
    }
    cr_expect_geq(examples, 3);
}

Test(plan_command, the_ledger_adds_up_to_every_total) {
    const char *const commands[] = {
        "plan DeepSeek-V3.2 --tp 8 --kv-dtype fp8 --engine vllm --json",
        "plan gemma-3-27b-it --engine vllm --context 32k --sequences 3 --json",
        "plan Qwen3-Next-80B-A3B --engine vllm --tp 2 --pp 3 --json",
        "plan MiniCPM3-4B --engine vllm --json",
        "plan Llama-3.1-8B --kv-dtype q8_0,f16 --engine llamacpp --context 41000 --json",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        Json *json = run_json(commands[i]);
        const Json *ledger = json_get(json, "ledger");
        double logical = 0, layout = 0, reserved = 0, all = 0;
        for (size_t l = 0; l < json_size(ledger); l++) {
            const char *step = json_text(json_get(json_at(ledger, l), "step"));
            const double bytes = number(json_at(ledger, l), "bytes") / 0x1p20;
            cr_expect_not_null(json_text(json_get(json_at(ledger, l), "rule")));
            all += bytes;
            if (strcmp(step, "copies") != 0) reserved += bytes;
            if (strcmp(step, "logical") == 0) logical += bytes;
            if (strcmp(step, "logical") == 0 || strcmp(step, "layout") == 0) layout += bytes;
        }
        cr_expect_float_eq(logical, kv(json, "logical"), 1e-3, "%s", commands[i]);
        cr_expect_float_eq(layout, kv(json, "layout"), 1e-3, "%s", commands[i]);
        cr_expect_float_eq(reserved, kv(json, "reserved"), 1e-3, "%s", commands[i]);
        cr_expect_float_eq(all, kv(json, "deployment"), 1e-3, "%s", commands[i]);
        json_free(json);
    }
}

Test(plan_command, reference_values_come_out_of_the_files_that_ship) {
    const struct {
        const char *arguments, *key;
        double mib;
    } values[] = {
        { "plan DeepSeek-V3 --context 32768 --json", "reserved", 2196.0 },
        { "plan DeepSeek-V3 --context 32k --kv-dtype fp8_ds_mla --json", "layout", 1250.5 },
        { "plan DeepSeek-V3.2 --context 32k --json", "layout", 2447.6 },
        { "plan DeepSeek-V3.2 --context 32k --kv-dtype fp8_ds_mla --json", "layout", 1502.1 },
        { "plan GLM-5 --context 32k --kv-dtype fp8_ds_mla --json", "layout", 1920.8 },
        { "plan Llama-2-7b-hf --context 32k --json", "reserved", 16384 },
        { "plan falcon-7b-instruct --context 32k --json", "reserved", 256 },
        { "plan gemma-3-27b-it --context 32k --json", "logical", 2976 },
        { "plan gemma-3-27b-it --context 32k --engine vllm --json", "reserved", 4007.5 },
        { "plan gemma-3-27b-it --context 32k --engine vllm --batch-tokens 8k --json", "reserved",
          6887.5 },
        { "plan gpt-oss-120b --context 32k --engine vllm --json", "reserved", 1229.1 },
        { "plan gpt-oss-20b --context 32k --engine vllm --batch-tokens 8192 --json", "reserved",
          963.4 },
        { "plan MiniCPM3-4B --context 32k --engine vllm --json", "reserved",
          952320.0 * 32768 / 0x1p20 },
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        Json *json = run_json(values[i].arguments);
        cr_expect_float_eq(kv(json, values[i].key), values[i].mib, 0.051, "%s: %.2f",
                           values[i].arguments, kv(json, values[i].key));
        json_free(json);
    }
}

Test(plan_command, a_pool_gives_what_an_engine_would_print) {
    Json *json =
        run_json("plan Llama-3.1-8B --engine vllm --kv-pool 2.89GiB --context 8192 --json");
    cr_expect_eq(number(json, "block_tokens"), 16);
    cr_expect_eq(number(json, "blocks"), 1479);
    cr_expect_eq(number(json, "cache_tokens"), 1479 * 16);
    cr_expect_float_eq(number(json, "concurrency"), 1479.0 / 512, 1e-9);
    cr_expect_eq(number(json, "max_sequences"), 2);
    cr_expect_str_eq(json_text(json_get(json, "binding")), "cache");
    json_free(json);
}

Test(plan_command, wrong_input_is_one_line_and_exit_code_2) {
    const struct {
        const char *arguments, *says;
    } wrong[] = {
        { "plan", "MODEL is missing" },
        { "plan DeepSeek-V4", "did you mean" },
        { "plan DeepSeek-V3 --hardware 8xH20O", "no such entry of configs/hardware" },
        { "plan DeepSeek-V3 --engine vlm", "did you mean vllm?" },
        { "plan DeepSeek-V3 --kv-dtype fp9", "did you mean fp8?" },
        { "plan DeepSeek-V3 --kv-dtype bf16,", "no such type" },
        { "plan Llama-3.1-8B --kv-dtype fp8_ds_mla", "fp8_ds_mla" },
        { "plan DeepSeek-V3 --context 0", "--context 0" },
        { "plan DeepSeek-V3 --context -4", "--context -4" },
        { "plan DeepSeek-V3 --sequences 1.5", "--sequences 1.5" },
        { "plan DeepSeek-V3 --hardware 8xH200 --tp 3", "tp 3" },
        { "plan DeepSeek-V3 --hardware 8xH200 --gpus 4", "names another number" },
        { "plan DeepSeek-V3 --tp 8 --dcp 3", "must divide" },
        { "plan DeepSeek-V3 --utilization 1.5", "--utilization 1.5" },
        { "plan DeepSeek-V3 --kv-pool much", "--kv-pool much" },
        { "plan DeepSeek-V3 --trace nowhere.csv --kv-pool 1GiB", "nowhere.csv" },
        { "plan DeepSeek-V3 --trace nowhere.csv", "needs --hardware" },
        { "plan DeepSeek-V3 --contxt 4", "did you mean --context?" },
        { "plan DeepSeek-V3 --out x", "--out: needs --compare" },
        { "plan DeepSeek-V3 --contender mqa", "--contender: needs --compare" },
        { "plan DeepSeek-V3 --type fp8", "--type: needs --compare" },
        { "plan DeepSeek-V3 --percentile 50", "--percentile: needs --trace" },
        { "plan DeepSeek-V3 --hardware 8x", "a device must follow" },
        { "plan DeepSeek-V3 --hardware h200 --compare --type fp9", "did you mean fp8?" },
        { "plan DeepSeek-V3 --hardware h200 --compare --contender gq", "no such contender" },
        { "plan DeepSeek-V3 --hardware h200 --compare --kv-dtype fp8", "takes --type" },
        { "plan Llama-3.1-8B --tp 3 --engine vllm", "must divide the 32 query heads" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(run(wrong[i].arguments), 2, "%s: %s", wrong[i].arguments, output);
        cr_expect_not_null(strstr(output, wrong[i].says), "%s: %s", wrong[i].arguments, output);
        cr_expect_eq(strchr(output, '\n'), output + strlen(output) - 1, "%s", output);
    }
}

Test(plan_command, a_comparison_has_the_model_once_and_bytes_on_a_gpu) {
    Json *json = run_json("plan DeepSeek-V3 --hardware 8xH200 --context 32k --compare --json");
    const Json *list = json_get(json, "rows");
    size_t latents = 0;
    for (size_t i = 0; i < json_size(list); i++) {
        const Json *row = json_at(list, i);
        const bool bf16 = strcmp(json_text(json_get(row, "kv_dtype")), "bf16") == 0;
        latents += bf16 && strcmp(json_text(json_get(row, "attention")), "MLA-512+64") == 0;
        /* 8 heads over 8 GPUs: one each, of 61 layers x 2 x 128 values of two bytes */
        if (bf16 && strcmp(json_text(json_get(row, "contender")), "gqa-8") == 0)
            cr_expect_eq(number(row, "kv_bytes_per_token_per_gpu"), 61 * 512);
    }
    cr_expect_eq(latents, 1);
    json_free(json);
}

Test(plan_command, notes_say_what_is_left_out) {
    cr_assert_eq(run("plan DeepSeek-V3 --kv-dtype q8_0,f16"), 0, "%s", output);
    cr_expect_not_null(strstr(output, "values have no type apart"), "%s", output);
    cr_assert_eq(run("plan DeepSeek-V3.2 --hardware 16xH100 --kv-dtype fp8 --engine vllm"), 0);
    cr_expect_not_null(strstr(output, "more with --ledger"), "%s", output);
}
