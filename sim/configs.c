/* configs.c -- looks things up by name in the shipped folders; see configs.h. */
#include "configs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names.h"

const char *configs_folder(void) {
    const char *folder = getenv("KVLAB_CONFIGS");
    return folder && *folder ? folder : KVLAB_CONFIGS;
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Is `entry` one of the names asked for? Its length without the ending, or 0. */
static size_t name_length(const char *entry, const char *ending) {
    const size_t length = strlen(entry), cut = strlen(ending);
    if (entry[0] == '.' || entry[0] == '_' || length <= cut) return 0;
    if (strcmp(entry + length - cut, ending) != 0) return 0;

    return length - cut < CONFIGS_NAME_SIZE ? length - cut : 0;
}

size_t configs_names(const char *kind, const char *ending,
                     char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE]) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", configs_folder(), kind);
    DIR *folder = opendir(path);
    if (!folder) return 0;
    size_t count = 0;
    for (struct dirent *entry; count < CONFIGS_NAMES_MOST && (entry = readdir(folder));) {
        const size_t length = name_length(entry->d_name, ending);
        if (!length) continue;
        memcpy(names[count], entry->d_name, length);
        names[count++][length] = '\0';
    }
    closedir(folder);
    qsort(names, count, CONFIGS_NAME_SIZE, by_name);
    return count;
}

Status configs_find(const char *kind, const char *name, const char *ending, char *path, size_t size,
                    Error *err) {
    static char names[CONFIGS_NAMES_MOST][CONFIGS_NAME_SIZE];
    const char *list[CONFIGS_NAMES_MOST];
    char found[1024];
    if (*name && !strchr(name, '/') && name[0] != '.') {
        snprintf(found, sizeof found, "%s/%s/%s%s", configs_folder(), kind, name, ending);
        if (access(found, R_OK) == 0) {
            snprintf(path, size, "%s", found);
            return OK;
        }
    }
    const size_t count = configs_names(kind, ending, names);
    for (size_t i = 0; i < count; i++) list[i] = names[i];
    const char *nearest = names_nearest(name, list, count);
    return fail(err, ERR_INPUT, "%s: no such entry of configs/%s%s%s%s", name, kind,
                nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}
