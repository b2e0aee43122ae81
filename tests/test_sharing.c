/* What a rank holds of weights and caches, and what is left for the cache, worked out by hand. */
#include <criterion/criterion.h>

#include "architectures.h"
#include "plan.h"

static Plan plan; /* too large for a stack */
static Architecture model;
static Engine engine;

enum { LAYERS = 4, HIDDEN = 1024 };

static void make_model(CacheKind kind) {
    model = architecture_named("small", LAYERS, HIDDEN, kind.heads);
    architecture_add(&model, kind, 0, 1);
    model.parameters.part[PART_ATTENTION] = LAYERS * kind.parameters;
}

static PlanInput input_of(const char *engine_name, Deployment asked) {
    PlanInput input = { .model = &model,
                        .engine = &engine,
                        .type = kv_type(ROW_BF16),
                        .context_tokens = 1000,
                        .sequences = 1 };
    Error err;
    cr_assert_eq(engine_read(&engine, engine_name, &err), OK, "%s", err.text);
    cr_assert_eq(deployment_resolve(&input.deployment, asked, &model, NULL, &err), OK, "%s",
                 err.text);
    return input;
}

static void make_plan(const PlanInput *input) {
    Error err;
    cr_assert_eq(plan_make(&plan, input, &err), OK, "%s", err.text);
}

/* Bytes of a part on a GPU of a stage. */
static double weight(Deployment asked, bool draft, size_t stage, WeightPart part) {
    Deployment d;
    Stage stages[STAGES_MOST];
    Error err;
    cr_assert_eq(deployment_resolve(&d, asked, &model, NULL, &err), OK, "%s", err.text);
    deployment_stages(&model, &d, draft, stages);
    return deployment_weights(&model, &d, &stages[stage]).part[part];
}

/* ---- weights ---- */

Test(sharing, key_and_value_projections_are_copied_as_their_heads_are) {
    CacheKind kind = kind_heads(8, 2, 64);
    /* of a layer: queries and outputs 2 x 1024 x 512, keys and values 1024 x 2 x 128 */
    kind.parameters = 1048576 + 262144;
    make_model(kind);
    const double bytes = 2.0 * LAYERS;
    cr_expect_eq(weight((Deployment){ .tp = 1 }, false, 0, PART_ATTENTION), bytes * 1310720);
    cr_expect_eq(weight((Deployment){ .tp = 2 }, false, 0, PART_ATTENTION), bytes * 655360);
    /* four ranks over two heads: a head each, so half of keys and values, a quarter of the rest */
    cr_expect_eq(weight((Deployment){ .tp = 4 }, false, 0, PART_ATTENTION),
                 bytes * (262144 + 131072));
}

Test(sharing, projections_into_a_latent_are_copied) {
    CacheKind kind = kind_latent(8, 64, 16, 32, 32);
    kind.q_lora_rank = 128;
    /* copied: 1024 x (128 + 64 + 16); split: 128 x 8 x 48 + 64 x 8 x 64 + 8 x 32 x 1024 */
    kind.parameters = 212992 + 344064;
    make_model(kind);
    cr_expect_eq(weight((Deployment){ .tp = 4 }, false, 0, PART_ATTENTION),
                 2.0 * LAYERS * (212992 + 86016));
}

Test(sharing, embedding_and_head_lie_on_the_ends_and_are_split) {
    make_model(kind_heads(8, 8, 64));
    model.parameters.part[PART_EMBEDDING] = model.parameters.part[PART_HEAD] = 1e6;
    const Deployment ranks = { .tp = 4, .pp = 2 };
    cr_expect_eq(weight(ranks, false, 0, PART_EMBEDDING), 2e6 / 4);
    cr_expect_eq(weight(ranks, false, 1, PART_EMBEDDING), 0);
    cr_expect_eq(weight(ranks, false, 0, PART_HEAD), 0);
    cr_expect_eq(weight(ranks, false, 1, PART_HEAD), 2e6 / 4);
    model.parameters.part[PART_HEAD] = 0; /* tied: the last stage needs the embedding too */
    cr_expect_eq(weight(ranks, false, 1, PART_EMBEDDING), 2e6 / 4);
}

Test(sharing, routers_lie_whole_on_every_rank_of_their_stage) {
    make_model(kind_heads(8, 8, 64));
    for (size_t i = 1; i < LAYERS; i++) model.layer_mlp[i] = MLP_EXPERTS;
    model.experts = 16;
    model.parameters.part[PART_ROUTER] = 3e4;
    model.parameters.part[PART_SHARED_EXPERTS] = 3e6;
    model.parameters.part[PART_EXPERTS] = 48e6;
    const Deployment ranks = { .tp = 4, .pp = 2 };
    /* layers 0 1 | 2 3: one of three with experts, then two */
    cr_expect_eq(weight(ranks, false, 0, PART_ROUTER), 2e4);
    cr_expect_eq(weight(ranks, false, 1, PART_ROUTER), 4e4);
    cr_expect_eq(weight(ranks, false, 1, PART_SHARED_EXPERTS), 4e6 / 4);
    cr_expect_eq(weight(ranks, false, 1, PART_EXPERTS), 64e6 / 4);
    /* ep 2 of 8 ranks: half of the experts, cut by the four ranks of tp over the two of ep */
    cr_expect_eq(weight((Deployment){ .tp = 4, .dp = 2, .ep = 2 }, false, 0, PART_EXPERTS),
                 96e6 / 2 / 2);
}

