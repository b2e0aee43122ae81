/* test_cache.c -- the paged cache: what goes in comes out, blocks are used again, bytes are exact.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "random.h"

static const CacheShape per_head = { .kv_heads = 3, .key_dim = 5, .value_dim = 4 };
static const CacheShape latent = { .kv_heads = 1, .key_dim = 9, .value_dim = 6, .shared = true };

enum { TOKENS_MOST = 64, WIDTH_MOST = 32 };

/* Rows of whole numbers up to 256: every row type holds them exactly. */
static void fill(float *rows, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++) rows[i] = (float)(random_bits(7, stream, i) % 513) - 256.0f;
}

typedef struct {
    Kernels kernels;
    Cache *cache;
    Error err;
} Rig;

static Rig rig_new(RowType type, size_t block_tokens, const CacheShape *shape, size_t sequences,
                   size_t tokens) {
    Rig rig = { .kernels = kernels_select(kernels_detect()) };
    const CacheParams params = { .type = kv_type(type), .block_tokens = block_tokens };
    cr_assert_eq(cache_new(&rig.cache, &params, shape, sequences, tokens, &rig.err), OK);
    return rig;
}

static size_t rig_open(Rig *rig) {
    size_t sequence = 99;
    cr_assert_eq(cache_open(rig->cache, &sequence, &rig->err), OK);
    return sequence;
}

static void rig_append(Rig *rig, size_t sequence, size_t tokens, const float *k, const float *v) {
    cr_assert_eq(cache_append(rig->cache, &rig->kernels, 2, sequence, tokens, k, v, &rig->err), OK);
}

/* Appends rows whose content follows from the sequence's number and each token's own. */
static void rig_add(Rig *rig, const CacheShape *shape, size_t sequence, size_t tokens) {
    float k[WIDTH_MOST], v[WIDTH_MOST];
    for (size_t t = 0; t < tokens; t++) {
        const uint64_t stream = sequence * 1000 + cache_tokens(rig->cache, sequence);
        fill(k, shape->kv_heads * shape->key_dim, 2 * stream);
        fill(v, shape->kv_heads * shape->value_dim, 2 * stream + 1);
        rig_append(rig, sequence, 1, k, shape->shared ? NULL : v);
    }
}

static void rig_expect(Rig *rig, const CacheShape *shape, size_t sequence, uint64_t number) {
    const size_t tokens = cache_tokens(rig->cache, sequence);
    const size_t keys = shape->kv_heads * shape->key_dim,
                 values = shape->shared ? 0 : shape->kv_heads * shape->value_dim;
    float k[WIDTH_MOST], v[WIDTH_MOST], k_read[WIDTH_MOST], v_read[WIDTH_MOST];
    for (size_t t = 0; t < tokens; t++) {
        fill(k, keys, 2 * (number * 1000 + t));
        fill(v, values, 2 * (number * 1000 + t) + 1);
        cache_read(rig->cache, &rig->kernels, sequence, t, 1, k_read, v_read);
        cr_assert_arr_eq(k_read, k, keys * sizeof *k, "key of token %zu", t);
        cr_assert_arr_eq(v_read, v, values * sizeof *v, "value of token %zu", t);
    }
}

Test(cache, rows_come_back_for_every_type_block_size_and_shape) {
    const size_t block_sizes[] = { 1, 7, 16, 64 };
    const CacheShape shapes[] = { per_head, latent };
    for (RowType type = ROW_F32; type <= ROW_F16; type++)
        for (size_t b = 0; b < 4; b++)
            for (size_t s = 0; s < 2; s++) {
                Rig rig = rig_new(type, block_sizes[b], &shapes[s], 2, 20);
                const size_t first = rig_open(&rig), second = rig_open(&rig);
                for (size_t round = 0; round < 5; round++) {
                    rig_add(&rig, &shapes[s], first, 4);
                    rig_add(&rig, &shapes[s], second, 3);
                }
                rig_expect(&rig, &shapes[s], first, first);
                rig_expect(&rig, &shapes[s], second, second);
                cache_free(rig.cache);
            }
}

