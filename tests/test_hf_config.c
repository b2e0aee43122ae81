/* test_hf_config.c -- the reader of config.json against every model that ships, against another
 * reader's results, and against files that are wrong or that it must refuse. */
#include "hf_config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models.h"

/* Layers, heads and widths as their publishers state them; bytes of bf16 a token in all layers. */
static const struct {
    const char *name, *label;
    size_t layers, heads, kv_heads, key_dim, bytes;
} shipped[] = {
    { "Baichuan2-7B", "MHA", 32, 32, 32, 128, 524288 },
    { "c4ai-command-r-35b", "MHA", 40, 64, 64, 128, 1310720 },
    { "chatglm3-6b", "GQA-2", 28, 32, 2, 128, 28672 },
    { "DeepSeek-Coder-V2-Instruct", "MLA-512+64", 60, 128, 128, 192, 69120 },
    { "DeepSeek-Coder-V2-Lite-Instruct", "MLA-512+64", 27, 16, 16, 192, 31104 },
    { "DeepSeek-R1", "MLA-512+64", 61, 128, 128, 192, 70272 },
    { "DeepSeek-V2-Lite", "MLA-512+64", 27, 16, 16, 192, 31104 },
    { "DeepSeek-V3", "MLA-512+64", 61, 128, 128, 192, 70272 },
    { "EXAONE-3-7.8B", "GQA-8", 32, 32, 8, 128, 131072 },
    { "falcon-7b-instruct", "MQA", 32, 71, 1, 64, 8192 },
    { "gemma-7b", "MHA", 28, 16, 16, 256, 458752 },
    { "glm-4-9b", "GQA-2", 40, 32, 2, 128, 40960 },
    { "gpt2-large", "MHA", 36, 20, 20, 64, 184320 },
    { "Kimi-K2-Instruct", "MLA-512+64", 61, 64, 64, 192, 70272 },
    { "Llama-2-7b-hf", "MHA", 32, 32, 32, 128, 524288 },
    { "Llama-2-13b-hf", "MHA", 40, 40, 40, 128, 819200 },
    { "Llama-2-70b-chat-hf", "GQA-8", 80, 64, 8, 128, 327680 },
    { "Llama-3.1-8B", "GQA-8", 32, 32, 8, 128, 131072 },
    { "Llama-3.1-70B", "GQA-8", 80, 64, 8, 128, 327680 },
    { "Llama-3.1-405B", "GQA-8", 126, 128, 8, 128, 516096 },
    { "Llama-3.2-1B", "GQA-8", 16, 32, 8, 64, 32768 },
    { "Llama-3.2-3B", "GQA-8", 28, 24, 8, 128, 114688 },
    { "Meta-Llama-3-70B", "GQA-8", 80, 64, 8, 128, 327680 },
    { "MiniCPM3-4B", "MLA-256+32", 62, 40, 40, 96, 35712 },
    { "MiniMax-M2.5", "GQA-8", 62, 48, 8, 128, 253952 },
    { "Mistral-7B-Instruct-v0.2", "GQA-8", 32, 32, 8, 128, 131072 },
    { "Mistral-Nemo-Instruct-2407", "GQA-8", 40, 32, 8, 128, 163840 },
    { "Mixtral-8x7B-v0.1", "GQA-8", 32, 32, 8, 128, 131072 },
    { "Mixtral-8x22B-v0.1", "GQA-8", 56, 48, 8, 128, 229376 },
    { "mpt-7b", "MHA", 32, 32, 32, 128, 524288 },
    { "Phi-3-mini-128k-instruct", "MHA", 32, 32, 32, 96, 393216 },
    { "Phi-3.5-MoE-instruct", "GQA-8", 32, 32, 8, 128, 131072 },
    { "Qwen-7B", "MHA", 32, 32, 32, 128, 524288 },
    { "Qwen2.5-0.5B", "GQA-2", 24, 14, 2, 64, 12288 },
    { "Qwen2.5-7B", "GQA-4", 28, 28, 4, 128, 57344 },
    { "Qwen2.5-32B", "GQA-8", 64, 40, 8, 128, 262144 },
    { "Qwen2.5-72B", "GQA-8", 80, 64, 8, 128, 327680 },
    { "Qwen3-0.6B", "GQA-8", 28, 16, 8, 128, 114688 },
    { "Qwen3-1.7B", "GQA-8", 28, 16, 8, 128, 114688 },
    { "Qwen3-4B", "GQA-8", 36, 32, 8, 128, 147456 },
    { "Qwen3-8B", "GQA-8", 36, 32, 8, 128, 147456 },
    { "Qwen3-14B", "GQA-8", 40, 40, 8, 128, 163840 },
    { "Qwen3-32B", "GQA-8", 64, 64, 8, 128, 262144 },
    { "Qwen3-30B-A3B", "GQA-4", 48, 32, 4, 128, 98304 },
    { "Qwen3-Coder-480B-A35B-Instruct", "GQA-8", 62, 96, 8, 128, 253952 },
    { "stablelm-3b", "MHA", 32, 32, 32, 80, 327680 },
    { "Yi-34B", "GQA-8", 60, 56, 8, 128, 245760 },
};
enum { SHIPPED = sizeof shipped / sizeof *shipped };

