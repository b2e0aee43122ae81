/* Caches held in a codec: bytes to the byte, what is exact and what is coded, and attention over
 * the rows as they lie. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "metrics.h"
#include "random.h"

enum { BLOCK = 32, WIDTH_MOST = 512 };

static const CacheShape heads = { .kv_heads = 2, .key_dim = 32, .value_dim = 64 };
static const CacheShape latent = { .kv_heads = 1, .key_dim = 80, .value_dim = 64, .shared = true };
static const CacheShape tiled = { .kv_heads = 1, .key_dim = 272, .value_dim = 256, .shared = true };

static const struct {
    const char *name;
    const CacheShape *shape;
} methods[] = {
    { "mha*bf16", &heads },
    { "mha*f32", &heads },
    { "mha*f16", &heads },
    { "mha*fp8", &heads },
    { "mha*fp8_e5m2-sink2", &heads },
    { "mha*int8", &heads },
    { "mha*q8_0-r40", &heads },
    { "mha*mxfp4", &heads },
    { "mha*int4", &heads },
    { "mha*int2-g16", &heads },
    { "mha*int3-token", &heads },
    { "mha*int8-g32-r16-sink4", &heads },
    { "mha*int2-g16-channel", &heads },
    { "mha*int4-g32-channel-r64-sink3", &heads },
    { "mha*kivi-2", &heads },
    { "mha*kivi-4-g16-r32", &heads },
    { "mha*kivi-2-g32-r64-sink5", &heads },
    { "mha*q4_0-hadamard", &heads },
    { "mha*int2-g32-hadamard-sink1", &heads },
    { "mha*turboquant-3", &heads },
    { "mha*turboquant-2-r24", &heads },
    { "mla-64+16*q4_0", &latent },
    { "mla-64+16*nvfp4-hadamard", &latent },
    { "mla-64+16*mxfp4-sink2", &latent },
    { "mla-64+16*fp8", &latent },
    { "mla-64+16*fp8-rope", &latent },
    { "mla-64+16*int4-g32-hadamard", &latent },
    { "mla-64+16*int4-g16-hadamard-rope", &latent },
    { "mla-64+16*int2-g16-channel", &latent },
    { "mla-64+16*int8-g16-channel-r32-rope", &latent },
    { "mla-64+16*turboquant-4-sink2", &latent },
    { "mla-64+16*fp8_model1", &latent },
    { "mla-64+16*fp8_model1-hadamard", &latent },
    { "mla-256+16*fp8_model1", &tiled },
    { "mla-256+16*fp8_ds_mla", &tiled },
    { "mla-256+16*fp8_ds_mla-hadamard", &tiled },
};
enum { METHODS = sizeof methods / sizeof *methods };

typedef struct {
    Method method;
    const CacheShape *shape;
    Kernels kernels;
    Cache *cache;
    size_t sequence;
    Error err;
} Rig;

static Rig rig_new(size_t i, size_t block_tokens) {
    Rig r = { .shape = methods[i].shape, .kernels = kernels_select(kernels_detect()) };
    cr_assert(method_parse(&r.method, methods[i].name, &r.err) == OK, "%s", r.err.text);
    cr_assert(method_check(&r.method, r.shape, block_tokens, &r.err) == OK, "%s", r.err.text);
    const CacheParams params = { .block_tokens = block_tokens, .codec = &r.method.codec };
    cr_assert(cache_new(&r.cache, &params, r.shape, 1, 0, &r.err) == OK, "%s", r.err.text);
    cr_assert_eq(cache_open(r.cache, &r.sequence, &r.err), OK);
    return r;
}

/* Rows whose content follows from the token's position. */
static void fill(const CacheShape *shape, size_t first, size_t tokens, float *k, float *v) {
    const size_t keys = shape->kv_heads * shape->key_dim,
                 values = shape->kv_heads * shape->value_dim;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < keys; i++)
            k[t * keys + i] = (float)(random_normal(1, first + t, i) * (i % 7 == 3 ? 4 : 1));
        for (size_t i = 0; i < values && !shape->shared; i++)
            v[t * values + i] = (float)random_normal(2, first + t, i);
    }
}

static void append(Rig *r, size_t tokens, int threads) {
    const size_t first = cache_tokens(r->cache, r->sequence);
    float *k = malloc((tokens + 1) * WIDTH_MOST * sizeof *k);
    float *v = malloc((tokens + 1) * WIDTH_MOST * sizeof *v);
    fill(r->shape, first, tokens, k, v);
    cr_assert_eq(cache_append(r->cache, &r->kernels, threads, r->sequence, tokens, k,
                              r->shape->shared ? NULL : v, &r->err),
                 OK);
    free(k), free(v);
}