Test(sharing, a_draft_is_loaded_and_cached_where_it_is_asked_for) {
    make_model(kind_heads(8, 2, 64));
    model.kind[0].draft_layers = 1;
    model.draft_layers = 1;
    model.parameters.part[PART_DRAFT] = 5e6;
    cr_expect_eq(weight((Deployment){ .tp = 1 }, true, 0, PART_DRAFT), 1e7);
    cr_expect_eq(weight((Deployment){ .tp = 1 }, false, 0, PART_DRAFT), 0);
    PlanInput input = input_of("logical", (Deployment){ .tp = 1, .pp = 2 });
    make_plan(&input);
    cr_expect_eq(plan.growth, 4 * 512);
    cr_expect_eq(plan.growth_per_gpu, 2 * 512);
    input.draft = true; /* a fifth cache, on the last stage */
    make_plan(&input);
    cr_expect_eq(plan.growth, 5 * 512);
    cr_expect_eq(plan.growth_per_gpu, 3 * 512);
}

/* Experts by their ranks, attention as any layer's, the projection of two inputs whole, a shared
 * expert by tp. */
Test(sharing, a_draft_is_split_as_its_parts_are) {
    const double attention = 4.0 * HIDDEN * 512, joint = 2.0 * HIDDEN * HIDDEN;
    CacheKind kind = kind_heads(8, 8, 64);
    kind.parameters = attention;
    make_model(kind);
    model.kind[0].draft_layers = model.draft_layers = 1;
    model.experts = 8;
    for (size_t i = 0; i <= LAYERS; i++) model.layer_mlp[i] = MLP_EXPERTS;
    model.parameters.part[PART_EXPERTS] = LAYERS * 8e6;
    model.parameters.part[PART_DRAFT] = 8e6 + attention + joint + 1e6;
    const Deployment whole = { .tp = 1 }, dp = { .tp = 1, .dp = 2 }, tp = { .tp = 2 };
    cr_expect_float_eq(weight(whole, true, 0, PART_DRAFT), 2 * (9e6 + attention + joint), 1);
    cr_expect_float_eq(weight(dp, true, 0, PART_DRAFT), 2 * (5e6 + attention + joint), 1);
    cr_expect_float_eq(weight(tp, true, 0, PART_DRAFT), 2 * (4.5e6 + attention / 2 + joint), 1);
    cr_expect_eq(weight(whole, true, 0, PART_ATTENTION), weight(whole, false, 0, PART_ATTENTION),
                 "a draft's attention is a part of the draft");
}

Test(sharing, projections_of_an_index_are_copied_to_every_rank) {
    CacheKind kind = kind_heads(8, 8, 64);
    const double index = 16 * HIDDEN + 4 * HIDDEN; /* key and weights of four heads */
    kind.parameters = 4.0 * HIDDEN * 512;
    make_model(kind);
    const double before = weight((Deployment){ .tp = 4 }, false, 0, PART_ATTENTION);
    kind.index_dim = 16;
    kind.index_heads = 4;
    kind.parameters += index;
    make_model(kind);
    cr_expect_eq(weight((Deployment){ .tp = 4 }, false, 0, PART_ATTENTION),
                 before + 2.0 * LAYERS * index);
}

/* ---- memory ---- */

Test(sharing, activations_are_a_batch_through_the_widest_layer_and_logits) {
    make_model(kind_heads(8, 2, 64));
    model.dense_intermediate = 4096;
    const PlanInput input = input_of("logical", (Deployment){ .tp = 1 });
    cr_assert_eq(engine.batch_tokens, 2048);
    /* 2,048 tokens x 2 B x (4 x 1,024 + 2 x 4,096), and 256 rows of 128,000 logits of 4 B */
    const double bytes = 4096.0 * 12288 + 1024.0 * 128000;
    cr_expect_eq(plan_activation_bytes(&model, &engine, &input.deployment), bytes);
    model.experts_per_token = 2; /* 2 x (2 x 8,000 + 1,024) are more than 2 x 4,096 */
    model.expert_intermediate = 8000;
    cr_expect_eq(plan_activation_bytes(&model, &engine, &input.deployment),
                 4096.0 * (4096 + 34048) + 1024.0 * 128000);
}