/* Planned and not run: the fields that each such model must be refused by. */
static const char *const refused[][2] = {
    { "DeepSeek-V3.2", "index_head_dim: index keys beside the cache" },
    { "DeepSeek-V4-Flash", "compress_ratios, sliding_window: compressed keys and values" },
    { "gemma-2-2b", "model_type, sliding_window: a sliding window" },
    { "gemma-2-9b", "model_type, sliding_window: a sliding window" },
    { "gemma-3-1b", "sliding_window_pattern, sliding_window: a sliding window" },
    { "gemma-3-27b-it", "model_type, sliding_window: a sliding window" },
    { "GLM-5", "index_head_dim: index keys beside the cache" },
    { "gpt-oss-20b", "layer_types, sliding_window: a sliding window" },
    { "gpt-oss-120b", "layer_types, sliding_window: a sliding window" },
    { "Kimi-K3", "linear_attn_config: linear or recurrent layers" },
    { "Llama-3.2-11B-Vision", "cross_attention_layers: cross attention" },
    { "Llama-4-Scout-17B-16E-Instruct", "model_type, attention_chunk_size: chunked attention" },
    { "MiMo-V2-Flash", "hybrid_layer_pattern, swa_head_dim, sliding_window: a sliding window" },
    { "MiniMax-M1", "attn_type_list: linear or recurrent layers" },
    { "Mistral-7B-v0.1", "sliding_window: a sliding window" },
    { "Nemotron-3-Nano-30B-A3B-BF16", "hybrid_override_pattern, mamba_num_heads: linear" },
    { "Nemotron-H-56B-Base-8K", "hybrid_override_pattern, mamba_num_heads: linear" },
    { "Phi-3-mini-4k-instruct", "sliding_window: a sliding window" },
    { "Qwen3-Next-80B-A3B", "full_attention_interval, linear_num_value_heads: linear" },
    { "Qwen3.5-35B-A3B", "full_attention_interval, linear_num_value_heads: linear" },
    { "Qwen3.5-122B-A10B", "full_attention_interval, linear_num_value_heads: linear" },
};
enum { REFUSED = sizeof refused / sizeof *refused };

static Model shipped_model(const char *name) {
    Model model = { 0 };
    Error err = { 0 };
    cr_assert_eq(model_read(&model, name, &err), OK, "%s", err.text);
    return model;
}

/* A plain model of 2 layers and 4 heads of 32, with more fields before the rest: ours win, since a
 * key may be given once. */
static Status parse(Model *model, const char *more, Error *err) {
    static const char *const plain[][2] = { { "num_hidden_layers", "2" },
                                            { "hidden_size", "128" },
                                            { "num_attention_heads", "4" } };
    char text[2048];
    size_t used = (size_t)snprintf(text, sizeof text, "{%s", more);
    for (size_t i = 0; i < 3; i++) {
        char key[64];
        snprintf(key, sizeof key, "\"%s\"", plain[i][0]);
        if (strstr(more, key)) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s: %s",
                                 text[used - 1] == '{' ? "" : ", ", key, plain[i][1]);
    }
    snprintf(text + used, sizeof text - used, "}");
    Json *json = NULL;
    cr_assert_eq(json_parse(&json, "config.json", text, strlen(text), err), OK, "%s: %s", text,
                 err->text);
    const Status status = hf_config_parse(model, json, "config.json", "x", err);
    json_free(json);
    return status;
}

