/* record.c -- rows of record.h over a tree of yaml_tree.h. */
#include "record.h"

#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "names.h"
#include "quantity.h"

enum { ROWS_MOST = 64, KEY_ROOM = 128 };

/* What is being read, for messages. */
typedef struct {
    void *out;
    const RecordRow *rows;
    size_t count;
    const char *path;
    bool given[ROWS_MOST];
} Reading;

static Status refuse(const Reading *r, const TreeNode *node, const char *key, const char *must,
                     Error *err) {
    return fail_at(err, r->path, node->line, node->column, "%s: %.80s: must be %s", key,
                   node->text ? node->text : "a list or mapping", must);
}

static Status check_range(const Reading *r, const RecordRow *row, const TreeNode *node,
                          double value, Error *err) {
    const bool any = row->least == 0 && row->most == 0;
    if (value >= row->least && value <= (any ? DBL_MAX : row->most)) return OK;
    char must[96];
    if (any)
        snprintf(must, sizeof must, "0 or more");
    else
        snprintf(must, sizeof must, "from %.12g to %.12g", row->least, row->most);
    return refuse(r, node, row->key, must, err);
}

static Status put_number(const Reading *r, const RecordRow *row, const TreeNode *node, void *at,
                         Error *err) {
    uint64_t whole;
    double real;
    char must[96];
    switch (row->type) {
    case RECORD_COUNT:
        if (!quantity_count(node->text, &whole))
            return refuse(r, node, row->key, "a whole number such as 16 or 32k", err);
        TRY(check_range(r, row, node, (double)whole, err));
        *(size_t *)at = (size_t)whole;
        return OK;
    case RECORD_BYTES:
        if (!quantity_bytes(node->text, &whole))
            return refuse(r, node, row->key, "a size such as 80GB or 16GiB", err);
        TRY(check_range(r, row, node, (double)whole, err));
        *(uint64_t *)at = whole;
        return OK;
    case RECORD_RATE:
        snprintf(must, sizeof must, "a rate such as 4.8T%s", row->unit);
        if (!quantity_rate(node->text, row->unit, &real))
            return refuse(r, node, row->key, must, err);
        TRY(check_range(r, row, node, real, err));
        *(double *)at = real;
        return OK;
    default:
        if (!quantity_real(node->text, &real)) return refuse(r, node, row->key, "a number", err);
        TRY(check_range(r, row, node, real, err));
        *(double *)at = real;
        return OK;
    }
}

static Status put_choice(const Reading *r, const RecordRow *row, const TreeNode *node, int *at,
                         Error *err) {
    char must[256] = "one of";
    for (int i = 0; i < RECORD_CHOICES_MOST && row->choices[i]; i++) {
        if (strcmp(node->text, row->choices[i]) == 0) {
            *at = i;
            return OK;
        }
        const size_t used = strlen(must);
        snprintf(must + used, sizeof must - used, "%s %s", i ? "," : "", row->choices[i]);
    }
    return refuse(r, node, row->key, must, err);
}

static Status put(Reading *r, const RecordRow *row, const TreeNode *node, Error *err) {
    unsigned char *at = (unsigned char *)r->out + row->offset;
    r->given[row - r->rows] = true;
    if (row->type == RECORD_LIST) {
        const bool list = node->kind == TREE_SEQUENCE;
        if (node->kind == TREE_MAPPING || (list && !node->count))
            return refuse(r, node, row->key, "a value or a list of values", err);
        *(RecordList *)(void *)at =
            (RecordList){ list ? node->child : node, list ? node->count : 1 };
        return OK;
    }
    if (node->kind != TREE_SCALAR) return refuse(r, node, row->key, "a single value", err);
    switch (row->type) {
    case RECORD_TEXT:
        if (strlen(node->text) >= row->room)
            return fail_at(err, r->path, node->line, node->column, "%s: longer than %zu bytes",
                           row->key, row->room - 1);
        memcpy(at, node->text, strlen(node->text) + 1);
        return OK;
    case RECORD_CHOICE:
        return put_choice(r, row, node, (int *)(void *)at, err);
    case RECORD_FLAG:
        if (strcmp(node->text, "yes") != 0 && strcmp(node->text, "no") != 0)
            return refuse(r, node, row->key, "yes or no", err);
        *(bool *)at = node->text[0] == 'y';
        return OK;
    default:
        return put_number(r, row, node, at, err);
    }
}

static Status unknown(const Reading *r, const TreeNode *node, const char *key, Error *err) {
    const char *names[ROWS_MOST];
    for (size_t i = 0; i < r->count; i++) names[i] = r->rows[i].key;
    const char *nearest = names_nearest(key, names, r->count);
    return fail_at(err, r->path, node->key_line, node->key_column, "%.80s: no such key%s%s%s", key,
                   nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* Does a row lie under this key? */
static bool is_group(const Reading *r, const char *key) {
    const size_t length = strlen(key);
    for (size_t i = 0; i < r->count; i++)
        if (strncmp(r->rows[i].key, key, length) == 0 && r->rows[i].key[length] == '.') return true;
    return false;
}

static Status read_mapping(Reading *r, const char *prefix, const TreeNode *mapping, Error *err) {
    for (const TreeNode *node = mapping->child; node; node = node->next) {
        char key[KEY_ROOM];
        snprintf(key, sizeof key, "%s%s%.60s", prefix, *prefix ? "." : "", node->key);
        if (node->kind == TREE_MAPPING && is_group(r, key)) {
            TRY(read_mapping(r, key, node, err)); /* as deep as keys have dots */
            continue;
        }
        size_t i = 0;
        while (i < r->count && strcmp(r->rows[i].key, key) != 0) i++;
        if (i == r->count) return unknown(r, node, key, err);
        TRY(put(r, &r->rows[i], node, err));
    }
    return OK;
}

Status record_read(void *out, const RecordRow *rows, size_t count, const char *path,
                   const TreeNode *mapping, Error *err) {
    Reading r = { out, rows, count < ROWS_MOST ? count : ROWS_MOST, path, { false } };
    if (mapping->kind != TREE_MAPPING)
        return fail_at(err, path, mapping->line, mapping->column, "must be a mapping");
    TRY(read_mapping(&r, "", mapping, err));
    for (size_t i = 0; i < r.count; i++)
        if (rows[i].required && !r.given[i])
            return fail_at(err, path, 0, 0, "%s must be given", rows[i].key);
    return OK;
}

Status record_read_file(void *out, const RecordRow *rows, size_t count, const char *path,
                        Error *err) {
    Tree tree;
    TRY(yaml_tree_read(&tree, path, err));
    const Status status = record_read(out, rows, count, path, tree.root, err);
    yaml_tree_free(&tree);
    return status;
}

bool record_has(const TreeNode *mapping, const char *key) {
    if (mapping->kind != TREE_MAPPING) return false;
    const size_t length = strcspn(key, ".");
    for (const TreeNode *node = mapping->child; node; node = node->next)
        if (strlen(node->key) == length && strncmp(node->key, key, length) == 0)
            return !key[length] || record_has(node, key + length + 1);
    return false;
}
