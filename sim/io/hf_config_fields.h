/* hf_config_fields.h -- typed, bounded access to the fields of a config.json; inside of hf_config.
 */
#ifndef KVLAB_HF_CONFIG_FIELDS_H
#define KVLAB_HF_CONFIG_FIELDS_H

#include "json.h"
#include "model.h"

/* One object of a file: its own fields, or those nested under `prefix` ("text_config."). */
typedef struct {
    const Json *object;
    const char *file, *prefix;
} Fields;

/* The names one quantity goes by, NULL at the end; the first is the one that messages ask for. */
typedef const char *const *Spellings;

typedef enum { OPTIONAL, REQUIRED } Need;

/* The value of a key, NULL when absent or null. */
const Json *fields_get(const Fields *fields, const char *key);

/* The first spelling that has a value, NULL when none has. */
const char *fields_spelled(const Fields *fields, Spellings spellings);

/* A whole number of 1 to `most`. Absent or null: *out stays, unless it is required. Two spellings
 * that disagree are refused. */
Status fields_size(const Fields *fields, Spellings spellings, Need need, size_t most, size_t *out,
                   Error *err);

/* A real number of `least` to `most`; the same rules. */
Status fields_real(const Fields *fields, Spellings spellings, Need need, double least, double most,
                   double *out, Error *err);

/* true or false. Absent or null: *out stays. */
Status fields_flag(const Fields *fields, const char *key, bool *out, Error *err);

/* The object nested under a key; one without fields when absent. */
Status fields_nested(Fields *out, const Fields *fields, const char *key, const char *prefix,
                     Error *err);

/* ERR_INPUT `file: prefix key: text`. */
Status fields_fail(const Fields *fields, const char *key, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Refuses by name what changes the cache and is not computed (hf_config_refusals.c). */
Status hf_refuse(const Fields *fields, Error *err);

/* The rotary embedding of a head of `width` values, or of MLA's shared key of that width when
 * `latent` (hf_config_rope.c). */
Status hf_rope(const Fields *fields, bool latent, size_t width, Rope *out, Error *err);

#endif
