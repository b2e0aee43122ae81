/* gguf_files.h -- makes small .gguf files in memory for tests: pairs first, then tensors. */
#ifndef KVLAB_GGUF_FILES_H
#define KVLAB_GGUF_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { GGUF_FILE_ROOM = 1 << 20, GGUF_ALIGNMENT = 32 };

typedef struct {
    unsigned char pairs[65536], rows[65536];
    size_t pairs_used, rows_used, data; /* bytes of each part */
    uint64_t pair_count, row_count;
} GgufFile;

static inline void gguf_put(unsigned char *part, size_t *used, const void *bytes, size_t size) {
    memcpy(part + *used, bytes, size);
    *used += size;
}

static inline void gguf_put_name(unsigned char *part, size_t *used, const char *name) {
    const uint64_t length = strlen(name);
    gguf_put(part, used, &length, 8);
    gguf_put(part, used, name, (size_t)length);
}

static inline void gguf_head(GgufFile *f, const char *key, uint32_t type) {
    gguf_put_name(f->pairs, &f->pairs_used, key);
    gguf_put(f->pairs, &f->pairs_used, &type, 4);
    f->pair_count++;
}

static inline void gguf_u32(GgufFile *f, const char *key, uint32_t value) {
    gguf_head(f, key, 4);
    gguf_put(f->pairs, &f->pairs_used, &value, 4);
}

static inline void gguf_string(GgufFile *f, const char *key, const char *value) {
    gguf_head(f, key, 8);
    gguf_put_name(f->pairs, &f->pairs_used, value);
}

/* A list of u32. */
static inline void gguf_list(GgufFile *f, const char *key, const uint32_t *values, uint64_t count) {
    const uint32_t item = 4;
    gguf_head(f, key, 9);
    gguf_put(f->pairs, &f->pairs_used, &item, 4);
    gguf_put(f->pairs, &f->pairs_used, &count, 8);
    gguf_put(f->pairs, &f->pairs_used, values, 4 * (size_t)count);
}

/* `count` tokens of one letter each. */
static inline void gguf_tokens(GgufFile *f, uint64_t count) {
    const uint32_t item = 8;
    gguf_head(f, "tokenizer.ggml.tokens", 9);
    gguf_put(f->pairs, &f->pairs_used, &item, 4);
    gguf_put(f->pairs, &f->pairs_used, &count, 8);
    for (uint64_t i = 0; i < count; i++) gguf_put_name(f->pairs, &f->pairs_used, "a");
}

/* A tensor of `bytes` bytes in ggml's type of that number. */
static inline void gguf_row(GgufFile *f, const char *name, uint32_t type, uint64_t columns,
                            uint64_t rows, size_t bytes) {
    const uint32_t rank = 2;
    const uint64_t offset = f->data;
    gguf_put_name(f->rows, &f->rows_used, name);
    gguf_put(f->rows, &f->rows_used, &rank, 4);
    gguf_put(f->rows, &f->rows_used, &columns, 8);
    gguf_put(f->rows, &f->rows_used, &rows, 8);
    gguf_put(f->rows, &f->rows_used, &type, 4);
    gguf_put(f->rows, &f->rows_used, &offset, 8);
    f->row_count++;
    f->data += (bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
}

/* The whole file; returns its size. */
static inline size_t gguf_bytes(const GgufFile *f, unsigned char out[GGUF_FILE_ROOM]) {
    const uint32_t version = 3;
    size_t used = 0;
    gguf_put(out, &used, "GGUF", 4);
    gguf_put(out, &used, &version, 4);
    gguf_put(out, &used, &f->row_count, 8);
    gguf_put(out, &used, &f->pair_count, 8);
    gguf_put(out, &used, f->pairs, f->pairs_used);
    gguf_put(out, &used, f->rows, f->rows_used);
    const size_t padded = (used + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
    memset(out + used, 0, padded - used + f->data);
    return padded + f->data;
}

#endif
