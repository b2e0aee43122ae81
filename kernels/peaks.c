/* peaks.c -- the machine's own limits: how fast memory and the last cache can be read, how many
 * multiply-adds its best tier does.
 *
 * Every thread reads a slice of its own, over and over, as whole numbers (floats would slow down on
 * denormals); the scratch is written first, by the same threads, since pages never written all read
 * from one page of zeros. Each limit gets its share of the time and the best round counts: other
 * load can only slow a round down. */
#include "peaks.h"

#include <omp.h>
#include <stdint.h>

enum {
    MEASURES = 2 + PEAK_KINDS,
    SLICE_STEP = 16, /* words read in a step of the loop: 128 bytes */
    CACHE_PASSES = 16,
    COMPUTE_ROUNDS = 200 * 1000,
    LLC_MULTIPLE = 4 /* memory is read from that many caches, the cache from a part of that size */
};
#define SCRATCH_LEAST ((size_t)64 << 20)

size_t peaks_scratch_bytes(size_t llc_bytes) {
    const size_t bytes = LLC_MULTIPLE * llc_bytes;
    return bytes > SCRATCH_LEAST ? bytes : SCRATCH_LEAST;
}

/* Where the words of the thread that calls begin, out of `words` of all, and how many they are. */
static size_t own_slice(size_t words, size_t *count) {
    const size_t threads = (size_t)omp_get_num_threads();
    *count = words / threads / SLICE_STEP * SLICE_STEP;
    return (size_t)omp_get_thread_num() * *count;
}

static uint64_t sum_words(const uint64_t *words, size_t count) {
    uint64_t lanes[SLICE_STEP] = { 0 };
    for (size_t i = 0; i < count; i += SLICE_STEP)
        for (size_t lane = 0; lane < SLICE_STEP; lane++) lanes[lane] += words[i + lane];
    uint64_t sum = 0;
    for (size_t lane = 0; lane < SLICE_STEP; lane++) sum += lanes[lane];
    return sum;
}

/* Called through memory: passes that give the same sum must not become one. */
static uint64_t (*volatile const read_pass)(const uint64_t *words, size_t count) = sum_words;

static void write_scratch(int threads, uint64_t *scratch, size_t words) {
#pragma omp parallel num_threads(threads)
    {
        size_t count;
        uint64_t *slice = scratch + own_slice(words, &count);
        for (size_t i = 0; i < count; i++) slice[i] = i + 1;
    }
}

/* Words that all threads read in `passes` passes over their slices; a sum over them in *seen. */
static double read_slices(int threads, const uint64_t *memory, size_t words, int passes,
                          uint64_t *seen) {
    double read = 0;
    uint64_t sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : read, sum)
    {
        size_t count;
        const uint64_t *slice = memory + own_slice(words, &count);
        for (int pass = 0; pass < passes; pass++) sum += read_pass(slice, count);
        read += (double)passes * (double)count;
    }
    *seen += sum;
    return read;
}

uint64_t peaks_read(int threads, const void *memory, size_t bytes) {
    uint64_t seen = 0;
    read_slices(threads, memory, bytes / sizeof seen, 1, &seen);
    return seen;
}

/* Bytes a second of reading `words` words in slices, `passes` times a round. */
static double read_rate(int threads, uint64_t *scratch, size_t words, int passes, double seconds) {
    double best = 0;
    uint64_t seen = 0;
    const double end = omp_get_wtime() + seconds;
    do {
        const double begin = omp_get_wtime();
        const double read = read_slices(threads, scratch, words, passes, &seen);
        const double rate = read * sizeof *scratch / (omp_get_wtime() - begin);
        if (rate > best) best = rate;
    } while (omp_get_wtime() < end);
    scratch[0] = seen; /* so that the reading cannot be left out */
    return best;
}

double peaks_rate(const Peaks *peaks, PeakKind kind) {
    const double rates[PEAK_KINDS] = { peaks->fma_f32_gflops, peaks->dot_bf16_gflops,
                                       peaks->dot_int8_gops };
    return rates[kind];
}

/* Written so that the computing cannot be left out. */
static volatile float computed;

double peaks_compute(const Kernels *kernels, PeakKind kind, int threads, size_t rounds) {
    float (*const loops[PEAK_KINDS])(size_t, double *) = { kernels->fma_rounds,
                                                           kernels->dot_bf16_rounds,
                                                           kernels->dot_int8_rounds };
    double flops = 0;
    float seen = 0;
    if (!loops[kind]) return 0;
#pragma omp parallel num_threads(threads) reduction(+ : flops, seen)
    {
        double own;
        seen += loops[kind](rounds, &own);
        flops += own;
    }
    computed = seen;
    return flops;
}

/* Operations a second. */
static double compute_rate(unsigned mask, PeakKind kind, int threads, double seconds) {
    const Kernels kernels = kernels_select(mask);
    double best = 0, flops;
    const double end = omp_get_wtime() + seconds;
    do {
        const double begin = omp_get_wtime();
        flops = peaks_compute(&kernels, kind, threads, COMPUTE_ROUNDS);
        const double rate = flops / (omp_get_wtime() - begin);
        if (rate > best) best = rate;
    } while (flops > 0 && omp_get_wtime() < end);
    return best;
}

Peaks peaks_measure(unsigned mask, int threads, size_t llc_bytes, double seconds, void *scratch) {
    const int workers = threads > 1 ? threads : 1;
    const double share = seconds / MEASURES;
    const size_t words = peaks_scratch_bytes(llc_bytes) / sizeof(uint64_t);
    const size_t resident = llc_bytes / LLC_MULTIPLE / sizeof(uint64_t);
    write_scratch(workers, scratch, words);

    Peaks peaks = { 0 };
    peaks.read_gbytes_s = read_rate(workers, scratch, words, 1, share) * 1e-9;
    peaks.l3_read_gbytes_s = read_rate(workers, scratch, resident, CACHE_PASSES, share) * 1e-9;
    peaks.fma_f32_gflops = compute_rate(mask, PEAK_FMA_F32, workers, share) * 1e-9;
    peaks.dot_bf16_gflops = compute_rate(mask, PEAK_DOT_BF16, workers, share) * 1e-9;
    peaks.dot_int8_gops = compute_rate(mask, PEAK_DOT_INT8, workers, share) * 1e-9;
    return peaks;
}