static Model parsed(const char *more) {
    Model model = { 0 };
    Error err = { 0 };
    cr_assert_eq(parse(&model, more, &err), OK, "%s: %s", more, err.text);
    return model;
}

#define LATENT "\"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16, \"qk_rope_head_dim\": 8"

Test(hf_config, every_shipped_model_has_its_published_shape) {
    for (size_t i = 0; i < SHIPPED; i++) {
        const Model model = shipped_model(shipped[i].name);
        char label[32];
        model_label(&model, label, sizeof label);
        cr_expect_str_eq(label, shipped[i].label, "%s", shipped[i].name);
        cr_expect_str_eq(model.name, shipped[i].name);
        cr_expect(model.layers == shipped[i].layers && model.heads == shipped[i].heads &&
                      model.kv_heads == shipped[i].kv_heads && model.key_dim == shipped[i].key_dim,
                  "%s", shipped[i].name);
        cr_expect_eq(model_cache_bytes_per_token(&model, PATH_ABSORBED, kv_type(ROW_BF16)),
                     shipped[i].bytes, "%s", shipped[i].name);
    }
}

Test(hf_config, what_is_not_computed_is_refused_by_its_field) {
    for (size_t i = 0; i < REFUSED; i++) {
        Model model = { .layers = 7 };
        Error err = { 0 };
        cr_expect_eq(model_read(&model, refused[i][0], &err), ERR_INPUT, "%s", refused[i][0]);
        cr_expect(strstr(err.text, refused[i][1]), "%s: %s", refused[i][0], err.text);
        cr_expect(strstr(err.text, "config.json:"), "%s", err.text);
        cr_expect_eq(model.layers, 7, "untouched on failure");
    }
}

Test(hf_config, no_shipped_model_is_in_neither_list) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const size_t count = models_names(names);
    cr_assert_eq(count, SHIPPED + REFUSED);
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (size_t j = 0; j < SHIPPED; j++) found += strcmp(names[i], shipped[j].name) == 0;
        for (size_t j = 0; j < REFUSED; j++) found += strcmp(names[i], refused[j][0]) == 0;
        cr_expect_eq(found, 1, "%s", names[i]);
    }
}

Test(hf_config, deepseek_v3_is_read_in_full) {
    const Model m = shipped_model("DeepSeek-V3");
    cr_assert(m.hidden == 7168 && m.q_lora_rank == 1536 && m.kv_lora_rank == 512);
    cr_assert(m.nope_dim == 128 && m.rope_dim == 64 && m.value_dim == 128);
    cr_assert(m.rope.scaling == ROPE_YARN && m.rope.interleaved && m.rope.dim == 64);
    cr_assert(m.rope.theta == 10000 && m.rope.factor == 40 && m.rope.original_tokens == 4096);
    cr_assert(m.rope.beta_fast == 32 && m.rope.beta_slow == 1);
    cr_assert(fabs(model_softmax_scale(&m) - 0.13523378) < 1e-8);
    cr_assert_eq(rope_amplitude(&m.rope), 1);
    cr_assert_eq(model_attention_parameters(&m), 187107328);
    cr_assert_not(m.attention_bias);
}

Test(hf_config, v2_lite_has_no_query_rank_and_a_smaller_mscale) {
    const Model m = shipped_model("DeepSeek-V2-Lite");
    cr_assert_eq(m.q_lora_rank, 0);
    cr_assert(fabs(model_softmax_scale(&m) - 0.11472139) < 1e-8);
}

Test(hf_config, minicpm3_leaves_its_value_width_to_its_code) {
    const Model m = shipped_model("MiniCPM3-4B");
    cr_assert_eq(m.value_dim, 64);
    cr_assert_eq(m.q_lora_rank, 768);
    cr_assert(m.rope.scaling == ROPE_PLAIN && m.rope.scaling_left_out);
}

Test(hf_config, llama_3_1_scales_by_wavelength) {
    const Model m = shipped_model("Llama-3.1-8B");
    cr_assert(m.rope.scaling == ROPE_LLAMA3 && m.rope.theta == 500000 && m.rope.factor == 8);
    cr_assert(m.rope.low_freq_factor == 1 && m.rope.high_freq_factor == 4);
    cr_assert(m.rope.original_tokens == 8192 && !m.rope.interleaved && m.rope_dim == 128);
}

