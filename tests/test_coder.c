/* Rows through codecs: the relative errors that are published for normal and heavy-tailed numbers,
 * the size of a step, and what must not be lost. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coder.h"
#include "random.h"
#include "rotation.h"

static Kernels kernels(void) {
    return kernels_select(kernels_detect());
}

static Codec codec_of(const char *specification) {
    Method m;
    Error err;
    cr_assert(method_parse(&m, specification, &err) == OK, "%s", err.text);
    return m.codec;
}

static CacheShape heads_of(size_t width) {
    return (CacheShape){ .kv_heads = 1, .key_dim = width, .value_dim = width };
}

/* Student's t with 5 degrees of freedom. */
static double student(uint64_t stream, uint64_t i) {
    double square = 0;
    for (uint64_t j = 0; j < 5; j++) {
        const double z = random_normal(9, stream + 1, 5 * i + j);
        square += z * z;
    }
    return random_normal(9, stream, i) / sqrt(square / 5);
}

/* x [rows, width] coded and decoded. */
static void round_trip(const Coder *c, const Rotation *turn, size_t rows, const float *x,
                       float *out) {
    const Kernels table = kernels();
    const size_t n = c->format.n;
    unsigned char *row = malloc(c->row_bytes);
    for (size_t r = 0; r < rows; r++) {
        float *y = out + r * n;
        memcpy(y, x + r * n, n * sizeof *y);
        rotation_apply(turn, y);
        coder_encode(c, &table, y, row);
        coder_decode(c, &table, row, y);
        rotation_undo(turn, y);
    }
    free(row);
}

static double relative(size_t n, const float *a, const float *b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / size);
}

enum { WIDTH = 128, ROWS = 6000 };

static double error_of(const char *specification, const float *x) {
    const Codec codec = codec_of(specification);
    const CacheShape shape = heads_of(WIDTH);
    const Coder c = coder_of_keys(&codec, &shape);
    Rotation turn = { 0 };
    Error err;
    if (codec.hadamard) cr_assert_eq(rotation_new(&turn, WIDTH, 1, 2, &err), OK);
    float *out = malloc(ROWS * WIDTH * sizeof *out);
    round_trip(&c, &turn, ROWS, x, out);
    const double error = relative(ROWS * WIDTH, out, x);
    free(out);
    rotation_free(&turn);
    return error;
}

Test(coder, normal_and_heavy_tailed_numbers_lose_what_is_published) {
    /* As printed, to so many places: half a unit of the last is theirs. 0: not published. */
    static const struct {
        const char *codec;
        double normal, student, unit;
    } known[] = {
        { "mha*bf16", 1.7e-3, 0, 1e-4 },
        { "mha*f16", 2.1e-4, 0, 1e-5 },
        { "mha*fp8", 0.0257, 0, 1e-4 },
        { "mha*int8-token", 0.0059, 0.0078, 1e-4 },
        { "mha*q8_0", 0.0054, 0.0068, 1e-4 },
        { "mha*q4_0", 0.086, 0.108, 1e-3 },
        { "mha*fp8_e5m2", 0.053, 0, 1e-3 },
        { "mha*mxfp4", 0.115, 0.127, 1e-3 },
        { "mha*nvfp4", 0.095, 0.092, 1e-3 },
        { "mha*int4-g32", 0.078, 0.090, 1e-3 },
        { "mha*int4-g128", 0.100, 0.133, 1e-3 },
        { "mha*int3-g32", 0.168, 0.193, 1e-3 },
        { "mha*int2-g32", 0.393, 0.453, 1e-3 },
        { "mha*int2-g128", 0.501, 0.671, 1e-3 },
        { "mha*turboquant-1", 0.603, 0.603, 1e-3 },
        { "mha*turboquant-2", 0.343, 0.343, 1e-3 },
        { "mha*turboquant-3", 0.186, 0.186, 1e-3 },
        { "mha*turboquant-4", 0.0975, 0.0975, 1e-4 },
    };
    float *normal = malloc(ROWS * WIDTH * sizeof *normal);
    float *heavy = malloc(ROWS * WIDTH * sizeof *heavy);
    for (uint64_t i = 0; i < ROWS * WIDTH; i++) {
        normal[i] = (float)random_normal(9, 1, i);
        heavy[i] = (float)student(2, i);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const double a = error_of(known[i].codec, normal), b = error_of(known[i].codec, heavy);
        const double half = known[i].unit / 2;
        cr_expect_float_eq(a, known[i].normal, 0.02 * known[i].normal + half,
                           "%s of normal numbers: %g", known[i].codec, a);
        cr_expect(known[i].student == 0 ||
                      fabs(b - known[i].student) <= 0.02 * known[i].student + half,
                  "%s of heavy-tailed numbers: %g", known[i].codec, b);
    }
    free(normal);
    free(heavy);
}

static const char *const integers[] = { "mha*int2-g16", "mha*int3-g16",   "mha*int4-g64",
                                        "mha*int8-g64", "mha*int2-token", "mha*int3-token" };