Test(sharing, what_is_left_is_the_cache_s) {
    make_model(kind_heads(8, 2, 64));
    model.parameters.part[PART_DENSE_MLP] = 1e9;
    const Hardware device = { .usable_bytes = 80ULL << 30 };
    PlanInput input = input_of("vllm", (Deployment){ .tp = 1 });
    input.hardware = &device;
    make_plan(&input);
    /* 0.9 of 80 GiB, less 2 GB of weights, 2 GiB of runtime, and activations: 2,048 tokens x 2 B x
     * 4 x 1,024 and the logits */
    const double activation = 4096.0 * 4096 + 1024.0 * 128000;
    cr_expect_float_eq(plan.memory.pool, 72 * 0x1p30 - 2e9 - 2 * 0x1p30 - activation, 1);
    input.utilization = 0.5;
    make_plan(&input);
    cr_expect_float_eq(plan.memory.pool, 40 * 0x1p30 - 2e9 - 2 * 0x1p30 - activation, 1);
}

Test(sharing, ranks_that_split_tokens_cache_as_many_times_more) {
    make_model(kind_latent(8, 64, 16, 32, 32));
    PlanInput input = input_of("logical", (Deployment){ .tp = 4, .dcp = 4 });
    input.kv_pool_bytes = 640000; /* a thousand rows of 4 layers x 160 B */
    make_plan(&input);
    cr_expect_eq(plan.blocks, 1000);
    cr_expect_eq(plan.cache_tokens, 4000);
    cr_expect_eq(plan.growth, 640);
    cr_expect_eq(plan.growth_per_gpu, 160);
}

/* ---- pages ---- */

Test(sharing, a_window_reserves_one_token_less_than_itself_and_a_batch) {
    make_model(kind_window(8, 2, 64, 1025));
    PlanInput input = input_of("vllm", (Deployment){ .tp = 1 });
    input.context_tokens = 100000;
    make_plan(&input);
    /* 1,024 + 2,048 tokens are 192 blocks of 16, and one more */
    cr_expect_eq(plan.bytes.reserved, 193.0 * 16 * LAYERS * 512);
}

Test(sharing, groups_grow_to_a_kind_that_is_little_larger) {
    model = architecture_named("small", 22, HIDDEN, 8);
    architecture_add(&model, kind_heads(8, 2, 64), 0, 1);
    architecture_add(&model, kind_window(8, 2, 64, 1024), 0, 2);
    architecture_add(&model, kind_window(8, 2, 64, 1024), 1, 22);
    cr_assert_eq(model.kind[0].layers, 10);
    model.kind[1].layers += model.kind[2].layers; /* 10 full layers, 12 windowed */
    model.kind_count = 2;
    for (size_t i = 0; i < model.layers; i++)
        if (model.layer_kind[i] == 2) model.layer_kind[i] = 1;
    const PlanInput input = input_of("vllm", (Deployment){ .tp = 1 });
    make_plan(&input);
    /* 12 is less than 10 x 1.25: a group each, two slots of the full one are empty */
    cr_expect_eq(plan.whole.group_size, 12);
    cr_expect_eq(plan.whole.part[0].groups, 1);
    cr_expect_eq(plan.whole.part[1].groups, 1);
}

Test(sharing, a_pool_cut_in_proportion_keeps_a_share_of_all_tokens_for_windows) {
    model = architecture_named("small", 4, HIDDEN, 8);
    architecture_add(&model, kind_heads(8, 2, 64), 0, 1);
    architecture_add(&model, kind_window(8, 2, 64, 64), 1, 2);
    PlanInput input = input_of("logical", (Deployment){ .tp = 1 });
    engine.window.rule = LIMITED_SHARE;
    engine.window.share = 0.8;
    input.context_tokens = 10000;
    make_plan(&input);
    /* two full layers of 10,000 rows, two of 8,000; a token more is 1 and 0.8 rows */
    cr_expect_eq(plan.bytes.reserved, 512.0 * 2 * (10000 + 8000));
    cr_expect_float_eq(plan.growth, 512 * 2 * 1.8, 1e-9);
    cr_assert_eq(engine_read(&engine, "sglang", &(Error){ .text = "" }), OK);
    cr_expect_eq(engine.window.rule, LIMITED_SHARE);
}

Test(sharing, compressed_layers_keep_their_newest_tokens_beside) {
    CacheKind row = { .keeps = KEEPS_ROW,
                      .heads = 8,
                      .key_dim = 512,
                      .rope_dim = 64,
                      .row_window = 128,
                      .index_dim = 128 };
    make_model(row);
    model.kind[0].row_tokens = 4;
    PlanInput input = input_of("logical", (Deployment){ .tp = 1 });
    input.type = kv_type(ROW_FP8_DS_MLA);
    make_plan(&input);
    /* 448 bytes, 64 of two, 7 scales, padded from 583 to 584; an index key of 64 B and a scale */
    cr_expect_eq(plan.whole.part[0].row.index, 68);
    cr_expect_eq(plan.whole.part[0].row.layout, 584 + 68);
    /* 1,000 tokens: 250 rows and the newest 128 */
    cr_expect_eq(plan.bytes.layout, LAYERS * 378.0 * 652);
}
