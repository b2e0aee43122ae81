/* deployment.h -- a model over GPUs: tensor, data, decode-context, pipeline and expert parallelism,
 * and what each rank then holds of caches and weights. `exact`.
 *
 *   gpus = dp x pp x tp.  dcp ranks of the tp split tokens where tp alone would copy rows; ep of
 *   the dp x tp split the experts. dp ranks hold their own requests only. */
#ifndef KVLAB_DEPLOYMENT_H
#define KVLAB_DEPLOYMENT_H

#include "hardware.h"
#include "pages.h"

enum { STAGES_MOST = 64, GPUS_MOST = 1 << 16, NODE_GPUS = 8 };

typedef struct {
    size_t gpus, tp, dp, dcp, pp, ep;
} Deployment;

/* GPUs that tensor parallelism is dealt within by default: those that a link joins, NODE_GPUS at
 * most and where it is not known (hardware NULL among them). */
size_t deployment_node(const Hardware *hardware);

/* Fills what is 0 in `asked`. With dp given, what gpus leave goes to tp; with tp given, to dp. With
 * neither, tp is the largest divisor of them that stays within a node, divides the query heads and
 * is a multiple of dcp, and what is left goes to dp for models with a latent or experts, whose
 * caches or weights tp would copy or cut, and to pp for others. dcp alone asks for so many tp
 * ranks; ep is dp x tp for experts under data parallelism, else 1. Errors: ERR_INPUT naming the
 * option that does not divide. */
Status deployment_resolve(Deployment *out, Deployment asked, const Architecture *model,
                          const Hardware *hardware, Error *err);

/* The part of the layers that a pipeline stage has. Layers are dealt evenly; what is left over goes
 * one by one to the stages from the last but one backwards (vLLM's get_pp_indices), since the last
 * has the head. */
typedef struct {
    size_t first, layers;            /* of the model itself */
    size_t caches[CACHE_KINDS_MOST]; /* of each kind */
    size_t dense, experts;           /* layers with such an MLP */
    bool embedding, head, draft;     /* the stage has them too */
} Stage;

void deployment_stages(const Architecture *model, const Deployment *deployment, bool draft,
                       Stage stages[STAGES_MOST]);

/* Bytes of weights on a GPU of a stage, by part. Products are split over tp; projections into a
 * latent, norms and routers are copied, key and value projections as their heads are; experts lie
 * whole on ceil(experts / ep) of a rank. */
typedef struct {
    double part[WEIGHT_PARTS];
    double total;
} StageWeights;

StageWeights deployment_weights(const Architecture *model, const Deployment *deployment,
                                const Stage *stage);

#endif
