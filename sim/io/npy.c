/* npy.c -- reads .npy and believes nothing; see npy.h.
 *
 *   | 93 "NUMPY" | major, minor | header length: u16, from 2.0 on u32 | header | values |
 *
 * The header is a Python dictionary in text, as
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * and blanks. It is read by a little grammar of its own: strings in quotes, True and False,
 * numbers, tuples of numbers. */
#include "npy.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "buffer.h"
#include "mapping.h"

enum { MAGIC_BYTES = 6, HEADER_MOST = 64 * 1024, WORD_ROOM = 32 };

static const unsigned char magic[MAGIC_BYTES] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };

static const struct {
    const char *descr;
    TensorType type;
    size_t bytes;
} types[] = { { "<f8", TENSOR_F64, 8 }, { "<f4", TENSOR_F32, 4 }, { "<f2", TENSOR_F16, 2 } };

struct Npy {
    Mapping mapping; /* empty: the bytes are the caller's */
    Tensor tensor;
};

/* ---- the header's text ---- */

typedef struct {
    const char *path;
    const char *at, *end;
} Text;

static void skip_blanks(Text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')) t->at++;
}

static bool take(Text *t, char wanted) {
    skip_blanks(t);
    if (t->at == t->end || *t->at != wanted) return false;
    t->at++;
    return true;
}

static Status broken(const Text *t, const char *what, Error *err) {
    return fail_at(err, t->path, 0, 0, "the header of .npy: %s", what);
}

/* A string in single or double quotes, without escapes. */
static Status take_string(Text *t, char word[WORD_ROOM], Error *err) {
    skip_blanks(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return broken(t, "text in quotes is wanted", err);
    const char quote = *t->at++;
    const char *close = memchr(t->at, quote, (size_t)(t->end - t->at));
    if (!close || close - t->at >= WORD_ROOM) return broken(t, "a text that does not end", err);
    memcpy(word, t->at, (size_t)(close - t->at));
    word[close - t->at] = '\0';
    t->at = close + 1;
    return OK;
}

static bool take_word(Text *t, const char *word) {
    skip_blanks(t);
    const size_t length = strlen(word);
    if ((size_t)(t->end - t->at) < length || memcmp(t->at, word, length) != 0) return false;
    t->at += length;
    return true;
}

static Status take_size(Text *t, size_t *out, Error *err) {
    skip_blanks(t);
    size_t value = 0;
    const char *start = t->at;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(value, (size_t)10, &value) ||
            __builtin_add_overflow(value, (size_t)(*t->at - '0'), &value))
            return broken(t, "a size overflows", err);
    if (t->at == start) return broken(t, "a size is wanted", err);
    *out = value;
    return OK;
}

static Status take_shape(Text *t, Tensor *tensor, Error *err) {
    if (!take(t, '(')) return broken(t, "shape is no tuple", err);
    while (!take(t, ')')) {
        if (tensor->rank == TENSOR_RANK_MOST) return broken(t, "more than 8 dimensions", err);
        TRY(take_size(t, &tensor->shape[tensor->rank++], err));
        if (!take(t, ',') && (t->at == t->end || *t->at != ')'))
            return broken(t, "shape is no tuple", err);
    }
    return OK;
}

static Status take_type(Text *t, Tensor *tensor, size_t *bytes, Error *err) {
    char descr[WORD_ROOM];
    TRY(take_string(t, descr, err));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(descr, types[i].descr) != 0) continue;
        tensor->type = types[i].type;
        *bytes = types[i].bytes;
        return OK;
    }
    return fail_at(err, t->path, 0, 0,
                   "values of type '%s'; float64, float32 and float16 (<f8, <f4, <f2) are read",
                   descr);
}

static Status take_order(Text *t, Error *err) {
    if (take_word(t, "False")) return OK;
    if (take_word(t, "True"))
        return fail_at(err, t->path, 0, 0,
                       "in Fortran order; save it with numpy.ascontiguousarray");
    return broken(t, "fortran_order is neither True nor False", err);
}

