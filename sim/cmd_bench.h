/* cmd_bench.h -- the two files of `kvlab bench`: options (cmd_bench.c) and what is written
 * (cmd_bench_output.c). */
#ifndef KVLAB_CMD_BENCH_H
#define KVLAB_CMD_BENCH_H

#include "bench.h"
#include "bench_compare.h"
#include "peaks.h"

/* Where results go, as given; NULL where not asked. */
typedef struct {
    const char *csv, *out;
    bool json;
} BenchOutput;

/* Can all of it be written? Makes the folder. Errors: ERR_INPUT. */
Status bench_output_check(const BenchOutput *output, Error *err);

/* Writes files, then the table or the JSON object on standard output. comparison may be NULL. */
Status bench_output_write(const BenchOutput *output, const BenchRun *run,
                          const BenchComparison *comparison, Error *err);

/* The machine as a file of configs/hardware/. */
Status bench_output_hardware(const char *path, const BenchMachine *machine, Error *err);

#endif
