/* options.h -- a command's long options, declared as rows; used by every cmd_*.c. */
#ifndef KVLAB_OPTIONS_H
#define KVLAB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

enum { OPTION_VALUES_MOST = 256 };

/* A list of values for an option that may be repeated. */
typedef struct {
    const char *value[OPTION_VALUES_MOST];
    size_t count;
} OptionValues;

/* Exactly one of flag, text and values is set. */
typedef struct {
    const char *name;     /* without the dashes */
    const char *argument; /* its name in the help, NULL for a flag */
    const char *help;
    bool *flag;
    const char **text;
    OptionValues *values;
} Option;

typedef struct {
    const char *usage;   /* "run STUDY.yaml [options]" */
    const char *summary; /* one sentence */
    const Option *options;
    size_t option_count;
    size_t least, most;   /* positional arguments */
    const char *examples; /* lines, or NULL */
} Command;

/* Parses argv[1..] of a command (argv[0] is its name): `--name value`, `--name=value`, flags, then
 * positional arguments into positional [command->most]; NULL where not given. `--help` prints the
 * help to standard output and sets *helped. Errors: ERR_INPUT naming the option, the nearest right
 * one, or the missing argument. */
Status options_parse(const Command *command, int argc, char **argv, const char **positional,
                     bool *helped, Error *err);

#endif
