/* option_values.c -- values that several commands take; see option_values.h. */
#include "option_values.h"

#include <stdio.h>

#include "kernel.h"
#include "names.h"
#include "quantity.h"

enum { THREADS_MOST = 1024, TIERS_MOST = 32 };

Status option_unknown(const char *option, const char *value, const char *why, size_t count,
                      const char *const *names, Error *err) {
    char allowed[256] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof allowed; i++)
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s", i ? ", " : "",
                                 names[i]);
    const char *nearest = names_nearest(value, names, count);
    return fail(err, ERR_INPUT, "--%s %.80s: %s; allowed are %s%s%s%s", option, value, why, allowed,
                nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

Status option_count(const char *option, const char *text, uint64_t most, uint64_t *count,
                    Error *err) {
    uint64_t value;
    if (!quantity_count(text, &value) || value < 1 || value > most)
        return fail(err, ERR_INPUT, "--%s %.80s: a whole number from 1 to %llu is allowed", option,
                    text, (unsigned long long)most);
    *count = value;
    return OK;
}

Status option_threads(const char *text, int otherwise, int *threads, Error *err) {
    uint64_t count = (uint64_t)otherwise;
    if (text) TRY(option_count("threads", text, THREADS_MOST, &count, err));
    *threads = (int)count;
    return OK;
}

Status option_isa(const char *text, unsigned *tiers, Error *err) {
    const char *why = kernels_parse(text, tiers);
    if (!why) return OK;
    const char *names[TIERS_MOST];
    size_t count = 0;
    for (size_t i = 0; i < kernel_tier_count && count < TIERS_MOST; i++)
        if (kernel_tiers[i].available()) names[count++] = kernel_tiers[i].name;
    return option_unknown("isa", text, why, count, names, err);
}
