/* studies.h -- studies for tests: from text, or in a folder that the test writes and removes. */
#ifndef KVLAB_TESTS_STUDIES_H
#define KVLAB_TESTS_STUDIES_H

#include "config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline ConfigFile *parsed(const char *text) {
    ConfigFile *file = NULL;
    Error err = { 0 };
    cr_assert_eq(config_parse(&file, "s.yaml", text, strlen(text), &err), OK, "%s", err.text);
    return file;
}

/* A folder of its own for the studies a test writes. */
typedef struct {
    char folder[32];
} Studies;

static inline Studies studies_new(void) {
    Studies s = { "/tmp/kvlab_config_XXXXXX" };
    cr_assert_not_null(mkdtemp(s.folder));
    return s;
}

static inline void studies_write(const Studies *s, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* Reads study `name` with overrides; the folder is cut from the message. */
static inline Status studies_read(const Studies *s, const char *name, const char *const *overrides,
                                  ConfigFile **file, Error *err) {
    char path[64];
    size_t count = 0;
    while (overrides && overrides[count]) count++;
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    const Status status = config_read(file, path, count, overrides, err);
    const size_t length = strlen(s->folder) + 1;
    for (char *at; (at = strstr(err->text, s->folder));)
        memmove(at, at + length, strlen(at + length) + 1);
    return status;
}

static inline void studies_remove(const Studies *s) {
    char command[64];
    snprintf(command, sizeof command, "rm -r '%s'", s->folder);
    cr_assert_eq(system(command), 0);
}

#endif