/* The dictionary; each of its three keys once. */
static Status read_header(Text *t, Tensor *tensor, size_t *value_bytes, Error *err) {
    static const char *const keys[] = { "descr", "fortran_order", "shape" };
    unsigned seen = 0;
    if (!take(t, '{')) return broken(t, "no dictionary", err);
    while (!take(t, '}')) {
        char key[WORD_ROOM];
        unsigned which = 0;
        TRY(take_string(t, key, err));
        while (which < 3 && strcmp(key, keys[which]) != 0) which++;
        if (which == 3 || seen & 1u << which) return broken(t, "an unknown or repeated key", err);
        seen |= 1u << which;
        if (!take(t, ':')) return broken(t, "a key without a value", err);
        TRY(which == 0   ? take_type(t, tensor, value_bytes, err)
            : which == 1 ? take_order(t, err)
                         : take_shape(t, tensor, err));
        if (!take(t, ',') && (t->at == t->end || *t->at != '}'))
            return broken(t, "the dictionary does not end", err);
    }
    skip_blanks(t);
    if (t->at != t->end) return broken(t, "something follows the dictionary", err);
    return seen == 7 ? OK : broken(t, "descr, fortran_order or shape is missing", err);
}

/* ---- the file ---- */

/* Where the header begins and how long it is. */
static Status find_header(const char *path, const unsigned char *bytes, size_t size, size_t *first,
                          size_t *length, Error *err) {
    if (size < MAGIC_BYTES + 4 || memcmp(bytes, magic, MAGIC_BYTES) != 0)
        return fail_at(err, path, 0, 0, "not a .npy file");
    const unsigned major = bytes[MAGIC_BYTES];
    const size_t wide = major == 1 ? 2 : 4;
    if (major < 1 || major > 3)
        return fail_at(err, path, 0, 0, "version %u of .npy; 1 to 3 are read", major);
    *first = MAGIC_BYTES + 2 + wide;
    if (size < *first) return fail_at(err, path, 0, 0, "cut short in its header");
    *length = 0;
    for (size_t i = wide; i-- > 0;) *length = *length << 8 | bytes[MAGIC_BYTES + 2 + i];
    if (*length > HEADER_MOST)
        return fail_at(err, path, 0, 0, "a header of %zu bytes; at most %d are read", *length,
                       HEADER_MOST);
    if (*length > size - *first) return fail_at(err, path, 0, 0, "cut short in its header");
    return OK;
}

/* The product of all sizes that are not zero must fit, so that a reader may multiply any of them.
 */
static Status count(const char *path, Tensor *tensor, size_t value_bytes, size_t left, Error *err) {
    size_t product = value_bytes;
    bool empty = false;
    for (size_t i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(product, tensor->shape[i], &product))
            return fail_at(err, path, 0, 0, "its shape overflows");
    if (empty) product = 0;
    if (product != left)
        return fail_at(err, path, 0, 0, "%zu bytes of values; its shape takes %zu", left, product);
    tensor->elements = product / value_bytes;
    return OK;
}

Status npy_parse(Npy **file, const char *path, const char *name, const void *bytes, size_t size,
                 Error *err) {
    const unsigned char *at = bytes;
    size_t first = 0, length = 0, value_bytes = 0;
    TRY(find_header(path, at, size, &first, &length, err));
    Text text = { path, (const char *)at + first, (const char *)at + first + length };
    Tensor tensor = { .name = name };
    TRY(read_header(&text, &tensor, &value_bytes, err));
    TRY(count(path, &tensor, value_bytes, size - first - length, err));
    tensor.data = at + first + length;
    Npy *draft;
    TRY(BUFFER(&draft, 1, "a .npy file", err));
    draft->tensor = tensor;
    *file = draft;
    return OK;
}

Status npy_open(Npy **file, const char *path, const char *name, Error *err) {
    Mapping mapping;
    TRY(mapping_open(&mapping, path, err));
    Npy *draft = NULL;
    const Status status = npy_parse(&draft, path, name, mapping.bytes, mapping.size, err);
    if (status != OK) {
        mapping_close(&mapping);
        return status;
    }
    draft->mapping = mapping;
    *file = draft;
    return OK;
}

void npy_close(Npy *file) {
    if (!file) return;
    mapping_close(&file->mapping);
    buffer_free(file);
}

const Tensor *npy_tensor(const Npy *file) {
    return &file->tensor;
}
