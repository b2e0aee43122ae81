/* test_ranks.c -- what a rank holds of the weights, part by part, and bytes of rows that are not
 * heads: each against a number worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "deployment.h"
#include "row_cost.h"

static Architecture shipped(const char *name) {
    Architecture a;
    Error err = { 0 };
    cr_assert_eq(architecture_read(&a, name, &err), OK, "%s", err.text);
    return a;
}

/* The weights of the last stage of a deployment. */
static StageWeights weights_of(const Architecture *model, Deployment asked, bool draft) {
    Deployment d;
    Stage stages[STAGES_MOST];
    Error err = { 0 };
    cr_assert_eq(deployment_resolve(&d, asked, model, NULL, &err), OK, "%s", err.text);
    deployment_stages(model, &d, draft, stages);
    return deployment_weights(model, &d, &stages[d.pp - 1]);
}

static void expect_near(double found, double expected, const char *what) {
    cr_expect_lt(fabs(found - expected), 1e-9 * expected, "%s: %.17g, not %.17g", what, found,
                 expected);
}

/* Llama-3.1-8B in bf16: D 4,096, 32 heads and 8 of keys and values of 128, 32 layers. */
Test(ranks, key_and_value_projections_are_copied_as_their_heads_are) {
    const Architecture llama = shipped("Llama-3.1-8B");
    const double d = 4096, q_and_out = 2 * d * d, kv = d * 8 * 256;
    const size_t tp[] = { 1, 4, 8, 16, 32 };
    const double heads[] = { 8, 2, 1, 1, 1 };
    for (size_t i = 0; i < sizeof tp / sizeof *tp; i++) {
        const StageWeights w = weights_of(&llama, (Deployment){ .tp = tp[i] }, false);
        expect_near(w.part[PART_ATTENTION],
                    2 * 32 * (q_and_out / (double)tp[i] + kv * heads[i] / 8), "attention");
        expect_near(w.part[PART_EMBEDDING], 2 * 128256 * d / (double)tp[i], "embedding");
        expect_near(w.part[PART_HEAD], 2 * 128256 * d / (double)tp[i], "head");
        expect_near(w.part[PART_DENSE_MLP], 2 * 32 * 3 * d * 14336 / (double)tp[i], "MLP");
        expect_near(w.part[PART_NORMS], 2 * (2 * 32 + 1) * d, "norms");
    }
}

/* DeepSeek-V3: D 7,168, C 512, R 64, Q 1,536, 128 heads of P 128 and V 128; fp8 in blocks. */
Test(ranks, projections_into_a_latent_lie_on_every_rank_whole) {
    const Architecture v3 = shipped("DeepSeek-V3");
    const double d = 7168, into = d * (1536 + 512 + 64);
    const double out_of = 1536 * 128 * 192.0 + 512 * 128 * 256.0 + 128 * 128 * d;
    const double norms = 1536 + 512, byte = (8 + 32.0 / 16384) / 8;
    for (size_t tp = 1; tp <= 16; tp *= 4) {
        const StageWeights w = weights_of(&v3, (Deployment){ .tp = tp }, false);
        expect_near(w.part[PART_ATTENTION], 61 * byte * (into + (out_of + norms) / (double)tp),
                    "attention");
        expect_near(w.part[PART_ROUTER], 58 * d * 256 * 2, "router");
        expect_near(w.part[PART_EXPERTS], 58 * 256 * 3 * d * 2048 * byte / (double)tp, "experts");
        expect_near(w.part[PART_SHARED_EXPERTS], 58 * 3 * d * 2048 * byte / (double)tp, "shared");
        cr_expect_eq(w.part[PART_DRAFT], 0);
    }
}

/* The layer is loaded where it is asked for, with a cache; its parts are spread as others are. What
 * joins the hidden values and the next token's embedding, 2 D x D, is whole on every rank, as what
 * leads into the latent is. */
