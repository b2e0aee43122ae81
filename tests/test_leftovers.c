/* test_leftovers.c -- the reader of a config.json fails closed: what it did not ask for is known to
 * leave the cache alone, or noted, or refused with its place and the nearest right name. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hf_config.h"

/* Two layers of 4 heads of 32, with more fields, of a file on disk. */
static Status read_with(Architecture *a, const char *more, Error *err) {
    char path[] = "/tmp/kvlab_leftovers_XXXXXX";
    const int handle = mkstemp(path);
    cr_assert(handle >= 0);
    FILE *file = fdopen(handle, "w");
    fprintf(file,
            "{\n  \"num_hidden_layers\": 2,\n  \"hidden_size\": 128,\n"
            "  \"torch_dtype\": \"bfloat16\", \"num_attention_heads\": 4%s%s\n}\n",
            *more ? ",\n  " : "", more);
    fclose(file);
    const Status status = hf_architecture_read(a, path, "x", err);
    unlink(path);
    return status;
}

static bool noted(const Architecture *a, const char *words) {
    for (size_t i = 0; i < a->notes; i++)
        if (strstr(a->note[i], words)) return true;
    return false;
}

Test(leftovers, what_could_be_a_size_a_switch_or_a_list_is_refused_whatever_its_name) {
    static const char *const rows[] = { "\"total_ut_steps\": 4",
                                        "\"num_loops\": 2",
                                        "\"use_yoco\": true",
                                        "\"sink_tokens\": 4",
                                        "\"num_query_groups\": 2",
                                        "\"mixture_of_depths\": {\"capacity\": 0.5}",
                                        "\"topk_tokens\": 64",
                                        "\"sliding_size\": 32",
                                        "\"keep\": [0, 1]",
                                        "\"kv_form\": \"pairs\"",
                                        "\"capacity_of_depth\": 0.125" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a = { .layers = 7 };
        Error err = { 0 };
        cr_expect_eq(read_with(&a, rows[i], &err), ERR_INPUT, "%s", rows[i]);
        char key[64], place[160];
        cr_assert_eq(sscanf(rows[i], "\"%60[^\"]", key), 1);
        snprintf(place, sizeof place, ":5:3: %s: kvlab does not know this field", key);
        cr_expect(strstr(err.text, place), "%s: %s", rows[i], err.text);
        cr_expect_eq(a.layers, 7, "untouched on failure");
    }
}

Test(leftovers, a_refusal_names_the_nearest_key_that_is_read) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(read_with(&a, "\"num_key_value_head\": 2", &err), ERR_INPUT);
    cr_assert(strstr(err.text, "did you mean num_key_value_heads?"), "%s", err.text);
}

Test(leftovers, a_text_that_speaks_of_no_cache_is_noted_by_name) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(read_with(&a, "\"flavour\": \"mild\", \"colour\": \"red\"", &err), OK, "%s",
                 err.text);
    cr_assert(noted(&a, "without effect on the cache: flavour, colour"));
    cr_assert_eq(a.notes, 1);
}

Test(leftovers, what_says_nothing_or_is_known_is_passed_over) {
    static const char *const rows[] = {
        "\"use_yoco\": false", "\"num_loops\": null",         "\"keep\": []",
        "\"top_k\": 50",       "\"_commit_hash\": \"abc\"",   "\"router_aux_loss_coef\": 0.001",
        "\"rope_theta\": 1e6", "\"id2label\": {\"0\": \"a\"}"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a;
        Error err = { 0 };
        cr_expect_eq(read_with(&a, rows[i], &err), OK, "%s: %s", rows[i], err.text);
        cr_expect_eq(a.notes, 0, "%s", rows[i]);
    }
}

Test(leftovers, a_type_of_weights_that_is_assumed_is_noted) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(architecture_read(&a, "gpt2-large", &err), OK, "%s", err.text);
    cr_expect(noted(&a, "names no dtype: weights are counted in bf16"));
    cr_assert_eq(architecture_read(&a, "Llama-3.1-8B", &err), OK, "%s", err.text);
    cr_expect(!noted(&a, "dtype"));
}

Test(leftovers, a_family_that_is_new_is_noted) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(read_with(&a, "\"model_type\": \"brand_new\"", &err), OK, "%s", err.text);
    cr_assert(noted(&a, "model_type brand_new is new to kvlab"));
    cr_assert_eq(read_with(&a, "\"model_type\": \"llama\"", &err), OK, "%s", err.text);
    cr_assert(!noted(&a, "model_type"));
}

Test(leftovers, mistakes_have_the_place_of_their_key_nested_ones_too) {
    static const char *const rows[][2] = {
        { "\"num_key_value_heads\": 2.5", ":5:3: num_key_value_heads: 2.5: not a whole number" },
        { "\"num_key_value_heads\": Infinity", ":5:3: num_key_value_heads: \"inf\": not a whole" },
        { "\"sliding_window\": 64,\n\n    \"model_type\": \"odd\"", ":5:3: sliding_window: 64" },
        { "\"linear_attn_config\": {\"full_attn_layers\": [1],\n   \"kda_layers\": [2],\n"
          " \"num_heads\": 0, \"head_dim\": 8, \"short_conv_kernel_size\": 4}",
          ":7:2: linear_attn_config.num_heads: 0; allowed" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a;
        Error err = { 0 };
        cr_expect_eq(read_with(&a, rows[i][0], &err), ERR_INPUT, "%s", rows[i][0]);
        cr_expect(strstr(err.text, rows[i][1]), "%s: %s", rows[i][0], err.text);
    }
}

Test(leftovers, what_the_weights_cannot_be_counted_without_is_named) {
    static const char *const rows[][2] = {
        { "\"intermediate_size\": 256", "vocab_size" },
        { "\"vocab_size\": 100", "intermediate_size" },
        { "\"vocab_size\": 100, \"intermediate_size\": 256", "" },
        { "\"vocab_size\": 100, \"n_inner\": null, \"model_type\": \"gpt2\"", "" },
        { "\"vocab_size\": 100, \"num_experts\": 4, \"moe_intermediate_size\": 64", "" },
        { "\"vocab_size\": 100, \"num_experts\": 4", "intermediate_size" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Architecture a;
        Error err = { 0 };
        cr_assert_eq(read_with(&a, rows[i][0], &err), OK, "%s", err.text);
        cr_expect_str_eq(a.weights_missing, rows[i][1], "%s", rows[i][0]);
    }
}

/* 2 + 1 layers of 16 x (4 x 16 + 2 x 40) */
Test(leftovers, a_tower_for_images_is_sized_beside_the_model) {
    Architecture a, plain;
    Error err = { 0 };
    cr_assert_eq(read_with(&plain, "", &err), OK);
    cr_assert_eq(read_with(&a,
                           "\"vision_config\": {\"hidden_size\": 16, \"intermediate_size\": 40, "
                           "\"num_hidden_layers\": 2, \"num_global_layers\": 1}",
                           &err),
                 OK, "%s", err.text);
    cr_assert_eq(a.tower_parameters, 3 * 16 * (4 * 16 + 2 * 40));
    cr_assert(a.parameters.total == plain.parameters.total && plain.tower_parameters == 0);
}
