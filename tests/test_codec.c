/* test_codec.c -- row types by what is said of them: names, bytes, layouts worked out by hand,
 * errors. The tiers against each other: test_rows.c. */
#define _DEFAULT_SOURCE
#include "tiers.h"

static void encode(const Kernels *k, RowFormat format, const float *in, void *row) {
    k->encode[format.type](&format, in, row);
}

static void decode(const Kernels *k, RowFormat format, size_t n, const void *row, float *out) {
    k->decode[format.type](&format, n, row, out);
}

/* ---- names, formats, bytes ---- */

Test(codec, names_and_types_go_together) {
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
        RowType parsed = ROW_TYPE_COUNT;
        cr_assert(row_type_parse(row_type_name(type), &parsed));
        cr_assert_eq(parsed, type);
    }
    RowType kept = ROW_F16;
    cr_assert(!row_type_parse("fp32", &kept));
    cr_assert_eq(kept, ROW_F16);
}

Test(codec, two_types_are_written_with_a_comma_where_they_differ) {
    char text[KV_TYPE_ROOM];
    KvType type = kv_type(ROW_F16);
    cr_assert(kv_type_parse("int8,q4_0", &type));
    cr_assert(type.k == ROW_INT8 && type.v == ROW_Q4_0);
    cr_assert_str_eq(kv_type_name(type, text), "int8,q4_0");
    cr_assert(kv_type_parse("fp8,fp8", &type));
    cr_assert_str_eq(kv_type_name(type, text), "fp8");
    const char *const wrong[] = { "",
                                  ",",
                                  "int8,",
                                  ",int8",
                                  "int8,int4,f16",
                                  "int8, int4",
                                  "INT8",
                                  "fp8_ds_mla_and_a_name_longer_than_any,f16" };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        cr_assert(!kv_type_parse(wrong[i], &type), "%s", wrong[i]);
        cr_assert(type.k == ROW_FP8 && type.v == ROW_FP8);
    }
}

Test(codec, bytes_of_a_row_count_its_scales) {
    const struct {
        RowType type;
        size_t head_bytes, latent_bytes; /* of 128 values, of 512 + 64 */
    } rows[] = { { ROW_F32, 512, 2304 }, { ROW_BF16, 256, 1152 }, { ROW_F16, 256, 1152 },
                 { ROW_FP8, 132, 576 },  { ROW_INT8, 132, 580 },  { ROW_INT4, 80, 360 },
                 { ROW_Q8_0, 136, 612 }, { ROW_Q4_0, 72, 324 } };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_assert_eq(row_bytes(row_format(rows[i].type, 128)), rows[i].head_bytes);
        cr_assert_eq(row_bytes(row_format_latent(rows[i].type, 512, 64)), rows[i].latent_bytes);
    }
    cr_assert_eq(row_bytes(row_format_latent(ROW_FP8_DS_MLA, 512, 64)), 656);
    cr_assert_eq(row_bytes(row_format_latent(ROW_FP8_DS_MLA, 256, 32)), 256 + 8 + 64);
    cr_assert_eq(row_bytes(row_format(ROW_F32, 0)), 0);
    /* with the rotated key apart in bf16 */
    cr_assert_eq(row_bytes(row_format_latent_rope(ROW_Q4_0, 512, 64)), 288 + 128);
    cr_assert_eq(row_bytes(row_format_latent_rope(ROW_INT8, 512, 64)), 516 + 128);
    cr_assert_eq(row_bytes(row_format_latent_rope(ROW_FP8, 448, 64)), 448 + 128);
    cr_assert_eq(row_bytes(row_format_latent_rope(ROW_F32, 512, 64)), 2304);
}

Test(codec, formats_that_do_not_fit_say_why) {
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
        const bool heads = type != ROW_FP8_DS_MLA;
        for (size_t n = 0; n < 300; n++) {
            const bool whole = n % unit_of(type) == 0;
            cr_assert_eq(!row_format_misfit(row_format(type, n)), heads && whole);
            cr_assert_eq(!row_format_misfit(row_format_latent_rope(type, n, 17)),
                         whole || type <= ROW_F16);
        }
        cr_assert_eq(!row_format_misfit(row_format_latent(type, 128, 17)),
                     !heads || unit_of(type) == 1);
        cr_assert_eq(!row_format_misfit(row_format_latent(type, 96, 32)), heads);
    }
}

/* ---- layouts, by hand ---- */

Test(codec, q4_0_takes_its_scale_from_the_greatest_and_packs_halves_sixteen_apart) {
    const Kernels ref = kernels_select(0);
    float x[32];
    for (size_t i = 0; i < 32; i++) x[i] = (float)(i % 16) - 8; /* -8 is the greatest: d = 1 */
    x[16] = 7;
    unsigned char row[18];
    encode(&ref, row_format(ROW_Q4_0, 32), x, row);
    cr_assert(row[0] == 0x00 && row[1] == 0x3c); /* 1 in f16 */
    cr_assert_eq(row[2], 0xf0);                  /* 7 above, -8 below */
    for (size_t i = 1; i < 16; i++) cr_assert_eq(row[2 + i], 0x11 * i);
    for (size_t i = 0; i < 32; i++) x[i] = i == 9 ? 4 : -2; /* 4 is: d = -1/2 */
    encode(&ref, row_format(ROW_Q4_0, 32), x, row);
    cr_assert(row[0] == 0x00 && row[1] == 0xb8);
    cr_assert_eq(row[2 + 9], 0xc0); /* 4 = -8 d; -2 = 4 d */
}

