/* safetensors.c -- reads .safetensors and believes nothing; see safetensors.h.
 *
 *   | u64 n | JSON header, n bytes, padded with spaces | tensors' bytes, without gaps |
 *
 * The header is an object: a tensor's name -> {"dtype", "shape", "data_offsets": [begin, end)},
 * offsets counted from the end of the header; "__metadata__" -> an object of strings. Data is
 * handed out where it lies in the mapping, once sizes and offsets all agree. */
#include "safetensors.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"
#include "kernel.h"
#include "mapping.h"
#include "safetensors_parts.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read as they lie in files");

/* A value that JSON holds takes up to some 300 bytes; tensors have about eight values each. */
enum { HEADER_VALUES_MOST = 1 << 20 };

struct Safetensors {
    Mapping mapping; /* empty: the bytes are the caller's */
    Json *header;    /* holds the names and the metadata */
    size_t count;
    Tensor *tensors;       /* in the order of the header */
    const Tensor **sorted; /* by name */
};

/* Bytes [begin, end) of the data, and whose they are. */
typedef struct {
    size_t begin, end;
    const char *tensor;
} Extent;

/* What is being read, for rules and messages. */
typedef struct {
    const char *file;
    const unsigned char *data;
    size_t data_bytes;
    bool any_type; /* also those whose values are not read */
} Source;

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [TENSOR_F64] = { "F64", 8 }, [TENSOR_F32] = { "F32", 4 },       [TENSOR_BF16] = { "BF16", 2 },
    [TENSOR_F16] = { "F16", 2 }, [TENSOR_OPAQUE] = { "opaque", 0 },
};
enum { TYPE_COUNT = TENSOR_OPAQUE };

/* The types whose values are not read. */
static const struct {
    const char *name;
    size_t bits;
} opaque_types[] = {
    { "BOOL", 8 },    { "U8", 8 },      { "I8", 8 },      { "F8_E4M3", 8 },
    { "F8_E5M2", 8 }, { "F8_E8M0", 8 }, { "F6_E2M3", 6 }, { "F6_E3M2", 6 },
    { "F4", 4 },      { "I16", 16 },    { "U16", 16 },    { "I32", 32 },
    { "U32", 32 },    { "I64", 64 },    { "U64", 64 },    { "C64", 64 },
};
enum { OPAQUE_COUNT = sizeof opaque_types / sizeof opaque_types[0] };

const char *tensor_type_name(TensorType type) {
    return types[type].name;
}

size_t tensor_type_bytes(TensorType type) {
    return types[type].bytes;
}

/* ---- one tensor of the header ---- */

static bool json_size_t(const Json *json, size_t *out) {
    long long value;
    if (!json_whole(json, &value) || value < 0 || (unsigned long long)value > SIZE_MAX)
        return false;
    *out = (size_t)value;
    return true;
}

/* The type, and the bits of one element. */
static Status read_type(const Source *from, Tensor *tensor, const Json *entry, size_t *bits,
                        Error *err) {
    const char *dtype = json_text(json_get(entry, "dtype"));
    if (!dtype)
        return fail_at(err, from->file, 0, 0, "tensor '%.200s': dtype is missing or not a string",
                       tensor->name);
    tensor->dtype = dtype;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(dtype, types[i].name) != 0) continue;
        tensor->type = (TensorType)i;
        *bits = 8 * types[i].bytes;
        return OK;
    }
    for (size_t i = 0; from->any_type && i < OPAQUE_COUNT; i++) {
        if (strcmp(dtype, opaque_types[i].name) != 0) continue;
        tensor->type = TENSOR_OPAQUE;
        *bits = opaque_types[i].bits;
        return OK;
    }
    return fail_at(err, from->file, 0, 0, "tensor '%.200s': dtype '%.40s' is none of %s",
                   tensor->name, dtype,
                   from->any_type ? "the types of safetensors" : "F64, F32, BF16, F16");
}

/* Also computes the elements, and the bytes they take. The product of all sizes that are not zero
 * must fit, so that a reader may multiply any of them. */
