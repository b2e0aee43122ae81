/* What a cache takes under each engine: the reference values of published models. */
#include <criterion/criterion.h>
#include <math.h>

#include "architectures.h"
#include "pages.h"

enum { CONTEXT = 32768 };
static const double MIB = 0x1p20;

static Engine engine_named(const char *name) {
    Engine engine;
    Error err;
    cr_assert_eq(engine_read(&engine, name, &err), OK, "%s", err.text);
    return engine;
}

/* The cache of a whole model on one device. */
static RankPages pages_of(const Architecture *model, const Engine *engine, RowType type) {
    static size_t caches[CACHE_KINDS_MOST];
    RankPages pages;
    Error err;
    for (size_t i = 0; i < model->kind_count; i++) caches[i] = model->kind[i].layers;
    const RankShare share = { .tp = 1, .dcp = 1, .caches = caches };
    cr_assert_eq(pages_of_rank(&pages, model, engine, kv_type(type), &share, 0, &err), OK, "%s",
                 err.text);
    return pages;
}

static SequenceBytes sequence_of(const Architecture *model, const char *name, RowType type) {
    const Engine engine = engine_named(name);
    const RankPages pages = pages_of(model, &engine, type);
    return pages_sequence(&pages, CONTEXT);
}

static double per_token(const Architecture *model, const char *name, RowType type) {
    const Engine engine = engine_named(name);
    const RankPages pages = pages_of(model, &engine, type);
    return pages_growth(&pages, CONTEXT);
}

/* Equal as far as the table prints. */
static void expect_mib(double bytes, double mib) {
    cr_expect_lt(fabs(bytes / MIB - mib), 0.05001, "%.3f MiB for %.1f", bytes / MIB, mib);
}

typedef struct {
    const char *name;
    size_t layers;
    CacheKind kind;
    double bf16_per_token, bf16_mib;
    double ds_mla_mib;          /* 0: none */
    double materialised_factor; /* 0: none */
} Reference;

