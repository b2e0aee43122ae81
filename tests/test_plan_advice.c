/* What `kvlab plan` advises, taken at its word: added to the same command, each set of options
 * gives the number that it promised, and the fewest GPUs are no more than those that already serve.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "json.h"
#include "random.h"

enum { COMMANDS = 120, ARGUMENTS = 512 };

/* What `kvlab plan ARGUMENTS --json` prints; NULL where it refuses them. */
static Json *plan(const char *arguments) {
    static char output[1 << 18];
    char command[2 * ARGUMENTS];
    snprintf(command, sizeof command, "'%s' plan %s --json 2>/dev/null", KVLAB_BINARY, arguments);
    FILE *stream = popen(command, "r");
    cr_assert_not_null(stream);
    const size_t length = fread(output, 1, sizeof output, stream);
    if (WEXITSTATUS(pclose(stream)) != 0) return NULL;
    Json *json = NULL;
    Error err;
    cr_assert_eq(json_parse(&json, "output", output, length, &err), OK, "%s", err.text);
    return json;
}

static double number(const Json *json, const char *key) {
    double value = -1;
    cr_assert(json_number(json_get(json, key), &value), "%s", key);
    return value;
}

static double gpus(const Json *json) {
    return number(json_get(json, "deployment"), "gpus");
}

static size_t draw(size_t index, size_t stream, size_t most) {
    return (size_t)(random_uniform(11, stream, index) * (double)most);
}

/* One of a list, at random. */
#define ONE_OF(index, stream, ...)                                                                 \
    ((const char *const[]){ __VA_ARGS__ })[draw(                                                   \
        index, stream, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))]

static void draw_command(char text[ARGUMENTS], size_t i) {
    const char *model = ONE_OF(i, 0, "DeepSeek-V3", "Llama-3.1-70B", "Llama-3.1-8B", "GLM-5",
                               "Qwen3-30B-A3B", "gemma-3-27b-it", "Qwen3-Next-80B-A3B",
                               "MiniCPM3-4B", "DeepSeek-V3.2", "gpt-oss-120b");
    const char *hardware =
        ONE_OF(i, 1, "--hardware 8xH200", "--hardware 8xH100", "--hardware H100", "--hardware l4",
               "--hardware 3xH100", "--hardware 16xH200", "--hardware h200 --gpus 8",
               "--hardware b200 --tp 2", "--hardware 64xh20");
    const char *layout = ONE_OF(i, 2, "", "", "", "--dcp 2", "--dp 2", "--pp 3 --tp 1", "--tp 8",
                                "--dp 1", "--tp 1 --ep 1", "--pp 2", "--dcp 8");
    const char *rest = ONE_OF(i, 3, "", "--kv-dtype fp8", "--engine vllm", "--engine sglang",
                              "--utilization 0.8", "--draft");
    snprintf(text, ARGUMENTS, "%s %s %s %s --context %s --sequences %zu", model, hardware, layout,
             rest, ONE_OF(i, 4, "4k", "32k", "50000", "128k"), (size_t)1 << draw(i, 5, 10));
}

/* The plan with more options, which must hold so many; its GPUs. */
static double expect_promise(const char *command, const char *options, double sequences) {
    char more[2 * ARGUMENTS];
    snprintf(more, sizeof more, "%s %s", command, options);
    Json *json = plan(more);
    cr_assert_not_null(json, "refused: %s", more);
    cr_expect_eq(number(json, "max_sequences"), sequences, "%s: %g, not %g", more,
                 number(json, "max_sequences"), sequences);
    const double count = gpus(json);
    json_free(json);
    return count;
}

static const char *text_of(const Json *json, const char *key) {
    return json_text(json_get(json, key));
}

/* Holds the advice of one plan to its word; how many promises there were. */
static size_t check_advice(const char *command, const Json *json) {
    const Json *changes = json_get(json, "changes"), *fewest = json_get(json, "fewest_gpus");
    const double users = number(json, "sequences");
    double least = 1e9;
    if (fewest) {
        least =
            expect_promise(command, text_of(fewest, "options"), number(fewest, "max_sequences"));
        cr_expect_eq(least, gpus(fewest));
        cr_expect_geq(number(fewest, "max_sequences"), users);
    }
    if (number(json, "max_sequences") >= users)
        cr_expect_leq(least, gpus(json), "%s: %g GPUs", command, least);
    for (size_t c = 0; c < json_size(changes); c++) {
        const Json *change = json_at(changes, c);
        const char *options = text_of(change, "options");
        const double count = expect_promise(command, options, number(change, "max_sequences"));
        const bool same = !strstr(options, "--context") && !strstr(options, "--kv-dtype");
        if (same && number(change, "max_sequences") >= users)
            cr_expect_leq(least, count, "%s: %g GPUs, %g by %s", command, least, count, options);
    }
    return json_size(changes);
}

Test(plan_advice, followed_gives_the_number_that_it_promised) {
    size_t plans = 0, promises = 0;
    for (size_t i = 0; plans < COMMANDS && i < 4 * COMMANDS; i++) {
        char command[ARGUMENTS];
        draw_command(command, i);
        Json *json = plan(command);
        if (!json) continue; /* refused: not every layout divides every model */
        plans++;
        promises += check_advice(command, json);
        json_free(json);
    }
    cr_expect_eq(plans, COMMANDS);
    cr_expect_gt(promises, 2 * COMMANDS);
}

Test(plan_advice, the_fewest_gpus_may_be_those_of_the_plan) {
    const struct {
        const char *command;
        double gpus;
    } served[] = {
        { "DeepSeek-V3 --hardware 8xH200 --dcp 8 --context 32k --sequences 150", 8 },
        { "Llama-3.1-70B --hardware 3xH100 --tp 1 --pp 3 --context 4k --sequences 60", 3 },
    };
    for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
        Json *json = plan(served[i].command);
        cr_assert_not_null(json);
        cr_expect_geq(number(json, "max_sequences"), number(json, "sequences"));
        cr_expect_eq(gpus(json_get(json, "fewest_gpus")), served[i].gpus);
        json_free(json);
    }
}

Test(plan_advice, is_sorted_by_what_it_gains_where_users_fit_already) {
    Json *json = plan("DeepSeek-V3 --hardware 8xH200 --context 32k");
    cr_assert_not_null(json);
    const Json *changes = json_get(json, "changes");
    cr_assert_geq(json_size(changes), 3);
    for (size_t c = 1; c < json_size(changes); c++)
        cr_expect_geq(number(json_at(changes, c - 1), "max_sequences"),
                      number(json_at(changes, c), "max_sequences"));
    json_free(json);
}
