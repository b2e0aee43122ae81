/* test_quantity.c -- numbers as people write them. */
#include "quantity.h"

#include <criterion/criterion.h>
#include <string.h>

Test(quantity, counts_take_powers_of_1024) {
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = { { "0", 0 },          { "7", 7 },
                  { "32k", 32768 },    { "1K", 1024 },
                  { "16M", 16777216 }, { "1G", 1073741824 },
                  { "1m", 1048576 },   { "2g", 2147483648 },
                  { "007", 7 },        { "18446744073709551615", UINT64_MAX } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 1;
        cr_assert(quantity_count(cases[i].text, &value), "%s", cases[i].text);
        cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(quantity, what_is_no_count_is_refused_and_leaves_the_result_alone) {
    static const char *const wrong[] = { "",
                                         "k",
                                         "-1",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "1.5",
                                         "1e3",
                                         "0x10",
                                         "1kk",
                                         "1KiB",
                                         "ten",
                                         "nan",
                                         "18446744073709551616",
                                         "18014398509481984k" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t value = 42;
        cr_assert_not(quantity_count(wrong[i], &value), "%s", wrong[i]);
        cr_assert_eq(value, 42);
    }
}

Test(quantity, sizes_take_units_of_ten_and_of_two) {
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = { { "0", 0 },
                  { "12B", 12 },
                  { "1kB", 1000 },
                  { "80GB", 80000000000 },
                  { "1KiB", 1024 },
                  { "6GiB", 6442450944 },
                  { "6 GiB", 6442450944 },
                  { "2.89GiB", 3103113871 }, /* 3103113871.36 */
                  { "1TiB", 1099511627776 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 1;
        cr_assert(quantity_bytes(cases[i].text, &value), "%s", cases[i].text);
        cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(quantity, what_is_no_size_is_refused) {
    static const char *const wrong[] = { "",      "GiB", "-1GiB", "1gib", "1G",     "1 Gi B",
                                         "1e400", "nan", "inf",   "0x1",  "0x1MiB", "8388608TiB" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t value = 42;
        cr_assert_not(quantity_bytes(wrong[i], &value), "%s", wrong[i]);
        cr_assert_eq(value, 42);
    }
}

Test(quantity, reals_are_finite_decimals) {
    static const struct {
        const char *text;
        double value;
    } cases[] = { { "0.5", 0.5 }, { "-2", -2 }, { ".25", 0.25 }, { "1e3", 1000 }, { "+1", 1 } };
    static const char *const wrong[] = { "",       "nan",   "inf", "-inf", "infinity", "1e400",
                                         "1e-400", "0x1p3", "1,5", " 1",   "1 ",       "." };
    double value = 42;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(quantity_real(wrong[i], &value), "%s", wrong[i]);
        cr_assert_eq(value, 42.0);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert(quantity_real(cases[i].text, &value), "%s", cases[i].text);
        cr_assert_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(quantity, bytes_are_exact_below_a_million_and_have_three_digits_above) {
    static const struct {
        double bytes;
        const char *text;
    } cases[] = { { 0, "0 B" },
                  { -1, "0 B" },
                  { 999, "999 B" },
                  { 1000, "1,000 B" },
                  { 70272, "70,272 B" },
                  { 999999, "999,999 B" },
                  { 1048576, "1 MiB" },
                  { 1127428915.2, "1.05 GiB" },
                  { 512 * 0x1p20, "512 MiB" },
                  { 999.4 * 0x1p20, "999 MiB" },
                  { 999.6 * 0x1p20, "1000 MiB" },
                  { 1023 * 0x1p20, "0.999 GiB" },
                  { 1000 * 0x1p30, "0.977 TiB" },
                  { 4096 * 0x1p40, "4096 TiB" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        quantity_format_bytes(cases[i].bytes, text, sizeof text);
        cr_assert_str_eq(text, cases[i].text);
    }
}

Test(quantity, formatting_stays_within_its_room) {
    char text[8] = "#######";
    quantity_format_bytes(999999, text, 5);
    cr_assert_eq(text[4], '\0');
    cr_assert_eq(text[5], '#');
}