Test(codec, q8_0_and_int8_divide_the_greatest_by_127) {
    const Kernels ref = kernels_select(0);
    float x[32] = { 63.5f, -63.5f, 0.25f, -0.75f };
    unsigned char row[36];
    float scale;
    encode(&ref, row_format(ROW_Q8_0, 32), x, row);
    cr_assert(row[0] == 0x00 && row[1] == 0x38); /* 1/2 in f16 */
    const int8_t expected[] = { 127, -127, 1, -2, 0 };
    cr_assert_arr_eq(row + 2, expected, sizeof expected);
    encode(&ref, row_format(ROW_INT8, 32), x, row);
    memcpy(&scale, row, sizeof scale);
    cr_assert_eq(scale, 0.5f);
    cr_assert_arr_eq(row + 4, expected, sizeof expected);
}

Test(codec, int4_spans_its_group_from_least_to_greatest) {
    const Kernels ref = kernels_select(0);
    float x[32];
    for (size_t i = 0; i < 32; i++) x[i] = 10 + 2 * (float)(i % 16);
    unsigned char row[20];
    encode(&ref, row_format(ROW_INT4, 32), x, row);
    cr_assert(row[0] == 0x00 && row[1] == 0x40 && row[2] == 0x00 && row[3] == 0x49); /* 2, 10 */
    for (size_t i = 0; i < 16; i++) cr_assert_eq(row[4 + i], 0x11 * i);
}

Test(codec, fp8_ds_mla_rounds_scales_up_to_powers_of_two_and_keeps_the_key) {
    const Kernels ref = kernels_select(0);
    const RowFormat format = row_format_latent(ROW_FP8_DS_MLA, 512, 64);
    float x[576] = { [5] = 448, [130] = -449, [300] = 1e-9f, [575] = 1.5f }, scale[4], back[576];
    unsigned char row[656];
    encode(&ref, format, x, row);
    memcpy(scale, row + 512, sizeof scale);
    /* 1; just above 1; the floor of 1e-4; the same for zeros */
    const float expected[] = { 1, 2, 0x1p-13f, 0x1p-13f };
    cr_assert_arr_eq(scale, expected, sizeof scale);
    cr_assert_eq(row[5], 0x7e);
    cr_assert(row[654] == 0xc0 && row[655] == 0x3f); /* 1.5 in bf16 */
    decode(&ref, format, 576, row, back);
    cr_assert(back[5] == 448 && back[130] == -448 && back[575] == 1.5f);
}

Test(codec, mxfp4_scales_the_greatest_to_between_4_and_8) {
    const Kernels ref = kernels_select(0);
    /* e2m1 and its ties, at a scale of 1/2 */
    float x[32] = { 2.9f, 0.25f, 0.125f, 0.375f, 0.625f, 1.25f, 1.75f, 2.5f }, back[32];
    unsigned char row[17];
    x[16] = -3.9f; /* becomes -3: 6 is the most */
    encode(&ref, row_format(ROW_MXFP4, 32), x, row);
    cr_assert_eq(row[0], 126);
    const unsigned char expected[8] = { 0xf7, 0x01, 0x00, 0x02, 0x02, 0x04, 0x06, 0x06 };
    cr_assert_arr_eq(row + 1, expected, 8);
    decode(&ref, row_format(ROW_MXFP4, 32), 32, row, back);
    cr_assert(back[0] == 3 && back[1] == 0.25f && back[16] == -3 && back[31] == 0);
}

Test(codec, nvfp4_keeps_four_scales_before_the_codes_of_64) {
    const Kernels ref = kernels_select(0);
    float x[128] = { [0] = 6, [8] = -3, [17] = 0.75f, [127] = 100 }, back[128];
    unsigned char row[72];
    encode(&ref, row_format(ROW_NVFP4, 128), x, row);
    /* 1; 1/8; 0; and 100/6 = 16.67, nearest 16 */
    cr_assert(row[0] == 0x38 && row[1] == 0x20 && row[2] == 0 && row[36 + 3] == 0x58);
    cr_assert_eq(row[4], 0xd7); /* 6 below, -3 above */
    cr_assert_eq(row[4 + 8 + 1], 0x07);
    cr_assert_eq(row[36 + 4 + 31], 0x70);
    decode(&ref, row_format(ROW_NVFP4, 128), 128, row, back);
    cr_assert(back[8] == -3 && back[17] == 0.75f && back[127] == 96);
    for (size_t i = 0; i < 128; i++) x[i] = i == 70 ? 1e5f : 0;
    encode(&ref, row_format(ROW_NVFP4, 128), x, row);
    decode(&ref, row_format(ROW_NVFP4, 128), 128, row, back);
    cr_assert_eq(back[70], 6 * 448);
}

