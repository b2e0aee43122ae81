/* test_model.c -- shapes, contenders and closed forms against published and derived values. */
#include "model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "weights.h"

static Model mla(size_t layers, size_t hidden, size_t heads, size_t q_rank, size_t c, size_t p,
                 size_t r, size_t v) {
    return (Model){ .name = "mla",
                    .kind = ATTENTION_MLA,
                    .layers = layers,
                    .hidden = hidden,
                    .heads = heads,
                    .kv_heads = heads,
                    .key_dim = p + r,
                    .value_dim = v,
                    .q_lora_rank = q_rank,
                    .kv_lora_rank = c,
                    .nope_dim = p,
                    .rope_dim = r,
                    .rms_norm_eps = 1e-6,
                    .rope = { .theta = 1e4, .dim = r, .interleaved = true } };
}

static Model deepseek_v3(void) {
    Model model = mla(61, 7168, 128, 1536, 512, 128, 64, 128);
    model.rope.scaling = ROPE_YARN;
    model.rope.factor = 40;
    model.rope.beta_fast = 32;
    model.rope.beta_slow = 1;
    model.rope.mscale = model.rope.mscale_all_dim = 1;
    model.rope.original_tokens = 4096;
    return model;
}

static Model deepseek_v2_lite(void) {
    return mla(27, 2048, 16, 0, 512, 128, 64, 128);
}

static Model llama2_7b(void) {
    return (Model){ .name = "plain",
                    .kind = ATTENTION_MHA,
                    .layers = 32,
                    .hidden = 4096,
                    .heads = 32,
                    .kv_heads = 32,
                    .key_dim = 128,
                    .value_dim = 128,
                    .rope_dim = 128,
                    .rms_norm_eps = 1e-5,
                    .rope = { .theta = 1e4, .dim = 128 } };
}

static Model contender(const Model *base, const char *specification) {
    Model out = { 0 };
    Error err = { 0 };
    const Status status = model_contender(&out, base, specification, &err);
    cr_assert_eq(status, OK, "%s: %s", specification, err.text);
    return out;
}

static double ratio(const Model *base, const char *specification) {
    const Model out = contender(base, specification);
    return (double)model_mha_elements(base) / (double)model_cache_elements(&out, PATH_ABSORBED);
}

static void near(double got, double wanted, double within) {
    cr_assert(fabs(got - wanted) <= within, "%.9g, not %.9g", got, wanted);
}

Test(model, paths_and_kinds_are_named) {
    Path path = PATH_MATERIALISED;
    cr_assert(path_parse("absorbed", &path));
    cr_assert_eq(path, PATH_ABSORBED);
    cr_assert_not(path_parse("absorb", &path));
    cr_assert_eq(path, PATH_ABSORBED);
    for (Path p = PATH_MATERIALISED; p <= PATH_ABSORBED; p++)
        cr_assert(path_parse(path_name(p), &path) && path == p);
    cr_assert_str_eq(attention_kind_name(ATTENTION_MLA), "mla");
    cr_assert_str_eq(attention_kind_name(ATTENTION_MQA), "mqa");
}

Test(model, mla_caches_one_latent_row_or_the_heads) {
    const Model v3 = deepseek_v3();
    cr_assert_eq(model_cache_elements(&v3, PATH_ABSORBED), 576);
    cr_assert_eq(model_cache_elements(&v3, PATH_EXPANDED), 576);
    cr_assert_eq(model_cache_elements(&v3, PATH_MATERIALISED), 40960);
    cr_assert_eq(model_cache_bytes_per_token(&v3, PATH_ABSORBED, kv_type(ROW_BF16)), 70272);
    cr_assert_eq(model_cache_bytes_per_token(&v3, PATH_ABSORBED, kv_type(ROW_F32)), 140544);
    cr_assert_eq(model_cache_bytes_per_token_layer(&v3, PATH_ABSORBED, kv_type(ROW_F16)), 1152);
    const CacheShape row = model_cache_shape(&v3, PATH_ABSORBED);
    cr_assert(row.shared && row.kv_heads == 1 && row.key_dim == 576 && row.value_dim == 512);
    const CacheShape heads = model_cache_shape(&v3, PATH_MATERIALISED);
    cr_assert(!heads.shared && heads.kv_heads == 128 && heads.key_dim == 192);
}

