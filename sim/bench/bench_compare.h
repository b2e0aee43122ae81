/* bench_compare.h -- two results of `kvlab bench`, case by case: faster, slower or no difference.
 *
 * A case differs when its quartiles lie apart, by time and also by time over its own limit, where
 * both results measured one: a machine that was slower as a whole is no slower kernel. */
#ifndef KVLAB_BENCH_COMPARE_H
#define KVLAB_BENCH_COMPARE_H

#include "bench_result.h"

typedef enum { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER } BenchVerdict;

/* "no difference", "faster", "slower". */
const char *bench_verdict_name(BenchVerdict verdict);

typedef struct {
    const BenchCase *before, *now; /* borrowed */
    BenchVerdict verdict;
    double speedup;     /* median before over median now */
    double limit_ratio; /* the case's limit before over now, in time; 1 where unknown */
} BenchDifference;

typedef struct {
    BenchDifference *differences;
    size_t count; /* cases in both */
    size_t only_before, only_now;
    size_t faster, slower;
} BenchComparison;

/* Compares. Errors: ERR_INPUT when `before` (of that file) is of another CPU or number of threads,
 * or has no case in common; ERR_MACHINE for lack of memory. Release with bench_compare_free. */
Status bench_compare(BenchComparison *comparison, const BenchRun *before, const char *file,
                     const BenchRun *now, Error *err);
void bench_compare_free(BenchComparison *comparison);

/* The same refusals before anything of `now` is measured: this machine, with that many threads. */
Status bench_compare_check(const BenchRun *before, const char *file, int threads, Error *err);

BenchDifference bench_difference(const BenchCase *before, const BenchCase *now);

/* For people, and as a JSON array of name, before_ns, now_ns, speedup, limit_ratio, verdict. */
void bench_compare_write(const BenchComparison *comparison, FILE *out);
Json *bench_compare_to_json(const BenchComparison *comparison);

#endif
