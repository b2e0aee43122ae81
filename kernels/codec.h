/* codec.h -- how cached rows are stored: the row types, their names and their size in bytes.
 *
 * A row is what one token leaves in the cache for one head (or the latent shared by all heads).
 * Encoding and decoding belong to the kernel table (kernel.h), since every tier has its own. */
#ifndef KVLAB_CODEC_H
#define KVLAB_CODEC_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { ROW_F32, ROW_BF16, ROW_F16, ROW_TYPE_COUNT } RowType;

/* "f32", "bf16", "f16". */
const char *row_type_name(RowType type);

/* The type of that name in *out; false (and *out untouched) when there is none. */
bool row_type_parse(const char *name, RowType *out);

/* Bytes that one row of n values takes in this type, all its metadata included. */
size_t row_bytes(RowType type, size_t n);

#endif