static Status read_shape(const Source *from, Tensor *tensor, const Json *entry, size_t element_bits,
                         Error *err) {
    const Json *shape = json_get(entry, "shape");
    if (!json_is_array(shape))
        return fail_at(err, from->file, 0, 0, "tensor '%.200s': shape is missing or not an array",
                       tensor->name);
    tensor->rank = json_size(shape);
    if (tensor->rank > TENSOR_RANK_MOST)
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.200s': shape has %zu dimensions, at most %d are read",
                       tensor->name, tensor->rank, TENSOR_RANK_MOST);
    size_t bits = element_bits;
    bool empty = false;
    for (size_t i = 0; i < tensor->rank; i++) {
        size_t *length = &tensor->shape[i];
        if (!json_size_t(json_at(shape, i), length))
            return fail_at(err, from->file, 0, 0,
                           "tensor '%.200s': shape[%zu] is not a whole number from 0", tensor->name,
                           i);
        if (*length == 0)
            empty = true;
        else if (__builtin_mul_overflow(bits, *length, &bits))
            return fail_at(err, from->file, 0, 0, "tensor '%.200s': shape overflows", tensor->name);
    }
    if (empty) bits = 0;
    if (bits % 8)
        return fail_at(err, from->file, 0, 0, "tensor '%.200s': %zu bits are no whole bytes",
                       tensor->name, bits);
    tensor->bytes = bits / 8;
    tensor->elements = bits / element_bits;
    return OK;
}

static Status read_offsets(const Source *from, Tensor *tensor, const Json *entry, Extent *extent,
                           Error *err) {
    const Json *offsets = json_get(entry, "data_offsets");
    if (!json_is_array(offsets) || json_size(offsets) != 2 ||
        !json_size_t(json_at(offsets, 0), &extent->begin) ||
        !json_size_t(json_at(offsets, 1), &extent->end))
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.200s': data_offsets are missing or not two whole numbers from 0",
                       tensor->name);
    if (extent->begin > extent->end)
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.200s': data_offsets [%zu, %zu] end before they begin",
                       tensor->name, extent->begin, extent->end);
    if (extent->end > from->data_bytes)
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.200s': data_offsets [%zu, %zu] reach past the %zu bytes of data",
                       tensor->name, extent->begin, extent->end, from->data_bytes);
    extent->tensor = tensor->name;
    return OK;
}

static Status read_tensor(const Source *from, Tensor *tensor, const Json *entry, Extent *extent,
                          Error *err) {
    if (!json_is_object(entry))
        return fail_at(err, from->file, 0, 0, "tensor '%.200s': not an object", tensor->name);
    size_t bits = 0;
    TRY(read_type(from, tensor, entry, &bits, err));
    TRY(read_shape(from, tensor, entry, bits, err));
    TRY(read_offsets(from, tensor, entry, extent, err));
    if (extent->end - extent->begin != tensor->bytes)
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.200s': dtype and shape take %zu bytes, data_offsets hold %zu",
                       tensor->name, tensor->bytes, extent->end - extent->begin);
    tensor->data = from->data ? from->data + extent->begin : NULL;
    return OK;
}

/* ---- the header as a whole ---- */

