/* forms.c -- see forms.h. */
#include "forms.h"

#include <string.h>

/* A whole number from 1 to 999,999 without leading zeros; NULL, or what follows it. */
static const char *skip_number(const char *text) {
    if (*text < '1' || *text > '9') return NULL;
    const size_t digits = strspn(text, "0123456789");
    return digits <= 6 ? text + digits : NULL;
}

/* The sizes of a conversion: N, or N+M where `both` says that there must be two. */
static const char *skip_sizes(const char *text, bool both) {
    const char *rest = skip_number(text);
    if (!rest || *rest != '+') return both ? NULL : rest;
    return skip_number(rest + 1);
}

bool form_is_contender(const char *text) {
    const char *rest = NULL;
    const size_t lowrank = strlen("lowrank-");
    if (strncmp(text, "model", 5) == 0)
        rest = text + 5;
    else if (strncmp(text, "mha", 3) == 0 || strncmp(text, "mqa", 3) == 0)
        rest = text + 3;
    else if (strncmp(text, "gqa-", 4) == 0)
        rest = skip_number(text + 4);
    else if (strncmp(text, "mla-", 4) == 0)
        rest = skip_sizes(text + 4, true);
    else if (strncmp(text, "lowrank-", lowrank) == 0 && strchr(text + lowrank, '-'))
        rest = skip_sizes(strchr(text + lowrank, '-') + 1, false);
    if (!rest || !*rest || *rest == '*' || *rest == '@') return rest != NULL;
    return rest[0] == '-' && rest[1] >= 'a' && rest[1] <= 'z';
}
