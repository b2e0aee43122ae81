/* kernel.c -- the list of tiers, what this machine runs of it, and the table filled from it. */
#include "kernel.h"

#include <string.h>

#include "tiers.h"

static bool always(void) {
    return true;
}

const KernelTier kernel_tiers[] = {
    { "ref", 1u << 0, always, kernels_fill_ref },
    { "portable", 1u << 1, always, kernels_fill_portable },
};

const size_t kernel_tier_count = sizeof kernel_tiers / sizeof *kernel_tiers;

unsigned kernels_detect(void) {
    unsigned mask = 0;
    for (size_t i = 0; i < kernel_tier_count; i++)
        if (kernel_tiers[i].available()) mask |= kernel_tiers[i].bit;
    return mask;
}

const char *kernels_parse(const char *name, unsigned *mask) {
    const unsigned all = kernels_detect();
    if (!name || strcmp(name, "auto") == 0) {
        *mask = all;
        return NULL;
    }
    for (size_t i = 0; i < kernel_tier_count; i++) {
        if (strcmp(name, kernel_tiers[i].name) != 0) continue;
        if (!(all & kernel_tiers[i].bit)) return "this machine lacks that instruction set";
        const unsigned below = kernel_tiers[i].bit - 1u;
        *mask = kernel_tiers[i].bit | (all & below);
        return NULL;
    }
    return "no such instruction set tier";
}

Kernels kernels_select(unsigned mask) {
    Kernels kernels;
    kernels_fill_ref(&kernels);
    for (size_t i = 0; i < kernel_tier_count; i++)
        if (mask & kernel_tiers[i].bit) kernel_tiers[i].fill(&kernels);
    return kernels;
}

const char *kernels_name(unsigned mask) {
    const char *name = kernel_tiers[0].name;
    for (size_t i = 0; i < kernel_tier_count; i++)
        if (mask & kernel_tiers[i].bit) name = kernel_tiers[i].name;
    return name;
}
