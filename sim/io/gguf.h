/* gguf.h -- reads the metadata and the tensor table of a .gguf file (llama.cpp's), every length and
 * offset checked; the tensors' values stay where they are.
 *
 *   | "GGUF" | u32 version | u64 tensors | u64 pairs | pairs | tensor table | padding | tensors |
 *
 * A pair is a key, a type and a value; a row of the table a name, a shape, a type, an offset.
 * Versions 2 and 3, little-endian. Layout: ggml's docs/gguf.md. */
#ifndef KVLAB_GGUF_H
#define KVLAB_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { GGUF_NAME_ROOM = 256, GGUF_RANK_MOST = 4 };

typedef struct Gguf Gguf;

/* Of pairs and of items of arrays, by their numbers in files. */
typedef enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
} GgufType;

typedef struct {
    GgufType type;
    GgufType item_type;         /* of an array */
    size_t count;               /* items of an array, bytes of a string, else 1 */
    const unsigned char *bytes; /* of the value, unaligned; of the first item or character */
} GgufValue;

typedef struct {
    char name[GGUF_NAME_ROOM];
    const char *type; /* "Q4_K" */
    size_t rank, shape[GGUF_RANK_MOST];
    size_t elements, bytes;
} GgufTensor;

/* Opens a file. Refused with ERR_INPUT: what is no GGUF or of another version, counts and lengths
 * that the file cannot hold, keys or tensors given twice, types that are not known, rows that do
 * not fill their blocks, tensors that overlap, are not aligned or reach past the end of the file.
 * ERR_MACHINE: it cannot be mapped. A file must not shrink while it is open. */
Status gguf_open(Gguf **file, const char *path, Error *err);
/* The same from memory that stays with the caller. For fuzzing. */
Status gguf_parse(Gguf **file, const char *name, const void *bytes, size_t size, Error *err);
void gguf_close(Gguf *file);

/* Pairs in file order; a key copied into `key`. */
size_t gguf_pairs(const Gguf *file);
void gguf_pair(const Gguf *file, size_t i, char key[GGUF_NAME_ROOM], GgufValue *value);

/* The value of a key; false when there is none. */
bool gguf_find(const Gguf *file, const char *key, GgufValue *value);

/* Item i of an array of numbers or flags; false otherwise. */
bool gguf_item(const GgufValue *array, size_t i, GgufValue *item);

/* A number or flag as a number; a string cut to fit. False for other types. */
bool gguf_number(const GgufValue *value, double *out);
bool gguf_text(const GgufValue *value, char *out, size_t size);

size_t gguf_tensors(const Gguf *file);
void gguf_tensor(const Gguf *file, size_t i, GgufTensor *out);

#endif
