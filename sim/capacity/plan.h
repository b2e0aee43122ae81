/* plan.h -- one plan: a model under an engine over GPUs at a context; what its cache takes, what
 * memory is left for it, and how many sequences that holds. `exact` but for the reserve of
 * activations and runtime, which is `modelled`. A plan allocates nothing and takes microseconds. */
#ifndef KVLAB_PLAN_H
#define KVLAB_PLAN_H

#include "deployment.h"
#include "hardware.h"

typedef struct {
    const Architecture *model;
    const Engine *engine;
    const Hardware *hardware; /* NULL: not given */
    uint64_t kv_pool_bytes;   /* of a GPU, given instead of hardware; 0 not */
    double utilization;       /* of device memory; 0: the engine's */
    KvType type;
    Deployment deployment; /* resolved */
    Deployment asked;      /* as it was given, 0 where it was not */
    const char *device;    /* H200 of "8xH200" where the hardware was named with a count, or NULL */
    size_t context_tokens, sequences;
    size_t block_tokens; /* 0: the engine's */
    bool draft;          /* MTP or draft layers are loaded and cached */
} PlanInput;

typedef enum {
    BINDS_NOTHING,  /* no pool was given */
    BINDS_WEIGHTS,  /* weights and reserve leave no memory */
    BINDS_SEQUENCE, /* not one sequence of the context fits */
    BINDS_CACHE     /* memory of the cache bounds the sequences */
} Binds;

/* Memory of a GPU of the stage that binds. */
typedef struct {
    double usable; /* as the device reports */
    double used;   /* the share of it that the engine takes */
    double weights;
    double activation; /* of a step of the engine's batch; modelled */
    double runtime;    /* the engine's allowance */
    double pool;       /* what is left for the cache */
} PlanMemory;

typedef struct {
    PlanInput input;
    SequenceBytes bytes;           /* of all sequences, on one device that held everything */
    double per_gpu;                /* reserved on the fullest GPU */
    double deployment;             /* reserved on all GPUs together */
    double growth, growth_per_gpu; /* bytes a token at the margin: of one sequence; on the GPU */
    double weight_bytes, weight_bytes_per_gpu;
    bool has_pool;
    PlanMemory memory;
    double blocks, block_tokens, blocks_per_sequence; /* of the stage that binds */
    double cache_tokens;  /* what an engine would print for one data-parallel rank */
    double concurrency;   /* blocks over those of one sequence, a fraction */
    double max_sequences; /* whole ones, in all data-parallel ranks; INFINITY where they cost
                             nothing */
    Binds binds;
    size_t binding_stage;
    RankPages whole; /* as if one device held everything */
    Stage stages[STAGES_MOST];
    RankPages rank[STAGES_MOST];          /* of a GPU of each stage */
    PlanMemory stage_memory[STAGES_MOST]; /* likewise */
} Plan;

/* Fills a plan. Errors: ERR_INPUT where the type does not fit the model or the engine cannot share
 * it so. A model that does not fit is no error: see binds. */
Status plan_make(Plan *plan, const PlanInput *input, Error *err);

/* Whole sequences of `tokens` tokens that the plan's pool holds: what plan_make counts at its own
 * context. Falls, or stays, as tokens grow. */
double plan_sequences(const Plan *plan, size_t tokens);

/* The longest context at which `sequences` fit, at most `most`; 0 where not even one token does.
 * The inverse of plan_sequences: at it they fit, at one more they do not. */
size_t plan_longest_context(const Plan *plan, double sequences, size_t most);

/* Bytes that activations of one step take at their peak on a GPU: the engine's batch of tokens
 * through the widest layer in two bytes, and logits of 256 of them in four. Modelled. */
double plan_activation_bytes(const Architecture *model, const Engine *engine,
                             const Deployment *deployment);

#endif
