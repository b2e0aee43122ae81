/* test_rows.c -- rows: their bytes, what a type says of them, and every tier's encoding and
 * decoding against the reference, to the bit. */
#define _DEFAULT_SOURCE
#include <float.h>

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
        const bool groups = type == ROW_INT4 || type == ROW_Q8_0 || type == ROW_Q4_0;
        cr_assert_eq(!row_format_misfit(row_format(type, 40)), !groups && type != ROW_FP8_DS_MLA);
        cr_assert_eq(!row_format_misfit(row_format(type, 64)), type != ROW_FP8_DS_MLA);
        cr_assert_eq(!row_format_misfit(row_format_latent(type, 128, 17)), !groups);
        cr_assert_eq(!row_format_misfit(row_format_latent(type, 64, 32)), type != ROW_FP8_DS_MLA);
    }
}

/* ---- 16 bits ---- */

FOR_EACH_SUBJECT(rows, every_16_bit_pattern_decodes_as_in_the_reference) {
    const Kernels tier = table_of(*subject), ref = kernels_select(0);
    static uint16_t patterns[65536];
    static float got[65536], expected[65536];
    for (size_t i = 0; i < 65536; i++) patterns[i] = (uint16_t)i;
    for (RowType type = ROW_BF16; type <= ROW_F16; type++) {
        decode(&tier, row_format(type, 65536), 65536, patterns, got);
        decode(&ref, row_format(type, 65536), 65536, patterns, expected);
        cr_assert_arr_eq(got, expected, sizeof got, "%s %s", subjects[*subject],
                         row_type_name(type));
    }
}

/* Halfway between two neighbours the even one is nearest; just beside it, the nearer. The numbers
 * behind the greatest finite one count as if the exponent went on, and round to infinity. */
FOR_EACH_SUBJECT(rows, encoding_rounds_to_nearest_even_at_every_pattern) {
    const Kernels tier = table_of(*subject);
    static float in[3 * 65536];
    static uint16_t expected[3 * 65536], got[3 * 65536];
    for (RowType type = ROW_BF16; type <= ROW_F16; type++) {
        const uint32_t infinity = type == ROW_BF16 ? 0x7f80 : 0x7c00;
        size_t n = 0;
        for (uint32_t h = 0; h < infinity; h++) {
            float half;
            if (type == ROW_BF16)
                half = bits_float(h << 16 | 0x8000u);
            else if (h < 0x400)
                half = ((float)h + 0.5f) * 0x1p-24f;
            else
                half = ldexpf((float)(h & 0x3ff) + 1024.5f, (int)(h >> 10) - 25);
            const float sign = h % 3 ? 1.0f : -1.0f;
            const uint16_t bit = h % 3 ? 0 : 0x8000;
            in[n] = sign * nextafterf(half, 0), expected[n++] = (uint16_t)(h | bit);
            in[n] = sign * half, expected[n++] = (uint16_t)((h + h % 2) | bit);
            in[n] = sign * nextafterf(half, INFINITY), expected[n++] = (uint16_t)((h + 1) | bit);
        }
        encode(&tier, row_format(type, n), in, got);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(got[i], expected[i], "%s %s: %a became %04x, not %04x", subjects[*subject],
                         row_type_name(type), (double)in[i], got[i], expected[i]);
    }
}

FOR_EACH_SUBJECT(rows, encoding_keeps_infinity_and_nan) {
    const Kernels tier = table_of(*subject), ref = kernels_select(0);
    const uint32_t bits[] = { 0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff, 0xffc12345,
                              0xff80ffff, 0x00000001, 0x80000000, 0x33000000, 0x7f7fffff,
                              0x7fbfffff, 0xffffffff, 0x477fefff, 0x477ff000 };
    float in[COUNT(bits)];
    memcpy(in, bits, sizeof in);
    for (RowType type = ROW_BF16; type <= ROW_F16; type++) {
        const RowFormat format = row_format(type, COUNT(bits));
        uint16_t got[COUNT(bits)], expected[COUNT(bits)];
        float back[COUNT(bits)];
        encode(&tier, format, in, got);
        encode(&ref, format, in, expected);
        cr_assert_arr_eq(got, expected, sizeof got);
        decode(&ref, format, COUNT(bits), got, back);
        for (size_t i = 0; i < COUNT(bits); i++) {
            cr_assert_eq(!!isnan(in[i]), !!isnan(back[i]));
            cr_assert_eq(!!signbit(in[i]), !!signbit(back[i]));
        }
    }
}

Test(rows, reference_decodes_f16_by_its_definition) {
    const Kernels ref = kernels_select(0);
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const uint16_t patterns[2] = { (uint16_t)h, (uint16_t)(h | 0x8000) };
        float got[2];
        decode(&ref, row_format(ROW_F16, 2), 2, patterns, got);
        const int exponent = (int)(h >> 10), fraction = (int)(h & 0x3ff);
        const double value =
            exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        cr_assert(got[0] == value && got[1] == -value && signbit(got[1]));
    }
}

