/* The byte accountant against numbers worked out elsewhere: published layouts, papers, the table of
 * deployed latent caches, and the ways that "16x" arises. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "method.h"

enum { BLOCK = 64, MANY = 1 << 20 };

static const CacheShape llama_mha = { .kv_heads = 32, .key_dim = 128, .value_dim = 128 };
static const CacheShape gqa_8 = { .kv_heads = 8, .key_dim = 128, .value_dim = 128 };

static CacheShape latent_of(size_t c, size_t r) {
    return (CacheShape){ .kv_heads = 1, .key_dim = c + r, .value_dim = c, .shared = true };
}

static MethodBytes bytes_of(const char *specification, const CacheShape *shape, size_t tokens) {
    Method m;
    Error err;
    cr_assert(method_parse(&m, specification, &err) == OK, "%s", err.text);
    cr_assert(method_check(&m, shape, BLOCK, &err) == OK, "%s", err.text);
    return method_bytes(&m, shape, tokens, BLOCK);
}

static double stored(const char *specification, const CacheShape *shape, size_t tokens) {
    return (double)bytes_of(specification, shape, tokens).stored_bytes;
}

/* Bits an element of a cache of heads. */
static double bits(const char *specification, size_t tokens) {
    const double elements = 2.0 * 32 * 128 * (double)tokens;
    return 8 * stored(specification, &llama_mha, tokens) / elements;
}

Test(account, the_deployed_latent_rows_take_656_and_584_bytes) {
    const CacheShape v3 = latent_of(512, 64), small = latent_of(448, 64);
    cr_expect_eq(bytes_of("mla-512+64*fp8_ds_mla", &v3, 1).stored_bytes, 656);
    cr_expect_eq(bytes_of("mla-448+64*fp8_model1", &small, 1).stored_bytes, 584);
}

Test(account, blocks_of_584_byte_rows_are_padded_to_576) {
    const CacheShape small = latent_of(448, 64);
    const MethodBytes b = bytes_of("mla-448+64*fp8_model1", &small, BLOCK);
    cr_expect_eq(b.stored_bytes + b.waste_bytes, 65 * 576);
    cr_expect_eq(b.table_bytes, 4);
}

Test(account, every_format_takes_the_bits_of_its_layout) {
    static const struct {
        const char *codec;
        double bits;
    } formats[] = {
        { "mha*f32", 32 },
        { "mha*bf16", 16 },
        { "mha*f16", 16 },
        { "mha*fp8_e5m2", 8 },
        { "mha*fp8", 8.25 },
        { "mha*int8-token", 8.25 },
        { "mha*int8", 8.25 },
        { "mha*q8_0", 8.5 },
        { "mha*q4_0", 4.5 },
        { "mha*int4-g32", 5 },
        { "mha*int4", 5 },
        { "mha*int4-g64", 4.5 },
        { "mha*int4-g128", 4.25 },
        { "mha*int4-token", 4.25 },
        { "mha*int3-g32", 4 },
        { "mha*int2-g32", 3 },
        { "mha*int2-g128", 2.25 },
        { "mha*mxfp4", 4.25 },
        { "mha*nvfp4", 4.5 },
        { "mha*turboquant-4", 4.125 },
        { "mha*turboquant-2", 2.125 },
        { "mha*nominal-4", 4 },
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        cr_expect_eq(bits(formats[i].codec, 1024), formats[i].bits, "%s", formats[i].codec);
}

Test(account, kivi_takes_the_bits_that_its_windows_leave) {
    static const struct {
        size_t tokens;
        double bits, within;
    } at[] = {
        { 512, 6.25, 0 }, { 4096, 3.41, 5e-3 }, { 32768, 3.051, 5e-4 }, { 131072, 3.013, 5e-4 }
    };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        const double s = (double)at[i].tokens, r = 128;
        cr_expect_float_eq(bits("mha*kivi-2", at[i].tokens), at[i].bits, at[i].within);
        cr_expect_eq(bits("mha*kivi-2", at[i].tokens), ((s - r) * 3 + 16 * r) / s);
        cr_expect_eq(bits("mha*kivi-4", at[i].tokens), ((s - r) * 5 + 16 * r) / s);
    }
}

