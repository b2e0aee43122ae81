/* safetensors.h -- reading (memory-mapped, every offset checked) and writing of .safetensors:
 * 8 bytes of header length, a JSON header, the tensors' bytes. Values of F64, F32, BF16 and F16; of
 * all other types the sizes alone. */
#ifndef KVLAB_SAFETENSORS_H
#define KVLAB_SAFETENSORS_H

#include <stddef.h>

#include "error.h"

/* TENSOR_OPAQUE: integers, fp8 and narrower, whose values are not read. */
typedef enum { TENSOR_F64, TENSOR_F32, TENSOR_BF16, TENSOR_F16, TENSOR_OPAQUE } TensorType;
enum { TENSOR_RANK_MOST = 8 };

typedef struct {
    const char *name;
    TensorType type;
    size_t rank, shape[TENSOR_RANK_MOST];
    size_t elements;
    size_t bytes;      /* of a tensor that was read from a file; so is what follows */
    const char *dtype; /* "F8_E4M3": as its file has it */
    const void *data;  /* little-endian, dense, row-major; maybe unaligned */
} Tensor;

typedef struct Safetensors Safetensors;

/* Opens a file. Refused with ERR_INPUT: a file that is no regular file or shorter than its header
 * says, a header over 100 MB, of more than a million values or not a JSON object, unknown types,
 * shapes that overflow or do not match their bytes, overlapping tensors or gaps, repeated names.
 * ERR_MACHINE: it cannot be mapped. A file must not shrink while it is open. */
Status safetensors_open(Safetensors **file, const char *path, Error *err);
/* The same from memory that stays with the caller. For fuzzing. */
Status safetensors_parse(Safetensors **file, const char *name, const void *bytes, size_t size,
                         Error *err);

/* Opens a file for its header alone: tensors of every type of the format, held to the same rules;
 * their data is NULL. */
Status safetensors_open_header(Safetensors **file, const char *path, Error *err);
Status safetensors_parse_header(Safetensors **file, const char *name, const void *bytes,
                                size_t size, Error *err);

void safetensors_close(Safetensors *file);

size_t safetensors_count(const Safetensors *file);
const Tensor *safetensors_tensor(const Safetensors *file, size_t i);
const Tensor *safetensors_find(const Safetensors *file, const char *name); /* NULL: none */
/* A value of __metadata__, or NULL. */
const char *safetensors_metadata(const Safetensors *file, const char *key);

/* All elements [tensor->elements] as float or double: exact where the type allows, else rounded to
 * the nearest. */
void tensor_read(const Tensor *tensor, float *out);
void tensor_read_f64(const Tensor *tensor, double *out);

/* Elements first .. first + count - 1 of a dense tensor, as one of a single dimension. */
Tensor tensor_slice(const Tensor *tensor, size_t first, size_t count);

/* Writes a file, whole or not at all (a neighbour is written, synced, then renamed), the tensors in
 * the order given. Metadata: pairs of key and value. Errors: ERR_INPUT for what the reader would
 * refuse (names repeated or not UTF-8, elements that are not the product of the shape), ERR_MACHINE
 * for the disk; the file that was there then stays. */
Status safetensors_write(const char *path, size_t count, const Tensor *tensors, size_t pairs,
                         const char *const (*metadata)[2], Error *err);

#endif
