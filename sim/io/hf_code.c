/* hf_code.c -- what the code of a model's family decides and its config.json may leave out; see
 * hf_reading.h. Everything a file says wins over what stands here.
 *
 * A row is here because a real file of the family lacks a field. The entries on windows, chunks and
 * attention_blocks change a cache; the others change the number of parameters. */
#include <string.h>

#include "hf_reading.h"

static const HfCode rows[] = {
    /* Layers 0, 2, ... have the window; the file gives its width alone. */
    { "gemma2", .full_every = 2, .others = ROLE_WINDOW, .tied = true, .sandwiched = true },
    /* Five windows, then one without: sliding_window_pattern is 6 where a file has none. */
    { "gemma3_text", .full_every = 6, .others = ROLE_WINDOW, .vocabulary = 262208,
      .longest_tokens = 131072, .tied = true, .sandwiched = true, .qk_norm = true },
    /* One width for every layer; other families keep windows to some layers, which they list. */
    { "mistral", .all_windowed = true },
    { "mixtral", .all_windowed = true },
    { "phi3", .all_windowed = true },
    { "phimoe", .all_windowed = true },
    { "starcoder2", .all_windowed = true, .tied = true, .ungated = true, .biased = true },
    { "gemma", .tied = true },
    { "cohere", .tied = true, .parallel = true },
    /* Three windows, then one without. */
    { "cohere2", .full_every = 4, .others = ROLE_WINDOW, .tied = true, .parallel = true },
    /* Every fourth layer has no RoPE, and no chunks: no_rope_layers where the file has them. */
    { "llama4_text", .full_every = 4, .others = ROLE_CHUNK, .shared_experts = 1 },
    /* The names that GGUF has for families above, and gpt-oss, whose windows come first there. */
    { "gemma3", .full_every = 6, .others = ROLE_WINDOW },
    { "gemma3n", .full_every = 5, .others = ROLE_WINDOW },
    { "gpt-oss", .full_every = 2, .others = ROLE_WINDOW },
    { "llama4", .full_every = 4, .others = ROLE_CHUNK },
    /* Each layer holds two attentions, each with a latent of its own. */
    { "longcat_flash", .attention_blocks = 2, .dense_beside = 2 },
    { "qwen", .qkv_biased = true, .halved_mlp = true },
    { "qwen2", .qkv_biased = true },
    { "qwen2_moe", .qkv_biased = true },
    { "qwen3", .qk_norm = true },
    { "qwen3_moe", .qk_norm = true },
    { "qwen3_next", .qk_norm = true, .gated_output = true },
    { "qwen3_5_moe_text", .qk_norm = true },
    { "qwen3_5_text", .qk_norm = true },
    { "gpt2", .tied = true, .ungated = true, .biased = true, .positions_extra = 1 },
    { "gpt_bigcode", .tied = true, .ungated = true, .biased = true, .positions_extra = 1 },
    { "gptj", .ungated = true, .parallel = true },
    { "gpt_neox", .ungated = true, .biased = true },
    { "codegen", .ungated = true, .parallel = true },
    { "opt", .tied = true, .ungated = true, .biased = true, .positions_extra = 3 },
    { "bloom", .tied = true, .ungated = true, .biased = true },
    { "mpt", .tied = true, .ungated = true },
    { "falcon", .tied = true, .ungated = true, .parallel = true },
    { "phi", .ungated = true, .biased = true, .parallel = true },
    { "nemotron", .ungated = true },
    { "nemotron_h", .ungated = true },
    { "gpt_oss", .expert_biases = true },
    { "minicpm3", .tied = true },
};

const HfCode *hf_code(const char *model_type) {
    static const HfCode none = { .model_type = "" };
    for (size_t i = 0; model_type && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].model_type, model_type) == 0) return &rows[i];
    return &none;
}

/* Families whose files leave nothing of this to code, under both of their names. */
static const char *const plain[] = {
    /* config.json */
    "arctic",
    "baichuan",
    "bamba",
    "chatglm",
    "command-r",
    "dbrx",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_v4",
    "dots1",
    "ernie4_5",
    "ernie4_5_moe",
    "exaone",
    "falcon_mamba",
    "glm",
    "glm4",
    "glm4_moe",
    "glm_moe_dsa",
    "granite",
    "granitemoe",
    "granitemoehybrid",
    "hunyuan_v1_dense",
    "hunyuan_v1_moe",
    "internlm2",
    "jamba",
    "kimi_k2",
    "kimi_k25",
    "kimi_k3",
    "kimi_linear",
    "lfm2",
    "lfm2_moe",
    "llama",
    "mamba",
    "mamba2",
    "medusa",
    "eagle",
    "mimo",
    "mimo_v2_flash",
    "minicpm",
    "minimax",
    "minimax_m1",
    "minimax_m2",
    "minimax_text_01",
    "mistral3",
    "mllama",
    "mllama_text_model",
    "nemotron-nas",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_vl",
    "qwen3_vl_moe",
    "seed_oss",
    "smollm3",
    "solar",
    "stablelm",
    "yuan",
    "zamba",
    "zamba2",
    /* general.architecture of a .gguf file */
    "deepseek2",
    "glm-dsa",
    "glm4moe",
    "gptneox",
    "granitehybrid",
    "lfm2moe",
    "minimax-m2",
    "nemotron_h_moe",
    "olmoe",
    "phimoe",
    "qwen2moe",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "refact",
    "seed_oss",
    "starcoder",
    "mimo2",
};

bool hf_code_known(const char *model_type) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].model_type, model_type) == 0) return true;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(plain[i], model_type) == 0) return true;
    return false;
}
