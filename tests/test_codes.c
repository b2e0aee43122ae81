/* test_codes.c -- packed codes: where they lie, and every tier's reading of them against the
 * reference, to the bit. */
#define _DEFAULT_SOURCE
#include "tiers.h"

static const unsigned widths[] = { 1, 2, 3, 4, 8 };
static const size_t lengths[] = { 0, 8, 16, 24, 64, 72, 128, 136, 576 };
enum { LONGEST = 576 };

static void fill_codes(unsigned char *codes, size_t n, unsigned bits) {
    for (size_t i = 0; i < n; i++)
        codes[i] = (unsigned char)((uint32_t)(draw() * 0x1p20f) & ((1u << bits) - 1));
}

/* Codes packed directly before memory that no one may touch. */
static unsigned char *packed_codes(size_t n, unsigned bits, unsigned char *codes) {
    const Kernels ref = kernels_select(0);
    unsigned char *packed = guarded(0, n * bits / 8);
    fill_codes(codes, n, bits);
    ref.pack_codes(n, bits, codes, packed);
    return packed;
}

/* Numbers as f16 stores them: their products with codes are exact. */
static void fill_halves(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = f16_to_f32(f32_to_f16(draw()));
}

Test(codes, codes_lie_where_the_contract_says) {
    const Kernels ref = kernels_select(0);
    const unsigned char codes[8] = { 1, 2, 3, 4, 5, 6, 7, 0 };
    unsigned char packed[8];
    ref.pack_codes(8, 4, codes, packed);
    cr_assert_arr_eq(packed, ((unsigned char[]){ 0x51, 0x62, 0x73, 0x04 }), 4);
    ref.pack_codes(8, 2, codes, packed); /* low two bits: 1 2 3 0 1 2 3 0 */
    cr_assert_arr_eq(packed, ((unsigned char[]){ 0x1 | 3 << 2 | 1 << 4 | 3 << 6, 2 | 2 << 4 }), 2);
    ref.pack_codes(8, 3, codes, packed); /* the same, then bit 2 of each */
    cr_assert_arr_eq(packed, ((unsigned char[]){ 0xdd, 0x22, 0x78 }), 3);
    ref.pack_codes(8, 1, codes, packed);
    cr_assert_eq(packed[0], 0x55);
    ref.pack_codes(8, 8, codes, packed);
    cr_assert_arr_eq(packed, codes, 8);
}

/* Steps shared by groups of each size that divides a row, and by none. */
static const size_t groups[] = { 1, 2, 8, 12, 16, 32, 64, 72, 128, 576 };

FOR_EACH_SUBJECT(codes, steps_and_least_values_are_those_of_the_reference) {
    const Kernels ref = kernels_select(0), k = table_of(*subject);
    unsigned char codes[LONGEST];
    float expected[LONGEST];
    for (size_t c = 0; c < COUNT(widths) * COUNT(lengths) * COUNT(groups); c++) {
        const unsigned bits = widths[c % COUNT(widths)];
        const size_t n = lengths[c / COUNT(widths) % COUNT(lengths)];
        const size_t group = groups[c / COUNT(widths) / COUNT(lengths)], shared = n / group;
        if (n % group) continue;
        const unsigned char *packed = packed_codes(n, bits, codes);
        float *step = guarded(1, shared * sizeof *step),
              *least = guarded(2, shared * sizeof *least);
        float *out = guarded(3, n * sizeof *out);
        fill_halves(step, shared);
        fill_halves(least, shared);
        ref.decode_steps(n, group, bits, packed, step, least, expected);
        k.decode_steps(n, group, bits, packed, step, least, out);
        cr_assert_arr_eq(out, expected, n * sizeof *out, "%u bits of %zu by %zu", bits, n, group);
        for (size_t v = 0; v < n; v++)
            cr_assert_eq(expected[v], (float)codes[v] * step[v / group] + least[v / group]);
    }
}

FOR_EACH_SUBJECT(codes, looked_up_values_are_those_of_the_table) {
    enum { ENTRIES = 16 };
    const Kernels k = table_of(*subject);
    unsigned char codes[LONGEST];
    for (size_t w = 0; w < 4; w++) /* up to 4 bits */
        for (size_t i = 0; i < COUNT(lengths); i++) {
            const size_t n = lengths[i];
            const float scale = draw();
            const unsigned char *packed = packed_codes(n, widths[w], codes);
            float *table = guarded(1, ENTRIES * sizeof *table);
            float *out = guarded(3, n * sizeof *out);
            fill_floats(table, ENTRIES, false);
            k.decode_table(n, widths[w], packed, table, scale, out);
            for (size_t v = 0; v < n; v++)
                cr_assert_eq(out[v], table[codes[v]] * scale, "%u bits of %zu", widths[w], n);
        }
}
