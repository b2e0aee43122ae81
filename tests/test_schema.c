/* test_schema.c -- laws that every row of the schema keeps, and the page written from them. */
#include "schema.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "field.h"
#include "kernel.h"

Test(schema, keys_are_unique_and_have_at_most_one_section) {
    for (size_t i = 0; i < config_field_count; i++) {
        const char *key = config_fields[i].key;
        cr_assert_eq(strspn(key, "abcdefghijklmnopqrstuvwxyz_."), strlen(key), "%s", key);
        cr_assert_eq(strchr(key, '.'), strrchr(key, '.'), "%s", key);
        cr_assert_eq(field_find(key), &config_fields[i], "%s", key);
        cr_assert_str_neq(key, "base");
    }
}

Test(schema, keys_of_a_section_stand_together) {
    for (size_t i = 1; i < config_field_count; i++) {
        const char *key = config_fields[i].key;
        const size_t length = strcspn(key, ".") + 1;
        if (strlen(key) < length || strncmp(key, config_fields[i - 1].key, length) == 0) continue;
        for (size_t j = 0; j + 1 < i; j++)
            cr_assert_neq(strncmp(key, config_fields[j].key, length), 0, "%s", key);
    }
}

Test(schema, every_default_passes_its_own_checks) {
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        Value value;
        Error err = { 0 };
        if (!field->initial) continue;
        cr_assert_eq(field_parse(field, field->initial, "default", &value, &err), OK, "%s",
                     err.text);
    }
}

Test(schema, only_the_model_must_be_given) {
    for (size_t i = 0; i < config_field_count; i++)
        cr_assert_eq(config_fields[i].initial == NULL, strcmp(config_fields[i].key, "model") == 0);
}

Test(schema, rows_lie_within_config_and_apart) {
    char taken[sizeof(Config)] = { 0 };
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        cr_assert_leq(field->offset + field->room, sizeof taken, "%s", field->key);
        for (size_t at = field->offset; at < field->offset + field->room; at++)
            cr_assert_eq(taken[at]++, 0, "%s", field->key);
    }
}

Test(schema, members_have_the_size_of_their_type) {
    static const size_t rooms[] = {
        [FIELD_ROWS] = sizeof(KvType), [FIELD_SET] = 4,  [FIELD_COUNT32] = 4,
        [FIELD_COUNT64] = 8,           [FIELD_SIZE] = 8, [FIELD_REAL] = 8
    };
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        if (field->type == FIELD_TEXT)
            cr_assert_leq(field->room, VALUE_ROOM, "%s", field->key);
        else if (field->type == FIELD_CHOICE)
            cr_assert(field->room == 4 || field->room == sizeof(bool), "%s", field->key);
        else
            cr_assert_eq(field->room, rooms[field->type], "%s", field->key);
    }
}

/* The bounds are the first and last values that pass. */
Test(schema, bounds_are_allowed_and_what_lies_beyond_is_not) {
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        if (field->type < FIELD_COUNT32) continue;
        cr_assert_lt(field->min, field->max, "%s", field->key);
        const double step = field->type == FIELD_REAL ? 1e-6 : 1;
        const struct {
            double number;
            Status status;
        } cases[] = { { field->min, OK },
                      { field->max, OK },
                      { field->min - step, ERR_INPUT },
                      { field->max * (1 + 1e-6) + step, ERR_INPUT } };
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
            char text[64];
            Value value;
            Error err = { 0 };
            snprintf(text, sizeof text, field->type == FIELD_REAL ? "%.17g" : "%.0f",
                     cases[j].number);
            cr_assert_eq(field_parse(field, text, "here", &value, &err), cases[j].status, "%s: %s",
                         field->key, text);
        }
    }
}

Test(schema, choices_are_the_names_that_the_stages_use) {
    for (RowType type = 0; type < ROW_TYPE_COUNT; type++) {
        cr_assert_str_eq(field_find("cache.type")->choices[type], row_type_name(type));
        cr_assert_str_eq(field_find("error.type")->choices[type], row_type_name(type));
    }
    for (int path = PATH_MATERIALISED; path <= PATH_ABSORBED; path++) {
        cr_assert_str_eq(field_find("decode.path")->choices[path], path_name((Path)path));
        cr_assert_str_eq(field_find("prefill.path")->choices[path], path_name((Path)path));
    }
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        cr_assert_str_eq(field_find("phases")->choices[phase], phase_name((Phase)phase));
}

Test(schema, every_kernel_tier_can_be_chosen) {
    const Field *isa = field_find("isa");
    for (size_t i = 0; i < kernel_tier_count; i++) {
        Value value;
        Error err = { 0 };
        cr_assert_eq(field_parse(isa, kernel_tiers[i].name, "here", &value, &err), OK, "%s",
                     err.text);
    }
}

Test(schema, the_rules_speak_of_keys_that_exist) {
    for (size_t i = 0; i < config_rule_count; i++)
        for (size_t j = 0; j < RULE_KEYS_MOST; j++) {
            cr_assert_not_null(field_find(config_rules[i].keys[j]));
            cr_assert_not_null(strstr(config_rules[i].sentence, config_rules[i].keys[j]));
        }
}

Test(schema, the_defaults_of_sequences_are_the_verified_ones) {
    const char *text = "model: m\n";
    ConfigFile *file = NULL;
    Config config;
    Error err = { 0 };
    cr_assert_eq(config_parse(&file, "study.yaml", text, strlen(text), &err), OK, "%s", err.text);
    config_point(file, PHASE_BYTES, 0, &config);
    const SequencesParams verified = sequences_defaults();
    config.sequences.seed = verified.seed; /* follows the key `seed` */
    cr_assert_arr_eq(&config.sequences, &verified, sizeof verified);
    config_free(file);
}

Test(schema, texts_fit_a_markdown_table_and_the_room_for_messages) {
    for (size_t i = 0; i < config_field_count; i++) {
        char allowed[ALLOWED_ROOM];
        field_allowed(&config_fields[i], allowed, sizeof allowed);
        cr_assert_lt(strlen(allowed), sizeof allowed - 1, "%s", config_fields[i].key);
        cr_assert_null(strpbrk(allowed, "|\n"), "%s", allowed);
        cr_assert_null(strpbrk(config_fields[i].help, "|\n"), "%s", config_fields[i].help);
        cr_assert_eq(config_fields[i].help[strlen(config_fields[i].help) - 1] == '.' ||
                         config_fields[i].help[strlen(config_fields[i].help) - 1] == '?',
                     true);
    }
}

Test(schema, the_reference_page_is_what_describe_writes) {
    FILE *page = fopen(KVLAB_CONFIGS "/REFERENCE.md", "r");
    FILE *described = popen("'" KVLAB_BINARY "' describe --markdown", "r");
    cr_assert_not_null(page);
    cr_assert_not_null(described);
    char expected[1024], line[1024];
    for (size_t number = 1;; number++) {
        const char *a = fgets(expected, sizeof expected, page);
        const char *b = fgets(line, sizeof line, described);
        cr_assert_eq(a == NULL, b == NULL,
                     "REFERENCE.md has another length: write it again with "
                     "kvlab describe --markdown");
        if (!a) break;
        cr_assert_str_eq(line, expected, "REFERENCE.md, line %zu", number);
    }
    cr_assert_eq(pclose(described), 0);
    fclose(page);
}
