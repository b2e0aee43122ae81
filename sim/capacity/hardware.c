/* hardware.c -- reading of configs/hardware; see hardware.h. */
#include "hardware.h"

#include <stdio.h>
#include <string.h>

#include "configs.h"
#include "names.h"
#include "quantity.h"
#include "yaml_tree.h"

static const char *const keys[] = { "name", "memory", "memory_bandwidth", "source" };
enum { KEYS = sizeof keys / sizeof *keys };

static Status read_entry(Hardware *hardware, const char *path, const TreeNode *node, Error *err) {
    if (node->kind != TREE_SCALAR)
        return fail_at(err, path, node->line, node->column, "%s: must be a single value",
                       node->key);
    if (strcmp(node->key, "name") == 0) {
        snprintf(hardware->name, sizeof hardware->name, "%s", node->text);
    } else if (strcmp(node->key, "memory") == 0) {
        if (!quantity_bytes(node->text, &hardware->memory_bytes))
            return fail_at(err, path, node->line, node->column,
                           "memory: %s: must be a size such as 80GB or 16GiB", node->text);
    } else {
        const char *nearest = names_nearest(node->key, keys, KEYS);
        for (size_t i = 0; i < KEYS; i++)
            if (strcmp(keys[i], node->key) == 0) return OK;
        return fail_at(err, path, node->key_line, node->key_column, "%s: no such key%s%s%s",
                       node->key, nearest ? "; did you mean " : "", nearest ? nearest : "",
                       nearest ? "?" : "");
    }
    return OK;
}

static Status read_tree(Hardware *hardware, const char *path, const Tree *tree, Error *err) {
    Hardware draft = { .memory_bytes = 0 };
    if (tree->root->kind != TREE_MAPPING)
        return fail_at(err, path, tree->root->line, tree->root->column, "must be a mapping");
    for (const TreeNode *node = tree->root->child; node; node = node->next)
        TRY(read_entry(&draft, path, node, err));
    if (!draft.name[0] || !draft.memory_bytes)
        return fail_at(err, path, 0, 0, "name and memory must be given");
    *hardware = draft;
    return OK;
}

Status hardware_read(Hardware *hardware, const char *name, Error *err) {
    char path[1024];
    TRY(configs_find("hardware", name, ".yaml", path, sizeof path, err));
    Tree tree;
    TRY(yaml_tree_read(&tree, path, err));
    const Status status = read_tree(hardware, path, &tree, err);
    yaml_tree_free(&tree);
    return status;
}
