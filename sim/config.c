/* config.c -- a study out of its settings: rules, the text of it, and its points; see config.h. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "settings.h"

enum { POINTS_MOST = 1000000, VALUE_LIST_MARKS = 4 };

struct ConfigFile {
    Settings settings;
    Config first;   /* every key's first value */
    char **written; /* of each key: its values as YAML */
    char *text;     /* all of them, a line a key */
};

const char *phase_name(Phase phase) {
    static const char *const names[] = { "bytes",       "decode", "prefill",
                                         "projections", "error",  "plan" };
    return (unsigned)phase < PHASE_COUNT ? names[phase] : "?";
}

/* ---- values into a Config ---- */

static void store_value(const Settings *settings, size_t row, size_t pick, Config *out) {
    const Setting *setting = &settings->settings[row];
    field_store(&config_fields[row], setting->values, setting->count, pick, out);
}

static void store_first(const Settings *settings, Config *out) {
    *out = (Config){ 0 };
    for (size_t i = 0; i < config_field_count; i++) store_value(settings, i, 0, out);
    out->sequences.seed = out->seed;
}

/* ---- checks over all keys ---- */

static Status check_given(const Settings *settings, const char *name, Error *err) {
    for (size_t i = 0; i < config_field_count; i++)
        if (settings->settings[i].count == 0)
            return fail_at(err, name, 0, 0, "%s: must be given; %s", config_fields[i].key,
                           config_fields[i].help);
    return OK;
}

static Status rule_broken(const Settings *settings, const Rule *rule, const size_t *picks,
                          Error *err) {
    size_t last = 0;
    const Setting *blamed = settings_get(settings, rule->keys[0]);
    for (size_t i = 1; i < RULE_KEYS_MOST; i++) {
        const Setting *other = settings_get(settings, rule->keys[i]);
        if (other->given > blamed->given) blamed = other, last = i;
    }
    return fail(err, ERR_INPUT, "%s: %s: %s: %s", blamed->place, rule->keys[last],
                blamed->values[picks[last]].text, rule->sentence);
}

/* Every combination of the values of a rule's keys. */
static Status check_rule(const Settings *settings, const Rule *rule, const Config *first,
                         Error *err) {
    const size_t row[RULE_KEYS_MOST] = { (size_t)(field_find(rule->keys[0]) - config_fields),
                                         (size_t)(field_find(rule->keys[1]) - config_fields) };
    Config config = *first;
    for (size_t i = 0; i < settings->settings[row[0]].count; i++)
        for (size_t j = 0; j < settings->settings[row[1]].count; j++) {
            store_value(settings, row[0], i, &config);
            store_value(settings, row[1], j, &config);
            if (!rule->holds(&config))
                return rule_broken(settings, rule, (const size_t[]){ i, j }, err);
        }
    return OK;
}

/* Does the list of this row multiply this phase? */
static bool spans(const Field *field, Phase phase) {
    return field->list && field->type != FIELD_SET &&
           (field->phases == 0 || field->phases & (1u << phase));
}

/* The product of the lists; above POINTS_MOST it stops, at the key given last in *blamed. */
static size_t count_points(const Settings *settings, Phase phase, size_t *blamed) {
    size_t points = 1, last = 0;
    for (size_t i = 0; i < config_field_count; i++) {
        const Setting *setting = &settings->settings[i];
        if (!spans(&config_fields[i], phase)) continue;
        if (setting->count > 1 && setting->given > last) last = setting->given, *blamed = i;
        if (points <= POINTS_MOST) points *= setting->count;
    }
    return points;
}

static Status check_points(const Settings *settings, const Config *first, Error *err) {
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        size_t blamed = 0;
        if (!(first->phases & (1u << phase))) continue;
        if (count_points(settings, (Phase)phase, &blamed) > POINTS_MOST)
            return fail(err, ERR_INPUT,
                        "%s: %s: the lists span more than %d points of the %s phase",
                        settings->settings[blamed].place, config_fields[blamed].key, POINTS_MOST,
                        phase_name((Phase)phase));
    }
    return OK;
}