Test(account, keys_leave_their_window_by_the_windowful_and_values_one_by_one) {
    Method m;
    Error err;
    cr_assert_eq(method_parse(&m, "mha*kivi-2-g32-r128", &err), OK);
    static const size_t tokens[] = { 0, 1, 127, 128, 129, 255, 256, 257 },
                        keys[] = { 0, 1, 127, 128, 1, 127, 128, 1 },
                        values[] = { 0, 1, 127, 128, 128, 128, 128, 128 };
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        cr_expect_eq(codec_key_window(&m.codec, tokens[i]), keys[i]);
        cr_expect_eq(codec_value_window(&m.codec, tokens[i]), values[i]);
    }
}

Test(account, deepseek_v2_saves_what_its_paper_claims) {
    /* 576 elements in 60 layers at 6 bits, beside GQA-8 of 95 layers in 16 bits. */
    const CacheShape v2 = latent_of(512, 64);
    const double mla = 60 * stored("mla-512+64*nominal-6-rope", &v2, 1),
                 gqa = 95 * stored("gqa-8", &gqa_8, 1);
    cr_expect_eq(mla, 25920);
    cr_expect_eq(gqa, 389120);
    cr_expect_float_eq(1 - mla / gqa, 0.9334, 5e-5);
    const double plain = 60 * stored("mla-512+64", &v2, 1);
    cr_expect_float_eq(1 - plain / gqa, 0.822, 5e-4);
    cr_expect_float_eq(gqa / plain, 5.63, 5e-3);
}

/* ---- the table of deployed latent caches ---- */

typedef struct {
    const char *model;
    size_t layers, heads, nope, rope, latent, value;
    double kib;                         /* a token in bf16, all layers */
    double mha, materialised, gqa;      /* ratios in bf16 */
    double fp8_bytes, fp8_mha, fp8_gqa; /* e4m3, fp32 a tile of 128, bf16 rotated key */
    double q4_bytes, q4_mha, q4_gqa;    /* q4_0 latent, bf16 rotated key */
} Deployed;

static const Deployed deployed[] = {
    { "DeepSeek-V2", 60, 128, 128, 64, 512, 128, 67.5, 56.9, 71.1, 3.56, 656, 99.9, 6.24, 416,
      157.5, 9.85 },
    { "V2-Lite", 27, 16, 128, 64, 512, 128, 30.4, 7.11, 8.89, 3.56, 656, 12.5, 6.24, 416, 19.7,
      9.85 },
    { "V3, R1", 61, 128, 128, 64, 512, 128, 68.6, 56.9, 71.1, 3.56, 656, 99.9, 6.24, 416, 157.5,
      9.85 },
    { "Kimi-K2", 61, 64, 128, 64, 512, 128, 68.6, 28.4, 35.6, 3.56, 656, 50.0, 6.24, 416, 78.8,
      9.85 },
    { "MiniCPM3-4B", 62, 40, 64, 32, 256, 64, 34.9, 17.8, 22.2, 3.56, 328, 31.2, 6.24, 208, 49.2,
      9.85 },
    { "Mistral Small 4", 36, 32, 64, 64, 256, 128, 22.5, 25.6, 25.6, 6.4, 392, 41.8, 10.4, 272,
      60.2, 15.1 },
};

/* A number as it is printed: equal in its three digits. */
static void expect_printed(const char *model, const char *what, double value, double printed) {
    const double unit = pow(10, floor(log10(printed)) - 2);
    cr_expect(fabs(value - printed) <= 0.51 * unit, "%s: %s is %g, not %g", model, what, value,
              printed);
}

