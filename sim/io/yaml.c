/* yaml.c -- builds the tree of yaml_tree.h from libyaml's events.
 *
 * The builder keeps its own stack, so depth costs no recursion and is bounded before libyaml is
 * asked for more. Nodes and texts live in chunks that are released together. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "buffer.h"
#include "yaml_tree.h"

enum { CHUNK_BYTES = 16 * 1024, TREE_ALIGNMENT = sizeof(void *) };

typedef struct TreeChunk TreeChunk;
struct TreeChunk {
    TreeChunk *next;
};

/* An open collection; node NULL stands for the document. */
typedef struct {
    TreeNode *node;
    TreeNode *last;    /* its last child */
    TreeNode *waiting; /* of a mapping: has its key, waits for its value */
} Level;

typedef struct {
    const char *name;
    TreeChunk *chunks;
    char *room; /* what is left of the newest chunk */
    size_t room_bytes;
    size_t nodes, documents, depth;
    TreeNode *root;
    Level levels[TREE_DEPTH_MOST + 1];
} Builder;

/* ---- memory ---- */

static void *take(Builder *b, size_t bytes, Error *err) {
    bytes = (bytes + TREE_ALIGNMENT - 1) / TREE_ALIGNMENT * TREE_ALIGNMENT;
    if (bytes > b->room_bytes) {
        const size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        TreeChunk *chunk = buffer_new(sizeof *chunk + room, 1, "a YAML document", err);
        if (!chunk) return NULL;
        chunk->next = b->chunks;
        b->chunks = chunk;
        b->room = (char *)(chunk + 1);
        b->room_bytes = room;
    }
    void *taken = b->room;
    b->room += bytes;
    b->room_bytes -= bytes;
    return taken;
}

static void free_chunks(TreeChunk *chunk) {
    while (chunk) {
        TreeChunk *next = chunk->next;
        buffer_free(chunk);
        chunk = next;
    }
}

/* ---- one event at a time ---- */

static Status refuse(const Builder *b, const yaml_event_t *event, const char *text, Error *err) {
    return fail_at(err, b->name, event->start_mark.line + 1, event->start_mark.column + 1, "%s",
                   text);
}

static Status copy_text(Builder *b, const yaml_event_t *event, const char **out, Error *err) {
    const char *value = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    if (memchr(value, 0, length)) return refuse(b, event, "a NUL character", err);
    char *text = take(b, length + 1, err);
    if (!text) return ERR_MACHINE;
    memcpy(text, value, length);
    *out = text;
    return OK;
}

static Status new_node(Builder *b, const yaml_event_t *event, TreeNode **out, Error *err) {
    if (++b->nodes > TREE_NODES_MOST) {
        char text[64];
        snprintf(text, sizeof text, "more than %d values", TREE_NODES_MOST);
        return refuse(b, event, text, err);
    }
    *out = take(b, sizeof **out, err);
    return *out ? OK : ERR_MACHINE;
}

/* Links a node below the open collection, or as the document itself. */
static void attach(Builder *b, TreeNode *node) {
    Level *level = &b->levels[b->depth];
    if (!level->node) {
        b->root = node;
        return;
    }
    if (level->last)
        level->last->next = node;
    else
        level->node->child = node;
    level->last = node;
    level->node->count++;
}

/* A key of the open mapping: its node is linked now and filled when the value comes. */
static Status add_key(Builder *b, const yaml_event_t *event, Error *err) {
    Level *level = &b->levels[b->depth];
    TreeNode *node = NULL;
    TRY(new_node(b, event, &node, err));
    TRY(copy_text(b, event, &node->key, err));
    node->key_line = event->start_mark.line + 1;
    node->key_column = event->start_mark.column + 1;
    for (const TreeNode *other = level->node->child; other; other = other->next)
        if (strcmp(other->key, node->key) == 0)
            return fail_at(err, b->name, node->key_line, node->key_column,
                           "%.80s: given twice; first in line %lu", node->key, other->key_line);
    if (level->node->count == TREE_KEYS_MOST) {
        char text[64];
        snprintf(text, sizeof text, "more than %d keys", TREE_KEYS_MOST);
        return refuse(b, event, text, err);
    }
    attach(b, node);
    level->waiting = node;
    return OK;
}

/* The node that a value fills: the one that waits for it, else a new one. */
static Status add_value(Builder *b, const yaml_event_t *event, TreeNode **out, Error *err) {
    Level *level = &b->levels[b->depth];
    TreeNode *node = level->waiting;
    if (!node) {
        TRY(new_node(b, event, &node, err));
        attach(b, node);
    }
    level->waiting = NULL;
    node->line = event->start_mark.line + 1;
    node->column = event->start_mark.column + 1;
    *out = node;
    return OK;
}