/* Everything that a cache holds, keys before values. */
static float *contents(const Rig *r, size_t *count) {
    const size_t tokens = cache_tokens(r->cache, r->sequence);
    const size_t keys = tokens * r->shape->kv_heads * r->shape->key_dim;
    const size_t values = r->shape->shared ? 0 : tokens * r->shape->kv_heads * r->shape->value_dim;
    float *x = malloc((keys + values + 1) * sizeof *x);
    cache_read(r->cache, &r->kernels, r->sequence, 0, tokens, x, x + keys);
    *count = keys + values;
    return x;
}

Test(coding, held_bytes_are_the_accountants_to_the_byte) {
    for (size_t i = 0; i < METHODS; i++) {
        Rig r = rig_new(i, BLOCK);
        for (size_t tokens = 0; tokens <= 290; tokens++) {
            const MethodBytes counted = method_bytes(&r.method, r.shape, tokens, BLOCK);
            const CacheBytes held = cache_bytes(r.cache);
            cr_assert_eq(held.payload_bytes, counted.stored_bytes, "%s, %zu tokens: %zu, not %zu",
                         methods[i].name, tokens, held.payload_bytes, counted.stored_bytes);
            cr_assert_eq(held.block_waste_bytes, counted.waste_bytes, "%s, %zu tokens",
                         methods[i].name, tokens);
            cr_assert_eq(held.table_bytes, counted.table_bytes);
            cr_assert_eq(held.pool_bytes,
                         held.payload_bytes + held.block_waste_bytes + held.free_bytes);
            append(&r, 1, 1);
        }
        cache_free(r.cache);
    }
}

Test(coding, a_prompt_at_once_and_token_by_token_leave_the_same_rows) {
    static const size_t pieces[] = { 1, 37 };
    enum { TOKENS = 170 };
    for (size_t i = 0; i < METHODS; i++) {
        Rig whole = rig_new(i, BLOCK);
        append(&whole, TOKENS, 3);
        size_t count;
        float *expected = contents(&whole, &count);
        for (size_t p = 0; p < 2; p++) {
            Rig r = rig_new(i, BLOCK);
            for (size_t done = 0; done < TOKENS; done += pieces[p])
                append(&r, TOKENS - done < pieces[p] ? TOKENS - done : pieces[p], 1 + (int)p);
            size_t same;
            float *got = contents(&r, &same);
            cr_assert_eq(same, count);
            cr_assert_arr_eq(got, expected, count * sizeof *got, "%s in pieces of %zu",
                             methods[i].name, pieces[p]);
            free(got);
            cache_free(r.cache);
        }
        free(expected);
        cache_free(whole.cache);
    }
}

Test(coding, first_and_newest_tokens_are_exact_where_the_codec_says_so) {
    enum { TOKENS = 150 };
    for (size_t i = 0; i < METHODS; i++) {
        Rig r = rig_new(i, BLOCK);
        const Codec *c = &r.method.codec;
        append(&r, TOKENS, 2);
        const size_t keys = r.shape->kv_heads * r.shape->key_dim;
        const size_t exact = c->sinks + codec_key_window(c, TOKENS);
        float k[WIDTH_MOST], v[WIDTH_MOST], got_k[WIDTH_MOST], got_v[WIDTH_MOST];
        size_t near = 0;
        for (size_t t = 0; t < TOKENS; t++) {
            fill(r.shape, t, 1, k, v);
            cache_read(r.cache, &r.kernels, r.sequence, t, 1, got_k, got_v);
            double error = 0, size = 0;
            for (size_t j = 0; j < keys; j++) {
                error += (k[j] - got_k[j]) * (k[j] - got_k[j]);
                size += k[j] * k[j];
            }
            near += sqrt(error / size) < 4e-4; /* f16 */
        }
        if (c->bits < 8) cr_assert_eq(near, exact, "%s: %zu", methods[i].name, near);
        cache_free(r.cache);
    }
}

/* |a - b| / |b| of n values. */
static double relative(size_t n, const float *a, const float *b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / size);
}