enum { INTEGERS = sizeof integers / sizeof *integers };

Test(coder, an_integer_is_within_half_a_step) {
    float x[WIDTH], y[WIDTH];
    const CacheShape shape = heads_of(WIDTH);
    const Rotation none = { 0 };
    for (size_t n = 0; n < INTEGERS; n++) {
        const Codec codec = codec_of(integers[n]);
        const Coder c = coder_of_keys(&codec, &shape);
        const size_t group = codec.group ? codec.group : WIDTH;
        for (uint64_t round = 0; round < 50; round++) {
            for (size_t i = 0; i < WIDTH; i++)
                x[i] = (float)(3 + random_normal(2, round, i) * pow(10, (double)(round % 5) - 2));
            round_trip(&c, &none, 1, x, y);
            for (size_t g = 0; g < WIDTH; g += group) {
                float low = x[g], high = x[g];
                for (size_t i = g; i < g + group; i++)
                    low = fminf(low, x[i]), high = fmaxf(high, x[i]);
                const float step = (high - low) / (float)((1 << codec.bits) - 1);
                /* Step and least value are rounded to f16. */
                const float slack = 0x1p-11f * (fabsf(low) + high - low);
                for (size_t i = g; i < g + group; i++)
                    cr_assert_leq(fabsf(x[i] - y[i]), step / 2 + 1.1f * slack, "%s", integers[n]);
            }
        }
    }
}

Test(coder, every_code_comes_back_from_its_place) {
    /* Whole numbers from 0 to 2^B - 1 have step 1: the codes themselves. */
    float x[WIDTH], y[WIDTH];
    const CacheShape shape = heads_of(WIDTH);
    const Rotation none = { 0 };
    for (size_t n = 0; n < INTEGERS; n++) {
        const Codec codec = codec_of(integers[n]);
        const Coder c = coder_of_keys(&codec, &shape);
        const size_t group = codec.group ? codec.group : WIDTH, most = (1u << codec.bits) - 1;
        for (size_t i = 0; i < WIDTH; i++) {
            x[i] = (float)(random_bits(3, n, i) % (most + 1));
            if (i % group == 0) x[i] = 0;
            if (i % group == 1) x[i] = (float)most;
        }
        round_trip(&c, &none, 1, x, y);
        for (size_t i = 0; i < WIDTH; i++)
            cr_assert_eq(x[i], y[i], "%s, value %zu", integers[n], i);
    }
}

Test(coder, equal_values_are_kept_and_a_value_that_is_not_finite_is_not_hidden) {
    float x[WIDTH], y[WIDTH];
    const CacheShape shape = heads_of(WIDTH);
    const Rotation none = { 0 };
    for (size_t n = 0; n < INTEGERS; n++) {
        const Codec codec = codec_of(integers[n]);
        const Coder c = coder_of_keys(&codec, &shape);
        for (size_t i = 0; i < WIDTH; i++) x[i] = -2.5f;
        round_trip(&c, &none, 1, x, y);
        for (size_t i = 0; i < WIDTH; i++) cr_assert_eq(y[i], -2.5f);
        static const float bad[] = { NAN, INFINITY, -INFINITY, 1e8f };
        for (size_t b = 0; b < 4; b++) {
            x[5] = bad[b];
            round_trip(&c, &none, 1, x, y);
            cr_assert(isnan(y[5]) && isnan(y[6]), "%s: %g", integers[n], (double)bad[b]);
        }
    }
}

Test(coder, groups_by_channel_are_groups_by_token_of_the_transpose) {
    enum { GROUP = 16, CHANNELS = 32 };
    const Kernels table = kernels();
    static const unsigned bits[] = { 2, 3, 4, 8 };
    for (size_t b = 0; b < 4; b++) {
        char by_channel[64], by_token[64];
        snprintf(by_channel, sizeof by_channel, "mha*int%u-g16-channel", bits[b]);
        snprintf(by_token, sizeof by_token, "mha*int%u-g16", bits[b]);
        const Codec channel = codec_of(by_channel), token = codec_of(by_token);
        const CacheShape wide = heads_of(CHANNELS), narrow = heads_of(GROUP);
        const Coder c = coder_of_keys(&channel, &wide), t = coder_of_keys(&token, &narrow);
        float x[GROUP * CHANNELS], turned[CHANNELS * GROUP], y[GROUP * CHANNELS],
            z[CHANNELS * GROUP];
        for (size_t i = 0; i < GROUP * CHANNELS; i++) {
            x[i] = (float)(random_normal(4, b, i) * (double)(1 + i % CHANNELS));
            turned[i % CHANNELS * GROUP + i / CHANNELS] = x[i];
        }
        unsigned char rows[GROUP * CHANNELS], scales[4 * CHANNELS];
        coder_encode_group(&c, &table, x, CHANNELS, rows, scales);
        for (size_t from = 0; from < GROUP; from += 5) { /* any tokens of the group */
            const size_t n = GROUP - from < 5 ? GROUP - from : 5;
            coder_decode_group(&c, &table, n, rows + from * c.row_bytes, scales,
                               y + from * CHANNELS, CHANNELS);
        }
        round_trip(&t, &(Rotation){ 0 }, CHANNELS, turned, z);
        for (size_t i = 0; i < GROUP * CHANNELS; i++)
            cr_assert_eq(y[i], z[i % CHANNELS * GROUP + i / CHANNELS], "%u bits", bits[b]);
    }
}

