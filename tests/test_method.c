/* Methods: how they are written, what is refused with which words, and the bytes they take. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "method.h"

enum { BLOCK = 64 };

static Method parsed(const char *specification) {
    Method m;
    Error err;
    cr_assert(method_parse(&m, specification, &err) == OK, "%s", err.text);
    return m;
}

/* ---- names ---- */

Test(method, a_conversion_alone_is_stored_in_bf16_and_keeps_all) {
    const Method m = parsed("mla-448+64");
    cr_expect_str_eq(m.conversion, "mla-448+64");
    cr_expect_str_eq(m.codec.name, "bf16");
    cr_expect_eq(m.eviction.kind, EVICT_NONE);
}

Test(method, all_three_parts_are_read) {
    const Method m = parsed("gqa-8*int2-g64-sink4-hadamard@h2o-1/16");
    cr_expect_str_eq(m.conversion, "gqa-8");
    cr_expect_eq(m.codec.kind, CODEC_INTS);
    cr_expect_eq(m.codec.bits, 2);
    cr_expect_eq(m.codec.group, 64);
    cr_expect_eq(m.codec.sinks, 4);
    cr_expect(m.codec.hadamard);
    cr_expect_eq(m.eviction.kind, EVICT_H2O);
    cr_expect_eq(m.eviction.keep, 1.0 / 16);
}

Test(method, kivi_stores_keys_by_channel_behind_a_window_of_128) {
    const Codec c = parsed("mha*kivi-2").codec;
    cr_expect(c.k_channel && !c.v_channel);
    cr_expect_eq(c.group, 32);
    cr_expect_eq(c.residual, 128);
    const Codec small = parsed("mha*kivi-4-g16-r64").codec;
    cr_expect_eq(small.bits, 4);
    cr_expect_eq(small.group, 16);
    cr_expect_eq(small.residual, 64);
}

Test(method, groups_by_channel_need_a_window_of_one_group_at_least) {
    const Codec c = parsed("mha*int2-g16-channel").codec;
    cr_expect(c.k_channel && c.v_channel);
    cr_expect_eq(c.residual, 16);
}

Test(method, int8_alone_is_the_row_type_and_with_a_group_the_grouped_codec) {
    cr_expect_eq(parsed("mha*int8").codec.kind, CODEC_ROWS);
    cr_expect_eq(parsed("mha*int8-hadamard").codec.kind, CODEC_ROWS);
    cr_expect_eq(parsed("mha*int8-token").codec.kind, CODEC_INTS);
}

typedef struct {
    const char *specification;
    const char *says[3];
} Mistake;

static void expect_says(const char *text, const Mistake *m) {
    for (int i = 0; i < 3 && m->says[i]; i++)
        cr_expect_not_null(strstr(text, m->says[i]), "%s: \"%s\" does not say \"%s\"",
                           m->specification, text, m->says[i]);
}

Test(method, a_wrong_name_is_refused_with_the_nearest_right_one) {
    static const Mistake mistakes[] = {
        { "", { "no conversion before the codec" } },
        { "*int4", { "no conversion before the codec" } },
        { "mha*", { "nothing after *" } },
        { "mha*itn4", { "itn4: no such codec", "did you mean int4?" } },
        { "mha*q4_1", { "did you mean q4_0?" } },
        { "mha*int4-h32", { "h32", "no such option", "gN" } },
        { "mha*int4-hadamrd", { "did you mean hadamard?" } },
        { "mha*int4-g0", { "no such option" } },
        { "mha*int4-", { "no such option" } },
        { "mha*int4-g32-g64", { "said twice" } },
        { "mha*int4-token-g32", { "-token is one group a row" } },
        { "mha*int4-token-channel", { "-token is one group a row" } },
        { "mha*q4_0-g64", { "q4_0 has no such option", "hadamard" } },
        { "mha*kivi", { "how many bits?", "kivi-2, kivi-4" } },
        { "mha*kivi-3", { "how many bits?" } },
        { "mha*kivi-2-r100", { "100", "no multiple of the groups of 32", "did you mean r96?" } },
        { "mha*kivi-2-r20", { "did you mean r32?" } },
        { "mha*turboquant-9", { "how many bits?", "turboquant-4" } },
        { "mha@", { "nothing after @" } },
        { "mha@h20-1/4", { "no such eviction", "did you mean h2o?" } },
        { "mha@h2o", { "what share?", "h2o-1/16" } },
        { "mha@h2o-x", { "what share?" } },
        { "mha@h2o-1/0", { "what share?" } },
        { "mha@h2o-0", { "share of 0", "above 0 and at most 1" } },
        { "mha@h2o-3/2", { "share of 1.5", "above 0 and at most 1" } },
        { "mha@h2o--1/2", { "share of -0.5" } },
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        Method m = { .name = "untouched" };
        Error err;
        cr_expect(method_parse(&m, mistakes[i].specification, &err) == ERR_INPUT, "%s is taken",
                  mistakes[i].specification);
        cr_expect_str_eq(m.name, "untouched");
        expect_says(err.text, &mistakes[i]);
    }
}

