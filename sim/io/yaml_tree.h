/* yaml_tree.h -- YAML into a small tree of mappings, sequences and scalars, each with its place.
 *
 * What could surprise is refused rather than guessed: a key given twice, aliases, tags, a second
 * document, NUL characters. Time and memory are bounded by TREE_* below, whatever the text holds.
 * Anchors are read over. A scalar is its text: what type it should have is the reader's business.
 * (The name is not yaml.h since that is libyaml's header.) */
#ifndef KVLAB_YAML_TREE_H
#define KVLAB_YAML_TREE_H

#include <stddef.h>

#include "error.h"

enum {
    TREE_FILE_BYTES_MOST = 1 << 20,
    TREE_NODES_MOST = 50000,
    TREE_KEYS_MOST = 1000, /* of one mapping */
    TREE_DEPTH_MOST = 32
};

typedef enum { TREE_SCALAR, TREE_SEQUENCE, TREE_MAPPING } TreeKind;

typedef struct TreeNode TreeNode;
struct TreeNode {
    TreeKind kind;
    unsigned long line, column; /* of the value, from 1 */
    const char *key;            /* within a mapping, else NULL */
    unsigned long key_line, key_column;
    const char *text; /* of a scalar, else NULL */
    size_t count;     /* of children */
    const TreeNode *child, *next;
};

typedef struct {
    const TreeNode *root;     /* an empty document is a scalar "" */
    struct TreeChunk *chunks; /* memory of the nodes */
} Tree;

/* Reads one document of UTF-8; `name` stands for the file in messages. Release with
 * yaml_tree_free. Errors: ERR_INPUT with name:line:column. */
Status yaml_tree_parse(Tree *out, const char *name, const char *text, size_t length, Error *err);

/* The same from a file. Errors: ERR_INPUT also when it cannot be read or is too large. */
Status yaml_tree_read(Tree *out, const char *path, Error *err);

void yaml_tree_free(Tree *tree);

#endif