Test(account, the_table_of_deployed_latent_caches_is_reproduced) {
    for (size_t i = 0; i < sizeof deployed / sizeof *deployed; i++) {
        const Deployed *d = &deployed[i];
        const CacheShape shape = latent_of(d->latent, d->rope),
                         heads = { .kv_heads = d->heads,
                                   .key_dim = d->value,
                                   .value_dim = d->value },
                         full = { .kv_heads = d->heads,
                                  .key_dim = d->nope + d->rope,
                                  .value_dim = d->value },
                         eight = { .kv_heads = 8, .key_dim = d->value, .value_dim = d->value };
        const double bf16 = stored("mla-512+64", &shape, 1), mha = stored("mha", &heads, 1),
                     gqa = stored("gqa-8", &eight, 1),
                     fp8 = stored("mla-512+64*fp8_ds_mla", &shape, 1),
                     q4 = stored("mla-512+64*q4_0", &shape, 1);
        expect_printed(d->model, "KiB a token", (double)d->layers * bf16 / 1024, d->kib);
        expect_printed(d->model, "MHA", mha / bf16, d->mha);
        expect_printed(d->model, "materialised", stored("mha", &full, 1) / bf16, d->materialised);
        expect_printed(d->model, "GQA-8", gqa / bf16, d->gqa);
        cr_expect_eq(fp8, d->fp8_bytes);
        expect_printed(d->model, "fp8 to MHA", mha / fp8, d->fp8_mha);
        expect_printed(d->model, "fp8 to GQA-8", gqa / fp8, d->fp8_gqa);
        cr_expect_eq(q4, d->q4_bytes);
        expect_printed(d->model, "q4_0 to MHA", mha / q4, d->q4_mha);
        expect_printed(d->model, "q4_0 to GQA-8", gqa / q4, d->q4_gqa);
    }
}

/* ---- how 16x arises ---- */

Test(account, sixteen_times_arises_in_many_ways) {
    const CacheShape v3 = latent_of(512, 64), no_rope = latent_of(512, 0),
                     mini = latent_of(256, 32),
                     gqa_2 = { .kv_heads = 2, .key_dim = 128, .value_dim = 128 },
                     lite = { .kv_heads = 16, .key_dim = 128, .value_dim = 128 },
                     one = { .kv_heads = 1, .key_dim = 128, .value_dim = 128 },
                     mini_heads = { .kv_heads = 40, .key_dim = 64, .value_dim = 64 };
    const struct {
        const char *what;
        double base, method, printed;
    } ways[] = {
        { "a latent of 512 of a Llama without rotated key", stored("mha", &llama_mha, 1),
          stored("mla-512+64", &no_rope, 1), 16 },
        { "with it", stored("mha", &llama_mha, 1), stored("mla-512+64", &v3, 1), 14.2 },
        { "MHA-32 to GQA-2", stored("mha", &llama_mha, 1), stored("gqa-2", &gqa_2, 1), 16 },
        { "MHA-16 to MQA", stored("mha", &lite, 1), stored("mqa", &one, 1), 16 },
        { "GQA-8 at 4 bits on paper", stored("mha", &llama_mha, 1),
          stored("gqa-8*nominal-4", &gqa_8, 1), 16 },
        { "GQA-8 x q4_0", stored("mha", &llama_mha, 1), stored("gqa-8*q4_0", &gqa_8, 1), 14.2 },
        { "GQA-8 x int4-g128", stored("mha", &llama_mha, 1), stored("gqa-8*int4-g128", &gqa_8, 1),
          15.1 },
        { "GQA-8 x mxfp4", stored("mha", &llama_mha, 1), stored("gqa-8*mxfp4", &gqa_8, 1), 15.1 },
        { "GQA-8 x int4-g32", stored("mha", &llama_mha, 1), stored("gqa-8*int4-g32", &gqa_8, 1),
          12.8 },
        { "GQA-8 x KIVI-2, a long context", stored("mha", &llama_mha, MANY),
          stored("gqa-8*kivi-2-g32", &gqa_8, MANY), 21.3 },
        { "half the rank at 2 bits on paper", stored("mha", &llama_mha, 1),
          stored("gqa-8*nominal-4", &gqa_8, 1), 16 },
        { "V2-Lite, a latent of 4.5 bits", stored("mha", &lite, 1),
          stored("mla-512+64*q4_0", &v3, 1), 19.7 },
        { "V2-Lite in fp8", stored("mha", &lite, 1), stored("mla-512+64*fp8_ds_mla", &v3, 1),
          12.5 },
        { "MiniCPM3 in bf16", stored("mha", &mini_heads, 1), stored("mla-256+32", &mini, 1), 17.8 },
        { "a sixteenth of the tokens", stored("mha", &llama_mha, 4096),
          stored("mha@streaming-1/16", &llama_mha, 4096), 16 },
        { "an fp32 baseline doubles everything", stored("mha*f32", &llama_mha, 1),
          stored("gqa-2", &gqa_2, 1), 32 },
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        expect_printed("16x", ways[i].what, ways[i].base / ways[i].method, ways[i].printed);
}

Test(account, four_bits_and_a_half_of_a_published_stack_are_counted_alike) {
    /* Half the rank at 2 bits: 8192 elements to 4096, 16 bits to 2. */
    const CacheShape half = { .kv_heads = 32, .key_dim = 64, .value_dim = 64 };
    cr_expect_eq(stored("mha", &llama_mha, 1) / stored("mha*nominal-2", &half, 1), 16);
}

/* ---- laws ---- */

static const char *const methods[] = { "mha",
                                       "mha*q4_0",
                                       "mha*int2-g16-channel",
                                       "mha*kivi-2-g32-r64",
                                       "mha*kivi-4-sink4",
                                       "mha*turboquant-3-r32",
                                       "mha*int8@h2o-1/8",
                                       "mha@snapkv-0.3",
                                       "mha@oracle-1/16",
                                       "mha@streaming-1/4" };

Test(account, held_is_stored_and_waste_and_table) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        for (size_t s = 0; s < 500; s++) {
            const MethodBytes b = bytes_of(methods[i], &gqa_8, s);
            cr_assert_eq(b.stored_bytes,
                         b.code_bytes + b.scale_bytes + b.exact_bytes + b.index_bytes);
            cr_assert_eq(b.held_bytes, b.stored_bytes + b.waste_bytes + b.table_bytes);
        }
}

