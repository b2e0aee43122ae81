/* Names of conversions: what they stand for, and what is said of those that stand for nothing. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "recipe.h"

static Model layer(size_t kv_heads) {
    return (Model){ .name = "layer",
                    .kind = kv_heads == 32 ? ATTENTION_MHA : ATTENTION_GQA,
                    .layers = 1,
                    .hidden = 4096,
                    .heads = 32,
                    .kv_heads = kv_heads,
                    .key_dim = 128,
                    .value_dim = 128,
                    .rope_dim = 128,
                    .rope = { .theta = 10000, .dim = 128 } };
}

static Recipe parse(const char *text, size_t kv_heads) {
    const Model m = layer(kv_heads);
    Recipe r;
    Error err;
    cr_assert_eq(recipe_parse(&r, text, &m, &err), OK, "%s", err.text);
    cr_assert_str_eq(r.name, text);
    return r;
}

static void refused(const char *text, size_t kv_heads, const char *why) {
    const Model m = layer(kv_heads);
    Recipe r = { .kind = RECIPE_ALIGNED };
    Error err;
    cr_assert_eq(recipe_parse(&r, text, &m, &err), ERR_INPUT, "%s passes", text);
    cr_assert(strstr(err.text, why), "%s", err.text);
    cr_assert_eq(r.kind, RECIPE_ALIGNED, "untouched");
}

Test(recipe, groups_of_heads) {
    cr_assert_eq(parse("mha", 32).kind, RECIPE_COPY);
    cr_assert_eq(parse("model", 8).kind, RECIPE_COPY);
    cr_assert_eq(parse("gqa-8", 8).kind, RECIPE_COPY);
    cr_assert_eq(parse("mqa", 8).kind, RECIPE_POOL);
    cr_assert_eq(parse("gqa-4", 32).kind, RECIPE_POOL);
    cr_assert_eq(parse("mqa-aligned", 8).kind, RECIPE_ALIGNED);
    const Recipe group = parse("gqa-2-lowrank", 32);
    cr_assert_eq(group.kind, RECIPE_GROUP);
    cr_assert_eq(group.model.kv_lora_rank, 2 * 2 * 128, "the bytes of gqa-2");
    cr_assert(group.model.rotates_rebuilt);
    refused("gqa-3", 32, "3 does not divide the 32");
    refused("gqa-16", 8, "16 groups do not divide the layer's 8 key heads");
    refused("mha", 8, "32 groups do not divide");
    refused("gqa-4-alined", 32, "did you mean -aligned?");
    refused("gqa-4-aligned-lowrank", 32, "no such option");
}

Test(recipe, mla_and_its_options) {
    const Recipe plain = parse("mla-512+64", 32);
    cr_assert_eq(plain.kind, RECIPE_MLA);
    cr_assert_eq(plain.fold, 2, "128 / 64 frequencies a slot");
    cr_assert_eq(plain.kept, 1);
    cr_assert_eq(plain.gamma, 1);
    cr_assert(!plain.real && !plain.norm);
    const Recipe all = parse("mla-448+128-real-fold4-gamma0.5-norm", 8);
    cr_assert_eq(all.fold, 4);
    cr_assert_eq(all.kept, 4);
    cr_assert_eq(all.gamma, 0.5);
    cr_assert(all.real && all.norm);
    cr_assert_eq(all.model.kv_lora_rank, 448);
    cr_assert_eq(all.model.key_dim, 256);
    refused("mla-512+96", 32, "96 must divide the 128");
    refused("mla-512+64-fold3", 32, "multiples of 2 that divide 64");
    refused("mla-2100+64", 8, "above the 2048 key and value elements");
    refused("mla-512+64-reel", 32, "did you mean -real?");
    refused("mla-512+64-gamma2", 32, "from 0 to 1");
    refused("mla-512", 32, "did you mean mla-512+64?");
}

Test(recipe, low_rank_kinds_and_their_ranks) {
    const Recipe even = parse("lowrank-separate-513", 32);
    cr_assert_eq(even.key_rank, 257);
    cr_assert_eq(even.value_rank, 256);
    cr_assert_eq(even.model.kv_lora_rank, 513);
    const Recipe split = parse("lowrank-aware-100+200", 32);
    cr_assert_eq(split.key_rank, 100);
    cr_assert_eq(split.value_rank, 200);
    cr_assert_eq(split.model.kv_lora_rank, 300);
    cr_assert(isnan(parse("lowrank-balanced-512", 32).gamma));
    cr_assert_eq(parse("lowrank-balanced-512-gamma0.25", 32).gamma, 0.25);
    cr_assert_eq(parse("lowrank-whitened-64", 32).kind, RECIPE_WHITENED);
    cr_assert_eq(parse("lowrank-weights-64", 32).kind, RECIPE_WEIGHTS);
    cr_assert_eq(parse("lowrank-filled-64", 32).kind, RECIPE_FILLED);
    refused("lowrank-joint-9000", 32, "rank 9000 is above the width 8192");
    refused("lowrank-separate-1025+8", 8, "rank 1025 of the keys; their width is 1024");
    refused("lowrank-separate-8+1025", 8, "rank 1025 of the values; their width is 1024");
    refused("lowrank-joint-0", 32, "a rank of 0");
    refused("lowrank-joint", 32, "a rank is missing, as in lowrank-joint-512");
    refused("lowrank-joint-8+8", 32, "no such option");
    refused("lowrank-whitend-8", 32, "did you mean -whitened?");
    refused("lowrank", 32, "no such option");
}

Test(recipe, an_mla_layer_stays_as_it_is) {
    Model mla;
    Error err;
    const Model m = layer(32);
    Recipe r;
    cr_assert_eq(model_contender(&mla, &m, "mla-512+64", &err), OK);
    cr_assert_eq(recipe_parse(&r, "model", &mla, &err), OK);
    cr_assert_eq(r.kind, RECIPE_COPY);
    cr_assert_eq(recipe_parse(&r, "lowrank-joint-8", &mla, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "MLA already"));
}

Test(recipe, a_smaller_layer_has_the_same_ratios) {
    Recipe mla = parse("mla-512+64", 32), low = parse("lowrank-separate-320+192", 32);
    Error err;
    cr_assert_eq(recipe_divide(&mla, 4, &err), OK);
    cr_assert_eq(mla.model.kv_lora_rank, 128);
    cr_assert_eq(mla.model.rope_dim, 16);
    cr_assert_eq(mla.fold, 2);
    cr_assert_eq(recipe_divide(&low, 4, &err), OK);
    cr_assert_eq(low.key_rank, 80);
    cr_assert_eq(low.value_rank, 48);
    cr_assert_eq(low.model.kv_lora_rank, 128);
    Recipe odd = parse("lowrank-separate-321+191", 32);
    cr_assert_eq(recipe_divide(&odd, 4, &err), ERR_INPUT);
    cr_assert_eq(odd.key_rank, 321, "untouched");
}