/* ---- as text ---- */

/* The values of one key as YAML: text quoted where it must be, a list in brackets. */
static Status write_values(const Field *field, const Setting *setting, char **out, Error *err) {
    size_t room = VALUE_LIST_MARKS;
    for (size_t i = 0; i < setting->count; i++) room += 2 * strlen(setting->values[i].text) + 5;
    char *text = NULL;
    TRY(BUFFER(&text, room, "a resolved value", err));
    const bool list = setting->count > 1;
    size_t at = 0;
    if (list) text[at++] = '[';
    for (size_t i = 0; i < setting->count; i++) {
        char quoted[QUOTED_ROOM];
        const char *value = setting->values[i].text;
        if (field->type == FIELD_TEXT) {
            field_quote(value, quoted, sizeof quoted);
            value = quoted;
        }
        at += (size_t)snprintf(text + at, room - at, "%s%s", i ? ", " : "", value);
    }
    if (list) snprintf(text + at, room - at, "]");
    *out = text;
    return OK;
}

static Status write_text(ConfigFile *file, Error *err) {
    size_t room = 1;
    TRY(BUFFER(&file->written, config_field_count, "the resolved study", err));
    for (size_t i = 0; i < config_field_count; i++) {
        TRY(write_values(&config_fields[i], &file->settings.settings[i], &file->written[i], err));
        room += strlen(config_fields[i].key) + strlen(": \n") + strlen(file->written[i]);
    }
    TRY(BUFFER(&file->text, room, "the resolved study", err));
    size_t at = 0;
    for (size_t i = 0; i < config_field_count; i++)
        at += (size_t)snprintf(file->text + at, room - at, "%s: %s\n", config_fields[i].key,
                               file->written[i]);
    return OK;
}

/* ---- reading ---- */

/* What all ways of reading share, once every layer is laid. */
static Status resolve(ConfigFile *file, const char *name, Error *err) {
    TRY(check_given(&file->settings, name, err));
    store_first(&file->settings, &file->first);
    for (size_t i = 0; i < config_rule_count; i++)
        TRY(check_rule(&file->settings, &config_rules[i], &file->first, err));
    TRY(check_points(&file->settings, &file->first, err));
    return write_text(file, err);
}

static Status read_layers(ConfigFile *file, const char *path, size_t overrides,
                          const char *const *override, Error *err) {
    TRY(settings_new(&file->settings, err));
    TRY(settings_read(&file->settings, path, err));
    for (size_t i = 0; i < overrides; i++)
        TRY(settings_override(&file->settings, override[i], i == 0, err));
    return resolve(file, path, err);
}

static Status parse_layers(ConfigFile *file, const char *name, const char *text, size_t length,
                           Error *err) {
    TRY(settings_new(&file->settings, err));
    TRY(settings_parse(&file->settings, name, text, length, err));
    return resolve(file, name, err);
}

Status config_read(ConfigFile **file, const char *path, size_t overrides,
                   const char *const *override, Error *err) {
    ConfigFile *draft = NULL;
    TRY(BUFFER(&draft, 1, "a study", err));
    const Status status = read_layers(draft, path, overrides, override, err);
    if (status == OK)
        *file = draft;
    else
        config_free(draft);
    return status;
}

Status config_parse(ConfigFile **file, const char *name, const char *text, size_t length,
                    Error *err) {
    ConfigFile *draft = NULL;
    TRY(BUFFER(&draft, 1, "a study", err));
    const Status status = parse_layers(draft, name, text, length, err);
    if (status == OK)
        *file = draft;
    else
        config_free(draft);
    return status;
}

void config_free(ConfigFile *file) {
    if (!file) return;
    for (size_t i = 0; file->written && i < config_field_count; i++) buffer_free(file->written[i]);
    buffer_free(file->written);
    buffer_free(file->text);
    settings_free(&file->settings);
    buffer_free(file);
}

/* ---- what a study says ---- */

