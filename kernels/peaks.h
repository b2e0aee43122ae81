/* peaks.h -- what this machine can do at best, measured in the same run as the kernels: the two
 * rates that a roofline needs and their relatives. */
#ifndef KVLAB_PEAKS_H
#define KVLAB_PEAKS_H

#include <stddef.h>

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

#endif
