/* bench_result.h -- what `kvlab bench` found: the machine with its own limits, and a row a case.
 *
 * The rows of keys in bench_result.c are the one list that JSON out, JSON in and CSV walk. */
#ifndef KVLAB_BENCH_RESULT_H
#define KVLAB_BENCH_RESULT_H

#include <stdbool.h>
#include <stdio.h>

#include "error.h"
#include "json.h"

/* Rates are measured in the same run as the cases; 0 where the machine or the tier lacks the
 * instruction. */
typedef struct {
    char cpu[96], isa[24], system[96], governor[32], version[24], commit[48], compiler[64],
        flags[96], started[32];
    double threads, cores, llc_bytes, memory_bytes, min_seconds;
    double run_seconds, peak_resident_bytes; /* of the whole run */
    double read_gbytes_s, l3_read_gbytes_s, fma_f32_gflops, dot_bf16_gflops, dot_int8_gops;
} BenchMachine;

typedef struct {
    char name[96], kind[16], path[16], phase[16], isa[24], kv_dtype[16], cache[8], bound[8];
    double heads, kv_heads, dk, dv, batch, q_tokens, kv_tokens, block_tokens, threads;
    double median_ns, min_ns, q1_ns, q3_ns, samples; /* samples: how many */
    double flops, bytes;                             /* the least of a call: exact */
    double gflops, gbytes_s;                         /* over the median */
    /* The rates behind the roofline: that of the bound was measured in turns with the case, the
     * other is the machine's. roofline_ns is max(flops / peak, bytes / bandwidth), the fraction
     * roofline_ns / median_ns. */
    double peak_gflops, bandwidth_gbytes_s;
    double roofline_ns, roofline_fraction;
    double *samples_ns; /* all of them, in the order taken; NULL when read from a file */
    unsigned warnings;  /* measure.h; 0 when read from a file */
} BenchCase;

typedef struct {
    BenchMachine machine;
    BenchCase *cases;
    size_t count;
} BenchRun;

void bench_run_free(BenchRun *run);

/* The whole as a JSON object: machine and cases. Release with json_free. */
Json *bench_to_json(const BenchRun *run);

/* Reads such an object from a file of any origin. What a comparison needs must be there and in
 * range; the rest is taken where it is there. Errors: ERR_INPUT with the file and the key. */
Status bench_read(BenchRun *run, const char *path, Error *err);

/* One line of names, then one a case: the keys of the JSON in their order. */
void bench_write_csv(const BenchRun *run, FILE *out);

/* One line a sample: name, number, nanoseconds; tabs between. */
void bench_write_samples(const BenchRun *run, FILE *out);

/* For people: case, median, GFLOP/s, GB/s, bound, fraction. */
void bench_write_table(const BenchRun *run, FILE *out);

/* 12.3 us, 4.56 ms. */
void bench_format_ns(double ns, char *text, size_t size);

#endif
