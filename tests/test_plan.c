/* Plans: what fits on GPUs, and laws that hold whatever the model. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "answers.h"
#include "architectures.h"
#include "random.h"
#include "speed.h"

enum { CONTEXT = 32768, PLANS = 10000 };

static Plan plan, other; /* too large for a stack */

static Engine engine_named(const char *name) {
    Engine engine;
    Error err;
    cr_assert_eq(engine_read(&engine, name, &err), OK, "%s", err.text);
    return engine;
}

static PlanInput input_of(const Architecture *model, const Engine *engine, Deployment asked) {
    PlanInput input = { .model = model,
                        .engine = engine,
                        .type = kv_type(ROW_BF16),
                        .context_tokens = CONTEXT,
                        .sequences = 1 };
    Error err;
    cr_assert_eq(deployment_resolve(&input.deployment, asked, model, NULL, &err), OK, "%s",
                 err.text);
    return input;
}

static const Plan *plan_of(Plan *out, const PlanInput *input) {
    Error err;
    cr_assert_eq(plan_make(out, input, &err), OK, "%s", err.text);
    return out;
}

static Hardware gpu(double gib) {
    Hardware h = { .name = "a GPU",
                   .memory_bytes = (uint64_t)(gib * 0x1p30),
                   .usable_bytes = (uint64_t)(gib * 0x1p30),
                   .bandwidth_bytes_s = 3e12,
                   .flops = { [RATE_BF16] = 1e15, [RATE_FP8] = 2e15 },
                   .link_bytes_s = 4e11 };
    for (int s = 0; s < SHARES; s++) h.efficiency[s] = (Efficiency){ .low = 0.5, .high = 0.8 };
    return h;
}

/* ---- sharding ---- */

Test(plan, the_latent_does_not_shrink_with_tensor_parallelism) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    for (size_t tp = 1; tp <= 16; tp *= 2) {
        const PlanInput input = input_of(&v3, &logical, (Deployment){ .tp = tp });
        plan_of(&plan, &input);
        cr_expect_eq(plan.growth_per_gpu, 70272);
        cr_expect_eq(plan.per_gpu, 2196 * 0x1p20);
        cr_expect_eq(plan.deployment, (double)tp * 2196 * 0x1p20);
    }
}

Test(plan, deepseek_v3_over_eight_gpus_of_141_gb_holds_what_per_gpu_bytes_give) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    Hardware h200;
    size_t count;
    Error err;
    cr_assert_eq(hardware_parse(&h200, &count, "8xH200", &err), OK, "%s", err.text);
    PlanInput input = input_of(&v3, &logical, (Deployment){ .gpus = count });
    input.hardware = &h200;
    plan_of(&plan, &input);
    cr_expect_eq(plan.input.deployment.tp, 8);
    cr_expect_eq(plan.max_sequences, floor(plan.memory.pool / (2196 * 0x1p20)));
    cr_expect_eq(plan.max_sequences, 21, "%.0f", plan.max_sequences);
}

Test(plan, heads_are_copied_once_there_are_more_ranks_than_heads) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine logical = engine_named("logical");
    const struct {
        size_t tp;
        double per_gpu;
    } shares[] = { { 1, 131072 }, { 2, 65536 }, { 8, 16384 }, { 16, 16384 }, { 32, 16384 } };
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const PlanInput input = input_of(&llama, &logical, (Deployment){ .tp = shares[i].tp });
        plan_of(&plan, &input);
        cr_expect_eq(plan.growth_per_gpu, shares[i].per_gpu);
        cr_expect_eq(plan.deployment, shares[i].per_gpu * (double)shares[i].tp * CONTEXT);
    }
}