Test(ranks, a_draft_layer_has_weights_and_a_cache_on_the_last_stage) {
    const Architecture v3 = shipped("DeepSeek-V3");
    const double whole = architecture_part_bytes(&v3, PART_DRAFT);
    cr_expect_gt(whole, 11e9);
    expect_near(weights_of(&v3, (Deployment){ .tp = 1 }, true).part[PART_DRAFT], whole, "one");
    const double d_model = 7168, copied = 2 * d_model * d_model + d_model * (1536 + 512 + 64);
    const double all = v3.parameters.part[PART_DRAFT];
    expect_near(weights_of(&v3, (Deployment){ .tp = 8 }, true).part[PART_DRAFT],
                whole * (copied + (all - copied) / 8) / all, "tp");
    Deployment d;
    Stage stages[STAGES_MOST];
    Error err = { 0 };
    cr_assert_eq(deployment_resolve(&d, (Deployment){ .tp = 1, .pp = 2 }, &v3, NULL, &err), OK);
    deployment_stages(&v3, &d, false, stages);
    const size_t plain = stages[1].caches[0], first = stages[0].caches[0];
    deployment_stages(&v3, &d, true, stages);
    cr_expect_eq(stages[1].caches[0], plain + 1);
    cr_expect_eq(stages[0].caches[0], first);
    cr_expect_eq(plain + first, 61);
}

/* 448 in one byte, 64 in two, seven scales of a byte: 583, padded to 584; the index key of 128 in
 * half a byte, and four of scale. */
Test(ranks, a_row_of_deepseek_v4_takes_584_bytes_and_its_index_key_68) {
    const Architecture v4 = shipped("DeepSeek-V4-Flash");
    Engine logical;
    Error err = { 0 };
    cr_assert_eq(engine_read(&logical, "logical", &err), OK, "%s", err.text);
    for (size_t k = 0; k < v4.kind_count; k++) {
        const bool indexed = v4.kind[k].row_tokens == 4;
        const RowCost row = row_cost(&v4.kind[k], &logical, kv_type(ROW_FP8_DS_MLA), 8);
        cr_expect_eq(row.layout, indexed ? 584 + 68 : 584);
        cr_expect_eq(row.index, indexed ? 68 : 0);
        cr_expect_eq(row_cost(&v4.kind[k], &logical, kv_type(ROW_BF16), 8).layout,
                     indexed ? 1024 + 68 : 1024);
    }
}

/* Engines have the 656-byte row for a latent of 512 alone. */
Test(ranks, a_layout_that_no_engine_has_is_refused) {
    const Architecture cpm = shipped("MiniCPM3-4B"), v3 = shipped("DeepSeek-V3");
    Engine logical;
    Error err = { 0 };
    cr_assert_eq(engine_read(&logical, "logical", &err), OK, "%s", err.text);
    cr_expect_not_null(row_cost_misfit(&cpm.kind[0], &logical, kv_type(ROW_FP8_DS_MLA)));
    cr_expect_null(row_cost_misfit(&cpm.kind[0], &logical, kv_type(ROW_FP8)));
    cr_expect_null(row_cost_misfit(&v3.kind[0], &logical, kv_type(ROW_FP8_DS_MLA)));
}

/* Qwen3-Next: a state of 32 x 128 x 128 and a tail of 8,192 x 3; vLLM keeps it in the model's own
 * type, SGLang in fp32, llama.cpp all of it in fp32; Kimi's delta attention is fp32 everywhere. */
Test(ranks, a_state_has_the_type_that_its_engine_gives_it) {
    static const struct {
        const char *engine;
        double state, tail;
    } rows[] = { { "logical", 4, 2 }, { "vllm", 2, 2 }, { "sglang", 4, 2 }, { "llamacpp", 4, 4 } };
    const Architecture next = shipped("Qwen3-Next-80B-A3B"), kimi = shipped("Kimi-K3");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Engine engine;
        Error err = { 0 };
        cr_assert_eq(engine_read(&engine, rows[i].engine, &err), OK, "%s", err.text);
        for (size_t k = 0; k < next.kind_count; k++)
            if (next.kind[k].keeps == KEEPS_STATE)
                expect_near(row_cost_state(&next.kind[k], &engine, 1),
                            rows[i].state * 32 * 128 * 128 + rows[i].tail * 8192 * 3, "delta net");
        for (size_t k = 0; k < kimi.kind_count; k++)
            if (kimi.kind[k].keeps == KEEPS_STATE)
                expect_near(row_cost_state(&kimi.kind[k], &engine, 1),
                            4.0 * 96 * 128 * 128 + rows[i].tail * 3 * 96 * 128 * 3, "KDA");
    }
}
