/* bench_judge.h -- runs a checked scene once and judges what it wrote. */
#ifndef KVLAB_BENCH_JUDGE_H
#define KVLAB_BENCH_JUDGE_H

#include "bench_expected.h"

typedef struct {
    char what[160]; /* the first thing that is wrong, "" when nothing is */
    size_t values;  /* results compared */
    size_t exact;   /* of them demanded to the bit */
    double worst;   /* error over its bound */
    double rel_error;
} Verdict;

/* Codecs expect nothing but this: their rows must equal those of the reference tier to the bit. */
void judge_scene(Scene *scene, const Expected *expected, Verdict *verdict);

#endif