Test(cache, many_tokens_at_once_are_the_same_as_one_by_one) {
    float k[TOKENS_MOST * 15], v[TOKENS_MOST * 12], k_read[TOKENS_MOST * 15],
        v_read[TOKENS_MOST * 12];
    fill(k, sizeof k / sizeof *k, 1);
    fill(v, sizeof v / sizeof *v, 2);
    Rig rig = rig_new(ROW_F16, 7, &per_head, 1, TOKENS_MOST);
    const size_t s = rig_open(&rig);
    rig_append(&rig, s, 40, k, v);
    for (size_t t = 40; t < TOKENS_MOST; t++) rig_append(&rig, s, 1, k + t * 15, v + t * 12);
    cr_assert_eq(cache_tokens(rig.cache, s), TOKENS_MOST);
    cache_read(rig.cache, &rig.kernels, s, 0, TOKENS_MOST, k_read, v_read);
    cr_assert_arr_eq(k_read, k, sizeof k);
    cr_assert_arr_eq(v_read, v, sizeof v);
    cache_free(rig.cache);
}

Test(cache, the_view_for_attention_finds_every_row) {
    Rig rig = rig_new(ROW_F32, 4, &per_head, 1, 10);
    const size_t s = rig_open(&rig);
    rig_add(&rig, &per_head, s, 10);
    const KvLayout l = cache_layout(rig.cache);
    const KvSequence view = cache_sequence(rig.cache, s);
    cr_assert_eq(view.tokens, 10);
    cr_assert_eq(view.position, 0);
    for (size_t t = 0; t < 10; t++)
        for (size_t h = 0; h < 3; h++) {
            float k[15], v[12];
            cache_read(rig.cache, &rig.kernels, s, t, 1, k, v);
            const unsigned char *block = view.pool + view.table[t / 4] * l.block_bytes;
            const unsigned char *key = block + l.k_offset + h * l.k_head + t % 4 * l.k_row;
            const unsigned char *value = block + l.v_offset + h * l.v_head + t % 4 * l.v_row;
            cr_assert_eq(memcmp(key, k + h * 5, 20), 0);
            cr_assert_eq(memcmp(value, v + h * 4, 16), 0);
        }
    cache_free(rig.cache);
}

Test(cache, bytes_are_counted_to_the_byte) {
    Rig rig = rig_new(ROW_BF16, 16, &per_head, 2, 32); /* 4 blocks of 16 tokens */
    const size_t token = 3 * (5 + 4) * 2, block = 16 * token;
    const size_t a = rig_open(&rig), b = rig_open(&rig);
    CacheBytes bytes = cache_bytes(rig.cache);
    cr_assert_eq(bytes.pool_bytes, 4 * block);
    cr_assert_eq(bytes.free_bytes, 4 * block);
    cr_assert_eq(bytes.payload_bytes + bytes.block_waste_bytes + bytes.table_bytes, 0);
    rig_add(&rig, &per_head, a, 17); /* two blocks, one token in the second */
    rig_add(&rig, &per_head, b, 1);
    bytes = cache_bytes(rig.cache);
    cr_assert_eq(bytes.payload_bytes, 18 * token);
    cr_assert_eq(bytes.block_waste_bytes, (15 + 15) * token);
    cr_assert_eq(bytes.table_bytes, 3 * 4);
    cr_assert_eq(bytes.free_bytes, block);
    cr_assert_eq(bytes.pool_bytes, 4 * block);
    rig_add(&rig, &per_head, a, 15);
    bytes = cache_bytes(rig.cache);
    cr_assert_eq(bytes.payload_bytes, 33 * token);
    cr_assert_eq(bytes.block_waste_bytes, 15 * token, "full blocks waste nothing");
    cache_close(rig.cache, a);
    bytes = cache_bytes(rig.cache);
    cr_assert_eq(bytes.payload_bytes, token);
    cr_assert_eq(bytes.free_bytes, 3 * block);
    cr_assert_eq(bytes.table_bytes, 4);
    cache_free(rig.cache);
}

