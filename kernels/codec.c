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

RowFormat row_format(RowType type, size_t n) {
    return (RowFormat){ .type = type, .n = n };
}

RowFormat row_format_latent(RowType type, size_t latent, size_t rope) {
    return (RowFormat){ .type = type, .n = latent + rope, .latent = latent };
}

const char *row_format_misfit(RowFormat format) {
    if (format.type == ROW_FP8_DS_MLA) {
        if (!format.latent) return "stores the latent of MLA, not keys and values of heads";
        if (format.latent % TILE) return "needs a latent (kv_lora_rank) of a multiple of 128";
        return NULL;
    }
    if (format.n % row_types[format.type].group) return "needs rows of a multiple of 32 values";
    return NULL;
}

size_t row_bytes(RowFormat format) {
    const size_t group = row_types[format.type].group, bytes = row_types[format.type].group_bytes;
    if (format.type == ROW_FP8_DS_MLA)
        return format.latent / group * bytes + 2 * (format.n - format.latent);
    const bool cast = format.type == ROW_FP8 && format.latent;
    return format.n / group * bytes + (cast ? 0 : row_types[format.type].row_bytes);
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
