/* bench.h -- times the cases of kernels/cases.h against this machine's own limits.
 *
 * The limits are measured first; then each case in turns with the limit that binds it: a read of as
 * much memory as the case reads, or a loop of the arithmetic that its row type can use. What
 * drifts, drifts for both: a bound by memory is the median of its reads, one by arithmetic the
 * fastest of its loops. */
#ifndef KVLAB_BENCH_H
#define KVLAB_BENCH_H

#include "bench_result.h"
#include "cases.h"
#include "measure.h"
#include "peaks.h"

/* Tokens of a block of cached rows in every timed case. */
enum { BENCH_BLOCK_TOKENS = 64 };

typedef struct {
    const char *filter; /* POSIX extended regular expression over names; NULL: all */
    unsigned tiers;
    int threads;
    MeasureParams measure;
    size_t memory_bytes; /* a case that needs more is left out, and said so */
    void (*progress)(void *context, const char *line); /* may be NULL */
    void *context;
} BenchParams;

/* The numbers of the cases (case_at) whose names match, in *numbers [*count]; release with
 * buffer_free. checked_too: those that are only ever checked are among them. Errors: ERR_INPUT for
 * a wrong expression or one that no name matches. */
Status bench_select(const char *filter, bool checked_too, size_t **numbers, size_t *count,
                    Error *err);

/* Fills the machine: what it is, and its limits by measurements of about 3 seconds. */
Status bench_machine(const BenchParams *params, BenchMachine *machine, Error *err);

/* Measures the machine and all selected cases. Errors: those of bench_select; ERR_MACHINE for lack
 * of memory. Release with bench_run_free. */
Status bench_run(const BenchParams *params, BenchRun *run, Error *err);

/* The arithmetic that rows of a type can use at best on a machine with these limits: f32 needs f32;
 * bf16, f16 and fp8 lose nothing, or less than their own rounding, as bf16; whole numbers of 8 bits
 * and all types of 4 go as int8. Where the machine lacks an instruction, the next wider. */
PeakKind bench_arithmetic(const Peaks *peaks, RowType type);

#endif
