/* options.c -- parsing of long options by rows; see options.h. */
#include "options.h"

#include <stdio.h>
#include <string.h>

#include "names.h"

static void print_help(const Command *command) {
    printf("usage: kvlab %s\n\n%s\n", command->usage, command->summary);
    if (command->option_count) printf("\noptions:\n");
    for (size_t i = 0; i < command->option_count; i++) {
        const Option *o = &command->options[i];
        char head[64];
        snprintf(head, sizeof head, "--%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        printf("  %-26s %s\n", head, o->help);
    }
    if (command->examples) printf("\nexamples:\n%s", command->examples);
}

static const Option *find_option(const Command *command, const char *name, size_t length) {
    for (size_t i = 0; i < command->option_count; i++) {
        const char *candidate = command->options[i].name;
        if (strlen(candidate) == length && strncmp(candidate, name, length) == 0)
            return &command->options[i];
    }
    return NULL;
}

static Status unknown_option(const Command *command, const char *name, Error *err) {
    const char *names[64] = { 0 };
    size_t count = 0;
    for (; count < command->option_count && count < 64; count++)
        names[count] = command->options[count].name;
    const char *nearest = names_nearest(name, names, count);
    if (nearest)
        return fail(err, ERR_INPUT, "--%s: no such option; did you mean --%s?", name, nearest);
    return fail(err, ERR_INPUT, "--%s: no such option; see kvlab %.*s --help", name,
                (int)strcspn(command->usage, " "), command->usage);
}

static Status set_option(const Option *o, const char *value, Error *err) {
    if (o->flag)
        *o->flag = true;
    else if (o->text)
        *o->text = value;
    else if (o->values->count == OPTION_VALUES_MOST)
        return fail(err, ERR_INPUT, "--%s: given more than %d times", o->name, OPTION_VALUES_MOST);
    else
        o->values->value[o->values->count++] = value;
    return OK;
}

/* Handles argv[*at], an option, and moves *at past its value. */
static Status take_option(const Command *command, int argc, char **argv, int *at, Error *err) {
    const char *name = argv[*at] + 2;
    const size_t length = strcspn(name, "=");
    const bool joined = name[length] == '=';
    const Option *o = find_option(command, name, length);
    if (!o) {
        char wrong[64];
        snprintf(wrong, sizeof wrong, "%.*s", (int)(length < 60 ? length : 60), name);
        return unknown_option(command, wrong, err);
    }
    if (!o->argument && joined) return fail(err, ERR_INPUT, "--%s: takes no value", o->name);
    const char *value = joined ? name + length + 1 : NULL;
    if (o->argument && !joined) {
        if (*at + 1 >= argc) return fail(err, ERR_INPUT, "--%s: needs %s", o->name, o->argument);
        value = argv[++*at];
    }
    return set_option(o, value, err);
}

Status options_parse(const Command *command, int argc, char **argv, const char **positional,
                     bool *helped, Error *err) {
    *helped = false;
    size_t count = 0;
    for (size_t i = 0; i < command->most; i++) positional[i] = NULL;
    bool only_positional = false;
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (!only_positional && strcmp(word, "--") == 0) {
            only_positional = true;
        } else if (!only_positional && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            print_help(command);
            *helped = true;
            return OK;
        } else if (!only_positional && strncmp(word, "--", 2) == 0) {
            TRY(take_option(command, argc, argv, &at, err));
        } else if (!only_positional && word[0] == '-' && word[1]) {
            return fail(err, ERR_INPUT, "%s: no such option; options have two dashes", word);
        } else if (!*word) {
            return fail(err, ERR_INPUT, "an argument is empty; usage: kvlab %s", command->usage);
        } else if (count == command->most) {
            return fail(err, ERR_INPUT, "%s: one argument too many; usage: kvlab %s", word,
                        command->usage);
        } else {
            positional[count++] = word;
        }
    }
    if (count < command->least)
        return fail(err, ERR_INPUT, "an argument is missing; usage: kvlab %s", command->usage);
    return OK;
}
