/* test_options.c -- long options by rows. */
#include "options.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>

/* What a command of two arguments, a flag, a text and a repeated option gets from its words. */
typedef struct {
    bool json, helped;
    const char *out;
    OptionValues set;
    const char *positional[2];
    Error err;
    char words[16][40]; /* what the results point into */
} Parsed;

static Status parse(Parsed *p, int argc, const char *const *words) {
    const Option options[] = {
        { "json", NULL, "figures as JSON", .flag = &p->json },
        { "out", "DIR", "where to write", .text = &p->out },
        { "set", "KEY=VALUE", "lay over", .values = &p->set },
    };
    const Command command = { .usage = "try FILE [OTHER] [options]",
                              .summary = "Tries.",
                              .options = options,
                              .option_count = 3,
                              .least = 1,
                              .most = 2,
                              .examples = "  kvlab try x\n" };
    char *argv[16] = { 0 };
    for (int i = 0; i < argc; i++) {
        snprintf(p->words[i], sizeof p->words[i], "%s", words[i]);
        argv[i] = p->words[i];
    }
    return options_parse(&command, argc, argv, p->positional, &p->helped, &p->err);
}

#define PARSE(p, ...)                                                                              \
    parse((p), (int)(sizeof((const char *[]){ "try", __VA_ARGS__ }) / sizeof(char *)),             \
          (const char *[]){ "try", __VA_ARGS__ })

Test(options, values_may_follow_or_be_joined_and_mix_with_arguments) {
    Parsed p = { 0 };
    cr_assert_eq(PARSE(&p, "a", "--out", "dir", "--set=x=1", "b", "--set", "y=2", "--json"), OK);
    cr_assert_str_eq(p.positional[0], "a");
    cr_assert_str_eq(p.positional[1], "b");
    cr_assert_str_eq(p.out, "dir");
    cr_assert_eq(p.set.count, 2);
    cr_assert_str_eq(p.set.value[0], "x=1");
    cr_assert_str_eq(p.set.value[1], "y=2");
    cr_assert(p.json);
    cr_assert_not(p.helped);
}

Test(options, what_is_not_given_stays) {
    Parsed p = { .out = "default" };
    cr_assert_eq(PARSE(&p, "a"), OK);
    cr_assert_str_eq(p.out, "default");
    cr_assert_null(p.positional[1]);
    cr_assert_not(p.json);
}

Test(options, after_two_dashes_all_are_arguments) {
    Parsed p = { 0 };
    cr_assert_eq(PARSE(&p, "--", "--json", "-x"), OK);
    cr_assert_str_eq(p.positional[0], "--json");
    cr_assert_str_eq(p.positional[1], "-x");
    cr_assert_not(p.json);
}

Test(options, a_single_dash_is_an_argument) {
    Parsed p = { 0 };
    cr_assert_eq(PARSE(&p, "-"), OK);
    cr_assert_str_eq(p.positional[0], "-");
}

Test(options, every_mistake_is_named) {
    static const struct {
        const char *words[4], *message;
    } cases[] = {
        { { "a", "--jsn" }, "--jsn: no such option; did you mean --json?" },
        { { "a", "--jsn=3" }, "--jsn: no such option; did you mean --json?" },
        { { "a", "--temperature" }, "--temperature: no such option; see kvlab try --help" },
        { { "a", "--out" }, "--out: needs DIR" },
        { { "a", "--json=yes" }, "--json: takes no value" },
        { { "a", "-j" }, "-j: no such option; options have two dashes" },
        { { "a", "b", "c" }, "c: one argument too many; usage: kvlab try FILE [OTHER] [options]" },
        { { "" }, "an argument is empty; usage: kvlab try FILE [OTHER] [options]" },
        { { "--json" }, "an argument is missing; usage: kvlab try FILE [OTHER] [options]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Parsed p = { 0 };
        const char *words[5] = { "try" };
        int count = 1;
        for (; count < 5 && cases[i].words[count - 1]; count++)
            words[count] = cases[i].words[count - 1];
        cr_assert_eq(parse(&p, count, words), ERR_INPUT, "%s", cases[i].message);
        cr_assert_str_eq(p.err.text, cases[i].message);
    }
}

Test(options, a_repeated_option_is_bounded) {
    Parsed p = { .set = { .count = OPTION_VALUES_MOST } };
    cr_assert_eq(PARSE(&p, "a", "--set", "x=1"), ERR_INPUT);
    cr_assert_str_eq(p.err.text, "--set: given more than 256 times");
    cr_assert_eq(p.set.count, OPTION_VALUES_MOST);
}

Test(options, help_lists_every_option_and_needs_no_argument, .init = cr_redirect_stdout) {
    Parsed p = { 0 };
    cr_assert_eq(PARSE(&p, "--help"), OK);
    cr_assert(p.helped);
    fflush(stdout);
    cr_assert_stdout_eq_str("usage: kvlab try FILE [OTHER] [options]\n\nTries.\n\noptions:\n"
                            "  --json                     figures as JSON\n"
                            "  --out DIR                  where to write\n"
                            "  --set KEY=VALUE            lay over\n"
                            "\nexamples:\n  kvlab try x\n");
}