Test(account, an_empty_cache_stores_nothing) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const MethodBytes b = bytes_of(methods[i], &gqa_8, 0);
        cr_expect_eq(b.stored_bytes, 0);
        cr_expect_eq(b.read_bytes, 0);
    }
}

Test(account, one_more_token_never_takes_less_of_values_by_token) {
    for (size_t s = 0; s < 500; s++)
        cr_assert_leq(bytes_of("mha*int4-r64", &gqa_8, s).stored_bytes,
                      bytes_of("mha*int4-r64", &gqa_8, s + 1).stored_bytes);
}

Test(account, the_oracle_reads_its_share_and_stores_everything) {
    const MethodBytes all = bytes_of("mha", &gqa_8, 4096),
                      oracle = bytes_of("mha@oracle-1/16", &gqa_8, 4096),
                      h2o = bytes_of("mha@h2o-1/16", &gqa_8, 4096);
    cr_expect_eq(oracle.stored_bytes, all.stored_bytes);
    cr_expect_eq(16 * oracle.read_bytes, all.read_bytes);
    cr_expect_eq(oracle.kept_tokens, 256);
    cr_expect_eq(h2o.stored_bytes, all.stored_bytes / 16 + 8 * 256 * 8);
}

/* Products in doubles are a last bit beside whole numbers: 0.07 * 100 is above 7. */
Test(account, a_share_of_whole_tokens_is_not_rounded_up) {
    const struct {
        const char *share;
        size_t tokens, kept;
    } cases[] = { { "0.07", 100, 7 },    { "1/75", 525, 7 },    { "3/17", 85, 15 },
                  { "1/16", 4096, 256 }, { "1/16", 4097, 257 }, { "1/3", 10, 4 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char method[32];
        snprintf(method, sizeof method, "mha@h2o-%s", cases[i].share);
        cr_expect_eq(bytes_of(method, &gqa_8, cases[i].tokens).kept_tokens, cases[i].kept, "%s",
                     method);
    }
}
