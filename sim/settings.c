/* settings.c -- reads layers of a study; see settings.h. Every message begins with the place of
 * the value or key that is wrong. */
#include "settings.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "buffer.h"
#include "names.h"
#include "yaml_tree.h"

enum { BASES_MOST = 8, KEY_ROOM = 160, PATH_ROOM = 4096 };

/* One file being read, and the file whose `base:` led to it. */
typedef struct Source Source;
struct Source {
    const char *path; /* as messages show it */
    const Source *parent;
    size_t depth;
    bool on_disk;
    bool assignment; /* a --set: path is the place of everything in it */
    dev_t device;
    ino_t inode;
};

static void format_place(const Source *source, unsigned long line, unsigned long column,
                         char *place) {
    if (source->assignment)
        snprintf(place, PLACE_ROOM, "%.400s", source->path);
    else
        snprintf(place, PLACE_ROOM, "%.400s:%lu:%lu", source->path, line, column);
}

/* ---- values of one key ---- */

static Status parse_value(const Field *field, const Source *source, const TreeNode *node,
                          Value *out, Error *err) {
    char place[PLACE_ROOM];
    format_place(source, node->line, node->column, place);
    if (node->kind != TREE_SCALAR)
        return fail(err, ERR_INPUT, "%s: %s: a %s where a value is expected", place, field->key,
                    node->kind == TREE_MAPPING ? "mapping" : "list");
    TRY(field_parse(field, node->text, place, out, err));
    if (!source->assignment) out->line = node->line, out->column = node->column;
    return OK;
}

static Status parse_values(const Field *field, const Source *source, const TreeNode *node,
                           const char *place, Value *values, Error *err) {
    if (node->kind != TREE_SEQUENCE) return parse_value(field, source, node, values, err);
    size_t count = 0;
    for (const TreeNode *child = node->child; child; child = child->next, count++) {
        TRY(parse_value(field, source, child, &values[count], err));
        for (size_t i = 0; i < count; i++)
            if (strcmp(values[i].text, values[count].text) == 0) {
                char at[PLACE_ROOM];
                format_place(source, child->line, child->column, at);
                return fail(err, ERR_INPUT, "%s: %s: %.60s: twice in one list", at, field->key,
                            child->text);
            }
    }
    return count ? OK : fail(err, ERR_INPUT, "%s: %s: the list is empty", place, field->key);
}

static Status set_values(Settings *s, const Field *field, const Source *source,
                         const TreeNode *node, Error *err) {
    Setting *setting = &s->settings[field - config_fields];
    char place[PLACE_ROOM];
    format_place(source, node->line, node->column, place);
    if (setting->given && setting->layer == s->layer)
        return fail(err, ERR_INPUT, "%s: %s: given twice; first at %s", place, field->key,
                    setting->place);
    if (node->kind == TREE_SEQUENCE && !field->list)
        return fail(err, ERR_INPUT, "%s: %s: a list; one value is allowed here", place, field->key);
    const size_t count = node->kind == TREE_SEQUENCE ? node->count : 1;
    if (count > SETTING_VALUES_MOST)
        return fail(err, ERR_INPUT, "%s: %s: a list of %zu values; at most %d are allowed", place,
                    field->key, count, SETTING_VALUES_MOST);
    Value *values = NULL;
    TRY(BUFFER(&values, count, "the values of a key", err));
    const Status status = parse_values(field, source, node, place, values, err);
    if (status != OK) {
        buffer_free(values);
        return status;
    }
    buffer_free(setting->values);
    *setting =
        (Setting){ .values = values, .count = count, .given = ++s->given, .layer = s->layer };
    memcpy(setting->place, place, sizeof place);
    return OK;
}

/* ---- keys ---- */

/* Are there keys below this one? */
static const Field *first_below(const char *section) {
    const size_t length = strlen(section);
    for (size_t i = 0; i < config_field_count; i++)
        if (strncmp(config_fields[i].key, section, length) == 0 &&
            config_fields[i].key[length] == '.')
            return &config_fields[i];
    return NULL;
}

