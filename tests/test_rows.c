/* test_rows.c -- rows in every tier: rounding by the definition of the small floats, and the bytes
 * and floats of the reference, to the bit. What the reference must give: test_codec.c. */
#define _DEFAULT_SOURCE
#include <float.h>

#include "tiers.h"

static void encode(const Kernels *k, RowFormat format, const float *in, void *row) {
    k->encode[format.type](&format, in, row);
}

static void decode(const Kernels *k, RowFormat format, size_t n, const void *row, float *out) {
    k->decode[format.type](&format, n, row, out);
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

FOR_EACH_SUBJECT(rows, every_e5m2_pattern_is_the_upper_byte_of_f16) {
    const Kernels tier = table_of(*subject);
    uint8_t patterns[256];
    float got[256];
    for (size_t i = 0; i < 256; i++) patterns[i] = (uint8_t)i;
    decode(&tier, row_format(ROW_FP8_E5M2, 256), 256, patterns, got);
    for (uint32_t h = 0; h < 124; h++) {
        const int exponent = (int)(h >> 2), fraction = (int)(h & 3);
        const double value = exponent ? ldexp(4 + fraction, exponent - 17) : ldexp(fraction, -16);
        cr_assert(got[h] == value && got[h + 128] == -value && signbit(got[h + 128]));
    }
    cr_assert(got[123] == 57344 && got[124] == INFINITY && got[252] == -INFINITY);
    for (uint32_t h = 125; h < 128; h++) cr_assert(isnan(got[h]) && isnan(got[h + 128]));
}

FOR_EACH_SUBJECT(rows, a_cast_to_e5m2_rounds_to_nearest_even_and_saturates) {
    const Kernels tier = table_of(*subject);
    float in[3 * 124 + 8];
    uint8_t expected[COUNT(in)], got[COUNT(in)];
    size_t n = 0;
    for (uint32_t h = 0; h < 123; h++) {
        const float half =
            (f16_to_f32((uint16_t)(h << 8)) + f16_to_f32((uint16_t)((h + 1) << 8))) / 2;
        in[n] = nextafterf(half, 0), expected[n++] = (uint8_t)h;
        in[n] = half, expected[n++] = (uint8_t)(h + h % 2);
        in[n] = -nextafterf(half, INFINITY), expected[n++] = (uint8_t)((h + 1) | 0x80);
    }
    const float special[] = { 61440, -1e9f, INFINITY, -INFINITY, NAN, -0.0f, 0x1p-149f };
    const uint8_t bytes[] = { 0x7b, 0xfb, 0x7c, 0xfc, 0x7f, 0x80, 0 };
    for (size_t i = 0; i < COUNT(special); i++) in[n] = special[i], expected[n++] = bytes[i];
    encode(&tier, row_format(ROW_FP8_E5M2, n), in, got);
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

/* Values of a row of 256 that share a scale. */
static size_t group_of(RowType type) {
    if (type == ROW_FP8 || type == ROW_INT8) return 256;
    return type == ROW_NVFP4 ? 16 : unit_of(type);
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
                const size_t group = group_of(type);
                const bool stays = type == ROW_FP8_E5M2 && isinf(wrong[w]); /* a cast keeps it */
                for (size_t i = 0; i < 256; i++)
                    cr_assert_eq(!!isnan(back[i]), i / group == at / group && !stays,
                                 "%s %s: %zu of %zu", subjects[*subject], row_type_name(type), i,
                                 at);
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
