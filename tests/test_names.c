/* test_names.c -- the nearest right name. */
#include "names.h"

#include <criterion/criterion.h>

static const char *const names[] = { "decode.context", "decode.sequences", "prefill.tokens", "isa",
                                     "seed" };
enum { NAMES = sizeof names / sizeof *names };

Test(names, a_misspelt_name_has_its_nearest) {
    static const char *const cases[][2] = { { "decode.contxt", "decode.context" },
                                            { "decode.contexts", "decode.context" },
                                            { "DECODE.Context", "decode.context" },
                                            { "prefil.token", "prefill.tokens" },
                                            { "sead", "seed" },
                                            { "is", "isa" },
                                            { "seed", "seed" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_str_eq(names_nearest(cases[i][0], names, NAMES), cases[i][1], "%s", cases[i][0]);
}

Test(names, what_is_near_to_none_has_none) {
    static const char *const far[] = { "", "x", "xyz", "temperature", "0123456789" };
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        cr_assert_null(names_nearest(far[i], names, NAMES), "%s", far[i]);
    cr_assert_null(names_nearest("seed", names, 0));
}

Test(names, of_equally_near_names_the_first_wins) {
    static const char *const twins[] = { "cat", "car" };
    cr_assert_str_eq(names_nearest("cab", twins, 2), "cat");
}

Test(names, names_of_any_length_are_compared) {
    char longest[4096];
    for (size_t i = 0; i < sizeof longest - 1; i++) longest[i] = 'a';
    longest[sizeof longest - 1] = '\0';
    cr_assert_null(names_nearest(longest, names, NAMES));
    const char *const same[] = { longest };
    cr_assert_eq(names_nearest(longest, same, 1), longest);
}