static int by_place(const void *a, const void *b) {
    const Extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b) {
    const Tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Every byte of the data belongs to exactly one tensor. Sorts the extents. */
static Status check_cover(const Source *from, Extent *extents, size_t count, Error *err) {
    qsort(extents, count, sizeof *extents, by_place);
    size_t covered = 0;
    for (size_t i = 0; i < count; i++) {
        const Extent *e = &extents[i];
        if (e->begin < covered)
            return fail_at(err, from->file, 0, 0, "tensor '%.200s': overlaps tensor '%.200s'",
                           e->tensor, extents[i - 1].tensor);
        if (e->begin > covered)
            return fail_at(err, from->file, 0, 0,
                           "tensor '%.200s': the %zu bytes before it belong to no tensor",
                           e->tensor, e->begin - covered);
        covered = e->end;
    }
    if (covered < from->data_bytes)
        return fail_at(err, from->file, 0, 0, "the last %zu bytes belong to no tensor",
                       from->data_bytes - covered);
    return OK;
}

static Status check_metadata(const Source *from, const Json *metadata, Error *err) {
    if (!json_is_object(metadata))
        return fail_at(err, from->file, 0, 0, METADATA_KEY " is not an object");
    for (void *at = json_first(metadata); at; at = json_next(metadata, at))
        if (!json_text(json_value(at)))
            return fail_at(err, from->file, 0, 0, METADATA_KEY " '%.200s': not a string",
                           json_key(at));
    return OK;
}

/* Fills the tensors, and room for as many extents. */
static Status read_entries(const Source *from, Safetensors *draft, Extent *extents, Error *err) {
    for (void *at = json_first(draft->header); at; at = json_next(draft->header, at)) {
        if (strcmp(json_key(at), METADATA_KEY) == 0) {
            TRY(check_metadata(from, json_value(at), err));
            continue;
        }
        Tensor *tensor = &draft->tensors[draft->count];
        tensor->name = json_key(at);
        TRY(read_tensor(from, tensor, json_value(at), &extents[draft->count], err));
        draft->sorted[draft->count++] = tensor;
    }
    TRY(check_cover(from, extents, draft->count, err));
    qsort(draft->sorted, draft->count, sizeof *draft->sorted, by_name);
    return OK;
}

/* Whether the header could ask for more memory than a header should. Strings are skipped. */
static bool too_many_values(const char *text, size_t length) {
    size_t values = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == ',' || c == '[' || c == '{'))
            values++;
    }
    return values > HEADER_VALUES_MOST;
}

static Status read_header(Safetensors **file, const Source *from, const char *header,
                          size_t header_bytes, Error *err) {
    const char *name = from->file;
    if (header_bytes == 0 || header[0] != '{')
        return fail_at(err, name, 0, 0, "the header does not begin with '{': not safetensors");
    if (too_many_values(header, header_bytes))
        return fail_at(err, name, 0, 0, "the header holds over %d values", HEADER_VALUES_MOST);

    Safetensors *draft = NULL;
    Extent *extents = NULL;
    TRY(BUFFER(&draft, 1, "a safetensors file", err));
    Status status = json_parse(&draft->header, name, header, header_bytes, err);
    const size_t most = json_size(draft->header);
    if (status == OK) status = BUFFER(&draft->tensors, most, "tensors", err);
    if (status == OK) status = BUFFER(&draft->sorted, most, "names of tensors", err);
    if (status == OK) status = BUFFER(&extents, most, "extents of tensors", err);
    if (status == OK) status = read_entries(from, draft, extents, err);
    buffer_free(extents);
    if (status == OK)
        *file = draft;
    else
        safetensors_close(draft);
    return status;
}

Status safetensors_index(Safetensors **file, const char *name, const char *header,
                         size_t header_bytes, const void *data, size_t data_bytes, Error *err) {
    const Source from = { name, data, data_bytes, false };
    return read_header(file, &from, header, header_bytes, err);
}

/* ---- files ---- */

static Status parse(Safetensors **file, const char *name, const void *bytes, size_t size,
                    bool header_only, Error *err) {
    if (size < LENGTH_BYTES)
        return fail_at(err, name, 0, 0, "%zu bytes are too few for a safetensors file", size);
    const unsigned char *at = bytes;
    uint64_t length = 0;
    for (size_t i = LENGTH_BYTES; i-- > 0;) length = length << 8 | at[i];
    if (length > HEADER_BYTES_MOST)
        return fail_at(err, name, 0, 0, "a header of %llu bytes, at most %d are read",
                       (unsigned long long)length, HEADER_BYTES_MOST);
    const size_t header_bytes = (size_t)length, left = size - LENGTH_BYTES;
    if (header_bytes > left)
        return fail_at(err, name, 0, 0, "a header of %zu bytes, but %zu follow: cut short?",
                       header_bytes, left);
    const unsigned char *header = at + LENGTH_BYTES, *data = header + header_bytes;
    const Source from = { name, header_only ? NULL : data, left - header_bytes, header_only };
    return read_header(file, &from, (const char *)header, header_bytes, err);
}