Test(method, a_name_too_long_is_refused) {
    char long_name[200];
    Method m;
    Error err;
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    cr_expect_eq(method_parse(&m, long_name, &err), ERR_INPUT);
    cr_expect_not_null(strstr(err.text, "at most 95 bytes"));
}

/* ---- what fits what ---- */

static const CacheShape heads_80 = { .kv_heads = 2, .key_dim = 80, .value_dim = 80 };
static const CacheShape heads_6 = { .kv_heads = 2, .key_dim = 6, .value_dim = 6 };
static const CacheShape heads_128 = { .kv_heads = 32, .key_dim = 128, .value_dim = 128 };
static const CacheShape heads_72 = { .kv_heads = 2, .key_dim = 72, .value_dim = 72 };
static const CacheShape latent = {
    .kv_heads = 1, .key_dim = 576, .value_dim = 512, .shared = true
};
static const CacheShape latent_96 = {
    .kv_heads = 1, .key_dim = 112, .value_dim = 96, .shared = true
};

Test(method, what_does_not_fit_is_refused_by_its_own_words) {
    static const struct {
        Mistake mistake;
        const CacheShape *shape;
        size_t block_tokens;
    } cases[] = {
        { { "mha*int4-g64", { "groups of 64", "do not divide the 80 values of a key", "g40" } },
          &heads_80,
          BLOCK },
        { { "mha*q4_0", { "groups of 32", "80 values" } }, &heads_80, BLOCK },
        { { "mha*int3-g6", { "6 values of a key", "multiple of 8" } }, &heads_6, BLOCK },
        { { "mha*int2-g32-channel", { "groups of 32 tokens", "blocks of 48", "multiple of 32" } },
          &heads_80,
          48 },
        { { "mha*fp8_ds_mla", { "stores a latent", "did you mean fp8?" } }, &heads_128, BLOCK },
        { { "mla-96+16*fp8_ds_mla", { "multiple of 128", "96" } }, &latent_96, BLOCK },
        { { "mla-512+64*kivi-2", { "a latent is both", "int2-g32" } }, &latent, BLOCK },
        { { "mla-512+64*int2-rope", { "2 bits of a rotated key", "leave out -rope" } },
          &latent,
          BLOCK },
        { { "mla-96+16*turboquant-4", { "rows of a power of two", "latent has 96" } },
          &latent_96,
          BLOCK },
        { { "mha*int4-rope", { "-rope is for the rotated key beside a latent" } },
          &heads_128,
          BLOCK },
        { { "mha*int4-g8-hadamard", { "Hadamard", "multiple of 16", "72" } }, &heads_72, BLOCK },
        { { "mha*kivi-2@h2o-1/4", { "one by one", "groups of tokens share a scale" } },
          &heads_128,
          BLOCK },
        { { "mha*int4-r64@h2o-1/4", { "one by one", "newest tokens" } }, &heads_128, BLOCK },
        { { "mha*int4-sink4@snapkv-1/4", { "one by one", "first tokens" } }, &heads_128, BLOCK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Method m = parsed(cases[i].mistake.specification);
        Error err;
        cr_expect(method_check(&m, cases[i].shape, cases[i].block_tokens, &err) == ERR_INPUT,
                  "%s is taken", m.name);
        expect_says(err.text, &cases[i].mistake);
    }
}

Test(method, what_fits_is_taken) {
    static const char *const of_heads[] = { "mha*int2-token",      "mha*kivi-4-r64",
                                            "mha*int3-g128",       "mha*nvfp4-hadamard",
                                            "mha*turboquant-3",    "mha*int8@oracle-1",
                                            "mha*int2-g64-channel" };
    static const char *const of_latents[] = {
        "mla-512+64*fp8_ds_mla",       "mla-512+64*int2-hadamard", "mla-512+64*int4-rope",
        "mla-512+64*int4-g32-channel", "mla-512+64*fp8_model1",    "mla-512+64*int3-rope"
    };
    Error err;
    for (size_t i = 0; i < sizeof of_heads / sizeof *of_heads; i++) {
        const Method m = parsed(of_heads[i]);
        cr_expect(method_check(&m, &heads_128, BLOCK, &err) == OK, "%s", err.text);
    }
    for (size_t i = 0; i < sizeof of_latents / sizeof *of_latents; i++) {
        const Method m = parsed(of_latents[i]);
        cr_expect(method_check(&m, &latent, BLOCK, &err) == OK, "%s", err.text);
    }
}
