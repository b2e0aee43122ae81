/* Flops, bytes and traffic of a step's parts on a small model, each worked out by hand. */
#include <criterion/criterion.h>

#include "architectures.h"
#include "speed.h"
#include "traffic.h"

static Plan plan;          /* too large for a stack */
static Architecture model; /* what the plan points to */
static Engine logical;
static Hardware device;

enum { LAYERS = 4, HIDDEN = 1024 };

/* Whole rates: 10^12 B/s, 10^14 and 2 x 10^14 flops, nodes of 8. */
static void make_device(void) {
    device = (Hardware){ .name = "a device",
                         .usable_bytes = 1ULL << 40,
                         .bandwidth_bytes_s = 1e12,
                         .flops = { [RATE_BF16] = 1e14, [RATE_FP8] = 2e14 },
                         .link_bytes_s = 1e11,
                         .link_devices = 8,
                         .network_bytes_s = 1e10 };
    for (int s = 0; s < SHARES; s++) device.efficiency[s] = (Efficiency){ .low = 1, .high = 1 };
}

/* A model of one kind of cache, of 16-bit weights of which there are none yet. */
static void make_model(CacheKind kind) {
    model = architecture_named("small", LAYERS, HIDDEN, kind.heads);
    architecture_add(&model, kind, 0, 1);
}

static void make_plan(Deployment asked) {
    Error err;
    make_device();
    cr_assert_eq(engine_read(&logical, "logical", &err), OK, "%s", err.text);
    PlanInput input = { .model = &model,
                        .engine = &logical,
                        .hardware = &device,
                        .type = kv_type(ROW_BF16),
                        .context_tokens = 100,
                        .sequences = 1 };
    cr_assert_eq(deployment_resolve(&input.deployment, asked, &model, &device, &err), OK, "%s",
                 err.text);
    cr_assert_eq(plan_make(&plan, &input, &err), OK, "%s", err.text);
}

static PartTime decode(double sequences, size_t tokens, StepPart part) {
    return speed_decode(&plan, sequences, tokens).part[part];
}

static PartTime prefill(size_t tokens, StepPart part) {
    return speed_prefill(&plan, tokens).part[part];
}

Test(step, attention_reads_every_row_of_every_sequence) {
    make_model(kind_heads(8, 2, 64));
    make_plan((Deployment){ .tp = 1 });
    /* 3 sequences x 4 layers x 100 rows: 2 flops x 8 heads x (64 + 64); 2 B x 2 heads x 128 */
    const PartTime part = decode(3, 100, STEP_ATTENTION);
    cr_expect_eq(part.flops, 1200.0 * 2048);
    cr_expect_eq(part.bytes, 1200.0 * 512);
}

Test(step, a_prompt_sees_a_triangle_that_a_window_cuts) {
    make_model(kind_heads(8, 2, 64));
    make_plan((Deployment){ .tp = 1 });
    /* half of 100 x 100 pairs */
    cr_expect_eq(prefill(100, STEP_ATTENTION).flops, LAYERS * 5000.0 * 2048);
    make_model(kind_window(8, 2, 64, 40));
    make_plan((Deployment){ .tp = 1 });
    /* 100 x 40, less the half square of the first 40: 4,000 - 800 */
    cr_expect_eq(prefill(100, STEP_ATTENTION).flops, LAYERS * 3200.0 * 2048);
    cr_expect_eq(decode(1, 100, STEP_ATTENTION).flops, LAYERS * 40.0 * 2048);
}

Test(step, an_index_scores_all_rows_and_keeps_the_best) {
    CacheKind kind = kind_latent(8, 64, 16, 32, 32);
    kind.index_dim = 128;
    kind.index_heads = 4;
    kind.index_topk = 50;
    make_model(kind);
    make_plan((Deployment){ .tp = 1 });
    /* 200 rows: index 2 x 4 x 128 flops and 132 B each; 50 kept: absorbed 2 x 8 x (2 x 64 + 16)
     * flops, and 2 x (64 + 16) B */
    const PartTime step = decode(1, 200, STEP_ATTENTION);
    cr_expect_eq(step.flops, LAYERS * (200.0 * 1024 + 50.0 * 2304));
    cr_expect_eq(step.bytes, LAYERS * (200.0 * 132 + 50.0 * 160));
    /* a prompt: 20,000 pairs indexed, 200 x 50 of them attended to, expanded 2 x 8 x (48 + 32) */
    cr_expect_eq(prefill(200, STEP_ATTENTION).flops, LAYERS * (20000.0 * 1024 + 10000.0 * 1280));
    /* over dcp 2 each rank indexes and reads half of the rows, for half of the heads a whole set */
    make_plan((Deployment){ .tp = 2, .dcp = 2 });
    cr_expect_eq(decode(1, 200, STEP_ATTENTION).bytes, LAYERS * (100.0 * 132 + 25.0 * 160));
}