Status safetensors_parse(Safetensors **file, const char *name, const void *bytes, size_t size,
                         Error *err) {
    return parse(file, name, bytes, size, false, err);
}

Status safetensors_parse_header(Safetensors **file, const char *name, const void *bytes,
                                size_t size, Error *err) {
    return parse(file, name, bytes, size, true, err);
}

static Status open_file(Safetensors **file, const char *path, bool header_only, Error *err) {
    Mapping mapping;
    TRY(mapping_open(&mapping, path, err));
    Safetensors *draft = NULL;
    const Status status = parse(&draft, path, mapping.bytes, mapping.size, header_only, err);
    if (status != OK) {
        mapping_close(&mapping);
        return status;
    }
    draft->mapping = mapping;
    *file = draft;
    return OK;
}

Status safetensors_open(Safetensors **file, const char *path, Error *err) {
    return open_file(file, path, false, err);
}

Status safetensors_open_header(Safetensors **file, const char *path, Error *err) {
    return open_file(file, path, true, err);
}

void safetensors_close(Safetensors *file) {
    if (!file) return;
    mapping_close(&file->mapping);
    json_free(file->header);
    buffer_free(file->tensors);
    buffer_free(file->sorted);
    buffer_free(file);
}

/* ---- what is in it ---- */

size_t safetensors_count(const Safetensors *file) {
    return file->count;
}

const Tensor *safetensors_tensor(const Safetensors *file, size_t i) {
    return &file->tensors[i];
}

const Tensor *safetensors_find(const Safetensors *file, const char *name) {
    size_t low = 0, high = file->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(file->sorted[middle]->name, name);
        if (order == 0) return file->sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *safetensors_metadata(const Safetensors *file, const char *key) {
    return json_text(json_get(json_get(file->header, METADATA_KEY), key));
}

/* ---- values ---- */

/* Elements [start, start + n) as float. The reference tier: the same on every machine. */
static void read_floats(const Kernels *ref, const Tensor *tensor, size_t start, size_t n,
                        float *out) {
    const unsigned char *at =
        (const unsigned char *)tensor->data + start * types[tensor->type].bytes;
    const RowFormat bf16 = row_format(ROW_BF16, n), f16 = row_format(ROW_F16, n);
    switch (tensor->type) {
    case TENSOR_F64:
        for (size_t i = 0; i < n; i++) {
            double value;
            memcpy(&value, at + i * sizeof value, sizeof value);
            out[i] = (float)value;
        }
        break;
    case TENSOR_F32:
        memcpy(out, at, n * sizeof *out);
        break;
    case TENSOR_BF16:
        ref->decode[ROW_BF16](&bf16, n, at, out);
        break;
    case TENSOR_F16:
        ref->decode[ROW_F16](&f16, n, at, out);
        break;
    case TENSOR_OPAQUE:
        assert(!"values of this type are not read");
    }
}

void tensor_read(const Tensor *tensor, float *out) {
    if (tensor->elements == 0) return;
    const Kernels ref = kernels_select(0);
    read_floats(&ref, tensor, 0, tensor->elements, out);
}

void tensor_read_f64(const Tensor *tensor, double *out) {
    if (tensor->elements == 0) return;
    if (tensor->type == TENSOR_F64) {
        memcpy(out, tensor->data, tensor->elements * sizeof *out);
        return;
    }
    const Kernels ref = kernels_select(0);
    float part[256];
    for (size_t start = 0, n; start < tensor->elements; start += n) {
        n = tensor->elements - start;
        if (n > sizeof part / sizeof *part) n = sizeof part / sizeof *part;
        read_floats(&ref, tensor, start, n, part);
        for (size_t i = 0; i < n; i++) out[start + i] = (double)part[i];
    }
}

Tensor tensor_slice(const Tensor *tensor, size_t first, size_t count) {
    Tensor slice = *tensor;
    slice.rank = 1;
    slice.shape[0] = slice.elements = count;
    slice.data = (const char *)tensor->data + first * types[tensor->type].bytes;
    return slice;
}
