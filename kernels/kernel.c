/* kernel.c -- the list of tiers, what this machine runs of it, and the table filled from it. */
#include "kernel.h"

#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* F16C is asked of cpuid itself: not every compiler's __builtin_cpu_supports knows the word. */
static bool has_f16c(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void) {
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

static bool has_avx512vnni(void) {
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif

static bool always(void) {
    return true;
}

const KernelTier kernel_tiers[] = {
    { "ref", 1u << 0, always, kernels_fill_ref },
    { "portable", 1u << 1, always, kernels_fill_portable },
#if defined(__x86_64__)
    { "avx2", 1u << 2, has_avx2, kernels_fill_avx2 },
    { "avx512", 1u << 3, has_avx512, kernels_fill_avx512 },
    { "avx512bf16", 1u << 4, has_avx512bf16, kernels_fill_avx512bf16 },
    { "avx512vnni", 1u << 5, has_avx512vnni, kernels_fill_avx512vnni },
#elif defined(__aarch64__)
    { "neon", 1u << 2, always, kernels_fill_neon },
#endif
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