static bool is_key(const Builder *b) {
    const Level *level = &b->levels[b->depth];
    return level->node && level->node->kind == TREE_MAPPING && !level->waiting;
}

static Status add_scalar(Builder *b, const yaml_event_t *event, Error *err) {
    if (event->data.scalar.tag)
        return refuse(b, event, "a tag (!name); tags have no use here", err);
    if (is_key(b)) return add_key(b, event, err);
    TreeNode *node = NULL;
    TRY(add_value(b, event, &node, err));
    node->kind = TREE_SCALAR;
    return copy_text(b, event, &node->text, err);
}

static Status open_collection(Builder *b, const yaml_event_t *event, TreeKind kind, Error *err) {
    const yaml_char_t *tag =
        kind == TREE_MAPPING ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    if (tag) return refuse(b, event, "a tag (!name); tags have no use here", err);
    if (is_key(b)) return refuse(b, event, "a list or mapping as a key; a key is a word", err);
    if (b->depth == TREE_DEPTH_MOST) {
        char text[64];
        snprintf(text, sizeof text, "nested more than %d deep", TREE_DEPTH_MOST);
        return refuse(b, event, text, err);
    }
    TreeNode *node = NULL;
    TRY(add_value(b, event, &node, err));
    node->kind = kind;
    b->levels[++b->depth] = (Level){ .node = node };
    return OK;
}

static Status take_event(Builder *b, const yaml_event_t *event, Error *err) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++) return refuse(b, event, "a second document; a file holds one", err);
        return OK;
    case YAML_ALIAS_EVENT:
        return refuse(b, event, "an alias (*name); write the value out instead", err);
    case YAML_SCALAR_EVENT:
        return add_scalar(b, event, err);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(b, event, TREE_SEQUENCE, err);
    case YAML_MAPPING_START_EVENT:
        return open_collection(b, event, TREE_MAPPING, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return OK;
    default:
        return OK;
    }
}

/* ---- the document ---- */

/* libyaml names bad characters by their offset in the text, all else by line and column. */
static Status not_yaml(const Builder *b, const yaml_parser_t *parser, const char *text,
                       size_t length, Error *err) {
    if (parser->error == YAML_MEMORY_ERROR)
        return fail(err, ERR_MACHINE, "out of memory: reading %.400s", b->name);
    if (parser->error == YAML_READER_ERROR) {
        const size_t offset = parser->problem_offset < length ? parser->problem_offset : length;
        unsigned long line = 1, column = 1;
        for (size_t i = 0; i < offset; i++) {
            column++;
            if (text[i] == '\n') line++, column = 1;
        }
        return fail_at(err, b->name, line, column, "not UTF-8 text: %s", parser->problem);
    }
    return fail_at(err, b->name, parser->problem_mark.line + 1, parser->problem_mark.column + 1,
                   "not valid YAML: %s%s%s", parser->context ? parser->context : "",
                   parser->context ? ", " : "", parser->problem);
}

static Status build(Builder *b, const char *text, size_t length, Error *err) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return fail(err, ERR_MACHINE, "out of memory: reading %.400s", b->name);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    Status status = OK;
    for (bool more = true; status == OK && more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = not_yaml(b, &parser, text, length, err);
            break;
        }
        status = take_event(b, &event, err);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

Status yaml_tree_parse(Tree *out, const char *name, const char *text, size_t length, Error *err) {
    if (length > TREE_FILE_BYTES_MOST)
        return fail_at(err, name, 0, 0, "larger than %d bytes", TREE_FILE_BYTES_MOST);
    Builder builder = { .name = name };
    Status status = build(&builder, text, length, err);
    if (status == OK && !builder.root) {
        builder.root = take(&builder, sizeof *builder.root, err);
        if (builder.root)
            *builder.root = (TreeNode){ .kind = TREE_SCALAR, .line = 1, .column = 1, .text = "" };
        else
            status = ERR_MACHINE;
    }
    if (status == OK)
        *out = (Tree){ builder.root, builder.chunks };
    else
        free_chunks(builder.chunks);
    return status;
}

Status yaml_tree_read(Tree *out, const char *path, Error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) return fail_at(err, path, 0, 0, "cannot open: %s", strerror(errno));
    char *text = NULL;
    Status status = BUFFER(&text, TREE_FILE_BYTES_MOST + 1, "a study", err);
    if (status == OK) {
        const size_t length = fread(text, 1, TREE_FILE_BYTES_MOST + 1, file);
        status = ferror(file) ? fail_at(err, path, 0, 0, "cannot read: %s", strerror(errno))
                              : yaml_tree_parse(out, path, text, length, err);
    }
    buffer_free(text);
    fclose(file);
    return status;
}

void yaml_tree_free(Tree *tree) {
    free_chunks(tree->chunks);
    *tree = (Tree){ 0 };
}