/* Layers, heads, head size and key/value heads as vLLM reads them. */
Test(hf_config, another_reader_finds_the_same_shapes) {
    static const char *const pairs[][2] = { { "tiiuae/falcon-7b", "falcon-7b-instruct" },
                                            { "mosaicml/mpt-7b", "mpt-7b" } };
    Json *truth = NULL;
    Error err = { 0 };
    cr_assert_eq(json_read(&truth,
                           KVLAB_TESTS "/models/groundtruth/vllm_base_model_arch_groundtruth.json",
                           &err),
                 OK, "%s", err.text);
    for (size_t i = 0; i < 2; i++) {
        const Json *entry = json_get(truth, pairs[i][0]);
        const Model m = shipped_model(pairs[i][1]);
        const struct {
            const char *key;
            size_t value;
        } same[] = { { "hidden_size", m.hidden },
                     { "total_num_hidden_layers", m.layers },
                     { "total_num_attention_heads", m.heads },
                     { "head_size", m.key_dim },
                     { "total_num_kv_heads", m.kv_heads } };
        for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
            long long value = 0;
            cr_assert(json_whole(json_get(entry, same[k].key), &value), "%s", same[k].key);
            cr_assert_eq((size_t)value, same[k].value, "%s %s", pairs[i][0], same[k].key);
        }
    }
    json_free(truth);
}

Test(hf_config, every_spelling_of_a_size_is_read) {
    static const struct {
        const char *folder;
        size_t heads, kv_heads, key_dim, rope_dim;
    } rows[] = { { "bloom", 16, 16, 128, 0 },      { "chatglm", 16, 2, 128, 128 },
                 { "codegen", 16, 16, 128, 64 },   { "deepseekv2", 128, 128, 192, 64 },
                 { "falcon-7b", 16, 1, 284, 284 }, { "gptbigcode", 16, 1, 128, 0 },
                 { "gptj", 16, 16, 256, 64 },      { "gptneox", 16, 16, 128, 32 },
                 { "opt", 16, 16, 128, 128 },      { "phi", 32, 32, 80, 32 },
                 { "qwen", 16, 16, 128, 128 },     { "yuan", 32, 32, 64, 64 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[512];
        snprintf(path, sizeof path, KVLAB_TESTS "/models/reduced/%s", rows[i].folder);
        const Model m = shipped_model(path);
        cr_expect_str_eq(m.name, rows[i].folder);
        cr_expect(m.heads == rows[i].heads && m.kv_heads == rows[i].kv_heads, "%s", rows[i].folder);
        cr_expect(m.key_dim == rows[i].key_dim && m.rope_dim == rows[i].rope_dim, "%s: %zu %zu",
                  rows[i].folder, m.key_dim, m.rope_dim);
    }
}

Test(hf_config, other_architectures_of_the_fixtures_are_refused) {
    static const char *const rows[][2] = { { "jamba", "attn_layer_period, mamba_d_state" },
                                           { "mllama", "cross_attention_layers" },
                                           { "t5", "is_encoder_decoder" },
                                           { "whisper", "is_encoder_decoder" } };
    for (size_t i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, KVLAB_TESTS "/models/reduced/%s/config.json", rows[i][0]);
        Model model;
        Error err = { 0 };
        cr_expect_eq(model_read(&model, path, &err), ERR_INPUT);
        cr_expect(strstr(err.text, rows[i][1]), "%s", err.text);
    }
}

Test(hf_config, key_value_heads_follow_the_fields) {
    cr_assert_eq(parsed("").kind, ATTENTION_MHA);
    cr_assert_eq(parsed("\"num_key_value_heads\": null").kv_heads, 4);
    cr_assert_eq(parsed("\"num_key_value_heads\": 2").kind, ATTENTION_GQA);
    cr_assert_eq(parsed("\"num_key_value_heads\": 1").kind, ATTENTION_MQA);
    cr_assert_eq(parsed("\"n_head_kv\": 2").kv_heads, 2);
    cr_assert_eq(parsed("\"multi_query\": true, \"num_kv_heads\": 4").kv_heads, 1);
    cr_assert_eq(parsed("\"multi_query\": false, \"num_kv_heads\": 2").kv_heads, 2);
    cr_assert_eq(parsed("\"multi_query\": true, \"new_decoder_architecture\": true, "
                        "\"num_kv_heads\": 2")
                     .kv_heads,
                 2);
    cr_assert_eq(parsed("\"multi_query_attention\": true, \"multi_query_group_num\": 2").kv_heads,
                 2);
    cr_assert_eq(parsed("\"multi_query_attention\": false, \"multi_query_group_num\": 2").kv_heads,
                 4);
    cr_assert_eq(parsed("\"attn_config\": {\"kv_n_heads\": 2}").kv_heads, 2);
    cr_assert_eq(parsed("\"attn_config\": {\"attn_type\": \"multiquery_attention\"}").kv_heads, 1);
}