/* A key of the section that a wrong one is near to, or NULL. */
static const char *nearest_section(const char *wrong) {
    for (size_t i = 0; i < config_field_count; i++) {
        const char *key = config_fields[i].key, *dot = strchr(key, '.');
        if (!dot || dot - key >= KEY_ROOM) continue;
        char section[KEY_ROOM] = "";
        memcpy(section, key, (size_t)(dot - key));
        const char *const candidate = section;
        if (names_nearest(wrong, &candidate, 1)) return key;
    }
    return NULL;
}

static Status unknown_key(const Source *source, const TreeNode *node, const char *key, Error *err) {
    char place[PLACE_ROOM];
    format_place(source, node->key_line, node->key_column, place);
    const char *section = node->kind == TREE_MAPPING ? nearest_section(key) : NULL;
    const char *nearest = section ? section : field_nearest(key);
    if (!nearest)
        return fail(err, ERR_INPUT, "%s: %.80s: no such key; kvlab describe lists them", place,
                    key);
    return fail(err, ERR_INPUT, "%s: %.80s: no such key; did you mean %.*s?", place, key,
                section ? (int)strcspn(section, ".") : (int)strlen(nearest), nearest);
}

static Status read_base(Settings *s, const Source *source, const TreeNode *node, Error *err);

/* One entry of a study; `prefix` is the section it stands in, or "". */
static Status read_entry(Settings *s, const Source *source, const char *prefix,
                         const TreeNode *node, Error *err) {
    char key[KEY_ROOM], place[PLACE_ROOM];
    snprintf(key, sizeof key, "%.60s%s%.90s", prefix, *prefix ? "." : "", node->key);
    if (strcmp(key, "base") == 0) return OK; /* was read before all else */
    const Field *field = field_find(key);
    if (field) return set_values(s, field, source, node, err);
    const Field *below = *prefix ? NULL : first_below(key);
    if (!below) return unknown_key(source, node, key, err);
    if (node->kind != TREE_MAPPING) {
        format_place(source, node->line, node->column, place);
        return fail(err, ERR_INPUT, "%s: %s: a section, not a key; its keys go below it, as %s",
                    place, key, below->key);
    }
    for (const TreeNode *child = node->child; child; child = child->next)
        TRY(read_entry(s, source, key, child, err));
    return OK;
}

static Status read_root(Settings *s, const Source *source, const TreeNode *root, Error *err) {
    char place[PLACE_ROOM];
    if (root->kind == TREE_SCALAR && !*root->text) return OK;
    if (root->kind != TREE_MAPPING) {
        format_place(source, root->line, root->column, place);
        return fail(err, ERR_INPUT, "%s: a study is a mapping of keys to values", place);
    }
    for (const TreeNode *child = root->child; child; child = child->next)
        if (strcmp(child->key, "base") == 0) TRY(read_base(s, source, child, err));
    s->layer++;
    for (const TreeNode *child = root->child; child; child = child->next)
        TRY(read_entry(s, source, "", child, err));
    return OK;
}

/* ---- files ---- */

static Status read_file(Settings *s, Source *source, Error *err) {
    Tree tree;
    TRY(yaml_tree_read(&tree, source->path, err));
    const Status status = read_root(s, source, tree.root, err);
    yaml_tree_free(&tree);
    return status;
}

/* The study that a `base:` names, relative to the file it stands in. */
static Status read_base(Settings *s, const Source *source, const TreeNode *node, Error *err) {
    char place[PLACE_ROOM], path[PATH_ROOM];
    format_place(source, node->line, node->column, place);
    if (!source->on_disk)
        return fail(err, ERR_INPUT, "%s: base: only a study file may have one", place);
    if (node->kind != TREE_SCALAR || !*node->text)
        return fail(err, ERR_INPUT, "%s: base: must be the path of one study", place);
    const char *slash = strrchr(source->path, '/');
    const int folder = slash && node->text[0] != '/' ? (int)(slash - source->path + 1) : 0;
    const int length = snprintf(path, sizeof path, "%.*s%s", folder, source->path, node->text);
    if (length >= (int)sizeof path)
        return fail(err, ERR_INPUT, "%s: base: the path is too long", place);
    struct stat file;
    if (stat(path, &file) != 0)
        return fail(err, ERR_INPUT, "%s: base: %.300s: no such study", place, path);
    for (const Source *above = source; above; above = above->parent)
        if (above->device == file.st_dev && above->inode == file.st_ino)
            return fail(err, ERR_INPUT, "%s: base: %.300s: is based on itself", place, path);
    if (source->depth == BASES_MOST)
        return fail(err, ERR_INPUT, "%s: base: %.300s: more than %d studies deep", place, path,
                    BASES_MOST);
    Source below = { .path = path,
                     .parent = source,
                     .depth = source->depth + 1,
                     .on_disk = true,
                     .device = file.st_dev,
                     .inode = file.st_ino };
    return read_file(s, &below, err);
}

