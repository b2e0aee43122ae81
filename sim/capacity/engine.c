/* engine.c -- the keys of configs/engines, one row each; see engine.h. */
#include "engine.h"

#include <stdio.h>

#include "configs.h"
#include "record.h"

#define AT(member) .offset = offsetof(Engine, member), .room = sizeof((Engine *)NULL)->member

#define LIMITED(name)                                                                              \
    { .key = #name ".reserves",                                                                    \
      .type = RECORD_CHOICE,                                                                       \
      AT(name.rule),                                                                               \
      .choices = { "window", "all", "share" } },                                                   \
        { .key = #name ".less", .type = RECORD_COUNT, AT(name.less), .most = 1 },                  \
        { .key = #name ".batch_tokens",                                                            \
          .type = RECORD_COUNT,                                                                    \
          AT(name.batch_tokens),                                                                   \
          .most = 1 << 24 },                                                                       \
        { .key = #name ".extra_blocks", .type = RECORD_COUNT, AT(name.extra_blocks), .most = 16 }, \
    {                                                                                              \
        .key = #name ".share", .type = RECORD_REAL, AT(name.share), .most = 1                      \
    }

static const RecordRow rows[] = {
    { .key = "title", .type = RECORD_TEXT, AT(title), .required = true },
    { .key = "version", .type = RECORD_TEXT, AT(version), .required = true },
    { .key = "source", .type = RECORD_TEXT, AT(source), .required = true },
    { .key = "block_tokens", .type = RECORD_COUNT, AT(block_tokens), .least = 1, .most = 1 << 16 },
    { .key = "latent_block_tokens",
      .type = RECORD_COUNT,
      AT(latent_block_tokens),
      .most = 1 << 16 },
    { .key = "null_blocks", .type = RECORD_COUNT, AT(null_blocks), .most = 16 },
    { .key = "padding_tokens", .type = RECORD_COUNT, AT(padding_tokens), .most = 1 << 16 },
    { .key = "latent", .type = RECORD_CHOICE, AT(latent), .choices = { "latent", "materialised" } },
    { .key = "materialised_rank", .type = RECORD_COUNT, AT(materialised_rank), .most = 1 << 16 },
    { .key = "value_padded", .type = RECORD_FLAG, AT(value_padded) },
    { .key = "index_fp8_ds_mla", .type = RECORD_FLAG, AT(index_fp8_ds_mla) },
    LIMITED(window),
    LIMITED(chunk),
    { .key = "groups", .type = RECORD_CHOICE, AT(groups), .choices = { "none", "equal" } },
    { .key = "group_slack", .type = RECORD_REAL, AT(group_slack), .least = 1, .most = 16 },
    { .key = "state_bytes", .type = RECORD_REAL, AT(state_bytes), .least = 1, .most = 8 },
    { .key = "conv_bytes", .type = RECORD_REAL, AT(conv_bytes), .least = 1, .most = 8 },
    { .key = "state_paged", .type = RECORD_FLAG, AT(state_paged) },
    { .key = "uneven_heads", .type = RECORD_FLAG, AT(uneven_heads) },
    { .key = "dcp_limited", .type = RECORD_FLAG, AT(dcp_limited) },
    { .key = "dcp_copies_only", .type = RECORD_FLAG, AT(dcp_copies_only) },
    { .key = "casts_f32", .type = RECORD_FLAG, AT(casts_f32) },
    { .key = "utilization", .type = RECORD_REAL, AT(utilization), .least = 0.01, .most = 1 },
    { .key = "batch_tokens", .type = RECORD_COUNT, AT(batch_tokens), .least = 1, .most = 1 << 24 },
    { .key = "runtime", .type = RECORD_BYTES, AT(runtime_bytes) },
};
enum { ROWS = sizeof rows / sizeof *rows };

static const Engine nothing_rounded = { .block_tokens = 1,
                                        .group_slack = 1,
                                        .state_bytes = 4,
                                        .conv_bytes = 2,
                                        .dcp_limited = true,
                                        .utilization = 0.9,
                                        .batch_tokens = 2048 };

static void set_name(Engine *engine, const char *name) {
    snprintf(engine->name, sizeof engine->name, "%s", name);
}

Status engine_read(Engine *engine, const char *name, Error *err) {
    char path[1024];
    Engine draft = nothing_rounded;
    TRY(configs_find("engines", name, ".yaml", path, sizeof path, err));
    TRY(record_read_file(&draft, rows, ROWS, path, err));
    set_name(&draft, name);
    *engine = draft;
    return OK;
}

Status engine_parse(Engine *engine, const char *name, const char *text, size_t length, Error *err) {
    Tree tree;
    Engine draft = nothing_rounded;
    TRY(yaml_tree_parse(&tree, name, text, length, err));
    const Status status = record_read(&draft, rows, ROWS, name, tree.root, err);
    yaml_tree_free(&tree);
    if (status != OK) return status;
    set_name(&draft, name);
    *engine = draft;
    return OK;
}