Test(hf_config, head_widths_are_given_or_derived) {
    cr_assert_eq(parsed("").key_dim, 32);
    cr_assert_eq(parsed("\"head_dim\": 48").key_dim, 48);
    cr_assert_eq(parsed("\"head_dim\": null").key_dim, 32);
    const Model narrow = parsed("\"head_dim\": 48, \"v_head_dim\": 24");
    cr_assert(narrow.value_dim == 24 &&
              model_cache_elements(&narrow, PATH_MATERIALISED) == 4 * (48 + 24));
}

Test(hf_config, mla_is_told_by_its_latent_alone) {
    const Model m = parsed(LATENT ", \"v_head_dim\": 24, \"head_dim\": 99, "
                                  "\"num_key_value_heads\": 1, \"q_lora_rank\": null");
    cr_assert(m.kind == ATTENTION_MLA && m.kv_heads == 4 && m.q_lora_rank == 0);
    cr_assert(m.key_dim == 24 && m.value_dim == 24 && m.rope_dim == 8);
    cr_assert_eq(parsed(LATENT).value_dim, 32, "hidden_size / heads");
    cr_assert_eq(parsed("\"kv_lora_rank\": null").kind, ATTENTION_MHA);
}

Test(hf_config, pairs_lie_side_by_side_in_mla_and_apart_elsewhere) {
    cr_assert_not(parsed("").rope.interleaved);
    cr_assert(parsed(LATENT).rope.interleaved);
    cr_assert_not(parsed(LATENT ", \"rope_interleave\": false").rope.interleaved);
    cr_assert(parsed("\"rope_interleave\": true").rope.interleaved);
}

Test(hf_config, rope_is_read_in_old_and_new_spellings) {
    const Rope old = parsed("\"rope_theta\": 5e5, \"rope_scaling\": {\"type\": \"linear\", "
                            "\"factor\": 4}")
                         .rope;
    const Rope new = parsed("\"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"linear\", "
                            "\"factor\": 4}")
                         .rope;
    cr_assert(old.scaling == ROPE_LINEAR && old.theta == 5e5 && old.factor == 4 && old.dim == 32);
    cr_assert_eq(memcmp(&old, &new, sizeof old), 0);
    cr_assert_eq(parsed("\"rope_scaling\": null").rope.scaling, ROPE_PLAIN);
    cr_assert_eq(parsed("\"rope_scaling\": {\"rope_type\": \"default\"}").rope.scaling, ROPE_PLAIN);
    cr_assert_eq(parsed("").rope.theta, 10000);
    cr_assert_eq(parsed("\"rotary_emb_base\": 20000").rope.theta, 20000);
    cr_assert_eq(parsed("\"rope_ratio\": 500").rope.theta, 5e6);
}

Test(hf_config, yarn_defaults_follow_transformers) {
    const Rope rope = parsed("\"max_position_embeddings\": 4096, \"rope_scaling\": "
                             "{\"type\": \"yarn\", \"factor\": 4}")
                          .rope;
    cr_assert(rope.beta_fast == 32 && rope.beta_slow == 1 && rope.original_tokens == 4096);
    cr_assert(fabs(rope_amplitude(&rope) - (0.1 * log(4) + 1)) < 1e-12);
    cr_assert_not(rope.ramp_between_pairs);
}

/* Llama's code applies mscale as an amplitude and leaves the softmax alone; DeepSeek's does both.
 */