Test(plan, decode_context_parallelism_divides_what_would_be_copied) {
    const Architecture v3 = deepseek_v3();
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine logical = engine_named("logical");
    for (size_t dcp = 1; dcp <= 8; dcp *= 2) {
        PlanInput input = input_of(&v3, &logical, (Deployment){ .tp = 8, .dcp = dcp });
        plan_of(&plan, &input);
        cr_expect_eq(plan.per_gpu, 2196 * 0x1p20 / (double)dcp);
        /* heads that are split already are not split again: their bytes are all there */
        input = input_of(&llama, &logical, (Deployment){ .tp = 8, .dcp = dcp });
        plan_of(&plan, &input);
        cr_expect_eq(plan.deployment, 131072.0 * CONTEXT);
    }
}

Test(plan, an_engine_that_cannot_split_windows_or_heads_over_tokens_says_so) {
    const Architecture gemma = gemma_3_27b();
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine vllm = engine_named("vllm");
    Error err;
    PlanInput input = input_of(&gemma, &vllm, (Deployment){ .tp = 32, .dcp = 2 });
    cr_expect_eq(plan_make(&plan, &input, &err), ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "windowed"), "%s", err.text);
    input = input_of(&llama, &vllm, (Deployment){ .tp = 8, .dcp = 8 });
    cr_expect_eq(plan_make(&plan, &input, &err), ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "copies"), "%s", err.text);
}

Test(plan, data_parallel_ranks_hold_their_own_sequences_only) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    PlanInput input = input_of(&v3, &logical, (Deployment){ .dp = 8, .tp = 1 });
    input.sequences = 20;
    plan_of(&plan, &input);
    cr_expect_eq(plan.per_gpu, 3 * 2196 * 0x1p20);
    cr_expect_eq(plan.deployment, 20 * 2196 * 0x1p20);
    cr_expect_eq(plan.input.deployment.ep, 8);
}

Test(plan, stages_are_uneven_and_the_fullest_counts) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    const PlanInput input = input_of(&v3, &logical, (Deployment){ .pp = 4 });
    Stage stages[STAGES_MOST];
    deployment_stages(&v3, &input.deployment, false, stages);
    const size_t layers[] = { 15, 15, 16, 15 };
    for (size_t s = 0; s < 4; s++) cr_expect_eq(stages[s].layers, layers[s]);
    plan_of(&plan, &input);
    cr_expect_eq(plan.per_gpu, 16 * 36 * 0x1p20);
    cr_expect_eq(plan.deployment, 61 * 36 * 0x1p20);
}

Test(plan, the_fullest_stage_bounds_the_users) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    PlanInput input = input_of(&v3, &logical, (Deployment){ .pp = 4 });
    input.kv_pool_bytes = (uint64_t)(16 * 36 * 100 + 1)
                          << 20; /* a hundred users of its 16 layers */
    plan_of(&plan, &input);
    cr_expect_eq(plan.max_sequences, 100);
    cr_expect_eq(plan.binding_stage, 2);
}

Test(plan, experts_lie_whole_on_the_ranks_that_they_are_spread_over) {
    const Architecture v3 = deepseek_v3();
    const double experts = architecture_part_bytes(&v3, PART_EXPERTS);
    const struct {
        Deployment asked;
        double share;
    } ranks[] = { { { .tp = 1 }, 1 },
                  { { .tp = 8 }, 1.0 / 8 },
                  { { .dp = 8, .tp = 1 }, 1.0 / 8 },
                  { { .dp = 8, .tp = 1, .ep = 1 }, 1 },
                  { { .tp = 4, .ep = 4 }, 1.0 / 4 },
                  { { .dp = 3, .tp = 1 }, 86.0 / 256 } };
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        Deployment d;
        Stage stage[STAGES_MOST];
        Error err;
        cr_assert_eq(deployment_resolve(&d, ranks[i].asked, &v3, NULL, &err), OK, "%s", err.text);
        deployment_stages(&v3, &d, false, stage);
        cr_expect_float_eq(deployment_weights(&v3, &d, stage).part[PART_EXPERTS],
                           experts * ranks[i].share, 1, "%zu", i);
    }
}

