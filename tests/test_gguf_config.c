/* test_gguf_config.c -- architectures out of .gguf files made here: by their own keys, with the
 * weights that are stored. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "architecture.h"
#include "gguf_files.h"

static GgufFile file;
static unsigned char bytes[GGUF_FILE_ROOM];

static void begin(const char *type) {
    memset(&file, 0, sizeof file);
    gguf_string(&file, "general.architecture", type);
}

/* A key of the architecture. */
static void own(const char *type, const char *suffix, uint32_t value) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", type, suffix);
    gguf_u32(&file, key, value);
}

static void own_list(const char *type, const char *suffix, const uint32_t *values, size_t count) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", type, suffix);
    gguf_list(&file, key, values, count);
}

/* `layers` layers of 4 heads and 256 values; F16 attention of 256 x 64 and an MLP in each. */
static void base(const char *type, uint32_t layers) {
    begin(type);
    own(type, "block_count", layers);
    own(type, "embedding_length", 256);
    own(type, "feed_forward_length", 512);
    own(type, "context_length", 4096);
    own(type, "attention.head_count", 4);
    gguf_tokens(&file, 10);
}

static void tensors(uint32_t layers) {
    gguf_row(&file, "token_embd.weight", 1, 256, 10, 256 * 10 * 2);
    gguf_row(&file, "output_norm.weight", 0, 256, 1, 1024);
    for (uint32_t i = 0; i < layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.attn_q.weight", i);
        gguf_row(&file, name, 1, 256, 64, 256 * 64 * 2);
        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", i);
        gguf_row(&file, name, 0, 256, 1, 1024);
        snprintf(name, sizeof name, "blk.%u.ffn_up.weight", i);
        gguf_row(&file, name, 12, 256, 64, 64 * 144);
    }
}

static char folder[64];

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/kvlab-gguf-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void path_of(char path[128], const char *name) {
    snprintf(path, 128, "%s/%s", folder, name);
}

static void write_file(const char *name) {
    char path[128];
    path_of(path, name);
    FILE *stream = fopen(path, "wb");
    cr_assert_not_null(stream);
    const size_t size = gguf_bytes(&file, bytes);
    cr_assert_eq(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
}

static void remove_folder(void) {
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", folder);
    cr_assert_eq(system(line), 0);
}

static Status read_as(Architecture *a, const char *name, Error *err) {
    char path[128];
    path_of(path, name);
    return architecture_read(a, path, err);
}

/* What was made, as an architecture. */
static Architecture made(void) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    write_file("tiny.gguf");
    const Status status = read_as(&a, "tiny.gguf", &err);
    remove_folder();
    cr_assert_eq(status, OK, "%s", err.text);
    return a;
}

static void refused(const char *reason) {
    Architecture a = { .layers = 7 };
    Error err = { 0 };
    make_folder();
    write_file("tiny.gguf");
    const Status status = read_as(&a, "tiny.gguf", &err);
    remove_folder();
    cr_expect_eq(status, ERR_INPUT, "%s", reason);
    cr_expect(strstr(err.text, reason), "%s: %s", reason, err.text);
    cr_expect_eq(a.layers, 7, "untouched on failure");
}

Test(gguf_config, a_plain_model_with_the_weights_that_are_stored) {
    base("llama", 2);
    own("llama", "attention.head_count_kv", 2);
    tensors(2);
    const Architecture a = made();
    cr_assert_str_eq(a.name, "tiny");
    cr_assert_str_eq(a.attention, "GQA-2");
    cr_assert(a.layers == 2 && a.hidden == 256 && a.vocabulary == 10 && a.longest_tokens == 4096);
    cr_assert_eq(cache_kind_growth(&a.kind[0]), 2 * 2 * 64);
    cr_assert(a.weights_exact);
    cr_assert_eq(a.parameters.part[PART_ATTENTION], 2 * 256 * 64);
    cr_assert_eq(architecture_part_bytes(&a, PART_ATTENTION), 2 * 256 * 64 * 2);
    cr_assert_eq(architecture_part_bytes(&a, PART_DENSE_MLP), 2 * 64 * 144);
    cr_assert_eq(a.weight_bits[PART_DENSE_MLP], 4.5);
    cr_assert_eq(architecture_part_bytes(&a, PART_NORMS), 3 * 1024);
    cr_assert_eq(architecture_part_bytes(&a, PART_HEAD), 0, "tied");
    cr_assert_eq(architecture_weight_bytes(&a),
                 256 * 10 * 2 + 2 * (256 * 64 * 2 + 64 * 144) + 3072);
    cr_assert_str_eq(a.weight_format, "gguf F16");
}

