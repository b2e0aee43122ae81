/* test_parameters.c -- parameters and bytes of the weights against what publishers state, and the
 * ways that weights are stored. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architecture.h"
#include "hf_config.h"

static Architecture shipped(const char *name) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(architecture_read(&a, name, &err), OK, "%s", err.text);
    return a;
}

/* Billions of parameters of the text model without its draft layers, as model cards, reports or the
 * sizes of checkpoints state them. */
static const struct {
    const char *name;
    double total;
} published[] = {
    { "Baichuan2-7B", 7.506 },
    { "c4ai-command-r-35b", 34.98 },
    { "chatglm3-6b", 6.244 },
    { "DeepSeek-Coder-V2-Instruct", 235.7 },
    { "DeepSeek-Coder-V2-Lite-Instruct", 15.71 },
    { "DeepSeek-V2-Lite", 15.71 },
    { "DeepSeek-V3", 671.0 },
    { "DeepSeek-R1", 671.0 },
    { "DeepSeek-V4-Flash", 284 },
    { "EXAONE-3-7.8B", 7.818 },
    { "falcon-7b-instruct", 6.922 },
    { "gemma-2-2b", 2.614 },
    { "gemma-2-9b", 9.242 },
    { "gemma-3-1b", 0.9999 },
    { "gemma-3-27b-it", 27.01 },
    { "gemma-7b", 8.538 },
    { "glm-4-9b", 9.4 },
    { "GLM-5", 744 },
    { "gpt-oss-20b", 20.91 },
    { "gpt-oss-120b", 116.83 },
    { "gpt2-large", 0.774 },
    { "Kimi-K2-Instruct", 1026 },
    { "Llama-2-7b-hf", 6.738 },
    { "Llama-2-13b-hf", 13.016 },
    { "Llama-2-70b-chat-hf", 68.977 },
    { "Llama-3.1-8B", 8.030 },
    { "Llama-3.1-70B", 70.554 },
    { "Llama-3.1-405B", 405.853 },
    { "Llama-3.2-1B", 1.2358 },
    { "Llama-3.2-3B", 3.2127 },
    { "Llama-3.2-11B-Vision", 9.775 },
    { "Llama-4-Scout-17B-16E-Instruct", 107.77 },
    { "MiMo-V2-Flash", 309 },
    { "MiniCPM3-4B", 4.074 },
    { "MiniMax-M1", 456 },
    { "MiniMax-M2.5", 228.7 },
    { "Mistral-7B-v0.1", 7.242 },
    { "Mistral-Nemo-Instruct-2407", 12.248 },
    { "Mixtral-8x7B-v0.1", 46.703 },
    { "Mixtral-8x22B-v0.1", 140.62 },
    { "mpt-7b", 6.649 },
    { "Nemotron-3-Nano-30B-A3B-BF16", 31.58 },
    { "Nemotron-H-56B-Base-8K", 56.3 },
    { "Phi-3-mini-4k-instruct", 3.821 },
    { "Phi-3.5-MoE-instruct", 41.87 },
    { "Qwen-7B", 7.721 },
    { "Qwen2.5-0.5B", 0.494 },
    { "Qwen2.5-7B", 7.616 },
    { "Qwen2.5-32B", 32.764 },
    { "Qwen2.5-72B", 72.706 },
    { "Qwen3-0.6B", 0.596 },
    { "Qwen3-1.7B", 1.721 },
    { "Qwen3-4B", 4.022 },
    { "Qwen3-8B", 8.191 },
    { "Qwen3-14B", 14.768 },
    { "Qwen3-32B", 32.762 },
    { "Qwen3-30B-A3B", 30.532 },
    { "Qwen3-Coder-480B-A35B-Instruct", 480.15 },
    { "Qwen3-Next-80B-A3B", 79.67 },
    { "stablelm-3b", 2.795 },
    { "Yi-34B", 34.389 },
};

static double without_draft(const Architecture *a) {
    return a->parameters.total - a->parameters.part[PART_DRAFT];
}

Test(parameters, totals_are_the_published_ones) {
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const Architecture a = shipped(published[i].name);
        const double billions = without_draft(&a) / 1e9;
        cr_expect(fabs(billions / published[i].total - 1) < 0.005, "%s: %.4f for %.4f",
                  published[i].name, billions, published[i].total);
    }
}

/* 671 billion, and the 684.5 of the files: one MTP layer with copies of embedding and head. */
Test(parameters, deepseek_v3_adds_up_with_its_draft_layer) {
    const Architecture a = shipped("DeepSeek-V3");
    const double *part = a.parameters.part;
    const double files = a.parameters.total + part[PART_EMBEDDING] + part[PART_HEAD];
    cr_assert(fabs(without_draft(&a) / 671.026e9 - 1) < 1e-4, "%g", without_draft(&a));
    cr_assert(fabs(files / 684.49e9 - 1) < 1e-4, "%g", files);
    cr_assert_eq(part[PART_ATTENTION], 61 * 187107328.0);
    cr_assert_eq(a.kind[0].parameters, 187107328);
    cr_assert_eq(part[PART_EXPERTS], 58.0 * 256 * 3 * 7168 * 2048);
}