Test(model, materialised_mla_is_larger_by_the_known_factors) {
    const Model v3 = deepseek_v3(), lite = deepseek_v2_lite();
    const Model kimi = mla(61, 7168, 64, 1536, 512, 128, 64, 128);
    const Model minicpm = mla(62, 2560, 40, 768, 256, 64, 32, 64);
    const Model *const models[] = { &v3, &kimi, &lite, &minicpm };
    const double factors[] = { 71.1, 35.6, 8.9, 22.2 };
    for (size_t i = 0; i < 4; i++)
        near((double)model_cache_elements(models[i], PATH_MATERIALISED) /
                 (double)model_cache_elements(models[i], PATH_ABSORBED),
             factors[i], 0.05);
}

Test(model, a_plain_model_caches_keys_and_values_whatever_the_path) {
    Model model = llama2_7b();
    cr_assert_eq(model_cache_bytes_per_token(&model, PATH_MATERIALISED, kv_type(ROW_BF16)), 524288);
    cr_assert_eq(model_cache_bytes_per_token(&model, PATH_ABSORBED, kv_type(ROW_BF16)), 524288);
    model.value_dim = 64; /* values narrower than keys */
    cr_assert_eq(model_cache_elements(&model, PATH_MATERIALISED), 32 * (128 + 64));
}

Test(model, deepseek_v3_contenders_reach_the_known_ratios) {
    const Model v3 = deepseek_v3();
    near(ratio(&v3, "mha"), 1, 0);
    near(ratio(&v3, "gqa-8"), 16, 0);
    near(ratio(&v3, "mqa"), 128, 0);
    near(ratio(&v3, "mla-512+64"), 56.9, 0.05);
    near((double)model_gqa8_elements(&v3) / 576, 3.56, 0.005);
    const Model mha = contender(&v3, "mha"), same = contender(&v3, "mla-512+64");
    cr_assert(mha.heads == 128 && mha.key_dim == 128 && mha.value_dim == 128 && mha.hidden == 7168);
    cr_assert(mha.kind == ATTENTION_MHA && mha.kv_lora_rank == 0 && mha.rope.dim == 128);
    cr_assert_eq(mha.rope.scaling, ROPE_YARN);
    cr_assert(same.q_lora_rank == 1536 && same.key_dim == 192 && same.nope_dim == 128);
}

Test(model, llama2_contenders_reach_the_known_ratios) {
    const Model llama = llama2_7b();
    near(ratio(&llama, "model"), 1, 0);
    near(ratio(&llama, "mha"), 1, 0);
    near(ratio(&llama, "gqa-8"), 4, 0);
    near(ratio(&llama, "gqa-2"), 16, 0);
    near(ratio(&llama, "mqa"), 32, 0);
    near(ratio(&llama, "mla-448+64"), 16, 0);
    near(ratio(&llama, "mla-512+64"), 14.2, 0.05);
    const Model latent = contender(&llama, "mla-448+64");
    cr_assert(latent.nope_dim == 128 && latent.key_dim == 192 && latent.value_dim == 128);
    cr_assert(latent.kv_heads == 32 && latent.q_lora_rank == 0 && latent.rope.dim == 64);
}

Test(model, a_gqa_of_one_or_all_heads_is_mqa_or_mha) {
    const Model llama = llama2_7b();
    cr_assert_eq(contender(&llama, "gqa-1").kind, ATTENTION_MQA);
    cr_assert_eq(contender(&llama, "gqa-32").kind, ATTENTION_MHA);
    cr_assert_eq(contender(&llama, "gqa-4").kind, ATTENTION_GQA);
}

