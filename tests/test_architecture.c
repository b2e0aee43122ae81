/* test_architecture.c -- what every model that ships keeps in each layer: kinds, layers, elements;
 * the traps that its file holds; and what is refused. */
#include "architecture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"
#include "models.h"

static Architecture shipped(const char *name) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(architecture_read(&a, name, &err), OK, "%s", err.text);
    return a;
}

/* Elements of all layers that one more token of a long text adds, and of their index keys. */
static double growth(const Architecture *a) {
    double sum = 0;
    for (size_t k = 0; k < a->kind_count; k++)
        sum += (double)a->kind[k].layers * cache_kind_growth(&a->kind[k]);
    return sum;
}

/* Layers, what people call it, elements a token in a layer that grows, in all layers; kinds. The
 * first 16 are the reference values of planners; the rest follow from the files by hand. */
static const struct {
    const char *name, *attention;
    size_t layers, draft_layers, kinds;
    double layer_elements, bf16_bytes;
} rows[] = {
    { "DeepSeek-V3", "MLA-512+64", 61, 1, 1, 576, 70272 },
    { "DeepSeek-R1", "MLA-512+64", 61, 1, 1, 576, 70272 },
    { "Kimi-K2-Instruct", "MLA-512+64", 61, 0, 1, 576, 70272 },
    { "DeepSeek-Coder-V2-Instruct", "MLA-512+64", 60, 0, 1, 576, 69120 },
    { "DeepSeek-V2-Lite", "MLA-512+64", 27, 0, 1, 576, 31104 },
    { "DeepSeek-Coder-V2-Lite-Instruct", "MLA-512+64", 27, 0, 1, 576, 31104 },
    { "DeepSeek-V3.2", "MLA-512+64, indexed", 61, 1, 1, 576, 70272 },
    { "GLM-5", "MLA-512+64, indexed", 78, 1, 1, 576, 89856 },
    { "MiniCPM3-4B", "MLA-256+32", 62, 0, 1, 288, 35712 },
    { "Llama-2-7b-hf", "MHA", 32, 0, 1, 8192, 524288 },
    { "Llama-2-70b-chat-hf", "GQA-8", 80, 0, 1, 2048, 327680 },
    { "Qwen2.5-72B", "GQA-8", 80, 0, 1, 2048, 327680 },
    { "Llama-3.1-8B", "GQA-8", 32, 0, 1, 2048, 131072 },
    { "Mixtral-8x7B-v0.1", "GQA-8", 32, 0, 1, 2048, 131072 },
    { "Llama-3.1-405B", "GQA-8", 126, 0, 1, 2048, 516096 },
    { "Qwen3-32B", "GQA-8", 64, 0, 1, 2048, 262144 },
    { "falcon-7b-instruct", "MQA", 32, 0, 1, 128, 8192 },
    { "Baichuan2-7B", "MHA", 32, 0, 1, 8192, 524288 },
    { "c4ai-command-r-35b", "MHA", 40, 0, 1, 16384, 1310720 },
    { "chatglm3-6b", "GQA-2", 28, 0, 1, 512, 28672 },
    { "DeepSeek-V4-Flash", "row-512, 21 of 43 indexed, 41 compressed, 2 windowed", 43, 1, 3, 128,
      2 * (21 * 128 + 20 * 4) },
    { "EXAONE-3-7.8B", "GQA-8", 32, 0, 1, 2048, 131072 },
    { "gemma-2-2b", "GQA-4, 13 of 26 windowed", 26, 0, 2, 2048, 53248 },
    { "gemma-2-9b", "GQA-8, 21 of 42 windowed", 42, 0, 2, 4096, 172032 },
    { "gemma-3-1b", "MQA, 22 of 26 windowed", 26, 0, 2, 512, 4096 },
    { "gemma-3-27b-it", "GQA-16, 52 of 62 windowed", 62, 0, 2, 4096, 81920 },
    { "gemma-7b", "MHA", 28, 0, 1, 8192, 458752 },
    { "glm-4-9b", "GQA-2", 40, 0, 1, 512, 40960 },
    { "gpt-oss-20b", "GQA-8, 12 of 24 windowed", 24, 0, 2, 1024, 24576 },
    { "gpt-oss-120b", "GQA-8, 18 of 36 windowed", 36, 0, 2, 1024, 36864 },
    { "gpt2-large", "MHA", 36, 0, 1, 2560, 184320 },
    { "Kimi-K3", "MLA-512+64, 69 of 93 state", 93, 0, 2, 576, 27648 },
    { "Llama-2-13b-hf", "MHA", 40, 0, 1, 10240, 819200 },
    { "Llama-3.1-70B", "GQA-8", 80, 0, 1, 2048, 327680 },
    { "Llama-3.2-1B", "GQA-8", 16, 0, 1, 1024, 32768 },
    { "Llama-3.2-3B", "GQA-8", 28, 0, 1, 2048, 114688 },
    { "Llama-3.2-11B-Vision", "GQA-8, 8 of 40 image", 40, 0, 2, 2048, 131072 },
    { "Llama-4-Scout-17B-16E-Instruct", "GQA-8, 36 of 48 chunked", 48, 0, 2, 2048, 49152 },
    { "Meta-Llama-3-70B", "GQA-8", 80, 0, 1, 2048, 327680 },
    { "MiMo-V2-Flash", "GQA-4, 39 of 48 windowed", 48, 0, 2, 1280, 23040 },
    { "MiniMax-M1", "GQA-8, 70 of 80 state", 80, 0, 2, 2048, 40960 },
    { "MiniMax-M2.5", "GQA-8", 62, 3, 1, 2048, 253952 },
    { "Mistral-7B-Instruct-v0.2", "GQA-8", 32, 0, 1, 2048, 131072 },
    { "Mistral-7B-v0.1", "GQA-8, windowed", 32, 0, 1, 0, 0 },
    { "Mistral-Nemo-Instruct-2407", "GQA-8", 40, 0, 1, 2048, 163840 },
    { "Mixtral-8x22B-v0.1", "GQA-8", 56, 0, 1, 2048, 229376 },
    { "mpt-7b", "MHA", 32, 0, 1, 8192, 524288 },
    { "Nemotron-3-Nano-30B-A3B-BF16", "GQA-2, 23 of 52 state, 23 none", 52, 0, 2, 512, 6144 },
    { "Nemotron-H-56B-Base-8K", "GQA-8, 54 of 118 state, 54 none", 118, 0, 2, 2048, 40960 },
    { "Phi-3-mini-128k-instruct", "MHA", 32, 0, 1, 6144, 393216 },
    { "Phi-3-mini-4k-instruct", "MHA, windowed", 32, 0, 1, 0, 0 },
    { "Phi-3.5-MoE-instruct", "GQA-8", 32, 0, 1, 2048, 131072 },
    { "Qwen-7B", "MHA", 32, 0, 1, 8192, 524288 },
    { "Qwen2.5-0.5B", "GQA-2", 24, 0, 1, 256, 12288 },
    { "Qwen2.5-7B", "GQA-4", 28, 0, 1, 1024, 57344 },
    { "Qwen2.5-32B", "GQA-8", 64, 0, 1, 2048, 262144 },
    { "Qwen3-0.6B", "GQA-8", 28, 0, 1, 2048, 114688 },
    { "Qwen3-1.7B", "GQA-8", 28, 0, 1, 2048, 114688 },
    { "Qwen3-4B", "GQA-8", 36, 0, 1, 2048, 147456 },
    { "Qwen3-8B", "GQA-8", 36, 0, 1, 2048, 147456 },
    { "Qwen3-14B", "GQA-8", 40, 0, 1, 2048, 163840 },
    { "Qwen3-30B-A3B", "GQA-4", 48, 0, 1, 1024, 98304 },
    { "Qwen3-Coder-480B-A35B-Instruct", "GQA-8", 62, 0, 1, 2048, 253952 },
    { "Qwen3-Next-80B-A3B", "GQA-2, 36 of 48 state", 48, 0, 2, 1024, 24576 },
    { "Qwen3.5-35B-A3B", "GQA-2, 30 of 40 state", 40, 1, 2, 1024, 20480 },
    { "Qwen3.5-122B-A10B", "GQA-2, 36 of 48 state", 48, 1, 2, 1024, 24576 },
    { "stablelm-3b", "MHA", 32, 0, 1, 5120, 327680 },
    { "Yi-34B", "GQA-8", 60, 0, 1, 2048, 245760 },
};
enum { ROWS = sizeof rows / sizeof *rows };