/* What publishers call active counts the embedding in some cards and not in others. */
Test(parameters, active_parameters_are_the_published_ones) {
    static const struct {
        const char *name;
        double active;
        bool with_embedding;
    } rows[] = {
        { "DeepSeek-V3", 36.7, false },
        { "gpt-oss-120b", 5.13, false },
        { "gpt-oss-20b", 3.61, false },
        { "Qwen3-30B-A3B", 3.35, true },
        { "Mixtral-8x7B-v0.1", 12.9, true },
        { "Mixtral-8x22B-v0.1", 39.15, true },
        { "Phi-3.5-MoE-instruct", 6.6, true },
        { "Kimi-K2-Instruct", 32.86, true },
        { "Llama-4-Scout-17B-16E-Instruct", 17.17, true },
        { "Qwen3-Coder-480B-A35B-Instruct", 35.5, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = shipped(rows[i].name);
        const double more = rows[i].with_embedding ? a.parameters.part[PART_EMBEDDING] : 0;
        const double billions = (a.parameters.active + more) / 1e9;
        cr_expect(fabs(billions / rows[i].active - 1) < 0.01, "%s: %.3f for %.3f", rows[i].name,
                  billions, rows[i].active);
    }
}

Test(parameters, every_model_has_parts_that_add_up_to_its_total) {
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const Architecture a = shipped(published[i].name);
        double sum = 0, layers = 0;
        for (WeightPart p = 0; p < WEIGHT_PARTS; p++) {
            cr_expect(a.parameters.part[p] >= 0 && a.weight_bits[p] > 0, "%s", a.name);
            sum += a.parameters.part[p];
        }
        cr_expect_eq(sum, a.parameters.total, "%s", a.name);
        cr_expect(a.parameters.active > 0 && a.parameters.active <= a.parameters.total, "%s",
                  a.name);
        for (size_t k = 0; k < a.kind_count; k++)
            layers += a.kind[k].parameters * (double)a.kind[k].layers;
        cr_expect(fabs(layers - a.parameters.part[PART_ATTENTION]) < 1, "%s: kinds hold %g of %g",
                  a.name, layers, a.parameters.part[PART_ATTENTION]);
    }
}

/* Sizes of the published files. */
Test(parameters, bytes_are_those_of_the_checkpoints) {
    static const struct {
        const char *name, *format;
        double gigabytes;
    } rows[] = {
        { "DeepSeek-V3", "fp8 e4m3, 128x128 blocks", 688.59 },
        { "gpt-oss-120b", "mxfp4", 65.25 },
        { "gpt-oss-20b", "mxfp4", 13.76 },
        { "Qwen3-32B", "bf16", 65.52 },
        { "Llama-3.1-8B", "bf16", 16.06 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = shipped(rows[i].name);
        double bytes = architecture_weight_bytes(&a);
        if (a.draft_layers) /* the files repeat both for the draft */
            bytes += architecture_part_bytes(&a, PART_EMBEDDING) +
                     architecture_part_bytes(&a, PART_HEAD);
        cr_expect_str_eq(a.weight_format, rows[i].format);
        cr_expect(fabs(bytes / 1e9 / rows[i].gigabytes - 1) < 0.005, "%s: %.2f for %.2f GB", a.name,
                  bytes / 1e9, rows[i].gigabytes);
    }
}

/* A small model of two layers, with more fields. */
static Status parse(Architecture *a, const char *more, Error *err) {
    char text[4096];
    snprintf(text, sizeof text,
             "{\"num_hidden_layers\": 2, \"hidden_size\": 128, \"num_attention_heads\": 4, "
             "\"intermediate_size\": 256, \"vocab_size\": 1000%s%s}",
             *more ? ", " : "", more);
    Json *json = NULL;
    cr_assert_eq(json_parse(&json, "config.json", text, strlen(text), err), OK, "%s: %s", text,
                 err->text);
    const Status status = hf_architecture_parse(a, json, "config.json", "x", err);
    json_free(json);
    return status;
}

static Architecture parsed(const char *more) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(parse(&a, more, &err), OK, "%s: %s", more, err.text);
    return a;
}

#define QUANTIZED(text) "\"quantization_config\": {" text "}"
#define COMPRESSED(weights)                                                                        \
    QUANTIZED("\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"group_0\": "        \
              "{\"weights\": {" weights "}}}, \"ignore\": [\"lm_head\"]")

