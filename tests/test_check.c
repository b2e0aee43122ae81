/* test_check.c -- `kvlab check` and `kvlab describe` as a user meets them: output and exit codes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "studies.h"

/* Runs kvlab with a study of this text (%s in arguments is its path), both streams into output;
 * the exit code. */
static int run(const char *text, const char *arguments, char *output, size_t size) {
    const Studies s = studies_new();
    char path[64], words[256], command[1024];
    studies_write(&s, "s.yaml", text);
    snprintf(path, sizeof path, "%s/s.yaml", s.folder);
    const char *hole = strstr(arguments, "%s");
    const int before = hole ? (int)(hole - arguments) : (int)strlen(arguments);
    snprintf(words, sizeof words, "%.*s%s%s", before, arguments, hole ? path : "",
             hole ? hole + 2 : "");
    snprintf(command, sizeof command, "'%s' %s 2>&1", KVLAB_BINARY, words);
    FILE *stream = popen(command, "r");
    cr_assert_not_null(stream);
    output[fread(output, 1, size - 1, stream)] = '\0';
    const int status = pclose(stream);
    for (char *at; (at = strstr(output, s.folder));)
        memmove(at, at + strlen(s.folder) + 1, strlen(at + strlen(s.folder) + 1) + 1);
    studies_remove(&s);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *text, const char *arguments, int code, const char *expected) {
    char output[8192];
    const int exit_code = run(text, arguments, output, sizeof output);
    cr_assert_str_eq(output, expected);
    cr_assert_eq(exit_code, code, "%s", arguments);
}

Test(check, the_points_of_each_phase_are_counted) {
    expect("title: Mine\nmodel: Llama-2-7b-hf\nphases: [decode, bytes]\ncontenders: [mha, mqa]\n",
           "check %s --set 'decode.context=[1k, 2k, 4k]'", 0,
           "s.yaml: Mine\n"
           "  bytes              2 points\n"
           "  decode             6 points\n"
           "  total              8 points\n");
}

Test(check, a_wrong_study_gives_one_line_and_exit_code_2) {
    static const struct {
        const char *text, *line;
    } cases[] = {
        { "model: Llama-2-7b-hf\nsede: 3\n", "s.yaml:2:1: sede: no such key; did you mean seed?" },
        { "model: Llama-2-7b-hf\ncontenders: [mha, gqa-7]\n",
          "s.yaml:2:19: contenders: gqa-7: 7 does not divide the 32 query heads; did you mean "
          "gqa-8?" },
        { "model: Llama-2-7b-hf\nphases: error\nerror: {contenders: gqa-5}\n",
          "s.yaml:3:21: error.contenders: gqa-5: 5 does not divide the 32 query heads; did you "
          "mean gqa-4?" },
        { "model: Llama-2-7b\n",
          "s.yaml:1:8: model: Llama-2-7b: no such model; allowed: a name that `kvlab models` "
          "lists, a config.json, a folder that holds one, a .gguf file; did you mean "
          "Llama-2-7b-hf?" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[512];
        snprintf(line, sizeof line, "%s\n", cases[i].line);
        expect(cases[i].text, "check %s", 2, line);
    }
}

Test(check, a_wrong_command_is_answered_in_one_line) {
    expect("", "chek", 2, "chek: no such command; did you mean check?\n");
    expect("", "xyzzyxyzzy", 2, "xyzzyxyzzy: no such command; kvlab --help lists them\n");
    expect("", "report ''", 2, "an argument is empty; usage: kvlab report DIR [options]\n");
}

Test(check, a_folder_whose_name_is_too_long_is_refused_not_cut) {
    char output[8192];
    cr_assert_eq(
        run("model: Llama-2-7b-hf\n", "run %s --out $(printf %01100d 0)", output, sizeof output),
        2);
    cr_assert(strstr(output, "0...: the path is too long\n"), "%s", output);
}

Test(check, what_is_printed_as_resolved_is_a_study_of_the_same_points) {
    char resolved[8192], again[8192];
    const char *text = "model: Llama-2-7b-hf\ndecode: {context: [1k, 2k]}\nphases: decode\n";
    cr_assert_eq(run(text, "check --resolved %s", resolved, sizeof resolved), 0);
    cr_assert_not_null(strstr(resolved, "decode.context: [1024, 2048]\n"));
    cr_assert_eq(run(resolved, "check --resolved %s", again, sizeof again), 0);
    cr_assert_str_eq(again, resolved);
}

Test(describe, a_key_is_explained_in_full) {
    expect("", "describe decode.context", 0,
           "decode.context\n"
           "  Tokens a sequence has cached before the call.\n\n"
           "  value    a whole number from 1 to 16M tokens\n"
           "  default  4k\n"
           "  list     yes, multiplies the points of: decode\n");
}

Test(describe, a_wrong_key_is_answered_with_the_nearest) {
    expect("", "describe decode.contxt", 2,
           "decode.contxt: no such key; did you mean decode.context?\n");
    expect("", "describe xyzzyxyzzy", 2, "xyzzyxyzzy: no such key; kvlab describe lists them\n");
}

Test(describe, the_list_names_every_key) {
    char output[32768], line[64];
    const char *const keys[] = { "title", "model", "cache.type", "sequences.sink_mass",
                                 "limits.point_seconds" };
    cr_assert_eq(run("", "describe", output, sizeof output), 0);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(line, sizeof line, "\n  %s (", keys[i]);
        cr_assert_not_null(strstr(output, line), "%s", keys[i]);
    }
}