/* Since 2025 the key is that of the latent and the rotated key, and there is one key/value head. */
static void latent(bool today) {
    base("deepseek2", 2);
    own("deepseek2", "attention.head_count_kv", today ? 1 : 4);
    own("deepseek2", "attention.kv_lora_rank", 32);
    own("deepseek2", "attention.q_lora_rank", 16);
    own("deepseek2", "rope.dimension_count", 8);
    own("deepseek2", "attention.key_length", today ? 40 : 24);
    own("deepseek2", "attention.value_length", today ? 32 : 20);
    if (today) own("deepseek2", "attention.key_length_mla", 24);
    if (today) own("deepseek2", "attention.value_length_mla", 20);
    tensors(2);
}

Test(gguf_config, mla_is_the_same_in_files_of_today_and_of_before) {
    latent(true);
    const Architecture today = made();
    latent(false);
    const Architecture before = made();
    cr_assert_str_eq(today.attention, "MLA-32+8");
    cr_assert_eq(memcmp(&today, &before, sizeof today), 0);
    const CacheKind *kind = &today.kind[0];
    cr_assert(kind->nope_dim == 16 && kind->rope_dim == 8 && kind->mla_value_dim == 20);
    cr_assert_eq(kind->q_lora_rank, 16);
}

Test(gguf_config, an_index_beside_the_latent_is_read) {
    latent(true);
    own("deepseek2", "attention.indexer.head_count", 2);
    own("deepseek2", "attention.indexer.key_length", 16);
    own("deepseek2", "attention.indexer.top_k", 64);
    const Architecture a = made();
    cr_assert(a.kind[0].index_dim == 16 && a.kind[0].index_heads == 2);
}

Test(gguf_config, draft_layers_are_numbered_with_the_others) {
    base("glm4moe", 3);
    own("glm4moe", "nextn_predict_layers", 1);
    tensors(3);
    const Architecture a = made();
    cr_assert(a.layers == 2 && a.draft_layers == 1);
    cr_assert_eq(architecture_part_bytes(&a, PART_ATTENTION), 2 * 256 * 64 * 2);
    cr_assert_eq(architecture_part_bytes(&a, PART_DRAFT), 256 * 64 * 2 + 1024 + 64 * 144);
}

Test(gguf_config, windows_follow_the_pattern_or_the_family) {
    base("gemma3", 6);
    own("gemma3", "attention.sliding_window", 512);
    tensors(6);
    cr_assert_str_eq(made().attention, "MHA, 5 of 6 windowed");
    base("gpt-oss", 4);
    own("gpt-oss", "attention.sliding_window", 128);
    tensors(4);
    const Architecture oss = made();
    cr_assert_str_eq(oss.attention, "MHA, 2 of 4 windowed");
    cr_assert_eq(oss.kind[oss.layer_kind[0]].reach, REACH_WINDOW);
    base("mimo2", 4);
    own("mimo2", "attention.sliding_window", 128);
    own_list("mimo2", "attention.sliding_window_pattern", (const uint32_t[]){ 0, 1, 1, 0 }, 4);
    own_list("mimo2", "attention.head_count_kv", (const uint32_t[]){ 1, 2, 2, 1 }, 4);
    tensors(4);
    const Architecture mimo = made();
    cr_assert_str_eq(mimo.attention, "MQA, 2 of 4 windowed");
    cr_assert_eq(mimo.kind[mimo.layer_kind[1]].kv_heads, 2);
}

Test(gguf_config, layers_without_heads_have_a_state_or_an_mlp) {
    base("nemotron_h", 4);
    own_list("nemotron_h", "attention.head_count_kv", (const uint32_t[]){ 0, 2, 0, 0 }, 4);
    own("nemotron_h", "ssm.inner_size", 128);
    own("nemotron_h", "ssm.state_size", 16);
    own("nemotron_h", "ssm.time_step_rank", 8);
    own("nemotron_h", "ssm.group_count", 2);
    own("nemotron_h", "ssm.conv_kernel", 4);
    tensors(4);
    const Architecture a = made();
    cr_assert_str_eq(a.attention, "GQA-2, 3 of 4 state");
    const CacheKind *state = &a.kind[a.layer_kind[0]];
    cr_assert(state->state_elements == 128 * 16 && state->conv_elements == (128 + 64) * 3);
    cr_assert_eq(state->state_heads, 8);
}