Test(parameters, scales_and_zero_points_are_counted) {
    static const struct {
        const char *config, *format;
        double bits;
    } rows[] = {
        { "\"torch_dtype\": \"float32\"", "f32", 32 },
        { "\"dtype\": \"float16\"", "f16", 16 },
        { "", "bf16", 16 },
        { QUANTIZED("\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]"),
          "fp8 e4m3, 128x128 blocks", 8 + 32.0 / 16384 },
        { QUANTIZED("\"quant_method\": \"fp8\""), "fp8 e4m3", 8 },
        { QUANTIZED("\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128"),
          "awq int4, groups of 128", 4 + 20.0 / 128 },
        { QUANTIZED("\"quant_method\": \"awq\", \"w_bit\": 4, \"q_group_size\": 64"),
          "awq int4, groups of 64", 4 + 20.0 / 64 },
        { QUANTIZED("\"quant_method\": \"gptq\", \"bits\": 8, \"group_size\": 32"),
          "gptq int8, groups of 32", 8 + 24.0 / 32 },
        { QUANTIZED("\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": -1"), "gptq int4",
          4 },
        { QUANTIZED("\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true"),
          "bitsandbytes 4 bits", 4.5 },
        { QUANTIZED("\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true, "
                    "\"bnb_4bit_use_double_quant\": true"),
          "bitsandbytes 4 bits", 4 + 8.0 / 64 + 32.0 / 16384 },
        { QUANTIZED("\"quant_method\": \"modelopt\", \"quant_algo\": \"NVFP4\""), "nvfp4", 4.5 },
        { COMPRESSED("\"num_bits\": 4, \"type\": \"int\", \"strategy\": \"group\", "
                     "\"group_size\": 32, \"symmetric\": true"),
          "int4, groups of 32", 4.5 },
        { COMPRESSED("\"num_bits\": 4, \"type\": \"int\", \"strategy\": \"group\", "
                     "\"group_size\": 128, \"symmetric\": false"),
          "int4, groups of 128", 4 + 20.0 / 128 },
        { COMPRESSED("\"num_bits\": 8, \"type\": \"float\", \"strategy\": \"channel\""), "fp8", 8 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = parsed(rows[i].config);
        cr_expect_str_eq(a.weight_format, rows[i].format, "%s: %s", rows[i].config,
                         a.weight_format);
        cr_expect(fabs(a.weight_bits[PART_DENSE_MLP] - rows[i].bits) < 1e-9, "%s: %g",
                  rows[i].config, a.weight_bits[PART_DENSE_MLP]);
        cr_expect(a.weight_bits[PART_EMBEDDING] >= 16);
    }
}

Test(parameters, listed_modules_stay_as_they_are) {
#define FP8 "\"quant_method\": \"fp8\", "
    const Architecture all = parsed(
        QUANTIZED(FP8 "\"modules_to_not_convert\": [\"model.layers.*.self_attn\", \"lm_head\"]"));
    cr_assert(all.weight_bits[PART_ATTENTION] == 16 && all.weight_bits[PART_DENSE_MLP] == 8);
    const Architecture half =
        parsed(QUANTIZED(FP8 "\"ignore\": [\"model.layers.1.mlp.down_proj\"]"));
    cr_assert_eq(half.weight_bits[PART_DENSE_MLP], 12);
    const Architecture head = parsed(QUANTIZED(FP8 "\"lm_head\": true"));
    cr_assert(head.weight_bits[PART_HEAD] == 8 && all.weight_bits[PART_HEAD] == 16);
}

Test(parameters, weights_of_unknown_form_are_refused_by_name) {
    static const char *const rows[][2] = {
        { QUANTIZED("\"quant_method\": \"aqlm\""), "quantization_config.quant_method: aqlm" },
        { QUANTIZED("\"bits\": 4"), "quantization_config.quant_method: missing" },
        { QUANTIZED("\"quant_method\": \"awq\", \"bits\": 64"), "quantization_config.bits: 64" },
        { QUANTIZED("\"quant_method\": \"fp8\", \"weight_block_size\": [0, 128]"),
          "weight_block_size: allowed" },
        { QUANTIZED("\"quant_method\": \"modelopt\", \"quant_algo\": \"W4A8\""),
          "quant_algo: W4A8" },
        { QUANTIZED("\"quant_method\": \"compressed-tensors\", \"config_groups\": {}"),
          "config_groups: 0 groups" },
        { "\"torch_dtype\": \"int3\"", "torch_dtype: int3" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a;
        Error err = { 0 };
        cr_expect_eq(parse(&a, rows[i][0], &err), ERR_INPUT, "%s", rows[i][0]);
        cr_expect(strstr(err.text, rows[i][1]), "%s: %s", rows[i][0], err.text);
    }
}

/* GPT-2 has two matrices in its MLP and biases; Llama three and none; tied heads count once. */
Test(parameters, small_models_count_to_the_last_bias) {
    const double d = 128, i = 256, v = 1000;
    const Architecture llama = parsed("\"tie_word_embeddings\": true");
    cr_assert_eq(llama.parameters.total, v * d + 2 * (4 * d * d + 3 * d * i + 2 * d) + d);
    const Architecture untied = parsed("");
    cr_assert_eq(untied.parameters.total, llama.parameters.total + v * d);
    const Architecture gpt2 = parsed("\"model_type\": \"gpt2\", \"n_positions\": 64");
    cr_assert_eq(gpt2.parameters.total,
                 (v + 64) * d + 2 * (4 * d * d + 4 * d + 2 * d * i + i + d + 4 * d) + 2 * d);
    const Architecture qwen = parsed("\"model_type\": \"qwen2\"");
    cr_assert_eq(qwen.parameters.total, untied.parameters.total + 2 * 3 * d);
}