/* Rows whose size changes from 16 tokens to the next: another group's scale is far off. */
static float growing(size_t stream, size_t t, size_t i) {
    enum { TOGETHER = 16 };
    static const float sizes[] = { 1, 40, 0.2f, 7, 0.03f };
    return sizes[t / TOGETHER % 5] * (float)random_normal(stream, t, i);
}

/* The worst relative error of 16 tokens that codes of so many bits may leave. */
static double most_lost(const Codec *c) {
    static const double most[] = { [1] = 0.9, [2] = 0.75, [3] = 0.35, [4] = 0.18 };
    return c->bits > 8 ? 0.005 : c->bits == 8 ? 0.07 : most[c->bits];
}

Test(coding, every_row_comes_back_within_what_its_bits_lose) {
    enum { RUNS = 10, RUN = 16, EVEN = RUNS * RUN };
    for (size_t i = 0; i < METHODS; i++) {
        Rig r = rig_new(i, BLOCK);
        const Codec *c = &r.method.codec;
        const size_t keys = r.shape->kv_heads * r.shape->key_dim;
        const size_t values = r.shape->shared ? 0 : r.shape->kv_heads * r.shape->value_dim;
        float *k = malloc(EVEN * (keys + values) * sizeof *k), *v = k + EVEN * keys;
        for (size_t j = 0; j < EVEN * keys; j++) k[j] = growing(1, j / keys, j % keys);
        for (size_t j = 0; j < EVEN * values; j++) v[j] = growing(2, j / values, j % values);
        cr_assert_eq(
            cache_append(r.cache, &r.kernels, 2, r.sequence, EVEN, k, values ? v : NULL, &r.err),
            OK);
        size_t count;
        float *got = contents(&r, &count);
        /* a group by channel of more tokens, or one begun elsewhere, holds more than one size */
        const bool mixed = (c->k_channel || c->v_channel) && (c->group > RUN || c->sinks);
        for (size_t part = 0; part < 2 && !mixed; part++) {
            const size_t width = part ? values : keys, from = part ? EVEN * keys : 0;
            for (size_t run = 0; run < RUNS && width; run++) {
                const size_t at = from + run * RUN * width;
                cr_expect_lt(relative(RUN * width, got + at, k + at), most_lost(c),
                             "%s, tokens from %zu on", methods[i].name, run * RUN);
            }
        }
        free(got);
        free(k);
        cache_free(r.cache);
    }
}

/* Attention of a few queries over the cache, turned and turned back, and in fp64 over the rows that
 * the cache reads back. */
static void expect_attention(Rig *r, size_t index, size_t queries, size_t groups) {
    const CacheShape *s = r->shape;
    const size_t tokens = cache_tokens(r->cache, r->sequence), h = groups * s->kv_heads;
    const size_t q_floats = queries * h * s->key_dim, o_floats = queries * h * s->value_dim;
    float *q = malloc(q_floats * sizeof *q), *turned = malloc(q_floats * sizeof *turned),
          *out = malloc(o_floats * sizeof *out);
    for (size_t i = 0; i < q_floats; i++) q[i] = turned[i] = (float)(0.3 * random_normal(3, 1, i));
    KvSequence view = cache_sequence(r->cache, r->sequence);
    view.q_tokens = queries;
    view.q_position = tokens - queries;
    Attention a = { .layout = cache_layout(r->cache),
                    .heads = h,
                    .scale = 0.5f,
                    .sequences = 1,
                    .sequence = &view,
                    .q = turned,
                    .out = out };
    float *work = malloc(attention_workspace(&a, 2) * sizeof *work);
    cache_turn_queries(r->cache, queries * h, turned);
    attention_run(&r->kernels, &a, 2, work);
    cache_turn_outputs(r->cache, queries * h, out);

    size_t count;
    float *rows = contents(r, &count);
    const size_t keys = tokens * s->kv_heads * s->key_dim;
    const size_t values = tokens * s->kv_heads * s->value_dim;
    double *exact_q = malloc(q_floats * sizeof *exact_q), *k = malloc(keys * sizeof *k),
           *v = malloc(values * sizeof *v), *exact = malloc(o_floats * sizeof *exact);
    for (size_t i = 0; i < q_floats; i++) exact_q[i] = q[i];
    for (size_t i = 0; i < keys; i++) k[i] = rows[i];
    for (size_t i = 0; i < values; i++)
        v[i] = s->shared ? rows[i / s->value_dim * s->key_dim + i % s->value_dim] : rows[keys + i];
    reference_attention(queries, tokens - queries, h, s->kv_heads, s->key_dim, s->value_dim, 0.5,
                        exact_q, k, v, exact);
    const double error = metrics_relative(o_floats, out, exact);
    cr_assert_lt(error, 3e-6, "%s, %zu queries, %zu heads: %g", methods[index].name, queries, h,
                 error);
    free(exact_q), free(k), free(v), free(exact), free(rows), free(work);
    free(q), free(turned), free(out);
}