Test(codec, a_latent_in_fp8_is_cast_without_scale) {
    const Kernels ref = kernels_select(0);
    const float x[3] = { 1000, 0.0625f, -1 };
    float back[3];
    unsigned char row[8];
    encode(&ref, row_format_latent(ROW_FP8, 2, 1), x, row);
    decode(&ref, row_format_latent(ROW_FP8, 2, 1), 3, row, back);
    cr_assert(back[0] == 448 && back[1] == 0.0625f && back[2] == -1);
    encode(&ref, row_format(ROW_FP8, 3), x, row); /* a head's has one */
    decode(&ref, row_format(ROW_FP8, 3), 3, row, back);
    cr_assert(fabsf(back[0] - 1000) < 1e-3f && fabsf(back[2] + 1) < 0.07f);
}

/* ---- errors ---- */

static double gaussian_error(RowFormat format) {
    enum { ROWS = 4000 };
    const Kernels kernels = kernels_select(kernels_detect());
    double error = 0, size = 0;
    float x[1024], back[1024];
    unsigned char row[4096];
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < format.n; i++) {
            const double radius = sqrt(-2 * log(0.5 + 0.5 * (double)draw() + 0x1p-33));
            x[i] = (float)(radius * cos(3.14159265358979323846 * (double)draw()));
        }
        encode(&kernels, format, x, row);
        decode(&kernels, format, format.n, row, back);
        for (size_t i = 0; i < format.n; i++) {
            const double difference = (double)back[i] - (double)x[i];
            error += difference * difference;
            size += (double)x[i] * (double)x[i];
        }
    }
    return sqrt(error / size);
}

/* The mean square of the greatest of n normal values, over its distribution erf(x/sqrt 2)^n. */
static double mean_square_of_greatest(int n) {
    double sum = 0, below = 0;
    for (double x = 0.0005; x < 9; x += 0.001) {
        const double upto = pow(erf((x + 0.0005) * sqrt(0.5)), n);
        sum += x * x * (upto - below);
        below = upto;
    }
    return sum;
}

/* Relative errors on normal values, as a study of the formats with numpy gave them to two or three
 * digits; a step of a uniform grid costs step / sqrt(12). */
Test(codec, errors_on_normal_values_are_those_of_their_formats) {
    const double int8 = sqrt(mean_square_of_greatest(128)) / 127 / sqrt(12);
    const struct {
        RowFormat format;
        double error, digit;
    } cases[] = {
        { row_format(ROW_BF16, 128), 1.7e-3, 1e-4 },
        { row_format(ROW_F16, 128), 2.1e-4, 1e-5 },
        { row_format(ROW_FP8, 128), 0.0257, 1e-4 },
        { row_format_latent(ROW_FP8_DS_MLA, 512, 0), 0.0265, 1e-4 },
        { row_format(ROW_INT8, 128), int8, 0 },
        { row_format(ROW_INT4, 128), 0.078, 1e-3 },
        { row_format(ROW_Q8_0, 128), 0.0054, 1e-4 },
        { row_format(ROW_Q4_0, 128), 0.086, 1e-3 },
        { row_format(ROW_FP8_E5M2, 128), 0.053, 1e-3 },
        { row_format(ROW_MXFP4, 128), 0.115, 1e-3 },
        { row_format(ROW_NVFP4, 128), 0.095, 1e-3 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const double error = gaussian_error(cases[i].format);
        const double allowed = fmax(0.02 * cases[i].error, cases[i].digit / 2);
        cr_expect(fabs(error - cases[i].error) <= allowed, "%s: %.5f, not %.5f",
                  row_type_name(cases[i].format.type), error, cases[i].error);
    }
}

/* Rounding to a grid costs half a step at most; the scale, where it is stored as f16, 2^-11 of its
 * multiples more. */
Test(codec, rounding_to_whole_numbers_costs_half_a_step) {
    const Kernels kernels = kernels_select(kernels_detect());
    const RowType types[] = { ROW_INT8, ROW_Q8_0, ROW_INT4 };
    for (size_t t = 0; t < COUNT(types); t++)
        for (size_t r = 0; r < 200; r++) {
            const RowFormat format = row_format(types[t], 32);
            float x[32], back[32], least = INFINITY, most = -INFINITY;
            unsigned char row[40];
            fill_floats(x, 32, false);
            encode(&kernels, format, x, row);
            decode(&kernels, format, 32, row, back);
            for (size_t i = 0; i < 32; i++) least = fminf(least, x[i]), most = fmaxf(most, x[i]);
            const double greatest = fmax(-(double)least, (double)most);
            const double step =
                types[t] == ROW_INT4 ? ((double)most - (double)least) / 15 : greatest / 127;
            const double slack = greatest * (types[t] == ROW_INT8 ? 0x1p-22 : 0x1p-10);
            for (size_t i = 0; i < 32; i++)
                cr_assert_leq(fabs((double)back[i] - (double)x[i]), step / 2 + slack, "%s",
                              row_type_name(types[t]));
        }
}