Status settings_read(Settings *settings, const char *path, Error *err) {
    Source source = { .path = path, .on_disk = true };
    struct stat file;
    if (stat(path, &file) == 0) source.device = file.st_dev, source.inode = file.st_ino;
    return read_file(settings, &source, err);
}

Status settings_parse(Settings *settings, const char *name, const char *text, size_t length,
                      Error *err) {
    const Source source = { .path = name };
    Tree tree;
    TRY(yaml_tree_parse(&tree, name, text, length, err));
    const Status status = read_root(settings, &source, tree.root, err);
    yaml_tree_free(&tree);
    return status;
}

/* ---- overrides ---- */

/* A value that begins like a list or quoted text is YAML; all else is text as it stands, handed to
 * the same reader in quotes, so that it passes the same checks. */
static Status parse_assigned(Tree *tree, const char *place, const char *value, Error *err) {
    if (*value == '[' || *value == '"' || *value == '\'')
        return yaml_tree_parse(tree, place, value, strlen(value), err);
    char quoted[QUOTED_ROOM];
    if (strpbrk(value, "\r\n")) return fail(err, ERR_INPUT, "%s: must be one line", place);
    if (strlen(value) >= VALUE_ROOM)
        return fail(err, ERR_INPUT, "%s: longer than %d bytes", place, VALUE_ROOM - 1);
    field_quote(value, quoted, sizeof quoted);
    return yaml_tree_parse(tree, place, quoted, strlen(quoted), err);
}

Status settings_override(Settings *settings, const char *assignment, bool first, Error *err) {
    char place[PLACE_ROOM], key[KEY_ROOM];
    snprintf(place, sizeof place, "--set %.80s", assignment);
    const size_t length = strcspn(assignment, "=");
    if (!assignment[length] || length == 0 || length >= sizeof key)
        return fail(err, ERR_INPUT, "%s: must be key=value", place);
    memcpy(key, assignment, length);
    key[length] = '\0';
    if (strcmp(key, "base") == 0) return fail(err, ERR_INPUT, "%s: base is for study files", place);
    if (first) settings->layer++;
    Tree tree;
    TRY(parse_assigned(&tree, place, assignment + length + 1, err));
    const Source source = { .path = place, .assignment = true };
    TreeNode entry = *tree.root;
    entry.key = key;
    const Status status = read_entry(settings, &source, "", &entry, err);
    yaml_tree_free(&tree);
    return status;
}

/* ---- all of them ---- */

Status settings_new(Settings *settings, Error *err) {
    *settings = (Settings){ 0 };
    TRY(BUFFER(&settings->settings, config_field_count, "the keys of a study", err));
    for (size_t i = 0; i < config_field_count; i++) {
        const Field *field = &config_fields[i];
        Setting *setting = &settings->settings[i];
        snprintf(setting->place, sizeof setting->place, "default");
        if (!field->initial) continue;
        TRY(BUFFER(&setting->values, 1, "the values of a key", err));
        TRY(field_parse(field, field->initial, "default", setting->values, err));
        setting->count = 1;
    }
    return OK;
}

void settings_free(Settings *settings) {
    for (size_t i = 0; settings->settings && i < config_field_count; i++)
        buffer_free(settings->settings[i].values);
    buffer_free(settings->settings);
    *settings = (Settings){ 0 };
}

const Setting *settings_get(const Settings *settings, const char *key) {
    return &settings->settings[field_find(key) - config_fields];
}