size_t config_points(const ConfigFile *file, Phase phase) {
    size_t blamed = 0;
    return file->first.phases & (1u << phase) ? count_points(&file->settings, phase, &blamed) : 0;
}

/* The index is a number of mixed base, a digit for each list, the last row's digit the lowest:
 * points come as from loops nested in the order of the schema. */
void config_point(const ConfigFile *file, Phase phase, size_t index, Config *out) {
    *out = file->first;
    for (size_t i = config_field_count; i-- > 0;) {
        if (!spans(&config_fields[i], phase)) continue;
        const size_t count = file->settings.settings[i].count;
        store_value(&file->settings, i, index % count, out);
        index /= count;
    }
}

/* Is the list of this row compared within a group of this phase? */
static bool compares(const Field *field, Phase phase) {
    return (field->compared & (1u << phase)) != 0;
}

size_t config_group_points(const ConfigFile *file, Phase phase) {
    size_t points = 1;
    for (size_t i = 0; i < config_field_count; i++)
        if (spans(&config_fields[i], phase) && compares(&config_fields[i], phase))
            points *= file->settings.settings[i].count;
    return points;
}

size_t config_groups(const ConfigFile *file, Phase phase) {
    return config_points(file, phase) / config_group_points(file, phase);
}

/* The digits of a point are shared out: those of the compared lists make the member's number, the
 * others the group's. */
size_t config_member(const ConfigFile *file, Phase phase, size_t group, size_t member) {
    size_t index = 0, stride = 1;
    for (size_t i = config_field_count; i-- > 0;) {
        if (!spans(&config_fields[i], phase)) continue;
        const size_t count = file->settings.settings[i].count;
        size_t *rest = compares(&config_fields[i], phase) ? &member : &group;
        index += *rest % count * stride;
        *rest /= count;
        stride *= count;
    }
    return index;
}

bool config_earlier(const ConfigFile *file, Phase phase, size_t index, const char *key, size_t pick,
                    Config *out) {
    size_t stride = 1;
    for (size_t i = config_field_count; i-- > 0;) {
        if (!spans(&config_fields[i], phase)) continue;
        const size_t count = file->settings.settings[i].count;
        if (strcmp(config_fields[i].key, key) == 0) {
            const size_t own = index / stride % count;
            if (pick >= own) return false;
            config_point(file, phase, index - (own - pick) * stride, out);
            return true;
        }
        stride *= count;
    }
    return false;
}

size_t config_keys(const ConfigFile *file) {
    (void)file;
    return config_field_count;
}

void config_key(const ConfigFile *file, size_t index, const char **key, const char **value,
                const char **source) {
    const char *place = file->settings.settings[index].place;
    *key = config_fields[index].key;
    *value = file->written[index];
    *source = strncmp(place, "--set ", 6) == 0 ? "--set" : place;
}

/* Which value of the list of a row a point has. */
static size_t picked(const ConfigFile *file, Phase phase, size_t index, size_t row) {
    for (size_t i = config_field_count; i-- > row;) {
        if (!spans(&config_fields[i], phase)) continue;
        const size_t count = file->settings.settings[i].count;
        if (i == row) return index % count;
        index /= count;
    }
    return 0;
}

void config_value_place(const ConfigFile *file, Phase phase, size_t index, const char *key,
                        char *place, size_t room) {
    enum { NUMBERS = 2 };
    const size_t row = (size_t)(field_find(key) - config_fields);
    const Setting *setting = &file->settings.settings[row];
    const Value *value = &setting->values[picked(file, phase, index, row)];
    const char *ignored, *source;
    config_key(file, row, &ignored, &ignored, &source);
    size_t name = strlen(source);
    for (size_t colons = 0; value->line && name > 0 && colons < NUMBERS;)
        colons += source[--name] == ':';
    if (value->line)
        snprintf(place, room, "%.*s:%lu:%lu", (int)name, source, value->line, value->column);
    else
        snprintf(place, room, "%s", source);
}

const char *config_text(const ConfigFile *file) {
    return file->text;
}
