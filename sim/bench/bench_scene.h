/* bench_scene.h -- a case put into memory: rows, queries, outputs, workspace; ready to be run again
 * and again, by the checker and by the clock alike.
 *
 * Checked scenes are made to catch mistakes: every row is its own, blocks are dealt in a shuffled
 * order, rows lie at odd addresses with gaps between them, room that no row fills holds NaN, and
 * all that a kernel writes has guard bands around it. */
#ifndef KVLAB_BENCH_SCENE_H
#define KVLAB_BENCH_SCENE_H

#include "cases.h"
#include "error.h"
#include "layer.h"

typedef enum {
    INPUT_NORMAL, /* mean 0, variance 1 */
    INPUT_WHOLE   /* whole numbers that the row type holds exactly and whose products add up
                   * exactly; scores so far apart that softmax chooses one row */
} SceneInput;

typedef struct {
    Case c; /* a case, or one with other lengths */
    const Kernels *kernels;
    int threads;
    size_t block_tokens;
    SceneInput input;
    bool checked;
    size_t cold_bytes; /* hold copies until they take this much; 0: one */
    uint64_t seed;
} SceneParams;

/* Room with guard bands at both ends. */
typedef struct {
    unsigned char *base;
    void *room;
    size_t bytes;
} Guarded;

typedef struct {
    SceneParams params;
    Kernels ref; /* encodes and decodes the rows of a checked scene */
    size_t copies;

    /* Attention over rows where they lie. All copies' blocks lie in one pool, copy after copy. */
    KvLayout layout;
    size_t copy_blocks;   /* of a copy */
    uint32_t *table;      /* [copies * copy_blocks] */
    KvSequence *sequence; /* [copies * B] */
    size_t queries;       /* query tokens of a call */
    Guarded pool, q, out, lse, workspace;

    /* Expanded: a layer over its cache. */
    Model model;
    LayerWeights weights;
    Cache *cache;
    Layer *layer;
    size_t *cached; /* [copies * B] sequence numbers */
    size_t *tokens; /* [B] */

    /* Projections: weights [copies, out, in], x [M, in] in q, y [M, out] in out. Codecs: stored
     * rows in pool, floats [rows, n] in q (ENCODE) or one row of each thread in out (DECODE). */
    Guarded w;
} Scene;

/* Makes a scene; scene_run may then be called. Kernels are borrowed. Errors: ERR_MACHINE for lack
 * of memory. Release with scene_free. */
Status scene_new(Scene **scene, const SceneParams *params, Error *err);
void scene_free(Scene *scene);

/* One call, over copy i mod copies. */
void scene_run(Scene *scene, size_t i);

/* Bytes a scene of these parameters takes, close enough to refuse it before it is made. */
double scene_bytes(const SceneParams *params);

/* What copy i reads from memory: where it begins, and its bytes. */
const void *scene_cold(const Scene *scene, size_t i, size_t *bytes);

/* The kernels that bring rows into their stored form. */
const Kernels *scene_encoder(const Scene *scene);

/* Are all guard bands as they were made? */
bool scene_intact(const Scene *scene);

/* The seed of numbers of one kind; rows, queries and weights draw from different streams. */
enum { STREAM_KEYS = 1, STREAM_VALUES, STREAM_QUERIES, STREAM_WEIGHTS };

#endif