Test(hf_config, only_mla_sharpens_its_softmax_under_yarn) {
#define YARN                                                                                       \
    "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40, \"mscale\": 1.0, "                     \
    "\"mscale_all_dim\": 0.5, \"original_max_position_embeddings\": 64}"
    const Model heads = parsed(YARN), latent = parsed(LATENT ", " YARN);
    const double amplitude = rope_mscale(40, 1) / rope_mscale(40, 0.5);
    cr_assert(fabs(rope_amplitude(&heads.rope) - amplitude) < 1e-12);
    cr_assert(fabs(rope_amplitude(&latent.rope) - amplitude) < 1e-12);
    cr_assert(fabs(model_softmax_scale(&heads) - 1 / sqrt(32)) < 1e-12);
    const double sharper = rope_mscale(40, 0.5) * rope_mscale(40, 0.5) / sqrt(24);
    cr_assert(fabs(model_softmax_scale(&latent) - sharper) < 1e-12);
}

Test(hf_config, a_part_of_a_head_may_be_rotated) {
    cr_assert_eq(parsed("\"partial_rotary_factor\": 0.25").rope_dim, 8);
    cr_assert_eq(parsed("\"rope_parameters\": {\"partial_rotary_factor\": 0.5}").rope_dim, 16);
    cr_assert_eq(parsed("\"rotary_pct\": 0.25").rope.dim, 8);
    cr_assert_eq(parsed("\"rotary_dim\": 12").rope.dim, 12);
    cr_assert_eq(parsed("\"alibi\": true").rope.dim, 0);
    cr_assert_eq(parsed("\"n_positions\": 64").rope.dim, 0, "learned positions");
    cr_assert_eq(parsed("\"n_positions\": 64, \"rotary_dim\": 16").rope.dim, 16);
}

Test(hf_config, biases_are_those_of_the_fields) {
    const Model all = parsed("\"attention_bias\": true"), inputs = parsed("\"qkv_bias\": true");
    cr_assert(all.attention_bias && all.output_bias);
    cr_assert(inputs.attention_bias && !inputs.output_bias);
    cr_assert_not(parsed("\"attention_bias\": false").attention_bias);
    cr_assert(parsed("\"use_qk_norm\": true").qk_norm);
    cr_assert_eq(parsed("\"layer_norm_epsilon\": 1e-5").rms_norm_eps, 1e-5);
}

Test(hf_config, an_inactive_window_is_no_window) {
    parsed("\"sliding_window\": null");
    parsed("\"sliding_window\": 64, \"use_sliding_window\": false");
    parsed("\"sliding_window\": 4096, \"max_position_embeddings\": 4096");
    parsed("\"layer_types\": [\"full_attention\", \"full_attention\"]");
    parsed("\"index_topk\": null, \"attention_chunk_size\": null");
    parsed("\"attn_config\": {\"sliding_window_size\": -1}");
}

Test(hf_config, text_models_are_read_where_they_are_nested) {
    Json *json = NULL;
    Error err = { 0 };
    Model m = { 0 };
    static const char text[] =
        "{\"hidden_size\": 1, \"vision_config\": {\"num_hidden_layers\": 99}, \"text_config\": "
        "{\"num_hidden_layers\": 3, \"hidden_size\": 128, \"num_attention_heads\": 4}}";
    cr_assert_eq(json_parse(&json, "c", text, sizeof text - 1, &err), OK);
    cr_assert_eq(hf_config_parse(&m, json, "c", "nested", &err), OK, "%s", err.text);
    cr_assert(m.layers == 3 && m.hidden == 128);
    cr_assert_str_eq(m.name, "nested");
    json_free(json);
}

