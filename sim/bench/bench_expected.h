/* bench_expected.h -- what a scene must give, in double, straight from the definition: every
 * visible row scored, softmax, the weighted sum of the values. Stored rows are taken as the
 * reference tier decodes them, so that only the kernel's own error is left. */
#ifndef KVLAB_BENCH_EXPECTED_H
#define KVLAB_BENCH_EXPECTED_H

#include "bench_scene.h"

/* One row of the result of attention: a query token and head. */
typedef struct {
    double lse;
    double terms;    /* greatest sum of |q k| * scale over visible rows */
    double coarse;   /* greatest max|q| * sum of |k| * scale */
    double greatest; /* |v| */
    bool decided;    /* one row scores higher than all others, in sums that are exact in float */
} ExpectedRow;

typedef struct {
    size_t rows, width; /* query tokens times heads and dv; M and out of a projection */
    double *out;        /* [rows, width] */
    ExpectedRow *row;   /* [rows], attention only */
    double *size;       /* [rows, width] sums of |x w|, projections only */
} Expected;

/* Errors: ERR_MACHINE for lack of memory. Release with expected_free. */
Status expected_make(Expected *expected, const Scene *scene, Error *err);
void expected_free(Expected *expected);

#endif
