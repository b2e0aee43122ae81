/* test_architecture_traps.c -- what files hide: fields that mean something else than they seem to,
 * fields that are left out, fields that nobody knows. Each one breaks some published calculator. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "hf_config.h"

static Architecture shipped(const char *name) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(architecture_read(&a, name, &err), OK, "%s", err.text);
    return a;
}

/* Four layers of 4 heads of 32, with more fields. */
static Status parse(Architecture *a, const char *more, Error *err) {
    char text[4096];
    snprintf(text, sizeof text,
             "{\"num_hidden_layers\": 4, \"hidden_size\": 128, \"num_attention_heads\": 4%s%s}",
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

static const CacheKind *kind_of(const Architecture *a, size_t layer) {
    return a->layer_kind[layer] == NO_CACHE ? NULL : &a->kind[a->layer_kind[layer]];
}

/* "FWFW": one letter a layer, by what it keeps and reaches. */
static const char *letters(const Architecture *a) {
    static char text[ARCHITECTURE_LAYERS_MOST + 1];
    for (size_t i = 0; i < a->layers; i++) {
        const CacheKind *kind = kind_of(a, i);
        text[i] = !kind                            ? '-'
                  : kind->keeps == KEEPS_STATE     ? 'S'
                  : kind->keeps == KEEPS_IMAGE     ? 'I'
                  : kind->reach == REACH_WINDOW    ? 'W'
                  : kind->reach == REACH_CHUNK     ? 'C'
                  : kind->index_dim && kind->heads ? 'X'
                                                   : 'F';
    }
    text[a->layers] = '\0';
    return text;
}

#define LATENT                                                                                     \
    "\"kv_lora_rank\": 32, \"qk_nope_head_dim\": 16, \"qk_rope_head_dim\": 8, \"v_head_dim\": 16"
#define INDEX "\"index_head_dim\": 16, \"index_n_heads\": 2, \"index_topk\": 64"

Test(traps, head_dim_and_kv_heads_mean_nothing_in_mla_files) {
    const Architecture glm = shipped("GLM-5"), v3 = shipped("DeepSeek-V3");
    cr_assert(glm.kind[0].nope_dim == 192 && glm.kind[0].mla_value_dim == 256);
    cr_assert(cache_kind_growth(&glm.kind[0]) == 576 && cache_kind_growth(&v3.kind[0]) == 576);
    const Architecture a = parsed(LATENT ", \"head_dim\": 99, \"num_key_value_heads\": 4");
    cr_assert_eq(cache_kind_growth(&a.kind[0]), 40);
}

Test(traps, a_missing_query_rank_is_mla_still) {
    const Architecture a = shipped("DeepSeek-V2-Lite");
    cr_assert(a.kind[0].keeps == KEEPS_LATENT && a.kind[0].q_lora_rank == 0);
}

Test(traps, new_models_under_old_names_are_told_by_their_fields) {
    const Architecture a = parsed(LATENT ", " INDEX ", \"model_type\": \"deepseek_v3\"");
    cr_assert(a.kind[0].index_dim == 16 && a.kind[0].index_topk == 64);
    const Architecture llama = parsed(LATENT ", \"model_type\": \"llama\"");
    cr_assert_eq(llama.kind[0].keeps, KEEPS_LATENT);
}

Test(traps, index_keys_may_live_on_part_of_the_layers) {
    const Architecture a = parsed(
        LATENT ", " INDEX ", \"indexer_types\": [\"full\", \"shared\", \"shared\", \"full\"], "
               "\"index_topk_freq\": 4, \"num_nextn_predict_layers\": 1");
    cr_assert_str_eq(letters(&a), "XFFX");
    cr_assert(a.kind_count == 2 && a.kind[0].layers == 2 && a.kind[1].layers == 2);
    cr_assert_eq(a.kind[0].draft_layers, 1);
    Architecture b;
    Error err = { 0 };
    cr_assert_eq(parse(&b, LATENT ", " INDEX ", \"index_topk_freq\": 4", &err), ERR_INPUT);
    cr_assert(strstr(err.text, "index_topk_freq"), "%s", err.text);
}

/* GLM-5.2: 21 of 78 layers own an index, 2,772 bytes a token where a key takes 132. */
Test(traps, glm_5_2_owns_21_indexes) {
    char list[2048] = "";
    size_t used = 0;
    for (size_t i = 0; i < 78; i++) {
        const bool full = i < 2 || i % 4 == 2;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "",
                                 full ? "full" : "shared");
    }
    char text[4096];
    snprintf(text, sizeof text,
             "{\"num_hidden_layers\": 78, \"hidden_size\": 6144, \"num_attention_heads\": 64, "
             "\"kv_lora_rank\": 512, \"q_lora_rank\": 2048, \"qk_nope_head_dim\": 192, "
             "\"qk_rope_head_dim\": 64, \"v_head_dim\": 256, \"index_head_dim\": 128, "
             "\"index_n_heads\": 32, \"index_topk\": 2048, \"indexer_types\": [%s]}",
             list);
    Json *json = NULL;
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(json_parse(&json, "c", text, strlen(text), &err), OK, "%s", err.text);
    cr_assert_eq(hf_architecture_parse(&a, json, "c", "GLM-5.2", &err), OK, "%s", err.text);
    json_free(json);
    cr_assert_str_eq(a.attention, "MLA-512+64, 21 of 78 indexed");
    size_t indexed = 0;
    for (size_t k = 0; k < a.kind_count; k++)
        if (a.kind[k].index_dim) indexed += a.kind[k].layers;
    cr_assert_eq(indexed * 132, 2772);
}

Test(traps, deepseek_v4_has_one_row_and_a_list_one_too_long) {
    const Architecture a = shipped("DeepSeek-V4-Flash");
    cr_assert(a.kind_count == 3 && a.draft_layers == 1);
    for (size_t k = 0; k < 3; k++) {
        const CacheKind *kind = &a.kind[k];
        cr_assert(kind->keeps == KEEPS_ROW && kind->key_dim == 512 && kind->rope_dim == 64);
        cr_assert_eq(kind->reach == REACH_WINDOW, kind->row_tokens == 1);
        cr_assert_eq(kind->row_tokens == 1 ? kind->window : kind->row_window, 128);
        cr_assert_eq(kind->index_dim, kind->row_tokens == 4 ? 128 : 0);
        cr_assert_eq(kind->layers, kind->row_tokens == 1 ? 2 : kind->row_tokens == 4 ? 21 : 20);
        cr_assert_eq(kind->draft_layers, kind->row_tokens == 1);
    }
}

Test(traps, falcon_says_71_heads_and_caches_one) {
    const Architecture a = shipped("falcon-7b-instruct");
    cr_assert(a.kind[0].heads == 71 && a.kind[0].kv_heads == 1 && a.kind[0].key_dim == 64);
}

Test(traps, minicpm3_leaves_its_value_width_out) {
    cr_assert_eq(shipped("MiniCPM3-4B").kind[0].mla_value_dim, 64);
}

Test(traps, qwen_counts_the_full_layers_at_the_bottom) {
#define QWEN "\"sliding_window\": 64, \"max_position_embeddings\": 4096, \"max_window_layers\": "
    const Architecture off = parsed(QWEN "1, \"use_sliding_window\": false");
    cr_assert_str_eq(letters(&off), "FFFF");
    const Architecture unsaid = parsed(QWEN "1");
    cr_assert_str_eq(letters(&unsaid), "FFFF");
    const Architecture on = parsed(QWEN "1, \"use_sliding_window\": true");
    cr_assert_str_eq(letters(&on), "FWWW");
    const Architecture none = parsed(QWEN "0, \"use_sliding_window\": true");
    cr_assert_str_eq(letters(&none), "WWWW");
    const Architecture all = parsed(QWEN "28, \"use_sliding_window\": true");
    cr_assert_str_eq(letters(&all), "FFFF");
}

Test(traps, gemma_leaves_its_windows_to_code) {
    const Architecture two = shipped("gemma-2-9b"), three = shipped("gemma-3-27b-it");
    for (size_t i = 0; i < two.layers; i++)
        cr_assert_eq(kind_of(&two, i)->reach, i % 2 ? REACH_ALL : REACH_WINDOW);
    for (size_t i = 0; i < three.layers; i++)
        cr_assert_eq(kind_of(&three, i)->reach, i % 6 == 5 ? REACH_ALL : REACH_WINDOW);
    cr_assert(kind_of(&two, 0)->window == 4096 && kind_of(&three, 0)->window == 1024);
}

Test(traps, mimo_differs_in_widths_and_in_heads_by_layer) {
    const Architecture a = shipped("MiMo-V2-Flash");
    const CacheKind *full = kind_of(&a, 0), *window = kind_of(&a, 1);
    cr_assert(full->reach == REACH_ALL && full->kv_heads == 4 && full->layers == 9);
    cr_assert(window->reach == REACH_WINDOW && window->kv_heads == 8 && window->layers == 39);
    cr_assert(full->key_dim == 192 && full->value_dim == 128 && window->key_dim == 192);
    cr_assert_eq(window->window, 128);
}

Test(traps, mllama_keeps_images_in_eight_layers) {
    const Architecture a = shipped("Llama-3.2-11B-Vision");
    for (size_t i = 0; i < a.layers; i++)
        cr_assert_eq(kind_of(&a, i)->keeps, i % 5 == 3 ? KEEPS_IMAGE : KEEPS_HEADS);
    cr_assert_eq(cache_kind_growth(kind_of(&a, 3)), 0);
    cr_assert_eq(cache_kind_row_elements(kind_of(&a, 3)), 2048);
}

Test(traps, llama_4_has_chunks_but_for_every_fourth_layer) {
    const Architecture a = shipped("Llama-4-Scout-17B-16E-Instruct");
    for (size_t i = 0; i < a.layers; i++)
        cr_assert_eq(kind_of(&a, i)->reach, i % 4 == 3 ? REACH_ALL : REACH_CHUNK);
    cr_assert_eq(kind_of(&a, 0)->window, 8192);
#define CHUNKED "\"model_type\": \"llama4_text\", \"attention_chunk_size\": 64, "
    const Architecture listed = parsed(CHUNKED "\"no_rope_layers\": [0, 1, 1, 0]");
    cr_assert_str_eq(letters(&listed), "FCCF");
}

/* Elements of the state and of the convolution's tail, a sequence and layer. */
Test(traps, states_do_not_grow_with_tokens) {
    static const struct {
        const char *name;
        size_t layers, state, conv, heads, bytes;
    } rows[] = {
        { "Nemotron-3-Nano-30B-A3B-BF16", 23, 64 * 64 * 128, (4096 + 2 * 8 * 128) * 3, 64, 4 },
        { "Nemotron-H-56B-Base-8K", 54, 256 * 64 * 256, (16384 + 2 * 8 * 256) * 3, 256, 0 },
        { "Qwen3-Next-80B-A3B", 36, 32 * 128 * 128, (2 * 2048 + 4096) * 3, 32, 0 },
        { "Qwen3.5-122B-A10B", 36, 64 * 128 * 128, (2 * 2048 + 8192) * 3, 64, 4 },
        { "Kimi-K3", 69, 96 * 128 * 128, 3 * 96 * 128 * 3, 96, 4 },
        { "MiniMax-M1", 70, 64 * 128 * 128, 0, 64, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = shipped(rows[i].name);
        size_t found = 0;
        for (size_t k = 0; k < a.kind_count; k++) {
            const CacheKind *kind = &a.kind[k];
            if (kind->keeps != KEEPS_STATE) continue;
            found++;
            cr_expect(kind->layers == rows[i].layers && kind->state_elements == rows[i].state &&
                          kind->conv_elements == rows[i].conv &&
                          kind->state_heads == rows[i].heads &&
                          kind->state_element_bytes == rows[i].bytes,
                      "%s: %zu %zu", a.name, kind->state_elements, kind->conv_elements);
            cr_expect_eq(cache_kind_growth(kind), 0);
        }
        cr_expect_eq(found, 1, "%s", a.name);
    }
}

Test(traps, jamba_and_pure_mamba_are_read) {
    const Architecture jamba = shipped(KVLAB_TESTS "/models/reduced/jamba");
    cr_assert_str_eq(letters(&jamba), "SSFS");
    cr_assert_eq(kind_of(&jamba, 0)->state_elements, 4096 * 4);
    Architecture pure;
    Error err = { 0 };
    Json *json = NULL;
    static const char text[] =
        "{\"num_hidden_layers\": 2, \"hidden_size\": 64, \"state_size\": 16, "
        "\"conv_kernel\": 4, \"expand\": 2}";
    cr_assert_eq(json_parse(&json, "c", text, sizeof text - 1, &err), OK);
    cr_assert_eq(hf_architecture_parse(&pure, json, "c", "x", &err), OK, "%s", err.text);
    json_free(json);
    cr_assert_str_eq(pure.attention, "state");
    cr_assert(pure.kind[0].state_elements == 128 * 16 && pure.kind[0].conv_elements == 128 * 3);
}

Test(traps, layers_may_share_the_cache_of_another) {
    const Architecture last = parsed("\"num_kv_shared_layers\": 1");
    cr_assert_str_eq(letters(&last), "FFF-");
    const Architecture pairs = parsed("\"use_cla\": true, \"cla_share_factor\": 2");
    cr_assert_str_eq(letters(&pairs), "F-F-");
    const Architecture off = parsed("\"use_cla\": false, \"cla_share_factor\": 2");
    cr_assert_str_eq(letters(&off), "FFFF");
    cr_assert_eq(last.parameters.total, off.parameters.total);
}

Test(traps, draft_layers_have_caches_of_their_own) {
    static const struct {
        const char *name;
        size_t drafts;
    } rows[] = { { "DeepSeek-V3", 1 },
                 { "GLM-5", 1 },
                 { "MiniMax-M2.5", 3 },
                 { "Qwen3.5-35B-A3B", 1 },
                 { "Kimi-K2-Instruct", 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = shipped(rows[i].name);
        size_t drafts = 0;
        for (size_t k = 0; k < a.kind_count; k++) {
            drafts += a.kind[k].draft_layers;
            cr_expect(!a.kind[k].draft_layers || a.kind[k].keeps != KEEPS_STATE, "%s", a.name);
        }
        cr_expect_eq(drafts, rows[i].drafts, "%s", a.name);
    }
    cr_assert_eq(parsed("\"num_mtp_modules\": 3, \"use_mtp\": false").draft_layers, 0);
}

Test(traps, schedules_of_every_form_are_read) {
    static const char *const rows[][2] = {
        { "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\", "
          "\"full_attention\"], \"sliding_window\": 64",
          "FWWF" },
        { "\"layer_types\": [\"chunked_attention\", \"full_attention\", \"chunked_attention\", "
          "\"full_attention\"], \"attention_chunk_size\": 64",
          "CFCF" },
        { "\"attention_layers\": [\"global\", \"local\", \"global\", \"local\"], "
          "\"window_size\": 256",
          "FWFW" },
        { "\"sliding_window_pattern\": 2, \"sliding_window\": 64", "WFWF" },
        { "\"sliding_window_pattern\": \"LLLG\", \"sliding_window\": 64", "WWWF" },
        { "\"hybrid_override_pattern\": \"M*-E\", \"mamba_num_heads\": 2, \"mamba_head_dim\": 8, "
          "\"ssm_state_size\": 4, \"n_groups\": 1, \"conv_kernel\": 4",
          "SF--" },
        { "\"full_attn_idxs\": [1, 3], \"conv_L_cache\": 3", "SFSF" },
        { "\"layer_types\": [\"mamba\", \"attention\", \"mamba\", \"mamba\"], \"mamba_n_heads\": "
          "2, "
          "\"mamba_d_head\": 8, \"mamba_d_state\": 4, \"mamba_n_groups\": 1, \"mamba_d_conv\": 4",
          "SFSS" },
        { "\"attn_type_list\": [0, 1, 0, 1]", "SFSF" },
        { "\"sliding_window\": 4096, \"max_position_embeddings\": 4096, "
          "\"sliding_window_pattern\": 2",
          "FFFF" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = parsed(rows[i][0]);
        cr_expect_str_eq(letters(&a), rows[i][1], "%s", rows[i][0]);
    }
}

Test(traps, what_is_not_understood_is_refused_by_its_key) {
    static const char *const rows[][2] = {
        { "\"num_meta_memory_tokens\": 128", "num_meta_memory_tokens: kvlab does not know" },
        { "\"kv_merge_ratio\": 2", "kv_merge_ratio" },
        { "\"attention_sparsity_window\": 64", "attention_sparsity_window" },
        { "\"text_config\": {\"num_hidden_layers\": 2, \"hidden_size\": 64, "
          "\"num_attention_heads\": 2, \"kv_groups\": 1}",
          "text_config.kv_groups" },
        { INDEX, "index_head_dim" },
        { LATENT ", \"model_type\": \"mistral\", \"sliding_window\": 64, "
                 "\"swa_num_key_value_heads\": 2",
          "swa_num_key_value_heads" },
        { "\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\", "
          "\"striped_attention\"]",
          "layer_types: striped_attention, of layer 3" },
        { "\"layer_types\": [\"full_attention\"]", "1 entries, but the model has 4 layers" },
        { "\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\", "
          "\"sliding_attention\"], \"sliding_window\": 64, \"sliding_window_pattern\": 2",
          "sliding_window_pattern: says otherwise than layer_types" },
        { "\"sliding_window\": 64, \"model_type\": \"gemma4_text\"",
          "sliding_window: 64: the file does not say of which layers" },
        { "\"attention_chunk_size\": 64", "attention_chunk_size: 64: the file does not say" },
        { "\"sliding_window\": 64, \"sliding_window_size\": 32", "32, but sliding_window says 64" },
        { "\"full_attention_interval\": 2", "layers with a state, but no field says how large" },
        { "\"hybrid_override_pattern\": \"M*?E\"", "'?', of layer 2" },
        { "\"compress_ratios\": [0, 4]", "2 entries, but the model has 4 layers" },
        { "\"cross_attention_layers\": [4]", "entry 0; allowed: a layer, 0 to 3" },
        { "\"num_kv_shared_layers\": 4", "num_kv_shared_layers: 4; allowed: 0 to 3" },
        { "\"num_nextn_predict_layers\": 1021", "1021; allowed: 1024 layers with" },
        { "\"is_encoder_decoder\": true", "is_encoder_decoder" },
        { "\"mla_scale_kv_lora\": true, " LATENT, "mla_scale_kv_lora" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a = { .layers = 7 };
        Error err = { 0 };
        cr_expect_eq(parse(&a, rows[i][0], &err), ERR_INPUT, "%s", rows[i][0]);
        cr_expect(strstr(err.text, rows[i][1]), "%s: %s", rows[i][0], err.text);
        cr_expect_eq(a.layers, 7, "untouched on failure");
    }
}

/* Keys that speak of caches and mean nothing: switched off, empty, or known to change values only.
 */
Test(traps, a_field_that_says_nothing_is_no_field) {
    const Architecture plain = parsed("");
    static const char *const rows[] = {
        "\"kv_merge_ratio\": null", "\"share_kv\": false",
        "\"window_layers\": []",    "\"attention_window\": -1",
        "\"layer_norm_eps\": 1e-5", "\"attention_dropout\": 0.1",
        "\"sliding_window\": null", "\"attn_logit_softcapping\": 50",
        "\"use_cache\": true",      "\"num_nextn_predict_layers\": 0",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Architecture a = parsed(rows[i]);
        cr_expect_eq(memcmp(&a, &plain, sizeof a), 0, "%s", rows[i]);
    }
}

/* Python writes Infinity; one of the files that ship has it. */
Test(traps, numbers_that_json_lacks_are_no_numbers) {
    cr_assert_eq(shipped("Nemotron-H-56B-Base-8K").layers, 118);
}