Test(model, labels_name_the_contender) {
    const Model llama = llama2_7b();
    const char *const wanted[][2] = {
        { "mha", "MHA" }, { "gqa-8", "GQA-8" }, { "mqa", "MQA" }, { "mla-512+64", "MLA-512+64" }
    };
    for (size_t i = 0; i < 4; i++) {
        char label[32];
        const Model model = contender(&llama, wanted[i][0]);
        model_label(&model, label, sizeof label);
        cr_assert_str_eq(label, wanted[i][1]);
    }
}

Test(model, a_wrong_specification_is_refused_with_what_is_allowed) {
    const char *const wrong[][2] = {
        { "gqa-3", "gqa-3: 3 does not divide the 32 query heads; did you mean gqa-2?" },
        { "gqa-0", "did you mean gqa-1?" },
        { "gqa-64", "did you mean gqa-32?" },
        { "gqa", "did you mean gqa-8?" },
        { "gqa-8x", "no such contender" },
        { "gqa--8", "no such contender" },
        { "gqa-99999999999999999999", "no such contender" },
        { "MHA", "did you mean mha?" },
        { "", "no such contender" },
        { "mla-512", "did you mean mla-512+64?" },
        { "mla-0+64", "a latent of 0; allowed: 1 to 65536" },
        { "mla-99999999+64", "allowed: 1 to 65536" },
        { "mla-448+63", "did you mean mla-448+64?" },
        { "mla-448+0", "an even number" },
        { "mla-448+2000", "2 to 1024" },
        { "mla-448+64 ", "no such contender" },
    };
    const Model llama = llama2_7b();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Model out = { .layers = 7 };
        Error err = { 0 };
        cr_assert_eq(model_contender(&out, &llama, wrong[i][0], &err), ERR_INPUT, "%s",
                     wrong[i][0]);
        cr_assert(strstr(err.text, wrong[i][1]), "%s: %s", wrong[i][0], err.text);
        cr_assert_eq(out.layers, 7, "untouched on failure");
    }
}

Test(model, yarn_sharpens_the_softmax_by_mscale_squared) {
    Model v3 = deepseek_v3();
    near(model_softmax_scale(&v3), 0.13523378, 1e-8);
    v3.rope.mscale = v3.rope.mscale_all_dim = 0.707;
    near(model_softmax_scale(&v3), 0.11472139, 1e-8);
    v3.rope.mscale_all_dim = 0;
    near(model_softmax_scale(&v3), 1 / sqrt(192), 1e-15);
    const Model llama = llama2_7b();
    near(model_softmax_scale(&llama), 1 / sqrt(128), 1e-15);
}

/* What one more cached token adds to a decode step. */
static double flops_per_context_token(const Model *model, Path path) {
    const LayerFlops less = model_layer_flops(model, path, 1000, 1);
    const LayerFlops more = model_layer_flops(model, path, 1001, 1);
    return more.attention + more.latent - less.attention - less.latent;
}

Test(model, a_decode_step_costs_the_known_flops_a_context_token) {
    const Model v3 = deepseek_v3(), lite = deepseek_v2_lite(), llama = llama2_7b();
    near(flops_per_context_token(&v3, PATH_MATERIALISED), 81920, 0);
    near(flops_per_context_token(&v3, PATH_EXPANDED), 81920 + 33554432, 0);
    near(flops_per_context_token(&v3, PATH_ABSORBED), 278528, 0);
    near(flops_per_context_token(&lite, PATH_MATERIALISED), 10240, 0);
    near(flops_per_context_token(&lite, PATH_ABSORBED), 34816, 0);
    near(flops_per_context_token(&llama, PATH_MATERIALISED), 4 * 32 * 128, 0);
}