Test(hf_config, mistakes_are_named_with_file_key_and_what_is_allowed) {
    static const char *const rows[][2] = {
        { "\"num_hidden_layers\": null, \"num_hidden_layer\": 2",
          "config.json: num_hidden_layers: missing; also read: n_layer, n_layers, num_layers; the "
          "file has num_hidden_layer" },
        { "\"num_hidden_layers\": 0", "num_hidden_layers: 0; allowed: 1 to 1024" },
        { "\"num_hidden_layers\": -1", "num_hidden_layers: -1" },
        { "\"num_hidden_layers\": 9223372036854775807", "allowed: 1 to 1024" },
        { "\"num_hidden_layers\": 2.0", "not a whole number" },
        { "\"num_hidden_layers\": \"2\"", "not a whole number" },
        { "\"num_hidden_layers\": [2]", "not a whole number" },
        { "\"n_layer\": 3", "n_layer: 3, but num_hidden_layers says 2" },
        { "\"num_attention_heads\": 3", "head_dim: missing, and 128 hidden values" },
        { "\"num_key_value_heads\": 3", "3 do not divide the 4 query heads" },
        { "\"num_key_value_heads\": 8", "8 do not divide the 4 query heads" },
        { "\"num_key_value_heads\": [1, 2]", "num_key_value_heads: [1,2]: not a whole number" },
        { "\"multi_query\": 1", "multi_query: 1: neither true nor false" },
        { "\"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16", "qk_rope_head_dim: missing" },
        { "\"kv_lora_rank\": 0", "kv_lora_rank: 0; allowed" },
        { "\"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16, \"qk_rope_head_dim\": 7",
          "qk_rope_head_dim: 7; allowed: an even number" },
        { "\"head_dim\": 33", "33 rotated values of a head" },
        { "\"rotary_dim\": 64", "rotary_dim: 64; allowed: 1 to 32" },
        { "\"partial_rotary_factor\": 1.5", "partial_rotary_factor: 1.5; allowed: 0 to 1" },
        { "\"rope_theta\": 0", "rope_theta: 0; allowed: 2 to" },
        { "\"rope_theta\": \"10000\"", "rope_theta: \"10000\": not a number" },
        { "\"rope_scaling\": 4", "rope_scaling: not an object" },
        { "\"rope_scaling\": {\"type\": \"yarm\", \"factor\": 2}",
          "rope_scaling.type: yarm: no such scaling" },
        { "\"rope_scaling\": {\"type\": \"yarm\"}", "did you mean yarn?" },
        { "\"rope_scaling\": {\"type\": 7}", "rope_scaling.type: not a string" },
        { "\"rope_scaling\": {\"type\": \"linear\"}", "rope_scaling.factor: missing" },
        { "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", "rope_scaling.factor: 0" },
        { "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4}",
          "rope_scaling.original_max_position_embeddings: missing" },
        { "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
          "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
          "high_freq_factor: 4; allowed: above low_freq_factor, 4" },
        { "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e6}}",
          "rope_parameters.full_attention: rotary embeddings that differ from layer to layer" },
        { "\"rms_norm_eps\": -1", "rms_norm_eps: -1" },
        { "\"text_config\": 3", "text_config: not an object" },
        { "\"text_config\": {}", "text_config.num_hidden_layers: missing" },
        { "\"sliding_window\": 64", "sliding_window: 64: the file does not say of which layers" },
        { "\"sliding_window\": 64, \"model_type\": \"mistral\"",
          "sliding_window: a sliding window: a kind of cache that kvlab plans and does not run" },
        { "\"sliding_window\": 64, \"max_position_embeddings\": 65", "sliding_window" },
        { "\"layer_types\": [\"full_attention\", \"sliding_attention\"]",
          "sliding_window: missing, but layer_types has layers with a window" },
        { "\"layer_types\": [1, 2]", "layer_types: not a string, of layer 0" },
        { "\"mamba_d_state\": 16", "mamba_d_state: kvlab does not know this field" },
        { "\"swa_head_dim\": 16", "swa_head_dim" },
        { "\"attn_config\": {\"sliding_window_size\": 64}",
          "attn_config.sliding_window_size: kvlab does not know this field" },
        { "\"num_kv_shared_layers\": 1", "layers without a cache of their own" },
        { "\"mla_scale_kv_lora\": true, " LATENT, "mla_scale_kv_lora" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Model model = { .layers = 7 };
        Error err = { 0 };
        cr_expect_eq(parse(&model, rows[i][0], &err), ERR_INPUT, "%s", rows[i][0]);
        cr_expect(strstr(err.text, rows[i][1]), "%s: %s", rows[i][0], err.text);
        cr_expect_eq(strncmp(err.text, "config.json: ", 13), 0, "%s", err.text);
        cr_expect_eq(model.layers, 7, "untouched on failure");
    }
}

Test(hf_config, a_document_that_is_no_object_is_refused) {
    Json *json = NULL;
    Error err = { 0 };
    Model model;
    cr_assert_eq(json_parse(&json, "c.json", "[1]", 3, &err), OK);
    cr_assert_eq(hf_config_parse(&model, json, "c.json", "x", &err), ERR_INPUT);
    cr_assert_str_eq(err.text, "c.json: not a JSON object");
    json_free(json);
}