Test(plan, weights_of_all_ranks_hold_every_parameter_and_copies_beside) {
    const Architecture v3 = deepseek_v3();
    const double whole = architecture_weight_bytes(&v3);
    const Deployment asked[] = {
        { .tp = 1 }, { .tp = 8 }, { .pp = 4 }, { .dp = 8, .tp = 1 }, { .tp = 4, .pp = 2 }
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        Deployment d;
        Stage stages[STAGES_MOST];
        Error err;
        cr_assert_eq(deployment_resolve(&d, asked[i], &v3, NULL, &err), OK);
        deployment_stages(&v3, &d, false, stages);
        double sum = 0;
        for (size_t s = 0; s < d.pp; s++)
            sum += deployment_weights(&v3, &d, &stages[s]).total * (double)(d.tp * d.dp);
        cr_expect_geq(sum, whole * (1 - 1e-9), "%zu: %g of %g", i, sum, whole);
        if (d.gpus == 1 || d.pp == 4) cr_expect_leq(sum, whole * (1 + 1e-9));
    }
}

Test(plan, ranks_that_do_not_make_the_gpus_are_refused) {
    const Architecture v3 = deepseek_v3();
    const Deployment wrong[] = { { .gpus = 8, .tp = 3 }, { .gpus = 8, .tp = 2, .dp = 2 },
                                 { .tp = 8, .dcp = 3 },  { .pp = 62 },
                                 { .tp = 8, .ep = 3 },   { .gpus = 1 << 20 } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Deployment d;
        Error err;
        cr_expect_eq(deployment_resolve(&d, wrong[i], &v3, NULL, &err), ERR_INPUT, "%zu", i);
    }
}

/* ---- laws over random plans ---- */

typedef struct {
    Architecture model;
    Engine engine;
    Hardware hardware;
    PlanInput input;
} Drawn;

static size_t draw(size_t index, size_t stream, size_t most) {
    return 1 + (size_t)(random_uniform(7, stream, index) * (double)most);
}

/* A model, an engine and GPUs at random; false where the engine refuses them. */
static bool draw_plan(Drawn *d, size_t i, Plan *out) {
    static const char *const engines[] = { "logical", "vllm", "sglang", "llamacpp", "hf" };
    static Engine read[5];
    if (!read[0].block_tokens)
        for (size_t e = 0; e < 5; e++) read[e] = engine_named(engines[e]);
    const size_t layers = 4 * draw(i, 0, 24), heads = 8 * draw(i, 1, 16);
    d->model = architecture_named("random", layers, 1024 * draw(i, 2, 8), heads);
    if (draw(i, 3, 2) == 1) {
        architecture_add(&d->model, kind_latent(heads, 128 * draw(i, 4, 4), 64, 128, 128), 0, 1);
    } else {
        const size_t kv = (size_t)1 << (draw(i, 4, 4) - 1);
        architecture_add(&d->model, kind_heads(heads, kv, 128), 0, 1);
        if (draw(i, 5, 2) == 1)
            architecture_add(&d->model, kind_window(heads, kv, 128, 512 * draw(i, 6, 8)), 0, 2);
    }
    d->model.parameters.part[PART_ATTENTION] = (double)layers * 1e7;
    d->model.parameters.part[PART_DENSE_MLP] = (double)layers * 4e7;
    d->engine = read[draw(i, 7, 5) - 1];
    d->hardware = gpu((double)(24 + 8 * draw(i, 8, 20)));
    const Deployment asked = { .tp = (size_t)1 << (draw(i, 9, 4) - 1),
                               .dp = draw(i, 10, 3),
                               .pp = draw(i, 11, 4),
                               .dcp = draw(i, 12, 4) == 1 ? 2 : 1 };
    Error err;
    d->input = (PlanInput){ .model = &d->model,
                            .engine = &d->engine,
                            .hardware = &d->hardware,
                            .type = kv_type(draw(i, 13, 2) == 1 ? ROW_BF16 : ROW_FP8),
                            .context_tokens = 256 * draw(i, 14, 512),
                            .sequences = draw(i, 15, 64) };
    return deployment_resolve(&d->input.deployment, asked, &d->model, NULL, &err) == OK &&
           plan_make(out, &d->input, &err) == OK;
}