/* A list of MLP widths says which layers without heads are MLPs. */
Test(gguf_config, layers_may_be_an_mlp_alone) {
    begin("nemotron_h");
    own("nemotron_h", "block_count", 3);
    own("nemotron_h", "embedding_length", 256);
    own("nemotron_h", "attention.head_count", 4);
    own_list("nemotron_h", "attention.head_count_kv", (const uint32_t[]){ 0, 2, 0 }, 3);
    own_list("nemotron_h", "feed_forward_length", (const uint32_t[]){ 0, 0, 512 }, 3);
    own("nemotron_h", "ssm.inner_size", 128);
    own("nemotron_h", "ssm.state_size", 16);
    own("nemotron_h", "ssm.time_step_rank", 8);
    own("nemotron_h", "ssm.group_count", 2);
    own("nemotron_h", "ssm.conv_kernel", 4);
    tensors(3);
    const Architecture a = made();
    cr_assert_str_eq(a.attention, "GQA-2, 1 of 3 state, 1 none");
    cr_assert_eq(a.layer_kind[2], NO_CACHE);
}

Test(gguf_config, gated_delta_nets_come_under_the_names_of_mamba) {
    base("qwen3next", 4);
    own("qwen3next", "attention.head_count_kv", 2);
    own("qwen3next", "ssm.inner_size", 256);
    own("qwen3next", "ssm.state_size", 32);
    own("qwen3next", "ssm.time_step_rank", 8);
    own("qwen3next", "ssm.group_count", 4);
    own("qwen3next", "ssm.conv_kernel", 4);
    tensors(4);
    const Architecture a = made();
    cr_assert_str_eq(a.attention, "GQA-2, 3 of 4 state");
    cr_assert_eq(a.kind[0].state_elements, 8 * 32 * 32);
}

Test(gguf_config, a_model_of_several_files_is_the_sum_of_them) {
    Architecture a;
    Error err = { 0 };
    make_folder();
    base("llama", 2);
    gguf_u32(&file, "split.count", 2);
    tensors(1);
    write_file("m-00001-of-00002.gguf");
    begin("llama");
    gguf_u32(&file, "split.count", 2);
    gguf_row(&file, "blk.1.attn_q.weight", 1, 256, 64, 256 * 64 * 2);
    write_file("m-00002-of-00002.gguf");
    cr_assert_eq(read_as(&a, "m-00001-of-00002.gguf", &err), OK, "%s", err.text);
    cr_assert_eq(architecture_part_bytes(&a, PART_ATTENTION), 2 * 256 * 64 * 2);
    char path[128];
    path_of(path, "m-00002-of-00002.gguf");
    unlink(path);
    cr_assert_eq(read_as(&a, "m-00001-of-00002.gguf", &err), ERR_INPUT);
    cr_assert(strstr(err.text, "m-00002-of-00002.gguf"), "%s", err.text);
    remove_folder();
}

Test(gguf_config, what_is_not_understood_is_refused_by_its_key) {
    base("llama", 2);
    own("llama", "attention.mystery_ratio", 2);
    tensors(2);
    refused("attention.mystery_ratio: kvlab does not know this field");
    base("llama", 2);
    own("llama", "attention.sliding_window", 64);
    tensors(2);
    refused("llama.attention.sliding_window: 64: the file does not say of which layers");
    base("llama", 2);
    own("llama", "attention.head_count_kv", 3);
    tensors(2);
    refused("llama.attention.head_count_kv: 3 do not divide");
    base("llama", 2);
    own_list("llama", "attention.head_count_kv", (const uint32_t[]){ 1, 2 }, 2);
    tensors(2);
    refused("llama.attention.head_count_kv: key/value heads that differ by layer");
    base("llama", 2);
    own_list("llama", "attention.head_count_kv", (const uint32_t[]){ 1 }, 1);
    tensors(2);
    refused("fewer entries than the model has layers");
    base("deepseek2", 2);
    own("deepseek2", "attention.kv_lora_rank", 32);
    tensors(2);
    refused("deepseek2.attention.key_length: a latent, but");
    begin("llama");
    refused("llama.block_count: missing");
    memset(&file, 0, sizeof file);
    refused("general.architecture: missing");
    base("llama", 2);
    refused("holds no tensor of the embedding");
}
