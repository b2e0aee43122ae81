/* test_groundtruth.c -- layers, heads, key/value heads, head width, experts and MLA of the models
 * that vLLM's tests list, as vLLM reads them and as kvlab does. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"

#define FOLDER KVLAB_TESTS "/models/"

static Json *read(const char *path) {
    Json *json = NULL;
    Error err = { 0 };
    cr_assert_eq(json_read(&json, path, &err), OK, "%s", err.text);
    return json;
}

/* Those of the list that ship; the others are in oracle.json. */
static const char *const ships[][2] = {
    { "tiiuae/falcon-7b", "falcon-7b-instruct" },
    { "mosaicml/mpt-7b", "mpt-7b" },
    { "Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3-Next-80B-A3B" },
    { "lmsys/gpt-oss-20b-bf16", "gpt-oss-20b" },
    { "deepseek-ai/DeepSeek-V3.2-Exp", "DeepSeek-V3.2" },
    { "meta-llama/Llama-4-Scout-17B-16E-Instruct", "Llama-4-Scout-17B-16E-Instruct" },
};

/* What one is not read for, by words of the refusal; "" where it is no language model. */
static const char *const not_read[][2] = {
    { "Zyphra/Zamba2-7B-instruct", "layers_block_type: hybrid, of layer 1: a kind of layer" },
    { "ibm-nasa-geospatial/Prithvi-EO-2.0-300M-TL-Sen1Floods11", "" },
};

static Status read_model(Architecture *a, const Json *oracle, const char *name, Error *err) {
    for (size_t i = 0; i < sizeof ships / sizeof *ships; i++)
        if (strcmp(ships[i][0], name) == 0) return architecture_read(a, ships[i][1], err);
    cr_assert_not_null(json_get(oracle, name), "%s", name);
    return hf_architecture_parse(a, json_get(oracle, name), "config.json", name, err);
}

static size_t whole(const Json *entry, const char *key) {
    long long value = -1;
    cr_assert(json_whole(json_get(entry, key), &value), "%s", key);
    return (size_t)value;
}

/* The kind that holds tokens without a window, else any that does. */
static const CacheKind *main_kind(const Architecture *a) {
    const CacheKind *found = NULL;
    for (size_t k = 0; k < a->kind_count; k++)
        if (a->kind[k].keeps != KEEPS_STATE && (!found || a->kind[k].reach == REACH_ALL))
            found = &a->kind[k];
    return found;
}

static void compare(const Json *entry, const Architecture *a, const char *name) {
    const CacheKind *kind = main_kind(a);
    bool latent = false;
    cr_assert(json_bool(json_get(entry, "is_deepseek_mla"), &latent));
    cr_expect_eq(whole(entry, "hidden_size"), a->hidden, "%s", name);
    cr_expect_eq(whole(entry, "vocab_size"), a->vocabulary, "%s", name);
    cr_expect_eq(whole(entry, "total_num_hidden_layers"), a->layers, "%s", name);
    cr_expect_eq(whole(entry, "total_num_attention_heads"), a->heads, "%s", name);
    const size_t experts = whole(entry, "num_experts"); /* 0 of DBRX, whose experts are nested */
    cr_expect(experts == 0 || experts == a->experts, "%s", name);
    if (!kind) {
        cr_expect(whole(entry, "total_num_kv_heads") == 0 && !latent, "%s", name);
        return;
    }
    cr_expect_eq(latent, kind->keeps == KEEPS_LATENT, "%s", name);
    /* Of MLA it states the latent's width, and as many key/value heads as query heads. */
    const size_t width = latent ? kind->kv_lora_rank + kind->rope_dim : kind->key_dim;
    cr_expect_eq(whole(entry, "head_size"), width, "%s", name);
    cr_expect_eq(whole(entry, "total_num_kv_heads"), latent ? kind->heads : kind->kv_heads, "%s",
                 name);
}

Test(groundtruth, all_base_models_are_read_as_vllm_reads_them) {
    Json *truth = read(FOLDER "groundtruth/vllm_base_model_arch_groundtruth.json");
    Json *oracle = read(FOLDER "oracle.json");
    size_t compared = 0, refused = 0;
    for (void *at = json_first(truth); at; at = json_next(truth, at)) {
        const char *name = json_key(at), *reason = NULL;
        for (size_t i = 0; i < sizeof not_read / sizeof *not_read; i++)
            if (strcmp(not_read[i][0], name) == 0) reason = not_read[i][1];
        if (reason && !*reason) continue;
        Architecture a;
        Error err = { 0 };
        const Status status = read_model(&a, oracle, name, &err);
        if (reason) {
            refused++;
            cr_expect(status == ERR_INPUT && strstr(err.text, reason), "%s: %s", name, err.text);
            continue;
        }
        cr_assert_eq(status, OK, "%s", err.text);
        compare(json_value(at), &a, name);
        compared++;
    }
    cr_assert_eq(json_size(truth), 21);
    cr_assert_eq(compared, 19);
    cr_assert_eq(refused, 1);
    json_free(truth);
    json_free(oracle);
}

Test(groundtruth, their_parameters_are_the_published_ones) {
    static const struct {
        const char *name;
        double billions; /* without draft layers */
    } rows[] = {
        { "state-spaces/mamba-130m-hf", 0.129 },
        { "mistralai/Mamba-Codestral-7B-v0.1", 7.285 },
        { "tiiuae/falcon-mamba-7b-instruct", 7.273 },
        { "databricks/dbrx-instruct", 131.6 },
        { "tiiuae/falcon-40b", 41.3 },
        { "zai-org/GLM-4.5", 353 },
        { "baidu/ERNIE-4.5-21B-A3B-PT", 21.83 },
        { "XiaomiMiMo/MiMo-7B-RL", 7.62 },
        { "meituan-longcat/LongCat-Flash-Chat", 560 },
    };
    Json *oracle = read(FOLDER "oracle.json");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a;
        Error err = { 0 };
        cr_assert_eq(read_model(&a, oracle, rows[i].name, &err), OK, "%s", err.text);
        const double billions = (a.parameters.total - a.parameters.part[PART_DRAFT]) / 1e9;
        cr_expect(fabs(billions / rows[i].billions - 1) < 0.005, "%s: %.4f", rows[i].name,
                  billions);
    }
    json_free(oracle);
}

/* 28 layers of which each holds two: 56 caches. */
Test(groundtruth, longcat_caches_two_latents_a_layer) {
    Json *oracle = read(FOLDER "oracle.json");
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(read_model(&a, oracle, "meituan-longcat/LongCat-Flash-Chat", &err), OK);
    cr_assert(a.layers == 28 && a.kind_count == 1 && a.kind[0].layers == 56);
    for (size_t i = 0; i < a.layers; i++) cr_assert_eq(a.layer_caches[i], 2);
    cr_assert_eq(2 * 56 * cache_kind_growth(&a.kind[0]), 64512);
    json_free(oracle);
}
