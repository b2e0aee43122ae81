/* fuzz_study.c -- any text is a study or one line of error; what resolves, resolves to itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what, const char *text) {
    if (holds) return;
    fprintf(stderr, "%s:\n%s\n", what, text);
    abort();
}

static void check_points(const ConfigFile *file) {
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const size_t points = config_points(file, (Phase)phase);
        Config first, last;
        if (points == 0) continue;
        config_point(file, (Phase)phase, 0, &first);
        config_point(file, (Phase)phase, points - 1, &last);
        require(points == 1 || memcmp(&first, &last, sizeof first) != 0, "equal points",
                config_text(file));
    }
}

static void check_text(const ConfigFile *file) {
    ConfigFile *again = NULL;
    Error err = { 0 };
    const char *text = config_text(file);
    const Status status = config_parse(&again, "resolved", text, strlen(text), &err);
    require(status == OK, err.text, text);
    require(strcmp(config_text(again), text) == 0, "resolves to another text", text);
    config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ConfigFile *file = NULL;
    Error err = { 0 };
    if (config_parse(&file, "study.yaml", (const char *)data, size, &err) == OK) {
        check_points(file);
        check_text(file);
        config_free(file);
    } else {
        require(err.text[0] && !strchr(err.text, '\n'), "not one line", err.text);
    }
    return 0;
}