/* ---- e4m3 ---- */

/* Pattern h < 127: bias 7, 3 bits of fraction, the greatest 448. */
static double e4m3(uint32_t h) {
    const int exponent = (int)(h >> 3), fraction = (int)(h & 7);
    return exponent ? ldexp(8 + fraction, exponent - 10) : ldexp(fraction, -9);
}

FOR_EACH_SUBJECT(rows, every_e4m3_pattern_decodes_by_its_definition) {
    const Kernels tier = table_of(*subject);
    uint8_t patterns[256];
    float got[256];
    for (size_t i = 0; i < 256; i++) patterns[i] = (uint8_t)i;
    decode(&tier, row_format_latent(ROW_FP8, 256, 0), 256, patterns, got);
    for (uint32_t h = 0; h < 127; h++) {
        cr_assert_eq(got[h], e4m3(h), "%s %02x: %g", subjects[*subject], h, (double)got[h]);
        cr_assert(got[h + 128] == -e4m3(h) && signbit(got[h + 128]));
    }
    cr_assert(isnan(got[127]) && isnan(got[255]));
    cr_assert_eq(got[126], 448);
    cr_assert_eq(got[8], 0x1p-6f);
    cr_assert_eq(got[1], 0x1p-9f);
}

FOR_EACH_SUBJECT(rows, a_cast_to_e4m3_rounds_to_nearest_even_and_saturates) {
    const Kernels tier = table_of(*subject);
    float in[3 * 128 + 8];
    uint8_t expected[COUNT(in)], got[COUNT(in)];
    size_t n = 0;
    for (uint32_t h = 0; h < 126; h++) {
        const float half = (float)((e4m3(h) + e4m3(h + 1)) / 2);
        const float sign = h % 3 ? 1.0f : -1.0f;
        const uint8_t bit = h % 3 ? 0 : 0x80;
        in[n] = sign * nextafterf(half, 0), expected[n++] = (uint8_t)(h | bit);
        in[n] = sign * half, expected[n++] = (uint8_t)((h + h % 2) | bit);
        in[n] = sign * nextafterf(half, INFINITY), expected[n++] = (uint8_t)((h + 1) | bit);
    }
    const float special[] = { 464, -1e9f, INFINITY, -INFINITY, NAN, -0.0f, 0x1p-149f };
    const uint8_t bytes[] = { 0x7e, 0xfe, 0x7e, 0xfe, 0x7f, 0x80, 0 };
    for (size_t i = 0; i < COUNT(special); i++) in[n] = special[i], expected[n++] = bytes[i];
    encode(&tier, row_format_latent(ROW_FP8, n, 0), in, got);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(got[i] & (isnan(in[i]) ? 0x7f : 0xff), expected[i],
                     "%s: %a became %02x, not %02x", subjects[*subject], (double)in[i], got[i],
                     expected[i]);
}

/* ---- every tier gives the bytes and the floats of the reference ---- */

static bool same_float(float a, float b) {
    return isnan(a) ? !!isnan(b) : float_bits(a) == float_bits(b);
}

/* One row there and back, its bytes and floats before forbidden pages. */
static void check_row(const Kernels *tier, const char *name, RowFormat format,
                      const float *values) {
    const Kernels ref = kernels_select(0);
    const size_t n = format.n, bytes = row_bytes(format);
    float *in = guarded(0, n * sizeof *in), *out = guarded(1, n * sizeof *out);
    unsigned char *row = guarded(2, bytes), expected[5000];
    float exact[1100];
    if (n) memcpy(in, values, n * sizeof *in);
    memset(row, 0x55, bytes);
    memset(expected, 0xaa, bytes);
    encode(tier, format, in, row);
    encode(&ref, format, in, expected);
    for (size_t i = 0; i < bytes; i++)
        cr_assert_eq(row[i], expected[i], "%s %s n=%zu: byte %zu is %02x, not %02x", name,
                     row_type_name(format.type), n, i, row[i], expected[i]);
    for (size_t prefix = n < 3 ? 0 : n - 3; prefix <= n; prefix++) {
        out = guarded(1, prefix * sizeof *out);
        decode(tier, format, prefix, row, out);
        decode(&ref, format, prefix, row, exact);
        for (size_t i = 0; i < prefix; i++)
            cr_assert(same_float(out[i], exact[i]), "%s %s n=%zu: value %zu is %a, not %a", name,
                      row_type_name(format.type), n, i, (double)out[i], (double)exact[i]);
    }
}

static const size_t lengths[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 131, 576 };