Test(capacity, tables_of_published_models_come_out_to_the_digit) {
    CacheKind v32 = kind_latent(128, 512, 64, 128, 128);
    v32.index_dim = 128;
    CacheKind glm5 = kind_latent(64, 512, 64, 192, 256);
    glm5.index_dim = 128;
    const Reference references[] = {
        { "DeepSeek-V3", 61, kind_latent(128, 512, 64, 128, 128), 70272, 2196.0, 1250.5, 71.1 },
        { "Kimi-K2", 61, kind_latent(64, 512, 64, 128, 128), 70272, 2196.0, 1250.5, 35.6 },
        { "DeepSeek-V2", 60, kind_latent(128, 512, 64, 128, 128), 69120, 2160.0, 1230.0, 71.1 },
        { "V2-Lite", 27, kind_latent(16, 512, 64, 128, 128), 31104, 972.0, 553.5, 8.9 },
        { "DeepSeek-V3.2", 61, v32, 70272 + 8052, 2447.6, 1502.1, 71.1 },
        { "GLM-5", 78, glm5, 89856 + 10296, 3129.8, 1920.8, 56.9 },
        { "MiniCPM3-4B", 62, kind_latent(40, 256, 32, 64, 64), 35712, 1116.0, 0, 22.2 },
        { "Llama-2-7B", 32, kind_heads(32, 32, 128), 524288, 16384.0, 0, 0 },
        { "Llama-2-70B", 80, kind_heads(64, 8, 128), 327680, 10240.0, 0, 0 },
        { "Llama-3.1-8B", 32, kind_heads(32, 8, 128), 131072, 4096.0, 0, 0 },
        { "Llama-3.1-405B", 126, kind_heads(128, 8, 128), 516096, 16128.0, 0, 0 },
        { "Qwen3-32B", 64, kind_heads(64, 8, 128), 262144, 8192.0, 0, 0 },
        { "Qwen3-235B-A22B", 94, kind_heads(64, 4, 128), 192512, 6016.0, 0, 0 },
        { "falcon-7b", 32, kind_heads(71, 1, 64), 8192, 256.0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        const Reference *r = &references[i];
        const Architecture model = architecture_alike(r->name, r->layers, r->kind);
        cr_expect_eq(per_token(&model, "logical", ROW_BF16), r->bf16_per_token, "%s", r->name);
        expect_mib(sequence_of(&model, "logical", ROW_BF16).reserved, r->bf16_mib);
        if (r->ds_mla_mib > 0)
            expect_mib(sequence_of(&model, "logical", ROW_FP8_DS_MLA).layout, r->ds_mla_mib);
        if (r->materialised_factor > 0) {
            const SequenceBytes hf = sequence_of(&model, "hf", ROW_BF16);
            const double index = r->kind.index_dim ? 132.0 * (double)r->layers * CONTEXT : 0;
            cr_expect_lt(fabs((hf.layout - index) / hf.logical - r->materialised_factor), 0.05,
                         "%s: %.2f", r->name, (hf.layout - index) / hf.logical);
        }
    }
}

Test(capacity, index_keys_are_counted_on_the_layers_that_own_one) {
    CacheKind plain = kind_latent(64, 512, 64, 192, 256), indexed = plain;
    indexed.index_dim = 128;
    Architecture glm52 = architecture_named("GLM-5.2", 78, 6144, 64);
    architecture_add(&glm52, plain, 0, 1);
    architecture_add(&glm52, indexed, 57, 1);
    cr_assert_eq(glm52.kind[1].layers, 21);
    cr_expect_eq(per_token(&glm52, "logical", ROW_BF16), 89856 + 2772);
    expect_mib(sequence_of(&glm52, "logical", ROW_BF16).layout, 2894.6);
    expect_mib(sequence_of(&glm52, "logical", ROW_FP8_DS_MLA).layout, 1685.6);
}

Test(capacity, windows_are_reserved_as_an_engine_admits_them) {
    const struct {
        Architecture model;
        double logical, at_2k, at_8k, full;
    } references[] = { { gemma_3_27b(), 2976, 4007.5, 6887.5, 15872 },
                       { gpt_oss(36), 1156.5, 1229.1, 1445.1, 2304 },
                       { gpt_oss(24), 771, 819.4, 963.4, 1536 } };
    for (size_t i = 0; i < 3; i++) {
        const Architecture *model = &references[i].model;
        Engine vllm = engine_named("vllm");
        expect_mib(sequence_of(model, "logical", ROW_BF16).logical, references[i].logical);
        RankPages pages = pages_of(model, &vllm, ROW_BF16);
        expect_mib(pages_sequence(&pages, CONTEXT).reserved, references[i].at_2k);
        vllm.window.batch_tokens = 8192;
        pages = pages_of(model, &vllm, ROW_BF16);
        expect_mib(pages_sequence(&pages, CONTEXT).reserved, references[i].at_8k);
        Engine full = engine_named("logical");
        full.window.rule = LIMITED_ALL;
        pages = pages_of(model, &full, ROW_BF16);
        expect_mib(pages_sequence(&pages, CONTEXT).reserved, references[i].full);
    }
}

Test(capacity, layers_in_seven_groups_of_ten_leave_eight_slots_empty) {
    const Architecture gemma = gemma_3_27b();
    const Engine vllm = engine_named("vllm");
    const RankPages pages = pages_of(&gemma, &vllm, ROW_BF16);
    cr_expect_eq(pages.group_size, 10);
    cr_expect_eq(pages.part[0].groups + pages.part[1].groups, 7);
    cr_expect_eq(pages.block_bytes, 10 * 16 * 8192);
}

Test(capacity, one_model_costs_26_times_more_in_another_engine) {
    const Architecture cpm =
        architecture_alike("MiniCPM3-4B", 62, kind_latent(40, 256, 32, 64, 64));
    cr_expect_eq(per_token(&cpm, "sglang", ROW_BF16), 35712);
    cr_expect_eq(per_token(&cpm, "vllm", ROW_BF16), 952320);
    cr_expect_lt(fabs(952320.0 / 35712.0 - 26.7), 0.05);
}

Test(capacity, scales_and_group_metadata_are_counted) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const struct {
        RowType type;
        double row; /* of 128 values */
    } rows[] = { { ROW_F32, 512 }, { ROW_FP8, 132 },  { ROW_INT8, 132 },
                 { ROW_INT4, 80 }, { ROW_Q8_0, 136 }, { ROW_Q4_0, 72 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(per_token(&llama, "logical", rows[i].type), 32 * 8 * 2 * rows[i].row);
    const Architecture v3 = deepseek_v3();
    cr_expect_eq(per_token(&v3, "logical", ROW_FP8), 61 * 576);
    cr_expect_eq(per_token(&v3, "logical", ROW_FP8_DS_MLA), 61 * 656);
}

Test(capacity, fp8_of_sparse_attention_is_stored_with_its_scales_and_unquantised_key) {
    const Architecture v32 = deepseek_v32();
    cr_expect_eq(per_token(&v32, "vllm", ROW_FP8), 61 * (656 + 132));
    cr_expect_eq(per_token(&v32, "logical", ROW_FP8), 61 * (576 + 132));
}

Test(capacity, a_type_that_cannot_store_the_rows_is_refused) {
    const Architecture cpm =
        architecture_alike("MiniCPM3-4B", 62, kind_latent(40, 192, 32, 64, 64));
    const Engine logical = engine_named("logical");
    const size_t caches[] = { 62 };
    const RankShare share = { .tp = 1, .dcp = 1, .caches = caches };
    RankPages pages;
    Error err;
    cr_expect_eq(pages_of_rank(&pages, &cpm, &logical, kv_type(ROW_FP8_DS_MLA), &share, 0, &err),
                 ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "kv_lora_rank"), "%s", err.text);
}

Test(capacity, cells_are_padded_to_256) {
    const Architecture llama = architecture_alike("Llama-3.1-8B", 32, kind_heads(32, 8, 128));
    const Engine cells = engine_named("llamacpp");
    const RankPages pages = pages_of(&llama, &cells, ROW_F16);
    cr_expect_eq(pages_sequence(&pages, 41000).reserved, 41216.0 * 131072);
}

Test(capacity, a_state_does_not_grow_and_fills_whole_pages) {
    Architecture hybrid = architecture_named("hybrid", 48, 2048, 16);
    const CacheKind state = { .keeps = KEEPS_STATE,
                              .state_elements = 32 * 128 * 128,
                              .conv_elements = 3 * 8192,
                              .state_heads = 32 };
    architecture_add(&hybrid, state, 0, 1);
    architecture_add(&hybrid, kind_heads(16, 2, 256), 3, 4);
    const double state_bytes = 4.0 * 32 * 128 * 128 + 2.0 * 3 * 8192;
    const SequenceBytes logical = sequence_of(&hybrid, "logical", ROW_BF16);
    cr_expect_eq(logical.reserved, 12.0 * 2048 * CONTEXT + 36 * state_bytes);
    cr_expect_eq(per_token(&hybrid, "logical", ROW_BF16), 12 * 2048);
    /* 16 tokens of 2,048 B at a time until a state in bf16 fits: 544 tokens, in 4 groups of 12 */
    const Engine vllm = engine_named("vllm");
    const RankPages pages = pages_of(&hybrid, &vllm, ROW_BF16);
    cr_expect_eq(pages.group_size, 12);
    cr_expect_eq(pages.block_tokens, 544);
    cr_expect_eq(pages_sequence(&pages, CONTEXT).reserved,
                 12.0 * 544 * 2048 * (ceil(CONTEXT / 544.0) + 3));
}

Test(capacity, a_state_is_split_by_its_heads_and_no_further) {
    const CacheKind state = { .keeps = KEEPS_STATE, .state_elements = 4096, .state_heads = 4 };
    const Engine logical = engine_named("logical");
    const size_t split[] = { 1, 2, 3, 4, 8 };
    const double share[] = { 1, 0.5, 0.5, 0.25, 0.25 };
    for (size_t i = 0; i < 5; i++)
        cr_expect_eq(row_cost_state(&state, &logical, split[i]), 4 * 4096 * share[i]);
}

/* 8 heads of 128 + 128 values in half a byte each, then a scale for 16 values and for 32. */
Test(capacity, values_of_four_bits_are_half_a_byte_before_their_scales) {
    const Architecture model = architecture_alike("small", 1, kind_heads(32, 8, 128));
    const double values = 8 * 256 / 2.0;
    const SequenceBytes nvfp4 = sequence_of(&model, "logical", ROW_NVFP4);
    const SequenceBytes mxfp4 = sequence_of(&model, "logical", ROW_MXFP4);
    cr_expect_eq(nvfp4.logical, CONTEXT * values);
    cr_expect_eq(nvfp4.layout, CONTEXT * values * 9 / 8);
    cr_expect_eq(mxfp4.logical, CONTEXT * values);
    cr_expect_eq(mxfp4.layout, CONTEXT * values * 17 / 16);
}