Test(plan, its_inverse_agrees_on_ten_thousand_plans) {
    static Drawn drawn;
    size_t planned = 0;
    for (size_t i = 0; planned < PLANS; i++) {
        if (!draw_plan(&drawn, i, &plan)) continue;
        planned++;
        const double users = (double)drawn.input.sequences;
        const size_t most = 1 << 24;
        const size_t longest = plan_longest_context(&plan, users, most);
        if (longest) cr_assert_geq(plan_sequences(&plan, longest), users, "plan %zu", i);
        if (longest < most) cr_assert_lt(plan_sequences(&plan, longest + 1), users, "plan %zu", i);
        cr_assert_eq(plan.max_sequences, plan_sequences(&plan, drawn.input.context_tokens));
        cr_assert_eq(plan.max_sequences >= users, longest >= drawn.input.context_tokens, "plan %zu",
                     i);
    }
}

Test(plan, bytes_only_grow_from_step_to_step_and_ranks_hold_all_of_them) {
    static Drawn drawn;
    for (size_t i = 0; i < 2000; i++) {
        if (!draw_plan(&drawn, i, &plan)) continue;
        const SequenceBytes *b = &plan.bytes;
        cr_assert(b->logical <= b->layout && b->layout <= b->rounded && b->rounded <= b->windowed &&
                      b->windowed <= b->reserved * (1 + 1e-12),
                  "plan %zu", i);
        double ranks = 0;
        for (size_t s = 0; s < drawn.input.deployment.pp; s++)
            ranks += pages_sequence(&plan.rank[s], drawn.input.context_tokens).reserved *
                     (double)drawn.input.deployment.tp * (double)drawn.input.sequences;
        cr_assert_float_eq(plan.deployment, ranks, 1e-6 * ranks);
        cr_assert_geq(plan.deployment, b->layout * (1 - 1e-9), "plan %zu", i);
    }
}

Test(plan, more_context_never_holds_more_users_and_more_memory_never_fewer) {
    static Drawn drawn;
    for (size_t i = 0; i < 2000; i++) {
        if (!draw_plan(&drawn, i, &plan)) continue;
        const double users = plan.max_sequences;
        cr_assert_leq(plan_sequences(&plan, drawn.input.context_tokens + draw(i, 16, 4096)), users);
        drawn.hardware.usable_bytes += (uint64_t)draw(i, 17, 32) << 30;
        plan_of(&other, &drawn.input);
        cr_assert_geq(other.max_sequences, users, "plan %zu", i);
        drawn.input.deployment.dp++;
        drawn.input.deployment.gpus = 0;
        drawn.input.deployment.ep = 0;
        Error err;
        cr_assert_eq(deployment_resolve(&drawn.input.deployment, drawn.input.deployment,
                                        &drawn.model, NULL, &err),
                     OK);
        plan_of(&plan, &drawn.input);
        cr_assert_geq(plan.max_sequences, other.max_sequences, "plan %zu", i);
    }
}

/* ---- pools and answers ---- */

Test(plan, a_given_pool_is_cut_into_whole_blocks) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine vllm = engine_named("vllm");
    PlanInput input = input_of(&llama, &vllm, (Deployment){ 0 });
    input.kv_pool_bytes = (uint64_t)(20 * 0x1p30);
    plan_of(&plan, &input);
    cr_expect_eq(plan.blocks, 10240);
    cr_expect_eq(plan.cache_tokens, 163840);
    cr_expect_eq(plan.blocks_per_sequence, 2048);
    cr_expect_eq(plan.concurrency, 5.0);
    cr_expect_eq(plan.max_sequences, 4); /* the null block is the one that the fifth would need */
}

