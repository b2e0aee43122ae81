/* cmd_describe.c -- `kvlab describe`: the keys of a study, from the rows of the schema; with
 * --markdown the page that is kept as configs/REFERENCE.md. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "field.h"
#include "options.h"

/* The part of a key before its dot; "" for keys of no section. */
static int section_length(const Field *field) {
    const char *dot = strchr(field->key, '.');
    return dot ? (int)(dot - field->key) : 0;
}

static bool starts_section(size_t row) {
    if (row == 0) return true;
    const Field *field = &config_fields[row], *before = field - 1;
    const int length = section_length(field);
    return length != section_length(before) ||
           strncmp(field->key, before->key, (size_t)length) != 0;
}

static const char *shown_initial(const Field *field) {
    if (!field->initial) return "required";
    return *field->initial ? field->initial : "empty";
}

/* "bytes, decode": the phases whose points a list multiplies; "" where no list is allowed. */
static void format_phases(const Field *field, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (int phase = 0; field->list && field->type != FIELD_SET && phase < PHASE_COUNT; phase++)
        if (field->phases == 0 || field->phases & (1u << phase))
            at += (size_t)snprintf(text + at, size - at, "%s%s", at ? ", " : "",
                                   phase_name((Phase)phase));
}

static void print_list(void) {
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        char allowed[ALLOWED_ROOM];
        field_allowed(field, allowed, sizeof allowed);
        if (starts_section(i)) {
            const int length = section_length(field);
            printf("%s%.*s\n", i ? "\n" : "", length ? length : 5, length ? field->key : "study");
        }
        printf("  %s (%s%s%s)\n      %s\n      %s\n", field->key, field->initial ? "default " : "",
               shown_initial(field), field->list ? "; may be a list" : "", allowed, field->help);
    }
}

static void print_key(const Field *field) {
    char allowed[ALLOWED_ROOM], phases[80];
    field_allowed(field, allowed, sizeof allowed);
    format_phases(field, phases, sizeof phases);
    printf("%s\n  %s\n\n  value    %s\n  default  %s\n", field->key, field->help, allowed,
           shown_initial(field));
    if (*phases)
        printf("  list     yes, multiplies the points of: %s\n", phases);
    else
        printf("  list     %s\n", field->list ? "yes" : "no, one value");
}

static void print_markdown(void) {
    printf(
        "# Keys of a study\n\n"
        "Written by `kvlab describe --markdown`; a test keeps it equal to the program.\n\n"
        "A study is a YAML file. A key `section.name` may be written as it stands or as `name`\n"
        "below `section:`. Where a list is allowed the study runs every value: the points of a\n"
        "phase are the product of the lists that name it. Numbers take `k`, `M`, `G` (powers of\n"
        "1,024) and sizes `KiB` ... `TiB`, `kB` ... `TB`. `base: other.yaml` starts from another\n"
        "study, relative to the file; `--set key=value` on the command line comes last.\n");
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        char allowed[ALLOWED_ROOM], phases[80];
        field_allowed(field, allowed, sizeof allowed);
        format_phases(field, phases, sizeof phases);
        if (starts_section(i)) {
            const int length = section_length(field);
            printf("\n## %.*s\n\n", length ? length : 5, length ? field->key : "study");
            printf("| key | value | default | a list multiplies | |\n|---|---|---|---|---|\n");
        }
        printf("| `%s` | %s | %s | %s | %s |\n", field->key, allowed, shown_initial(field), phases,
               field->help);
    }
}

static Status describe_key(const char *key, Error *err) {
    const Field *field = field_find(key);
    if (!field) {
        const char *nearest = field_nearest(key);
        return fail(err, ERR_INPUT, "%.80s: no such key%s%s%s", key,
                    nearest ? "; did you mean " : "; kvlab describe lists them",
                    nearest ? nearest : "", nearest ? "?" : "");
    }
    print_key(field);
    return OK;
}

Status cmd_describe(int argc, char **argv, Error *err) {
    bool markdown = false, helped;
    const char *key = NULL;
    const Option options[] = {
        { "markdown", NULL, "all keys as the page configs/REFERENCE.md", .flag = &markdown },
    };
    const Command command = {
        .usage = "describe [KEY] [options]",
        .summary = "Explains the keys of a study: all of them, or one.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .most = 1,
        .examples = "  kvlab describe\n  kvlab describe decode.context\n",
    };
    TRY(options_parse(&command, argc, argv, &key, &helped, err));
    if (helped) return OK;
    if (key && markdown) return fail(err, ERR_INPUT, "%s: --markdown takes no key", key);
    if (key) return describe_key(key, err);
    if (markdown)
        print_markdown();
    else
        print_list();
    return OK;
}