FOR_EACH_SUBJECT(rows, bytes_and_floats_are_those_of_the_reference_at_every_length) {
    const Kernels tier = table_of(*subject);
    float x[1100];
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++)
        for (size_t l = 0; l < COUNT(lengths); l++)
            for (size_t kind = 0; kind < 3; kind++)
                for (int scale = -150; scale<128; scale += scale> - 20 && scale < 20 ? 3 : 13) {
                    const RowFormat format = format_of(type, lengths[l], kind);
                    for (size_t i = 0; i < format.n; i++) x[i] = ldexpf(draw(), scale);
                    check_row(&tier, subjects[*subject], format, x);
                }
}

/* Ties of the rounding, both zeros, and groups of one value. */
FOR_EACH_SUBJECT(rows, ties_zeros_and_equal_values_encode_as_in_the_reference) {
    const Kernels tier = table_of(*subject);
    float x[256];
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++)
        for (int kind = 0; kind < 8; kind++) {
            for (size_t i = 0; i < 256; i++) {
                const float halves = (float)((int)(i * 37 % 255) - 127) / 2;
                x[i] = kind == 0 ? 0 : kind == 1 ? -0.0f : kind == 2 ? -3.25f : halves;
                if (kind == 3 && i % 32 == 0) x[i] = 127;
                if (kind == 4) x[i] = i % 2 ? 63.5f : -63.5f;
                if (kind == 5) x[i] = i % 2 ? -0.0f : 0;
                if (kind == 6) x[i] = i % 2 ? -0.0f : 4;
            }
            check_row(&tier, subjects[*subject], format_of(type, 256, (size_t)kind % 3), x);
        }
}

FOR_EACH_SUBJECT(rows, a_group_that_is_not_finite_is_nan_and_no_other_is) {
    const Kernels tier = table_of(*subject);
    const float wrong[] = { NAN, INFINITY, -INFINITY };
    for (RowType type = ROW_FP8; type < ROW_TYPE_COUNT; type++)
        for (size_t w = 0; w < COUNT(wrong); w++)
            for (size_t at = 0; at < 256; at += 51) {
                const RowFormat format = type == ROW_FP8_DS_MLA
                                             ? row_format_latent(ROW_FP8_DS_MLA, 256, 0)
                                             : row_format(type, 256);
                unsigned char row[400];
                float x[256], back[256];
                fill_floats(x, 256, false);
                x[at] = wrong[w];
                check_row(&tier, subjects[*subject], format, x);
                encode(&tier, format, x, row);
                decode(&tier, format, 256, row, back);
                const size_t group = type == ROW_FP8 || type == ROW_INT8 ? 256
                                     : type == ROW_FP8_DS_MLA            ? 128
                                                                         : 32;
                for (size_t i = 0; i < 256; i++)
                    cr_assert_eq(!!isnan(back[i]), i / group == at / group, "%s %s: %zu of %zu",
                                 subjects[*subject], row_type_name(type), i, at);
            }
}

FOR_EACH_SUBJECT(rows, values_that_the_type_holds_come_back_as_they_were) {
    const Kernels tier = table_of(*subject);
    float x[1100], back[1100];
    unsigned char row[5000];
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++)
        for (size_t n = 0; n < 70; n++) {
            const RowFormat format = format_of(type, n, n % 3);
            fill_exact(&format, x);
            encode(&tier, format, x, row);
            decode(&tier, format, format.n, row, back);
            for (size_t i = 0; i < format.n; i++)
                cr_assert_eq(back[i], x[i], "%s %s n=%zu", subjects[*subject], row_type_name(type),
                             n);
        }
}

/* ---- layouts, by hand ---- */

Test(rows, q4_0_takes_its_scale_from_the_greatest_and_packs_halves_sixteen_apart) {
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

Test(rows, q8_0_and_int8_divide_the_greatest_by_127) {
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

Test(rows, int4_spans_its_group_from_least_to_greatest) {
    const Kernels ref = kernels_select(0);
    float x[32];
    for (size_t i = 0; i < 32; i++) x[i] = 10 + 2 * (float)(i % 16);
    unsigned char row[20];
    encode(&ref, row_format(ROW_INT4, 32), x, row);
    cr_assert(row[0] == 0x00 && row[1] == 0x40 && row[2] == 0x00 && row[3] == 0x49); /* 2, 10 */
    for (size_t i = 0; i < 16; i++) cr_assert_eq(row[4 + i], 0x11 * i);
}

Test(rows, fp8_ds_mla_rounds_scales_up_to_powers_of_two_and_keeps_the_key) {
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

Test(rows, a_latent_in_fp8_is_cast_without_scale) {
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
Test(rows, errors_on_normal_values_are_those_of_their_formats) {
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
Test(rows, rounding_to_whole_numbers_costs_half_a_step) {
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