Test(plan, groups_share_a_pool) {
    const Architecture gemma = gemma_3_27b();
    const Engine vllm = engine_named("vllm");
    PlanInput input = input_of(&gemma, &vllm, (Deployment){ 0 });
    input.kv_pool_bytes = (uint64_t)(20 * 0x1p30);
    plan_of(&plan, &input);
    cr_expect_eq(plan.blocks, 16384);
    cr_expect_eq(plan.cache_tokens, 16384 / 7 * 16);
    cr_expect_eq(plan.blocks_per_sequence, 2048 + 6 * 193);
}

Test(plan, changes_that_fit_come_first_and_the_fewest_gpus_are_fewest) {
    const Architecture v3 = deepseek_v3();
    const Engine logical = engine_named("logical");
    const Hardware device = gpu(141);
    PlanInput input = input_of(&v3, &logical, (Deployment){ .gpus = 8 });
    input.hardware = &device;
    input.sequences = 100;
    plan_of(&plan, &input);
    Change changes[CHANGES_MOST];
    const size_t count = answers_changes(&plan, 100, changes, &other);
    cr_assert_geq(count, 3);
    for (size_t i = 1; i < count; i++) cr_expect(changes[i - 1].fits >= changes[i].fits);
    cr_expect_str_eq(changes[0].options, "--dcp 8"); /* the 8 copies of the latent, and no more */
    cr_expect(changes[0].fits);
    cr_expect_eq(layouts_copies(&plan, 8, 1), 8);
    cr_expect_eq(layouts_copies(&plan, 8, 2), 4);
    Deployment fewest;
    double sequences;
    cr_assert(layouts_fewest_gpus(&plan, 100, 64, &fewest, &sequences, &other));
    cr_expect_geq(sequences, 100);
    /* 100 users of 2,196 MiB and 671 GB of weights are 901 GB, a GPU has 136 GB of 0.9 x 141 GiB */
    cr_expect_geq(fewest.gpus, 7);
    cr_expect_leq(fewest.gpus, 8);
}

Test(plan, the_fewest_gpus_are_those_that_memory_asks_for) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine logical = engine_named("logical");
    const Hardware device = gpu(10);
    PlanInput input = input_of(&llama, &logical, (Deployment){ .gpus = 1 });
    input.hardware = &device;
    plan_of(&plan, &input);
    /* no weights; 4 GiB a user, 9 GiB less activations a GPU: two users each */
    const double users[] = { 2, 3, 5, 6, 7, 16 };
    const size_t least[] = { 1, 2, 3, 3, 4, 8 };
    for (size_t i = 0; i < 6; i++) {
        Deployment fewest;
        double sequences;
        cr_assert(layouts_fewest_gpus(&plan, users[i], 64, &fewest, &sequences, &other));
        cr_expect_eq(fewest.gpus, least[i], "%g users: %zu GPUs", users[i], fewest.gpus);
        cr_expect_geq(sequences, users[i]);
    }
}

Test(plan, three_stages_may_hold_what_neither_two_gpus_nor_three_ranks_can) {
    Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    llama.parameters.part[PART_DENSE_MLP] = 10e9; /* 20 GB, of which a GPU has 9.7 */
    const Engine logical = engine_named("logical");
    const Hardware device = gpu(10);
    PlanInput input = input_of(&llama, &logical, (Deployment){ .gpus = 1 });
    input.hardware = &device;
    plan_of(&plan, &input);
    Deployment fewest;
    double sequences;
    cr_assert(layouts_fewest_gpus(&plan, 1, 64, &fewest, &sequences, &other));
    cr_expect_eq(fewest.gpus, 3);
    cr_expect_eq(fewest.pp, 3);
}

