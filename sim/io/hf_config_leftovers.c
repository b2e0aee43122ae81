/* hf_config_leftovers.c -- what fails closed: a key of a config.json that no reader asked for and
 * that is not known to leave the cache alone (hf_config_harmless.c) is refused by its name.
 *
 * A key that says nothing (null, false, an empty list, a number below zero) is no key. A text
 * cannot be a size: it is refused where the key's name speaks of caches, and noted elsewhere. */
#include <stdio.h>
#include <string.h>

#include "hf_config_fields.h"
#include "names.h"

/* A key with one of these in its name speaks of caches. */
static const char *const telling[] = {
    "window",  "layer", "attn",  "attention", "kv",     "key",    "head",   "rank",    "state",
    "conv",    "ssm",   "index", "compress",  "share",  "cache",  "lora",   "mamba",   "linear",
    "hybrid",  "swa",   "chunk", "block",     "latent", "sparse", "memory", "period",  "interval",
    "pattern", "cross", "local", "global",    "mla",    "mtp",    "nextn",  "encoder", "recur",
};

static bool is_telling(const char *key) {
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
        if (strstr(key, telling[i])) return true;
    return false;
}

static bool says_nothing(const Json *value) {
    double number = 0;
    bool flag = false;
    if (json_number(value, &number)) return number < 0;
    if (json_bool(value, &flag)) return !flag;
    if (json_text(value)) return *json_text(value) == '\0';
    return json_size(value) == 0; /* null, or empty */
}

static bool was_asked(const Asked *asked, const char *key) {
    for (size_t i = 0; asked && i < asked->count; i++)
        if (asked->found[i] && strcmp(asked->keys[i], key) == 0) return true;
    return false;
}

/* The known key that may be meant; NULL for none. */
static const char *nearest(const Asked *asked, const char *key) {
    enum { NAMES_MOST = ASKED_MOST + 512 };
    const char *names[NAMES_MOST];
    size_t count = 0;
    for (size_t i = 0; asked && i < asked->count; i++) names[count++] = asked->keys[i];
    for (size_t i = 0; count < NAMES_MOST && hf_harmless_name(i); i++)
        if (!strchr(hf_harmless_name(i), '*')) names[count++] = hf_harmless_name(i);
    return names_nearest(key, names, count);
}

static void add_unread(Unread *unread, const char *key) {
    if (!unread) return;
    const size_t used = strlen(unread->keys);
    snprintf(unread->keys + used, sizeof unread->keys - used, "%s%.60s", used ? ", " : "", key);
    unread->count++;
}

Status fields_refuse_leftovers(const Fields *fields, Unread *unread, Error *err) {
    for (void *at = json_first(fields->object); at; at = json_next(fields->object, at)) {
        const char *key = json_key(at);
        if (says_nothing(json_value(at)) || was_asked(fields->asked, key) || hf_harmless(key))
            continue;
        if (json_text(json_value(at)) && !is_telling(key)) {
            add_unread(unread, key);
            continue;
        }
        const char *near = nearest(fields->asked, key);
        return fields_fail(fields, key, err,
                           "kvlab does not know this field, or not in such a model, and it could "
                           "change what is cached%s%s%s",
                           near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return OK;
}