Test(coding, attention_over_the_cache_is_attention_over_what_it_reads_back) {
    for (size_t i = 0; i < METHODS; i++) {
        Rig r = rig_new(i, BLOCK);
        append(&r, 233, 2);
        expect_attention(&r, i, 1, 1);
        expect_attention(&r, i, 1, 12);
        expect_attention(&r, i, 40, 3);
        cache_free(r.cache);
    }
}

Test(coding, a_cache_that_was_cut_goes_on_as_if_nothing_had_been) {
    static const size_t cuts[] = { 2, 33, 149 };
    for (size_t i = 0; i < METHODS; i++)
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            Rig r = rig_new(i, BLOCK);
            append(&r, 150, 1);
            size_t before_count, count;
            float *before = contents(&r, &before_count);
            cache_truncate(r.cache, &r.kernels, r.sequence, cuts[c]);
            cr_assert_eq(cache_tokens(r.cache, r.sequence), cuts[c]);
            float *after = contents(&r, &count);
            /* Codes that go back to a window are rounded to f16. */
            for (size_t j = 0; j < cuts[c] * r.shape->kv_heads * r.shape->key_dim; j++)
                cr_assert_float_eq(after[j], before[j], 2e-2 + 1e-3 * fabs(before[j]),
                                   "%s cut to %zu: %g, %g", methods[i].name, cuts[c],
                                   (double)after[j], (double)before[j]);
            append(&r, 170, 1);
            expect_attention(&r, i, 2, 4);
            const CacheBytes held = cache_bytes(r.cache);
            cr_assert_eq(held.pool_bytes,
                         held.payload_bytes + held.block_waste_bytes + held.free_bytes);
            free(before), free(after);
            cache_free(r.cache);
        }
}

Test(coding, a_closed_sequence_gives_all_back) {
    for (size_t i = 0; i < METHODS; i++) {
        Rig r = rig_new(i, BLOCK);
        append(&r, 200, 2);
        cache_close(r.cache, r.sequence);
        const CacheBytes held = cache_bytes(r.cache);
        cr_assert_eq(held.payload_bytes + held.block_waste_bytes + held.table_bytes, 0);
        cr_assert_eq(held.free_bytes, held.pool_bytes);
        cr_assert_eq(cache_open(r.cache, &r.sequence, &r.err), OK);
        append(&r, 200, 2);
        expect_attention(&r, i, 1, 2);
        cache_free(r.cache);
    }
}

Test(coding, what_is_counted_alone_is_not_held) {
    Method m;
    Error err;
    Cache *cache;
    cr_assert_eq(method_parse(&m, "mha*nominal-4", &err), OK);
    const CacheParams params = { .block_tokens = BLOCK, .codec = &m.codec };
    cr_assert_eq(cache_new(&cache, &params, &heads, 1, 10, &err), ERR_INPUT);
    cr_assert_not_null(strstr(err.text, "a count of bits"));
}

/* Is a codec of that name among the methods above? "kivi-B" is any of its bits. */
static bool is_held_here(const char *name) {
    for (size_t i = 0; i < METHODS; i++) {
        const char *codec = strchr(methods[i].name, '*') + 1;
        const size_t n = strcspn(name, "-");
        if (strncmp(codec, name, n) == 0 && (codec[n] == '-' || codec[n] == '\0')) return true;
    }
    return false;
}

/* The list of what is allowed is the table itself. */
Test(coding, every_codec_of_the_table_is_held_to_the_byte_above) {
    Method m;
    Error err;
    size_t codecs = 0;
    cr_assert_eq(method_parse(&m, "mha*zzzzzz", &err), ERR_INPUT);
    char *rest = strstr(err.text, "allowed: ");
    cr_assert_not_null(rest, "%s", err.text);
    rest = strtok(rest + strlen("allowed: "), ", ;");
    for (; rest; rest = strtok(NULL, ", ;"), codecs++)
        cr_expect(is_held_here(rest), "%s is not", rest);
    cr_assert_geq(codecs, 17);
}
