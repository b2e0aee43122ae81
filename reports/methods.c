/* methods.c -- see methods.h. */
#include "methods.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned colour;
} families[FAMILIES] = {
    [FAMILY_TEACHER] = { "as it is", 0x000000 },
    [FAMILY_HEADS] = { "shared heads", 0xe69f00 },
    [FAMILY_MLA] = { "MLA", 0x0072b2 },
    [FAMILY_LOWRANK] = { "low rank", 0x009e73 },
    [FAMILY_CODED] = { "fewer bits", 0xd55e00 },
    [FAMILY_EVICTED] = { "fewer tokens", 0xcc79a7 },
    [FAMILY_STACK] = { "several at once", 0x56b4e9 },
};

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

MethodFamily method_family(const char *name) {
    const size_t conversion = strcspn(name, "*@");
    const bool coded = strchr(name, '*') != NULL, evicted = strchr(name, '@') != NULL;
    const bool kept =
        (conversion == 3 && begins(name, "mha")) || (conversion == 5 && begins(name, "model"));
    if (coded + evicted + !kept > 1) return FAMILY_STACK;
    if (coded) return FAMILY_CODED;
    if (evicted) return FAMILY_EVICTED;
    if (kept) return FAMILY_TEACHER;
    if (begins(name, "lowrank")) return FAMILY_LOWRANK;
    return begins(name, "mla") ? FAMILY_MLA : FAMILY_HEADS;
}

const char *method_family_name(MethodFamily family) {
    return families[family].name;
}

unsigned method_family_colour(MethodFamily family) {
    return families[family].colour;
}

void method_kind(const char *name, char kind[METHOD_KIND]) {
    const size_t codec = strcspn(name, "*"), eviction = codec + strcspn(name + codec, "@");
    size_t used = 0;
    for (size_t i = 0; name[i] && used + 1 < METHOD_KIND; i++) {
        const char c = name[i];
        const bool number = (c >= '0' && c <= '9') || c == '.' || c == '/';
        if (!number || (i > codec && i < eviction)) kind[used++] = c;
    }
    kind[used] = '\0';
}

bool method_is_bound(const char *name) {
    return strstr(name, "@oracle") != NULL;
}

bool method_is_compression(const char *name) {
    return strpbrk(name, "*@") || begins(name, "lowrank-");
}

bool methods_compared(const StoredRun *run) {
    for (size_t i = 0; i < run->point_count; i++) {
        const Point *p = &run->points[i].point;
        if (strcmp(p->phase, "error") == 0 && method_is_compression(p->contender)) return true;
    }
    return false;
}

double method_ratio(const StoredPoint *point) {
    const Metric *m = store_metric(
        point, method_is_bound(point->point.contender) ? "read_ratio_to_mha" : "ratio_to_mha");
    return m ? m->value : NAN;
}