Test(model, new_tokens_pay_for_the_latent_once_and_expanding_pays_for_all) {
    const Model v3 = deepseek_v3();
    const double token = 2.0 * 128 * 512 * (128 + 128);
    near(model_layer_flops(&v3, PATH_MATERIALISED, 1000, 3).latent, 3 * token, 0);
    near(model_layer_flops(&v3, PATH_ABSORBED, 1000, 3).latent, 3 * token, 0);
    near(model_layer_flops(&v3, PATH_EXPANDED, 1000, 3).latent, 1003 * token, 0);
}

Test(model, only_unmasked_pairs_are_counted) {
    const Model llama = llama2_7b();
    const double pair = 4.0 * 32 * 128;
    near(model_layer_flops(&llama, PATH_MATERIALISED, 0, 1).attention, pair, 0);
    near(model_layer_flops(&llama, PATH_MATERIALISED, 0, 4).attention, 10 * pair, 0);
    near(model_layer_flops(&llama, PATH_MATERIALISED, 100, 3).attention, 306 * pair, 0);
}

/* A multiply-add per parameter and token: the matrices say it independently. */
Test(model, projections_cost_two_flops_a_parameter) {
    const Model v3 = deepseek_v3(), lite = deepseek_v2_lite(), llama = llama2_7b();
    const Model gqa = contender(&llama, "gqa-8");
    const Model *const models[] = { &v3, &lite, &llama, &gqa };
    for (size_t i = 0; i < 4; i++) {
        const LayerFlops flops = model_layer_flops(models[i], PATH_ABSORBED, 500, 5);
        WeightShape shapes[WEIGHT_SHAPES_MOST];
        const size_t count = weights_shapes(models[i], shapes);
        double products = 0;
        for (size_t s = 0; s < count; s++)
            if (shapes[s].cols > 1) products += (double)shapes[s].rows * (double)shapes[s].cols;
        near(flops.projection + flops.latent, 2 * 5 * products, 0);
    }
}

Test(model, deepseek_v3_attention_has_187_million_parameters_a_layer) {
    const Model v3 = deepseek_v3();
    cr_assert_eq(model_attention_parameters(&v3), 7168u * 1536 + 1536 + 1536u * 24576 +
                                                      7168u * 576 + 512 + 512u * 32768 +
                                                      16384u * 7168);
    cr_assert_eq(model_attention_parameters(&v3), 187107328);
    const Model llama = llama2_7b();
    cr_assert_eq(model_attention_parameters(&llama), 4u * 4096 * 4096);
}

/* The published closed form counts no pairs among the new tokens and no rebuilding of them: it is
 * the crossover for query tokens far below the cached ones. compression.md 1.3. */
static double far_crossover(double c, double heads, double cached) {
    return c * heads / (2 * c - heads + c * heads / cached);
}

Test(model, paths_cross_at_the_known_query_counts) {
    const Model v3 = deepseek_v3();
    const size_t cached[] = { 1024, 4096, 32768, 131072 };
    const double known[] = { 147, 164, 170, 171 };
    for (size_t i = 0; i < 4; i++) {
        const double s = (double)cached[i], far = far_crossover(512, 256, s);
        near(ceil(far), known[i], 0);
        const double found = model_path_crossover(&v3, cached[i]);
        cr_assert(found > far && found < far * (1 + far / s), "%g beside %g", found, far);
    }
    near(model_path_crossover(&v3, 1024), 158.3, 0.05);
    near(model_path_crossover(&v3, 4096), 167.2, 0.05);
    near(model_path_crossover(&v3, (size_t)1 << 20), 170.7, 0.05);
    near(model_path_crossover(&v3, 0), 512.0 * 256 / 768, 1e-9);
    const Model minicpm = mla(62, 2560, 40, 768, 256, 64, 32, 64);
    near(model_path_crossover(&minicpm, (size_t)1 << 20), 85.3, 0.05);
}

