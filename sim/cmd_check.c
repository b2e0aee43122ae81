/* cmd_check.c -- `kvlab check`: reads a study as a run would and says what it would run. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "options.h"
#include "study.h"

static void print_points(const ConfigFile *file, const char *path) {
    Config first;
    config_point(file, PHASE_BYTES, 0, &first);
    printf("%s: %s\n", path, first.title);
    size_t total = 0;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const size_t points = config_points(file, (Phase)phase);
        total += points;
        if (points) printf("  %-12s %7zu points\n", phase_name((Phase)phase), points);
    }
    printf("  %-12s %7zu points\n", "total", total);
}

Status cmd_check(int argc, char **argv, Error *err) {
    OptionValues overrides = { .count = 0 };
    bool resolved = false, helped;
    const char *path = NULL;
    const Option options[] = {
        { "set", "KEY=VALUE", "lay a value over the study; may be repeated", .values = &overrides },
        { "resolved", NULL, "print every key with its value instead", .flag = &resolved },
    };
    const Command command = {
        .usage = "check STUDY.yaml [options]",
        .summary = "Checks a study without running it, and counts the points it spans.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples = "  kvlab check configs/studies/quickstart.yaml\n"
                    "  kvlab check study.yaml --set 'decode.context=[1k, 4k]' --resolved\n",
    };
    TRY(options_parse(&command, argc, argv, &path, &helped, err));
    if (helped) return OK;
    ConfigFile *file = NULL;
    TRY(config_read(&file, path, overrides.count, overrides.value, err));
    Model model;
    const Status status = study_check(file, &model, err);
    if (status == OK && resolved)
        fputs(config_text(file), stdout);
    else if (status == OK)
        print_points(file, path);
    config_free(file);
    return status;
}
