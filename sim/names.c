/* names.c -- edit distance over short names; see names.h. */
#include "names.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MOST = 96 };

/* Levenshtein distance without regard to case; names longer than NAME_MOST are cut. */
static size_t distance(const char *a, const char *b) {
    const size_t n = strnlen(a, NAME_MOST), m = strnlen(b, NAME_MOST);
    size_t row[NAME_MOST + 1];
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            const int same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t best = diagonal + !same;
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[m];
}

const char *names_nearest(const char *wrong, const char *const *names, size_t count) {
    const char *nearest = NULL;
    size_t least = strnlen(wrong, NAME_MOST) / 2 + 1; /* half of it may be wrong */
    for (size_t i = 0; i < count; i++) {
        const size_t d = distance(wrong, names[i]);
        if (d < least) least = d, nearest = names[i];
    }
    return nearest;
}
