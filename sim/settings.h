/* settings.h -- the values of every key, layer over layer: defaults, the studies that `base:`
 * names, the study itself, `--set`. Each value is checked as it is read and remembers its place. */
#ifndef KVLAB_SETTINGS_H
#define KVLAB_SETTINGS_H

#include "field.h"

enum { SETTING_VALUES_MOST = 256, PLACE_ROOM = 448 };

/* What one key has. */
typedef struct {
    Value *values;
    size_t count;
    size_t given;           /* 0 by default, else higher the later it was given */
    size_t layer;           /* that gave it, to tell a repetition from an override */
    char place[PLACE_ROOM]; /* "default", "file:line:column", "--set key=value" */
} Setting;

typedef struct {
    Setting *settings; /* one a row of the schema, in its order */
    size_t given, layer;
} Settings;

/* All defaults; keys without one have no values. Release with settings_free (also after a
 * failure). */
Status settings_new(Settings *settings, Error *err);
void settings_free(Settings *settings);

/* Lays a study file over, after the studies it is based on. */
Status settings_read(Settings *settings, const char *path, Error *err);

/* Lays a study in memory over; `base:` is refused. */
Status settings_parse(Settings *settings, const char *name, const char *text, size_t length,
                      Error *err);

/* Lays one "key=value" over; the value as in a study, or text as it stands. `first` starts the
 * layer of overrides, in which a key may not be repeated. */
Status settings_override(Settings *settings, const char *assignment, bool first, Error *err);

/* The setting of a key of the schema. */
const Setting *settings_get(const Settings *settings, const char *key);

#endif
