/* schema.h -- every key of a study, one row each: the only source of parsing, defaults, ranges,
 * `--set`, `kvlab describe`, configs/REFERENCE.md, the record in the store, and the tests. */
#ifndef KVLAB_SCHEMA_H
#define KVLAB_SCHEMA_H

#include "config.h"

typedef enum {
    FIELD_TEXT,    /* a word or line; one of choices where there are any, or as `form` allows */
    FIELD_CHOICE,  /* one of choices, stored as its index */
    FIELD_ROWS,    /* types of cached rows: one of choices, or two of them as K,V */
    FIELD_SET,     /* some of choices, stored as bits 1 << index; its list spans no points */
    FIELD_COUNT32, /* whole number; 32k is 32,768 */
    FIELD_COUNT64,
    FIELD_SIZE, /* bytes; 6GiB, 80GB */
    FIELD_REAL
} FieldType;

enum { FIELD_CHOICES_MOST = 24, RULE_KEYS_MOST = 2 };

typedef struct {
    const char *key;
    FieldType type;
    size_t offset;       /* in Config */
    size_t room;         /* bytes of the member there */
    const char *initial; /* as a user would write it; NULL: must be given */
    double min, max;     /* numbers */
    const char *unit;    /* "tokens", "bytes", "s", ... or NULL */
    const char *choices[FIELD_CHOICES_MOST];
    bool (*form)(const char *text); /* FIELD_TEXT: what else a value must be, or NULL */
    const char *form_text;          /* "must be ..." where form says no */
    bool list;                      /* may be given a list */
    unsigned phases;   /* bit 1 << Phase: which phases its list multiplies; 0: all of them */
    unsigned compared; /* bit 1 << Phase: where its values are compared, in one group of points */
    const char *help;
} Field;

extern const Field config_fields[];
extern const size_t config_field_count;

/* What relates several keys: it must hold for every combination of their values. The message
 * points at the key that was given last. */
typedef struct {
    const char *keys[RULE_KEYS_MOST];
    const char *sentence;
    bool (*holds)(const Config *config);
} Rule;

extern const Rule config_rules[];
extern const size_t config_rule_count;

#endif
