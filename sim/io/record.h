/* record.h -- a struct filled from a YAML mapping, one row a key: how the small files of configs/
 * (hardware, engines) and the sweeps of `plan` are read. Nested mappings have dotted keys:
 * "window.keeps". What has no row, the wrong form or is given twice is refused with its place. */
#ifndef KVLAB_RECORD_H
#define KVLAB_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "yaml_tree.h"

typedef enum {
    RECORD_TEXT,   /* char [room] */
    RECORD_COUNT,  /* size_t; 32k is 32,768 */
    RECORD_BYTES,  /* uint64_t; 141GB, 64GiB */
    RECORD_REAL,   /* double */
    RECORD_RATE,   /* double; a number, a prefix k M G T P of ten, and `unit`: 4.8TB/s */
    RECORD_CHOICE, /* int, the index among choices */
    RECORD_FLAG,   /* bool; yes or no */
    RECORD_LIST    /* RecordList: a value, or a sequence of them, as text */
} RecordType;

enum { RECORD_CHOICES_MOST = 8 };

typedef struct {
    const char *key;
    RecordType type;
    size_t offset, room;
    const char *unit;   /* RECORD_RATE */
    double least, most; /* of numbers; both 0: from 0 to anything */
    const char *choices[RECORD_CHOICES_MOST];
    bool required;
} RecordRow;

/* The values of a list: nodes of the tree, which must stay. */
typedef struct {
    const TreeNode *first;
    size_t count;
} RecordList;

/* Fills *out, which holds the defaults, from a mapping; `path` stands for the file in messages.
 * After a failure *out may be filled in part. Errors: ERR_INPUT with file:line:column, the key,
 * what it must be, the nearest right key. */
Status record_read(void *out, const RecordRow *rows, size_t count, const char *path,
                   const TreeNode *mapping, Error *err);

/* The same from a file that holds one mapping, without rows of RECORD_LIST. */
Status record_read_file(void *out, const RecordRow *rows, size_t count, const char *path,
                        Error *err);

/* Is a key, or a key under it, given in the mapping? */
bool record_has(const TreeNode *mapping, const char *key);

#endif
