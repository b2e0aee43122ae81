/* losses.h -- what each contender loses at the layer's output, pooled over the layers that were
 * measured, and which of them nothing beats. */
#ifndef KVLAB_LOSSES_H
#define KVLAB_LOSSES_H

#include "view.h"

typedef struct {
    const StoredPoint *point; /* its first */
    const Contender *look;
    double ratio;       /* times less cache than MHA in bf16; of a bound, times less read */
    double error;       /* y_rel */
    double least, most; /* of one draw by itself; the error where layers are pooled */
    bool bound;         /* no method reaches it: on no front, and it beats nothing */
    bool beaten; /* another has no less compression and no more error, and one of both is better */
} Loss;

typedef struct {
    Loss *loss; /* by ratio, then by error */
    size_t count;
    Slice slice; /* of the error points: one row type, the longest text */
} Losses;

/* Errors: ERR_MACHINE for lack of memory. Release with losses_free. */
Status losses_read(Losses *losses, const View *view, Error *err);
void losses_free(Losses *losses);

/* The least loss of those whose ratio is within a tenth of one, bounds and the teacher apart; NULL
 * when there is none. */
const Loss *losses_least(const Losses *losses, double ratio);

/* The loss of a contender, NULL when it has none. */
const Loss *losses_of(const Losses *losses, const Contender *look);

/* The slice of the error points, as losses_read takes it. */
Slice losses_slice(const View *view);

/* A relative error of a contender's points in the slice, numerators and denominators pooled over
 * layers; NaN where it has none. */
double loss_pooled(const View *view, const Slice *slice, const char *contender, const char *metric);

#endif
