/* gguf.c -- reads .gguf and believes nothing; see gguf.h. */
#include "gguf.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "mapping.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read as they lie in files");

enum {
    PAIR_BYTES_LEAST = 13,   /* an empty key, a type, a byte */
    TENSOR_BYTES_LEAST = 24, /* an empty name, no sizes, a type, an offset */
    ALIGNMENT = 32,          /* where general.alignment does not say otherwise */
    ALIGNMENT_MOST = 1 << 20,
    DEPTH_MOST = 4 /* of arrays in arrays */
};

typedef struct {
    const unsigned char *at;
    size_t length;
} Name;

typedef struct {
    Name key;
    GgufValue value;
} Pair;

typedef struct {
    Name name;
    size_t rank, shape[GGUF_RANK_MOST];
    size_t type; /* place in `types` */
    size_t elements, begin, bytes;
} Row;

struct Gguf {
    Mapping mapping; /* empty: the bytes are the caller's */
    size_t pair_count, row_count;
    Pair *pairs;
    Row *rows;
};

/* What is read next, and how much is left. */
typedef struct {
    const char *file;
    const unsigned char *at;
    size_t left;
} Cursor;

/* Elements of a block and the bytes they take, by ggml's numbers of types. Those that ggml gave up
 * have gaps in between. */
static const struct {
    uint32_t number;
    const char *name;
    size_t block, bytes;
} types[] = {
    { 0, "F32", 1, 4 },         { 1, "F16", 1, 2 },         { 2, "Q4_0", 32, 18 },
    { 3, "Q4_1", 32, 20 },      { 6, "Q5_0", 32, 22 },      { 7, "Q5_1", 32, 24 },
    { 8, "Q8_0", 32, 34 },      { 9, "Q8_1", 32, 36 },      { 10, "Q2_K", 256, 84 },
    { 11, "Q3_K", 256, 110 },   { 12, "Q4_K", 256, 144 },   { 13, "Q5_K", 256, 176 },
    { 14, "Q6_K", 256, 210 },   { 15, "Q8_K", 256, 292 },   { 16, "IQ2_XXS", 256, 66 },
    { 17, "IQ2_XS", 256, 74 },  { 18, "IQ3_XXS", 256, 98 }, { 19, "IQ1_S", 256, 50 },
    { 20, "IQ4_NL", 32, 18 },   { 21, "IQ3_S", 256, 110 },  { 22, "IQ2_S", 256, 82 },
    { 23, "IQ4_XS", 256, 136 }, { 24, "I8", 1, 1 },         { 25, "I16", 1, 2 },
    { 26, "I32", 1, 4 },        { 27, "I64", 1, 8 },        { 28, "F64", 1, 8 },
    { 29, "IQ1_M", 256, 56 },   { 30, "BF16", 1, 2 },       { 34, "TQ1_0", 256, 54 },
    { 35, "TQ2_0", 256, 66 },   { 39, "MXFP4", 32, 17 },    { 40, "NVFP4", 64, 36 },
};
enum { TYPE_COUNT = sizeof types / sizeof *types };

