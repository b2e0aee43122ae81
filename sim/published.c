/* published.c -- the keys of a published point, one row each; see published.h. */
#include "published.h"

#include <stdio.h>
#include <string.h>

#include "configs.h"
#include "record.h"

#define AT(member)                                                                                 \
    .offset = offsetof(PublishedPoint, member), .room = sizeof((PublishedPoint *)NULL)->member,    \
    .required = true

static const RecordRow rows[] = {
    { .key = "method", .type = RECORD_TEXT, AT(method) },
    { .key = "model", .type = RECORD_TEXT, AT(model) },
    { .key = "times", .type = RECORD_REAL, AT(times), .least = 1, .most = 1000 },
    { .key = "perplexity", .type = RECORD_REAL, AT(perplexity), .least = 1, .most = 1e6 },
    { .key = "base", .type = RECORD_REAL, AT(base), .least = 1, .most = 1e6 },
    { .key = "source", .type = RECORD_TEXT, AT(source) },
};
enum { ROWS = sizeof rows / sizeof *rows };

static Status read_points(Published *out, const char *path, const TreeNode *root, Error *err) {
    if (root->kind != TREE_SEQUENCE || root->count > PUBLISHED_MOST)
        return fail_at(err, path, root->line, root->column, "a list of at most %d points is wanted",
                       PUBLISHED_MOST);
    for (const TreeNode *node = root->child; node; node = node->next) {
        PublishedPoint *p = &out->point[out->count];
        if (node->kind != TREE_MAPPING)
            return fail_at(err, path, node->line, node->column, "a point is a mapping");
        TRY(record_read(p, rows, ROWS, path, node, err));
        out->count++;
    }
    return OK;
}

Status published_read(Published *published, Error *err) {
    char path[1024];
    Tree tree;
    snprintf(path, sizeof path, "%s/published.yaml", configs_folder());
    TRY(yaml_tree_read(&tree, path, err));
    memset(published, 0, sizeof *published);
    const Status status = read_points(published, path, tree.root, err);
    yaml_tree_free(&tree);
    return status;
}