Test(plan, ranks_stay_within_a_node_and_divide_the_heads_by_default) {
    const Architecture v3 = deepseek_v3();
    const Architecture dense = architecture_alike("dense", 32, kind_heads(32, 8, 128));
    const Architecture odd = architecture_alike("odd", 24, kind_heads(14, 2, 64));
    Hardware pairs = gpu(80);
    pairs.link_devices = 2;
    const struct {
        const Architecture *model;
        const Hardware *hardware;
        Deployment asked, gets;
    } layouts[] = {
        { &v3, NULL, { .gpus = 8 }, { 8, 8, 1, 1, 1, 1 } },
        { &v3, NULL, { .gpus = 16 }, { 16, 8, 2, 1, 1, 16 } },
        { &v3, NULL, { .gpus = 24 }, { 24, 8, 3, 1, 1, 24 } },
        { &v3, NULL, { .gpus = 16, .dp = 1 }, { 16, 16, 1, 1, 1, 1 } },
        { &v3, NULL, { .gpus = 16, .dcp = 8 }, { 16, 8, 2, 8, 1, 16 } },
        { &v3, &pairs, { .gpus = 8 }, { 8, 2, 4, 1, 1, 8 } },
        { &dense, NULL, { .gpus = 16 }, { 16, 8, 1, 1, 2, 1 } },
        { &dense, NULL, { .gpus = 3 }, { 3, 1, 1, 1, 3, 1 } },
        { &odd, NULL, { .gpus = 8 }, { 8, 2, 1, 1, 4, 1 } },
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const Deployment *gets = &layouts[i].gets;
        Deployment d;
        Error err;
        cr_assert_eq(
            deployment_resolve(&d, layouts[i].asked, layouts[i].model, layouts[i].hardware, &err),
            OK, "%s", err.text);
        cr_expect(d.gpus == gets->gpus && d.tp == gets->tp && d.dp == gets->dp &&
                      d.dcp == gets->dcp && d.pp == gets->pp && d.ep == gets->ep,
                  "%zu: tp %zu dp %zu dcp %zu pp %zu ep %zu", i, d.tp, d.dp, d.dcp, d.pp, d.ep);
    }
}

Test(plan, query_heads_are_not_cut) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine vllm = engine_named("vllm"), cells = engine_named("llamacpp");
    Error err;
    PlanInput input = input_of(&llama, &vllm, (Deployment){ .tp = 3 });
    cr_expect_eq(plan_make(&plan, &input, &err), ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "32 query heads"), "%s", err.text);
    input.engine = &cells;
    cr_expect_eq(plan_make(&plan, &input, &err), OK);
}

Test(plan, attention_flops_are_those_of_the_closed_forms) {
    const CacheKind v3 = kind_latent(128, 512, 64, 128, 128);
    cr_expect_eq(speed_attention_flops(&v3, false, 1, 1), 278528);
    cr_expect_eq(speed_attention_flops(&v3, true, 1, 1), 81920);
    const CacheKind llama = kind_heads(32, 8, 128);
    cr_expect_eq(speed_attention_flops(&llama, false, 1, 1), 2 * 32 * 256);
}

Test(plan, a_decode_step_takes_at_least_the_reading_of_weights_and_cache) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    Architecture model = llama;
    model.parameters.part[PART_ATTENTION] = 1e9;
    model.parameters.part[PART_DENSE_MLP] = 6e9;
    const Engine logical = engine_named("logical");
    Hardware device = gpu(80);
    for (int s = 0; s < SHARES; s++) device.efficiency[s] = (Efficiency){ .low = 1, .high = 1 };
    PlanInput input = input_of(&model, &logical, (Deployment){ 0 });
    input.hardware = &device;
    plan_of(&plan, &input);
    const StepTime time = speed_decode(&plan, 4, CONTEXT);
    const double bytes = 14e9 + 4.0 * 131072 * CONTEXT;
    cr_expect_float_eq(time.seconds.low, bytes / 3e12, 1e-9);
    cr_expect_eq(time.seconds.low, time.seconds.high);
    /* a step of products alone turns to compute where 2 flops a weight outweigh its 2 bytes */
    const double batch = speed_compute_bound_batch(&plan, 1, 1 << 20);
    cr_expect_gt(batch, 250);
    cr_expect_lt(batch, 450);
}
