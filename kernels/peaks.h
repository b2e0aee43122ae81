/* peaks.h -- what this machine can do at best, measured in the same run as the kernels: the rates
 * that a roofline needs, and the loops behind them to be timed in turns with a kernel. */
#ifndef KVLAB_PEAKS_H
#define KVLAB_PEAKS_H

#include <stddef.h>
#include <stdint.h>

#include "kernel.h"

typedef struct {
    double read_gbytes_s;    /* sequential read of memory, far beyond the last-level cache */
    double l3_read_gbytes_s; /* the same from a working set that the last-level cache holds */
    double fma_f32_gflops;   /* independent f32 fused multiply-adds, best tier of the mask */
    double dot_bf16_gflops;  /* vdpbf16ps; 0 where the mask or the machine has none */
    double dot_int8_gops;    /* vpdpbusd; 0 where the mask or the machine has none */
} Peaks;

/* Bytes of scratch that peaks_measure reads from, for a last-level cache of that size. */
size_t peaks_scratch_bytes(size_t llc_bytes);

/* Measures for about `seconds` in all with that many threads and the tiers of the mask; the best
 * round counts. scratch: peaks_scratch_bytes(llc_bytes), written before it is read. */
Peaks peaks_measure(unsigned mask, int threads, size_t llc_bytes, double seconds, void *scratch);

/* Reads memory once, each thread a slice of its own, and returns a sum over it. Whole steps of 128
 * bytes a thread are read; memory is aligned to 8. */
uint64_t peaks_read(int threads, const void *memory, size_t bytes);

/* The kinds of arithmetic that have a peak. */
typedef enum { PEAK_FMA_F32, PEAK_DOT_BF16, PEAK_DOT_INT8, PEAK_KINDS } PeakKind;

/* The rate of a kind in GFLOP/s or GOP/s, 0 where it was not measured. */
double peaks_rate(const Peaks *peaks, PeakKind kind);

/* Runs that many rounds on each thread; returns the flops (operations) done, 0 where the table has
 * no such instruction. */
double peaks_compute(const Kernels *kernels, PeakKind kind, int threads, size_t rounds);

#endif
