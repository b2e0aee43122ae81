/* codec.c -- names, widths and sizes of the row types, out of one table. */
#include "codec.h"

#include <stdio.h>
#include <string.h>

enum { TILE = 128 }; /* values that share a scale of fp8_ds_mla */

static const struct {
    const char *name;
    size_t group;       /* values that are stored together */
    size_t group_bytes; /* with their scale */
    size_t row_bytes;   /* a scale of the whole row */
} row_types[ROW_TYPE_COUNT] = {
    [ROW_F32] = { "f32", 1, 4, 0 },
    [ROW_BF16] = { "bf16", 1, 2, 0 },
    [ROW_F16] = { "f16", 1, 2, 0 },
    [ROW_FP8] = { "fp8", 1, 1, 4 },
    [ROW_INT8] = { "int8", 1, 1, 4 },
    [ROW_INT4] = { "int4", 32, 20, 0 },
    [ROW_Q8_0] = { "q8_0", 32, 34, 0 },
    [ROW_Q4_0] = { "q4_0", 32, 18, 0 },
    [ROW_FP8_DS_MLA] = { "fp8_ds_mla", TILE, TILE + 4, 0 },
    [ROW_FP8_E5M2] = { "fp8_e5m2", 1, 1, 0 },
    [ROW_MXFP4] = { "mxfp4", 32, 17, 0 },
    [ROW_NVFP4] = { "nvfp4", 64, 36, 0 },
};

const char *row_type_name(RowType type) {
    return row_types[type].name;
}

bool row_type_parse(const char *name, RowType *out) {
    for (int type = 0; type < ROW_TYPE_COUNT; type++) {
        if (strcmp(name, row_types[type].name) == 0) {
            *out = (RowType)type;
            return true;
        }
    }
    return false;
}

static RowFormat coded(RowType type, bool latent, size_t n, size_t values) {
    const size_t groups = values / row_types[type].group;
    const bool cast = type == ROW_FP8 && latent;
    return (RowFormat){ .type = type,
                        .latent = latent,
                        .n = n,
                        .coded = values,
                        .rope_at = groups * row_types[type].group_bytes +
                                   (cast ? 0 : row_types[type].row_bytes) };
}

RowFormat row_format(RowType type, size_t n) {
    return coded(type, false, n, n);
}

RowFormat row_format_latent(RowType type, size_t latent, size_t rope) {
    if (type == ROW_FP8_DS_MLA) return coded(type, true, latent + rope, latent);
    return coded(type, true, latent + rope, latent + rope);
}

RowFormat row_format_latent_rope(RowType type, size_t latent, size_t rope) {
    if (type <= ROW_F16) return row_format_latent(type, latent, rope);
    return coded(type, true, latent + rope, latent);
}

const char *row_format_misfit(RowFormat format) {
    if (format.type == ROW_FP8_DS_MLA) {
        if (!format.latent) return "stores the latent of MLA, not keys and values of heads";
        if (format.coded % TILE) return "needs a latent (kv_lora_rank) of a multiple of 128";
        return NULL;
    }
    const size_t group = row_types[format.type].group;
    if (format.coded % group == 0) return NULL;
    return group == 64 ? "needs rows of a multiple of 64 values"
                       : "needs rows of a multiple of 32 values";
}

size_t row_bytes(RowFormat format) {
    return format.rope_at + 2 * (format.n - format.coded);
}

KvType kv_type(RowType both) {
    return (KvType){ both, both };
}

bool kv_type_parse(const char *text, KvType *out) {
    KvType parsed;
    char key[KV_TYPE_ROOM];
    const char *comma = strchr(text, ',');
    if (!comma) {
        if (!row_type_parse(text, &parsed.k)) return false;
        *out = kv_type(parsed.k);
        return true;
    }
    const size_t length = (size_t)(comma - text);
    if (length >= sizeof key) return false;
    memcpy(key, text, length);
    key[length] = 0;
    if (!row_type_parse(key, &parsed.k) || !row_type_parse(comma + 1, &parsed.v)) return false;
    *out = parsed;
    return true;
}

const char *kv_type_name(KvType type, char *text) {
    if (type.k == type.v)
        snprintf(text, KV_TYPE_ROOM, "%s", row_type_name(type.k));
    else
        snprintf(text, KV_TYPE_ROOM, "%s,%s", row_type_name(type.k), row_type_name(type.v));
    return text;
}
