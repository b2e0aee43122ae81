/* safetensors_write.c -- writes .safetensors, whole or not at all; see safetensors.h.
 *
 * The header is built in memory, in the order and the compact form that the format's own library
 * writes, and passes the rules of the reader before a byte reaches the disk: what this file writes
 * can be read. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "safetensors_parts.h"
#include "textfile.h"

/* The header under construction; after a failed allocation nothing more is put into it. */
typedef struct {
    char *bytes;
    size_t used, capacity;
    Status status;
    Error *err;
} Header;

static void put(Header *header, const char *bytes, size_t count) {
    if (header->status != OK || count == 0) return;
    char *room = buffer_grown(header->bytes, &header->capacity, header->used, header->used + count,
                              1, "the header of a safetensors file", header->err);
    if (!room) {
        header->status = ERR_MACHINE;
        return;
    }
    header->bytes = room;
    memcpy(room + header->used, bytes, count);
    header->used += count;
}

static void put_text(Header *header, const char *text) {
    put(header, text, strlen(text));
}

static void put_number(Header *header, size_t number) {
    char digits[24];
    put(header, digits, (size_t)snprintf(digits, sizeof digits, "%zu", number));
}

static void put_quoted(Header *header, const char *text) {
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    put_text(header, "\"");
    for (const char *c = text; *c; c++) {
        const char *special = strchr(plain, *c);
        if (special) {
            put(header, (const char[]){ '\\', letter[special - plain] }, 2);
        } else if ((unsigned char)*c < 0x20) {
            char escape[8];
            put(header, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*c));
        } else {
            put(header, c, 1);
        }
    }
    put_text(header, "\"");
}

static void put_metadata(Header *header, size_t pairs, const char *const (*metadata)[2]) {
    put_text(header, "\"" METADATA_KEY "\":{");
    for (size_t i = 0; i < pairs; i++) {
        if (i) put_text(header, ",");
        put_quoted(header, metadata[i][0]);
        put_text(header, ":");
        put_quoted(header, metadata[i][1]);
    }
    put_text(header, "}");
}

static void put_tensor(Header *header, const Tensor *tensor, size_t begin, size_t end) {
    put_quoted(header, tensor->name);
    put_text(header, ":{\"dtype\":");
    put_quoted(header, tensor_type_name(tensor->type));
    put_text(header, ",\"shape\":[");
    for (size_t i = 0; i < tensor->rank; i++) {
        if (i) put_text(header, ",");
        put_number(header, tensor->shape[i]);
    }
    put_text(header, "],\"data_offsets\":[");
    put_number(header, begin);
    put_text(header, ",");
    put_number(header, end);
    put_text(header, "]}");
}

static size_t data_bytes(const Tensor *tensor) {
    return tensor->elements * tensor_type_bytes(tensor->type);
}

/* The padded header; *total becomes the bytes of data that follow it. */
static Status build(Header *header, const char *path, size_t count, const Tensor *tensors,
                    size_t pairs, const char *const (*metadata)[2], size_t *total, Error *err) {
    size_t end = 0;
    put_text(header, "{");
    if (pairs) put_metadata(header, pairs, metadata);
    for (size_t i = 0; i < count; i++) {
        const Tensor *tensor = &tensors[i];
        assert(tensor->rank <= TENSOR_RANK_MOST);
        if (strcmp(tensor->name, METADATA_KEY) == 0)
            return fail_at(err, path, 0, 0, "no tensor may be called " METADATA_KEY);
        const size_t begin = end;
        end += data_bytes(tensor);
        if (i || pairs) put_text(header, ",");
        put_tensor(header, tensor, begin, end);
    }
    put_text(header, "}");
    while (header->status == OK && header->used % LENGTH_BYTES) put(header, " ", 1);
    *total = end;
    return header->status;
}

/* Holds a header to the reader's rules. */
static Status check(const Header *header, const char *path, size_t total, Error *err) {
    if (header->used > HEADER_BYTES_MOST)
        return fail_at(err, path, 0, 0, "a header of %zu bytes, at most %d are written",
                       header->used, HEADER_BYTES_MOST);
    Safetensors *read = NULL;
    TRY(safetensors_index(&read, path, header->bytes, header->used, NULL, total, err));
    safetensors_close(read);
    return OK;
}

static Status write_bytes(const TextFile *file, const void *bytes, size_t count, Error *err) {
    if (count == 0 || fwrite(bytes, 1, count, file->stream) == count) return OK;
    return fail(err, ERR_MACHINE, "cannot write %.400s: %s", file->path, strerror(errno));
}

static Status write_all(const TextFile *file, const Header *header, size_t count,
                        const Tensor *tensors, Error *err) {
    unsigned char length[LENGTH_BYTES];
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)header->used >> 8 * i);
    TRY(write_bytes(file, length, sizeof length, err));
    TRY(write_bytes(file, header->bytes, header->used, err));
    for (size_t i = 0; i < count; i++)
        TRY(write_bytes(file, tensors[i].data, data_bytes(&tensors[i]), err));
    return OK;
}

Status safetensors_write(const char *path, size_t count, const Tensor *tensors, size_t pairs,
                         const char *const (*metadata)[2], Error *err) {
    Header header = { .err = err };
    size_t total = 0;
    Status status = build(&header, path, count, tensors, pairs, metadata, &total, err);
    if (status == OK) status = check(&header, path, total, err);
    TextFile file;
    if (status == OK) status = textfile_open(&file, path, err);
    if (status == OK) {
        status = write_all(&file, &header, count, tensors, err);
        status = textfile_close(&file, status, err);
    }
    buffer_free(header.bytes);
    return status;
}
