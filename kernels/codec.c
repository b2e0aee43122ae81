/* codec.c -- names and sizes of the row types, out of one table. */
#include "codec.h"

#include <string.h>

static const struct {
    const char *name;
    size_t element_bytes;
} row_types[ROW_TYPE_COUNT] = {
    [ROW_F32] = { "f32", 4 },
    [ROW_BF16] = { "bf16", 2 },
    [ROW_F16] = { "f16", 2 },
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

size_t row_bytes(RowType type, size_t n) {
    return n * row_types[type].element_bytes;
}