Test(step, a_state_is_read_and_written) {
    make_model((CacheKind){ .keeps = KEEPS_STATE, .state_elements = 4096, .state_heads = 8 });
    make_plan((Deployment){ .tp = 1 });
    const PartTime part = decode(2, 100, STEP_ATTENTION);
    cr_expect_eq(part.bytes, 2.0 * LAYERS * 2 * 4096 * 4); /* in fp32 */
    cr_expect_eq(part.flops, 2.0 * LAYERS * 4 * 4096);
}

Test(step, stages_work_on_a_part_of_the_sequences_each) {
    make_model(kind_heads(8, 2, 64));
    make_plan((Deployment){ .tp = 1, .pp = 2 });
    /* 8 sequences in 2 micro-batches: 4 pass all 4 layers, one stage after another */
    cr_expect_eq(decode(8, 100, STEP_ATTENTION).bytes, 4 * LAYERS * 100.0 * 512);
    make_plan((Deployment){ .tp = 1, .dp = 2 });
    cr_expect_eq(decode(8, 100, STEP_ATTENTION).bytes, 4 * LAYERS * 100.0 * 512);
}

Test(step, weights_are_read_once_and_multiplied_by_every_token) {
    make_model(kind_heads(8, 2, 64));
    model.parameters.part[PART_DENSE_MLP] = 3e6;
    model.parameters.part[PART_HEAD] = 1e6;
    make_plan((Deployment){ .tp = 1 });
    const PartTime mlp = decode(5, 100, STEP_MLP), prompt = prefill(100, STEP_MLP);
    cr_expect_eq(mlp.bytes, 6e6);
    cr_expect_eq(mlp.flops, 2 * 5 * 3e6);
    cr_expect_eq(prompt.bytes, 6e6);
    cr_expect_eq(prompt.flops, 2 * 100 * 3e6);
    /* logits of a prompt are those of its last token */
    cr_expect_eq(prefill(100, STEP_HEAD).flops, 2 * 1e6);
    cr_expect_eq(decode(5, 100, STEP_HEAD).flops, 2 * 5 * 1e6);
}

Test(step, weights_of_eight_bits_are_multiplied_at_the_peak_of_eight_bits) {
    make_model(kind_heads(8, 2, 64));
    model.parameters.part[PART_DENSE_MLP] = 1e6;
    make_plan((Deployment){ .tp = 1 });
    /* 10,000 tokens: 2 x 10^10 flops at 10^14 a second, or at twice that */
    cr_expect_float_eq(prefill(10000, STEP_MLP).seconds.low, 2e-4, 1e-12);
    model.weight_bits[PART_DENSE_MLP] = 8;
    cr_expect_float_eq(prefill(10000, STEP_MLP).seconds.low, 1e-4, 1e-12);
    model.weight_bits[PART_DENSE_MLP] = 4; /* expanded to bf16 first */
    cr_expect_float_eq(prefill(10000, STEP_MLP).seconds.low, 2e-4, 1e-12);
}

static void make_experts(void) {
    make_model(kind_heads(8, 2, 64));
    for (size_t i = 0; i < LAYERS; i++) model.layer_mlp[i] = MLP_EXPERTS;
    model.experts = 8;
    model.experts_per_token = 2;
    model.parameters.part[PART_EXPERTS] = 8e6;
}

Test(step, only_the_experts_that_tokens_reach_are_read) {
    make_experts();
    make_plan((Deployment){ .tp = 1 });
    /* 2 tokens: an expert is missed by both with (3/4)^2, so 7/16 of 16 MB are read */
    const PartTime one = decode(2, 100, STEP_EXPERTS);
    cr_expect_float_eq(one.bytes, 7e6, 1e-3);
    cr_expect_float_eq(one.flops, 2 * 2 * 2e6, 1e-3); /* each token passes 2 of 8 */
    /* spread over two ranks: both ranks' tokens reach the half that lies here */
    make_plan((Deployment){ .tp = 1, .dp = 2 });
    const PartTime spread = decode(2, 100, STEP_EXPERTS);
    cr_expect_float_eq(spread.bytes, 3.5e6, 1e-3);
    cr_expect_float_eq(spread.flops, 2 * 2e6, 1e-3);
}

