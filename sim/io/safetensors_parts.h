/* safetensors_parts.h -- what the reader (safetensors.c) and the writer (safetensors_write.c)
 * share. Nobody else's. */
#ifndef KVLAB_SAFETENSORS_PARTS_H
#define KVLAB_SAFETENSORS_PARTS_H

#include "safetensors.h"

/* The first bytes of a file: the length of the header, little-endian. */
enum { LENGTH_BYTES = 8, HEADER_BYTES_MOST = 100000000 };

#define METADATA_KEY "__metadata__"

/* "F32" and the like; the bytes of one element. */
const char *tensor_type_name(TensorType type);
size_t tensor_type_bytes(TensorType type);

/* Reads a header and holds it to every rule of the format, for tensors in data [data_bytes]. data
 * may be NULL, for the rules alone: the tensors then point nowhere. Close what comes out. */
Status safetensors_index(Safetensors **file, const char *name, const char *header,
                         size_t header_bytes, const void *data, size_t data_bytes, Error *err);

#endif