Test(architecture, every_shipped_model_keeps_what_its_publishers_say) {
    for (size_t i = 0; i < ROWS; i++) {
        const Architecture a = shipped(rows[i].name);
        double largest = 0;
        for (size_t k = 0; k < a.kind_count; k++)
            if (cache_kind_growth(&a.kind[k]) > largest) largest = cache_kind_growth(&a.kind[k]);
        cr_expect_str_eq(a.name, rows[i].name);
        cr_expect_str_eq(a.attention, rows[i].attention, "%s: %s", a.name, a.attention);
        cr_expect(a.layers == rows[i].layers && a.draft_layers == rows[i].draft_layers, "%s",
                  a.name);
        cr_expect_eq(a.kind_count, rows[i].kinds, "%s: %zu kinds", a.name, a.kind_count);
        cr_expect_eq(largest, rows[i].layer_elements, "%s: %g", a.name, largest);
        cr_expect_eq(2 * growth(&a), rows[i].bf16_bytes, "%s: %g", a.name, 2 * growth(&a));
    }
}

Test(architecture, no_shipped_model_is_left_out_above) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const size_t count = models_names(names);
    cr_assert_eq(count, ROWS);
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (size_t j = 0; j < ROWS; j++) found += strcmp(names[i], rows[j].name) == 0;
        cr_expect_eq(found, 1, "%s", names[i]);
    }
}

/* Every layer has the kind that the counts say, and every kind a rule. */
Test(architecture, layers_and_kinds_agree) {
    for (size_t i = 0; i < ROWS; i++) {
        const Architecture a = shipped(rows[i].name);
        size_t layers[CACHE_KINDS_MOST] = { 0 }, drafts[CACHE_KINDS_MOST] = { 0 };
        for (size_t layer = 0; layer < a.layers + a.draft_layers; layer++) {
            if (a.layer_kind[layer] == NO_CACHE) continue;
            cr_assert_lt(a.layer_kind[layer], a.kind_count);
            size_t *counts = layer < a.layers ? layers : drafts;
            counts[a.layer_kind[layer]] += a.layer_caches[layer];
        }
        for (size_t k = 0; k < a.kind_count; k++) {
            cr_expect(layers[k] == a.kind[k].layers && drafts[k] == a.kind[k].draft_layers, "%s",
                      a.name);
            cr_expect(layers[k] + drafts[k] > 0);
        }
    }
}
