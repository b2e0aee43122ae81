/* bench_figure.h -- the roofline of `kvlab bench`: where each case stands under the limits of the
 * machine that it was measured with. Drawn from numbers alone; knows nothing of who measured. */
#ifndef KVLAB_BENCH_FIGURE_H
#define KVLAB_BENCH_FIGURE_H

#include <stddef.h>

#include "error.h"

typedef struct {
    const char *name, *kind, *phase; /* phase "decode" is drawn filled, others open */
    double intensity, gflops;        /* flop/B of the least bytes; a mark needs both above 0 */
} BenchMark;

/* GB/s and GFLOP/s; 0 where there is none. */
typedef struct {
    const char *machine; /* for the subtitle */
    double memory, cache, fma_f32, dot_bf16, dot_int8;
} BenchRoofs;

/* Writes roofline.tsv and roofline.gp into a folder that exists and draws roofline.svg, .pdf and
 * .png. note [size] says why nothing was drawn (gnuplot missing, no mark), "" when it was. */
Status bench_figure_write(const char *folder, const BenchRoofs *roofs, size_t count,
                          const BenchMark *marks, char *note, size_t size, Error *err);

#endif