/* ---- traffic ---- */

Test(traffic, a_ring_sends_all_but_a_rank_s_own_part_twice) {
    make_model(kind_heads(32, 8, 64));
    /* 3 rows of 2,048 B after attention and MLP of 4 layers: 49,152 B to be summed */
    make_plan((Deployment){ .tp = 1 });
    cr_expect_eq(decode(3, 100, STEP_COMMUNICATION).bytes, 0);
    make_plan((Deployment){ .tp = 2 });
    cr_expect_eq(decode(3, 100, STEP_COMMUNICATION).bytes, 49152.0); /* 2 x 1/2 */
    make_plan((Deployment){ .tp = 8 });
    const Traffic node = traffic_of_stage(&plan, 0, 3, false);
    cr_expect_eq(node.near, 49152.0 * 2 * 7 / 8);
    cr_expect_eq(node.far, 0);
    cr_expect_float_eq(decode(3, 100, STEP_COMMUNICATION).seconds.high, 86016.0 / 1e11, 1e-15);
}

Test(traffic, beyond_a_node_an_eighth_of_the_rows_goes_over_the_network) {
    make_model(kind_heads(32, 8, 64));
    make_plan((Deployment){ .tp = 16 });
    const Traffic two = traffic_of_stage(&plan, 0, 3, false);
    cr_expect_eq(two.near, 49152.0 * 2 * 7 / 8);
    cr_expect_eq(two.far, 49152.0 / 8 * 2 * 1 / 2);
    cr_expect_float_eq(decode(3, 100, STEP_COMMUNICATION).seconds.low,
                       86016.0 / 1e11 + 6144.0 / 1e10, 1e-15);
    make_plan((Deployment){ .tp = 32 });
    cr_expect_eq(traffic_of_stage(&plan, 0, 3, false).far, 49152.0 / 8 * 2 * 3 / 4);
}

Test(traffic, rows_go_to_the_experts_of_other_ranks_and_back) {
    make_experts();
    make_plan((Deployment){ .tp = 1, .dp = 2 });
    /* 1 token x 2 experts x 4 layers, there and back: 16 rows of 2,048 B, half of them elsewhere */
    cr_expect_eq(traffic_of_stage(&plan, 0, 1, false).near, 16 * 2048.0 / 2);
    make_plan((Deployment){ .tp = 1, .dp = 16 });
    const Traffic wide = traffic_of_stage(&plan, 0, 1, false);
    cr_expect_eq(wide.near, 16 * 2048.0 * 7 / 16);
    cr_expect_eq(wide.far, 16 * 2048.0 * 8 / 16);
}

Test(traffic, dcp_exchanges_queries_and_outputs_in_decode) {
    make_model(kind_latent(8, 64, 16, 32, 32));
    make_plan((Deployment){ .tp = 4 });
    const double reduced = traffic_of_stage(&plan, 0, 3, false).near;
    make_plan((Deployment){ .tp = 4, .dcp = 4 });
    /* to 3 others, for 2 heads x 3 tokens x 4 layers: a query of 64 + 16 and an output of 64 in
     * two bytes, a sum in four: 292 B */
    cr_expect_eq(traffic_of_stage(&plan, 0, 3, false).near - reduced, 3 * 2 * 3 * 4 * 292.0);
    cr_expect_eq(traffic_of_stage(&plan, 0, 3, true).near, reduced);
}

Test(traffic, what_has_no_known_rate_takes_no_time) {
    make_device();
    const Traffic both = { 1e6, 1e6 };
    cr_expect_float_eq(traffic_seconds(&both, &device, 0.5), 2e-5 + 2e-4, 1e-12);
    device.network_bytes_s = 0;
    cr_expect_float_eq(traffic_seconds(&both, &device, 0.5), 2e-5, 1e-12);
    device.link_bytes_s = 0;
    cr_expect_eq(traffic_seconds(&both, &device, 0.5), 0);
}
