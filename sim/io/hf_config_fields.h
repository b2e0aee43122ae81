/* hf_config_fields.h -- typed, bounded access to the fields of a config.json; inside of hf_config.
 */
#ifndef KVLAB_HF_CONFIG_FIELDS_H
#define KVLAB_HF_CONFIG_FIELDS_H

#include "json.h"
#include "model.h"

/* The keys of one object that its reader has asked for, there or not. A key that is there and that
 * nobody asked for is not understood. */
enum { ASKED_MOST = 512 };
typedef struct {
    const char *keys[ASKED_MOST];
    bool found[ASKED_MOST];
    size_t count;
} Asked;

/* Keys that were not asked for and are taken as without effect, "a, b", for a note. */
typedef struct {
    char keys[200];
    size_t count;
} Unread;

/* One object of a file: its own fields, or those nested under `prefix` ("text_config."). */
typedef struct {
    const Json *object;
    const char *file, *prefix;
    Asked *asked;     /* NULL: nobody keeps count */
    const char *text; /* of the file, for the place of a key in messages; NULL unknown */
} Fields;

/* The names one quantity goes by, NULL at the end; the first is the one that messages ask for. */
typedef const char *const *Spellings;

typedef enum { OPTIONAL, REQUIRED } Need;

/* The value of a key, NULL when absent or null. The key counts as asked for. */
const Json *fields_get(const Fields *fields, const char *key);

/* Counts keys as asked for that say nothing here: `spellings` ends with NULL. */
void fields_ignore(const Fields *fields, Spellings spellings);

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

/* The text of a key, one of `choices` (NULL at the end), as its place there. Absent or null: *out
 * stays. */
Status fields_choice(const Fields *fields, const char *key, Spellings choices, size_t *out,
                     Error *err);

/* The object nested under a key; one without fields when absent. Nobody keeps count in it. */
Status fields_nested(Fields *out, const Fields *fields, const char *key, const char *prefix,
                     Error *err);

/* ERR_INPUT `file:line:column: prefix key: text`. */
Status fields_fail(const Fields *fields, const char *key, Error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Fails closed (hf_config_leftovers.c): a key that was not asked for and is not known to leave the
 * cache alone is refused by its name when it holds a number, true, a list or an object, or when its
 * name speaks of caches. Other texts are added to *unread, which may be NULL. */
Status fields_refuse_leftovers(const Fields *fields, Unread *unread, Error *err);

/* Is the key known to change no cached byte? And entry i of the list, a name or a pattern with a
 * '*', NULL beyond the last (hf_config_harmless.c). */
bool hf_harmless(const char *key);
const char *hf_harmless_name(size_t i);

/* The rotary embedding of a head of `width` values, or of MLA's shared key of that width when
 * `latent` (hf_config_rope.c). */
Status hf_rope(const Fields *fields, bool latent, size_t width, Rope *out, Error *err);

#endif