Test(model, at_the_crossover_absorbed_and_expanded_count_the_same_flops) {
    const Model v3 = deepseek_v3();
    for (size_t cached = 64; cached <= 65536; cached *= 4) {
        size_t queries = 1;
        for (;; queries++) {
            const LayerFlops e = model_layer_flops(&v3, PATH_EXPANDED, cached, queries);
            const LayerFlops a = model_layer_flops(&v3, PATH_ABSORBED, cached, queries);
            if (e.latent + e.attention < a.latent + a.attention) break;
        }
        near((double)queries, floor(model_path_crossover(&v3, cached)) + 1, 0);
    }
}

Test(model, absorbing_always_wins_where_the_latent_is_narrow) {
    const Model narrow = mla(1, 1024, 8, 0, 32, 128, 64, 128);
    cr_assert(isinf(model_path_crossover(&narrow, 100000)));
    const Model llama = llama2_7b();
    cr_assert(isinf(model_path_crossover(&llama, 1000)));
}

Test(weights, every_matrix_of_the_list_has_room_of_its_own) {
    Model model = deepseek_v2_lite();
    model.hidden = 64;
    model.heads = 2;
    model.attention_bias = model.output_bias = true;
    Model plain = llama2_7b();
    plain.hidden = 64;
    plain.heads = plain.kv_heads = 2;
    plain.attention_bias = plain.output_bias = plain.qk_norm = true;
    Model factored = model;
    factored.q_lora_rank = 24;
    const Model *const models[] = { &model, &plain, &factored };
    for (size_t m = 0; m < 3; m++) {
        LayerWeights weights = { 0 };
        Error err = { 0 };
        cr_assert_eq(weights_alloc(&weights, models[m], &err), OK);
        WeightShape shapes[WEIGHT_SHAPES_MOST];
        const size_t count = weights_shapes(models[m], shapes);
        cr_assert_leq(count, WEIGHT_SHAPES_MOST);
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            float *matrix = *weights_at(&weights, &shapes[i]);
            cr_assert_not_null(matrix);
            const bool norm = strstr(shapes[i].name, "norm") != NULL;
            const size_t last = shapes[i].rows * shapes[i].cols - 1;
            cr_assert(matrix[0] == (norm ? 1 : 0) && matrix[last] == matrix[0], "%s",
                      shapes[i].name);
            for (size_t j = 0; j < i; j++) cr_assert_neq(*weights_at(&weights, &shapes[j]), matrix);
            bytes += (last + 1) * sizeof(float);
        }
        cr_assert_eq(weights_bytes(models[m]), bytes);
        weights_free(&weights);
        cr_assert(weights.o == NULL && weights.kv_a == NULL);
    }
}

Test(weights, mla_without_a_query_rank_has_a_whole_query_projection) {
    const Model lite = deepseek_v2_lite();
    WeightShape shapes[WEIGHT_SHAPES_MOST];
    const size_t count = weights_shapes(&lite, shapes);
    cr_assert_eq(count, 5);
    cr_assert_str_eq(shapes[0].name, "q_proj.weight");
    cr_assert(shapes[0].rows == 3072 && shapes[0].cols == 2048);
    cr_assert_str_eq(shapes[3].name, "kv_b_proj.weight");
    cr_assert(shapes[3].rows == 4096 && shapes[3].cols == 512);
}

/* 2^40 floats for one matrix: refused by the allocator, with nothing left held. */
Test(weights, a_layer_beyond_memory_is_refused_as_a_whole) {
    Model huge = llama2_7b();
    huge.hidden = (size_t)1 << 31;
    huge.heads = huge.kv_heads = (size_t)1 << 24;
    LayerWeights weights = { 0 };
    Error err = { 0 };
    cr_assert_eq(weights_alloc(&weights, &huge, &err), ERR_MACHINE);
    cr_assert(strstr(err.text, "q_proj.weight"), "%s", err.text);
    cr_assert_null(weights.q);
}
