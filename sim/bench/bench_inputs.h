/* bench_inputs.h -- what a scene holds: numbers drawn by counters, normal or whole. Between
 * bench_scene.c and bench_inputs.c alone. */
#ifndef KVLAB_BENCH_INPUTS_H
#define KVLAB_BENCH_INPUTS_H

#include "bench_scene.h"

/* A whole number below `limit`. */
uint64_t inputs_below(uint64_t seed, uint64_t index, uint64_t limit);

/* The softmax scale of attention: dk^-1/2; for whole numbers one that leaves only the best row. */
float inputs_scale(const SceneParams *params);

/* What all products of whole numbers are multiples of. */
double inputs_unit(const Scene *scene);

/* Draws and encodes all cached rows; outside checked scenes a few blocks, repeated. */
Status inputs_rows(Scene *scene, Error *err);

/* Latent rows [tokens, C + R] of one sequence. */
void inputs_latents(const Scene *scene, size_t sequence, size_t tokens, float *rows);

/* The queries or inputs in q. */
void inputs_queries(Scene *scene);

/* The up-projection of `expanded`: `count` floats of size about rank^-1/2. */
void inputs_weights(Scene *scene, size_t count, size_t rank);

/* The weights of a projection in their stored type, alike in size, repeated in each copy. */
Status inputs_projection(Scene *scene, Error *err);

/* Floats and stored rows of a codec. */
void inputs_codec(Scene *scene);

#endif