Test(cache, the_closed_form_and_the_count_agree) {
    const Model model = { .kind = ATTENTION_MLA,
                          .layers = 61,
                          .heads = 128,
                          .kv_heads = 128,
                          .key_dim = 192,
                          .value_dim = 128,
                          .kv_lora_rank = 512,
                          .nope_dim = 128,
                          .rope_dim = 64 };
    const Path paths[] = { PATH_MATERIALISED, PATH_EXPANDED, PATH_ABSORBED };
    for (size_t i = 0; i < 3; i++) {
        const CacheShape shape = model_cache_shape(&model, paths[i]);
        Rig rig = rig_new(ROW_BF16, 16, &shape, 1, 3);
        const size_t s = rig_open(&rig);
        const size_t keys = shape.kv_heads * shape.key_dim,
                     values = shape.kv_heads * shape.value_dim;
        float *rows = calloc(3 * (keys + values), sizeof *rows);
        rig_append(&rig, s, 3, rows, shape.shared ? NULL : rows + 3 * keys);
        cr_assert_eq(cache_bytes(rig.cache).payload_bytes * model.layers,
                     3 * model_cache_bytes_per_token(&model, paths[i], kv_type(ROW_BF16)));
        free(rows);
        cache_free(rig.cache);
    }
}

/* What one token holds, of rows 192 + 128 wide a head and 512 + 64 wide of a latent. */
Test(cache, held_bytes_count_the_scales_of_every_type) {
    const CacheShape heads = { .kv_heads = 2, .key_dim = 192, .value_dim = 128 };
    const CacheShape shared = { .kv_heads = 1, .key_dim = 576, .value_dim = 512, .shared = true };
    const struct {
        const char *type;
        size_t head_bytes, latent_bytes; /* 0: it does not fit */
    } cases[] = { { "f32", 2 * 1280, 2304 }, { "bf16", 2 * 640, 1152 }, { "fp8", 2 * 328, 576 },
                  { "int8", 2 * 328, 580 },  { "int4", 2 * 200, 360 },  { "q8_0", 2 * 340, 612 },
                  { "q4_0", 2 * 180, 324 },  { "fp8_ds_mla", 0, 656 },  { "int8,int4", 2 * 276, 0 },
                  { "bf16,fp8", 2 * 516, 0 } };
    static float rows[3 * 640];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kind = 0; kind < 2; kind++) {
            const CacheShape *shape = kind ? &shared : &heads;
            CacheParams params = { .block_tokens = 16 };
            cr_assert(kv_type_parse(cases[i].type, &params.type));
            Rig rig = { .kernels = kernels_select(kernels_detect()) };
            const size_t bytes = kind ? cases[i].latent_bytes : cases[i].head_bytes;
            const Status status = cache_new(&rig.cache, &params, shape, 1, 3, &rig.err);
            cr_assert_eq(status, bytes ? OK : ERR_INPUT, "%s", cases[i].type);
            if (!bytes) continue;
            rig_append(&rig, rig_open(&rig), 3, rows, kind ? NULL : rows);
            const CacheBytes held = cache_bytes(rig.cache);
            cr_assert_eq(held.payload_bytes, 3 * bytes, "%s", cases[i].type);
            cr_assert_eq(held.payload_bytes + held.block_waste_bytes, 16 * bytes);
            cr_assert_eq(cache_shape_bytes(shape, params.type), bytes);
            cache_free(rig.cache);
        }
}

Test(cache, freed_blocks_are_used_again_last_freed_first) {
    Rig rig = rig_new(ROW_F32, 2, &latent, 3, 4);
    const size_t a = rig_open(&rig), b = rig_open(&rig);
    rig_add(&rig, &latent, a, 4);
    rig_add(&rig, &latent, b, 2);
    const uint32_t second = cache_sequence(rig.cache, a).table[1];
    cache_truncate(rig.cache, &rig.kernels, a, 2);
    rig_add(&rig, &latent, b, 1);
    cr_assert_eq(cache_sequence(rig.cache, b).table[1], second);
    cr_assert_eq(cache_bytes(rig.cache).pool_bytes, 6 * 2 * 9 * sizeof(float), "no growth");
    rig_expect(&rig, &latent, a, a);
    rig_expect(&rig, &latent, b, b);
    cache_free(rig.cache);
}