Test(coder, the_rotated_key_of_a_latent_stays_bf16_beside_any_codes) {
    static const char *const codecs[] = { "mla-64+16*int2", "mla-64+16*turboquant-3",
                                          "mla-64+16*q4_0", "mla-64+16*int4-g32" };
    const CacheShape shape = { .kv_heads = 1, .key_dim = 80, .value_dim = 64, .shared = true };
    const RowFormat bf16 = row_format(ROW_BF16, 80);
    const Kernels table = kernels();
    float x[80], y[80], exact[80];
    unsigned char row[160];
    for (size_t n = 0; n < 4; n++) {
        const Codec codec = codec_of(codecs[n]);
        const Coder c = coder_of_keys(&codec, &shape);
        for (size_t i = 0; i < 80; i++) x[i] = (float)random_normal(6, n, i);
        round_trip(&c, &(Rotation){ 0 }, 1, x, y);
        table.encode[ROW_BF16](&bf16, x, row);
        table.decode[ROW_BF16](&bf16, 80, row, exact);
        cr_assert_arr_eq(y + 64, exact + 64, 16 * sizeof *y);
        cr_assert_gt(relative(64, y, x), 0.01);
    }
}

Test(coder, turboquant_keeps_nothing_of_nothing_and_scales_with_its_row) {
    const Codec codec = codec_of("mha*turboquant-4");
    const CacheShape shape = heads_of(WIDTH);
    const Coder c = coder_of_keys(&codec, &shape);
    const Rotation none = { 0 };
    float x[WIDTH] = { 0 }, y[WIDTH], twice[WIDTH];
    round_trip(&c, &none, 1, x, y);
    for (size_t i = 0; i < WIDTH; i++) cr_assert_eq(y[i], 0);
    for (size_t i = 0; i < WIDTH; i++) x[i] = (float)random_normal(6, 7, i);
    round_trip(&c, &none, 1, x, y);
    for (size_t i = 0; i < WIDTH; i++) x[i] *= 2;
    round_trip(&c, &none, 1, x, twice);
    for (size_t i = 0; i < WIDTH; i++) cr_assert_float_eq(twice[i], 2 * y[i], 1e-6);
}

/* ---- fp8_model1 ---- */

Test(coder, scales_of_the_584_byte_row_are_powers_of_two_behind_the_tokens) {
    enum { C = 448, R = 64, ROW = 576, SCALES = 8 };
    const Codec codec = codec_of("mla-448+64*fp8_model1");
    const CacheShape shape = { .kv_heads = 1, .key_dim = C + R, .value_dim = C, .shared = true };
    const Coder c = coder_of_keys(&codec, &shape);
    cr_assert_eq(c.row_bytes, ROW);
    cr_assert_eq(c.group_tokens, 1);
    cr_assert_eq(c.group_bytes, SCALES);
    const Kernels table = kernels();
    float x[C + R], y[C + R];
    for (uint64_t i = 0; i < C + R; i++) x[i] = (float)random_normal(4, 1, i);
    x[64 + 3] = 448 * 4;                         /* of the second 64: exactly 2^2 */
    x[128 + 5] = 448 * 4.001f;                   /* of the third: the next power up */
    for (size_t i = 192; i < 256; i++) x[i] = 0; /* of the fourth: the least scale, 2^-13 > 1e-4 */
    x[300] = NAN;                                /* of the fifth: all of it */
    unsigned char row[ROW], scales[SCALES];
    coder_encode_group(&c, &table, x, C + R, row, scales);
    cr_expect_eq(scales[1], 127 + 2);
    cr_expect_eq(scales[2], 127 + 3);
    cr_expect_eq(scales[3], 127 - 13);
    cr_expect_eq(scales[4], 255);
    cr_expect_eq(scales[7], 0, "padding");
    coder_decode_group(&c, &table, 1, row, scales, y, C + R);
    cr_expect_eq(y[64 + 3], x[64 + 3]);
    cr_expect_eq(y[200], 0);
    for (size_t i = 256; i < 320; i++) cr_expect(isnan(y[i]));
    for (size_t i = 0; i < 64; i++) /* normal values of e4m3 are within a sixteenth */
        cr_expect_leq(fabsf(y[i] - x[i]), fabsf(x[i]) / 16 + ldexpf(1, scales[0] - 127 - 10));
    for (size_t i = C; i < C + R; i++) cr_expect_leq(fabsf(y[i] - x[i]), fabsf(x[i]) / 256);
}