/* Bytes of a value of a fixed size, 0 of strings and arrays. */
static const size_t value_bytes[GGUF_TYPES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

/* ---- primitive values ---- */

static Status cut_short(const Cursor *from, const char *what, Error *err) {
    return fail_at(err, from->file, 0, 0, "%s is cut short", what);
}

static Status take(Cursor *from, size_t bytes, const char *what, const unsigned char **out,
                   Error *err) {
    if (bytes > from->left) return cut_short(from, what, err);
    *out = from->at;
    from->at += bytes;
    from->left -= bytes;
    return OK;
}

static uint64_t little(const unsigned char *bytes, size_t size) {
    uint64_t value = 0;
    memcpy(&value, bytes, size);
    return value;
}

static Status take_number(Cursor *from, size_t bytes, const char *what, uint64_t *out, Error *err) {
    const unsigned char *at = NULL;
    TRY(take(from, bytes, what, &at, err));
    *out = little(at, bytes);
    return OK;
}

/* A length that the rest of the file can hold, each of at least `least` bytes. */
static Status take_count(Cursor *from, size_t least, const char *what, size_t *out, Error *err) {
    uint64_t value = 0;
    TRY(take_number(from, 8, what, &value, err));
    if (value > from->left / least)
        return fail_at(err, from->file, 0, 0, "%llu for %s, but %zu bytes follow",
                       (unsigned long long)value, what, from->left);
    *out = (size_t)value;
    return OK;
}

/* A name short enough to be one, of printable characters. */
static Status take_name(Cursor *from, const char *what, Name *out, Error *err) {
    size_t length = 0;
    TRY(take_count(from, 1, what, &length, err));
    if (length == 0 || length >= GGUF_NAME_ROOM)
        return fail_at(err, from->file, 0, 0, "%s of %zu bytes; allowed: 1 to %d", what, length,
                       GGUF_NAME_ROOM - 1);
    TRY(take(from, length, what, &out->at, err));
    out->length = length;
    for (size_t i = 0; i < length; i++)
        if (out->at[i] < ' ' || out->at[i] > '~')
            return fail_at(err, from->file, 0, 0, "%s holds a character that is not printable",
                           what);
    return OK;
}

/* ---- pairs ---- */

static Status take_value(Cursor *from, GgufType type, size_t depth, GgufValue *out, Error *err);

static Status take_type(Cursor *from, GgufType *out, Error *err) {
    uint64_t type = 0;
    TRY(take_number(from, 4, "the type of a value", &type, err));
    if (type >= GGUF_TYPES)
        return fail_at(err, from->file, 0, 0, "type %u of a value is not known", (unsigned)type);
    *out = (GgufType)type;
    return OK;
}

static Status take_array(Cursor *from, size_t depth, GgufValue *out, Error *err) {
    TRY(take_type(from, &out->item_type, err));
    const size_t bytes = value_bytes[out->item_type];
    TRY(take_count(from, bytes ? bytes : 8, "the length of an array", &out->count, err));
    if (bytes) return take(from, out->count * bytes, "an array", &out->bytes, err);
    if (depth == DEPTH_MOST)
        return fail_at(err, from->file, 0, 0, "arrays are nested deeper than %d", DEPTH_MOST);
    out->bytes = from->at;
    for (size_t i = 0; i < out->count; i++) {
        GgufValue item;
        TRY(take_value(from, out->item_type, depth + 1, &item, err));
    }
    return OK;
}

static Status take_value(Cursor *from, GgufType type, size_t depth, GgufValue *out, Error *err) {
    *out = (GgufValue){ .type = type, .count = 1 };
    if (type == GGUF_ARRAY) return take_array(from, depth, out, err);
    if (type != GGUF_STRING) return take(from, value_bytes[type], "a value", &out->bytes, err);
    TRY(take_count(from, 1, "the length of a string", &out->count, err));
    return take(from, out->count, "a string", &out->bytes, err);
}

static Status take_pairs(Cursor *from, Gguf *file, Error *err) {
    for (size_t i = 0; i < file->pair_count; i++) {
        Pair *pair = &file->pairs[i];
        GgufType type = GGUF_U8;
        TRY(take_name(from, "a key", &pair->key, err));
        TRY(take_type(from, &type, err));
        TRY(take_value(from, type, 0, &pair->value, err));
    }
    return OK;
}

/* ---- the tensor table ---- */

static Status bad_row(const Cursor *from, const Row *row, const char *what, Error *err) {
    return fail_at(err, from->file, 0, 0, "tensor '%.*s': %s", (int)row->name.length,
                   (const char *)row->name.at, what);
}

static Status take_shape(Cursor *from, Row *row, Error *err) {
    uint64_t rank = 0;
    TRY(take_number(from, 4, "the rank of a tensor", &rank, err));
    if (rank > GGUF_RANK_MOST) return bad_row(from, row, "more than 4 dimensions", err);
    row->rank = (size_t)rank;
    row->elements = 1;
    for (size_t i = 0; i < row->rank; i++) {
        uint64_t length = 0;
        TRY(take_number(from, 8, "the shape of a tensor", &length, err));
        if (length == 0 || length > SIZE_MAX / 64 ||
            __builtin_mul_overflow(row->elements, (size_t)length, &row->elements))
            return bad_row(from, row, "a size of 0, or a shape that overflows", err);
        row->shape[i] = (size_t)length;
    }
    return OK;
}

/* Rows of the first dimension are stored as whole blocks. */
static Status set_bytes(const Cursor *from, Row *row, uint64_t number, Error *err) {
    row->type = 0;
    while (row->type < TYPE_COUNT && types[row->type].number != number) row->type++;
    if (row->type == TYPE_COUNT)
        return fail_at(err, from->file, 0, 0,
                       "tensor '%.*s': type %u, whose size kvlab does not know",
                       (int)row->name.length, (const char *)row->name.at, (unsigned)number);
    const size_t block = types[row->type].block, first = row->rank ? row->shape[0] : 1;
    if (first % block) return bad_row(from, row, "rows that are no whole blocks of its type", err);
    if (__builtin_mul_overflow(row->elements / block, types[row->type].bytes, &row->bytes))
        return bad_row(from, row, "a shape that overflows", err);
    return OK;
}

static Status take_rows(Cursor *from, Gguf *file, Error *err) {
    for (size_t i = 0; i < file->row_count; i++) {
        Row *row = &file->rows[i];
        uint64_t type = 0, offset = 0;
        TRY(take_name(from, "the name of a tensor", &row->name, err));
        TRY(take_shape(from, row, err));
        TRY(take_number(from, 4, "the type of a tensor", &type, err));
        TRY(take_number(from, 8, "the offset of a tensor", &offset, err));
        TRY(set_bytes(from, row, type, err));
        row->begin = (size_t)offset;
    }
    return OK;
}

/* ---- what holds between them ---- */

static int compare_names(const Name *a, const Name *b) {
    const size_t least = a->length < b->length ? a->length : b->length;
    const int order = memcmp(a->at, b->at, least);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int by_name(const void *a, const void *b) {
    return compare_names(*(const Name *const *)a, *(const Name *const *)b);
}

/* `stride` bytes apart lie structures that begin with their name. */
static Status check_unique(const char *file, const void *first, size_t count, size_t stride,
                           const char *what, Error *err) {
    const Name **names = NULL;
    TRY(BUFFER(&names, count, what, err));
    for (size_t i = 0; i < count; i++)
        names[i] = (const Name *)(const void *)((const char *)first + i * stride);
    qsort(names, count, sizeof *names, by_name);
    Status status = OK;
    for (size_t i = 1; i < count && status == OK; i++)
        if (compare_names(names[i - 1], names[i]) == 0)
            status = fail_at(err, file, 0, 0, "%s '%.*s' is given twice", what,
                             (int)names[i]->length, (const char *)names[i]->at);
    buffer_free(names);
    return status;
}

static int by_place(const void *a, const void *b) {
    const Row *const *x = a, *const *y = b;
    if ((*x)->begin != (*y)->begin) return (*x)->begin < (*y)->begin ? -1 : 1;
    return ((*x)->bytes > (*y)->bytes) - ((*x)->bytes < (*y)->bytes);
}

static Status check_places(const Cursor *from, const Gguf *file, size_t alignment, size_t data,
                           Error *err) {
    const Row **sorted = NULL;
    TRY(BUFFER(&sorted, file->row_count, "places of tensors", err));
    for (size_t i = 0; i < file->row_count; i++) sorted[i] = &file->rows[i];
    qsort(sorted, file->row_count, sizeof *sorted, by_place);
    Status status = OK;
    size_t end = 0;
    for (size_t i = 0; i < file->row_count && status == OK; i++) {
        const Row *row = sorted[i];
        if (row->begin % alignment)
            status = bad_row(from, row, "an offset that is not aligned", err);
        else if (row->begin < end)
            status = bad_row(from, row, "overlaps another", err);
        else if (row->begin > data || row->bytes > data - row->begin)
            status = bad_row(from, row, "reaches past the end of the file: cut short?", err);
        else
            end = row->begin + row->bytes;
    }
    buffer_free(sorted);
    return status;
}

static Status find_alignment(const Cursor *from, const Gguf *file, size_t *out, Error *err) {
    GgufValue value;
    double number = ALIGNMENT;
    if (gguf_find(file, "general.alignment", &value) &&
        (value.type != GGUF_U32 || !gguf_number(&value, &number) || number < 1 ||
         number > ALIGNMENT_MOST))
        return fail_at(err, from->file, 0, 0, "general.alignment; allowed: a u32 of 1 to %d",
                       ALIGNMENT_MOST);
    *out = (size_t)number;
    return OK;
}

/* ---- the file as a whole ---- */

static Status take_head(Cursor *from, size_t *tensors, size_t *pairs, Error *err) {
    const unsigned char *magic = NULL;
    uint64_t version = 0;
    TRY(take(from, 4, "the file", &magic, err));
    if (memcmp(magic, "GGUF", 4) != 0)
        return fail_at(err, from->file, 0, 0, "does not begin with GGUF");
    TRY(take_number(from, 4, "the version", &version, err));
    if (version != 2 && version != 3)
        return fail_at(err, from->file, 0, 0, "version %llu; allowed: 2, 3",
                       (unsigned long long)version);
    TRY(take_count(from, TENSOR_BYTES_LEAST, "the number of tensors", tensors, err));
    return take_count(from, PAIR_BYTES_LEAST, "the number of pairs", pairs, err);
}

static Status read_all(Gguf *file, Cursor *from, size_t size, Error *err) {
    size_t alignment = 0;
    TRY(take_head(from, &file->row_count, &file->pair_count, err));
    TRY(BUFFER(&file->pairs, file->pair_count, "pairs of a GGUF file", err));
    TRY(BUFFER(&file->rows, file->row_count, "tensors of a GGUF file", err));
    TRY(take_pairs(from, file, err));
    TRY(take_rows(from, file, err));
    TRY(check_unique(from->file, file->pairs, file->pair_count, sizeof *file->pairs, "key", err));
    TRY(check_unique(from->file, file->rows, file->row_count, sizeof *file->rows, "tensor", err));
    TRY(find_alignment(from, file, &alignment, err));
    const size_t padding = (alignment - (size - from->left) % alignment) % alignment;
    return check_places(from, file, alignment, padding < from->left ? from->left - padding : 0,
                        err);
}

Status gguf_parse(Gguf **file, const char *name, const void *bytes, size_t size, Error *err) {
    Gguf *draft = NULL;
    Cursor from = { name, bytes, size };
    TRY(BUFFER(&draft, 1, "a GGUF file", err));
    const Status status = read_all(draft, &from, size, err);
    if (status == OK)
        *file = draft;
    else
        gguf_close(draft);
    return status;
}

Status gguf_open(Gguf **file, const char *path, Error *err) {
    Mapping mapping;
    TRY(mapping_open(&mapping, path, err));
    const Status status = gguf_parse(file, path, mapping.bytes, mapping.size, err);
    if (status == OK)
        (*file)->mapping = mapping;
    else
        mapping_close(&mapping);
    return status;
}

void gguf_close(Gguf *file) {
    if (!file) return;
    mapping_close(&file->mapping);
    buffer_free(file->pairs);
    buffer_free(file->rows);
    buffer_free(file);
}

/* ---- what is in it ---- */

static void copy_name(char out[GGUF_NAME_ROOM], const Name *name) {
    memcpy(out, name->at, name->length);
    out[name->length] = '\0';
}

size_t gguf_pairs(const Gguf *file) {
    return file->pair_count;
}

void gguf_pair(const Gguf *file, size_t i, char key[GGUF_NAME_ROOM], GgufValue *value) {
    copy_name(key, &file->pairs[i].key);
    *value = file->pairs[i].value;
}

bool gguf_find(const Gguf *file, const char *key, GgufValue *value) {
    const size_t length = strlen(key);
    for (size_t i = 0; i < file->pair_count; i++) {
        const Name *name = &file->pairs[i].key;
        if (name->length != length || memcmp(name->at, key, length) != 0) continue;
        *value = file->pairs[i].value;
        return true;
    }
    return false;
}

bool gguf_item(const GgufValue *array, size_t i, GgufValue *item) {
    if (array->type != GGUF_ARRAY || i >= array->count) return false;
    const size_t bytes = value_bytes[array->item_type];
    if (!bytes) return false;
    *item = (GgufValue){ .type = array->item_type, .count = 1, .bytes = array->bytes + i * bytes };
    return true;
}

bool gguf_number(const GgufValue *value, double *out) {
    const size_t size = value_bytes[value->type];
    if (!size) return false;
    const uint64_t bits = little(value->bytes, size);
    float narrow;
    switch (value->type) {
    case GGUF_I8:
        *out = (double)(int8_t)bits;
        return true;
    case GGUF_I16:
        *out = (double)(int16_t)bits;
        return true;
    case GGUF_I32:
        *out = (double)(int32_t)bits;
        return true;
    case GGUF_I64:
        *out = (double)(int64_t)bits;
        return true;
    case GGUF_F64:
        memcpy(out, value->bytes, sizeof *out);
        return true;
    case GGUF_F32:
        memcpy(&narrow, value->bytes, sizeof narrow);
        *out = (double)narrow;
        return true;
    case GGUF_BOOL:
        *out = bits != 0;
        return true;
    default:
        *out = (double)bits;
        return true;
    }
}

bool gguf_text(const GgufValue *value, char *out, size_t size) {
    if (value->type != GGUF_STRING || size == 0) return false;
    const size_t length = value->count < size ? value->count : size - 1;
    memcpy(out, value->bytes, length);
    out[length] = '\0';
    return true;
}

size_t gguf_tensors(const Gguf *file) {
    return file->row_count;
}

void gguf_tensor(const Gguf *file, size_t i, GgufTensor *out) {
    const Row *row = &file->rows[i];
    *out = (GgufTensor){ .type = types[row->type].name,
                         .rank = row->rank,
                         .elements = row->elements,
                         .bytes = row->bytes };
    memcpy(out->shape, row->shape, sizeof out->shape);
    copy_name(out->name, &row->name);
}