Test(cache, a_closed_number_is_given_out_again_empty) {
    Rig rig = rig_new(ROW_F32, 2, &latent, 1, 4);
    const size_t a = rig_open(&rig), b = rig_open(&rig);
    rig_add(&rig, &latent, a, 3);
    rig_add(&rig, &latent, b, 3);
    cache_close(rig.cache, a);
    cr_assert_eq(rig_open(&rig), a);
    cr_assert_eq(cache_tokens(rig.cache, a), 0);
    rig_add(&rig, &latent, a, 4);
    rig_expect(&rig, &latent, a, a);
    rig_expect(&rig, &latent, b, b);
    cache_free(rig.cache);
}

Test(cache, truncating_keeps_the_first_tokens_and_goes_on_from_there) {
    Rig rig = rig_new(ROW_BF16, 4, &per_head, 1, 16);
    const size_t s = rig_open(&rig);
    rig_add(&rig, &per_head, s, 11);
    cache_truncate(rig.cache, &rig.kernels, s, 20);
    cr_assert_eq(cache_tokens(rig.cache, s), 11, "longer than it is: nothing happens");
    cache_truncate(rig.cache, &rig.kernels, s, 5);
    cr_assert_eq(cache_bytes(rig.cache).table_bytes, 2 * 4);
    rig_add(&rig, &per_head, s, 6);
    rig_expect(&rig, &per_head, s, s);
    cache_free(rig.cache);
}

Test(cache, the_pool_grows_beyond_what_was_asked_for) {
    Rig rig = rig_new(ROW_F16, 3, &per_head, 1, 1);
    const size_t a = rig_open(&rig), b = rig_open(&rig);
    for (size_t i = 0; i < 50; i++) {
        rig_add(&rig, &per_head, a, 1);
        rig_add(&rig, &per_head, b, 1);
    }
    rig_expect(&rig, &per_head, a, a);
    rig_expect(&rig, &per_head, b, b);
    const CacheBytes bytes = cache_bytes(rig.cache);
    cr_assert_eq(bytes.payload_bytes, 100 * 3 * 9 * 2);
    cr_assert_eq(bytes.pool_bytes,
                 bytes.payload_bytes + bytes.block_waste_bytes + bytes.free_bytes);
    cache_free(rig.cache);
}

Test(cache, too_much_to_hold_is_refused_and_changes_nothing) {
    Error err = { 0 };
    Cache *cache = NULL;
    const CacheParams params = { .type = kv_type(ROW_F32), .block_tokens = 16 };
    const CacheShape wide = { .kv_heads = 128, .key_dim = 192, .value_dim = 128 };
    cr_assert_eq(cache_new(&cache, &params, &wide, SIZE_MAX / 2, 1000, &err), ERR_MACHINE);
    cr_assert_null(cache);
    cr_assert_neq(err.text[0], 0);

    Rig rig = rig_new(ROW_F32, 4, &latent, 1, 8);
    const size_t s = rig_open(&rig);
    rig_add(&rig, &latent, s, 3);
    const CacheBytes before = cache_bytes(rig.cache);
    float row[9] = { 0 };
    cr_assert_eq(cache_append(rig.cache, &rig.kernels, 1, s, SIZE_MAX / 64, row, NULL, &rig.err),
                 ERR_MACHINE);
    const CacheBytes after = cache_bytes(rig.cache);
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
    rig_expect(&rig, &latent, s, s);
    cache_free(rig.cache);
}

Test(cache, resident_bytes_are_those_of_the_pool) {
    Rig rig = rig_new(ROW_F32, 16, &per_head, 1, 40000);
    const size_t resident = cache_resident_bytes(rig.cache),
                 pool = cache_bytes(rig.cache).pool_bytes;
    cr_assert_leq(resident, pool);
    cr_assert_geq(resident, pool / 2, "%zu of %zu", resident, pool);
    cache_free(rig.cache);
}
