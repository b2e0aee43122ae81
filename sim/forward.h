/* forward.h -- one attention layer over given tensors: prefill, then token by token through the
 * cache, checked against the outputs that the file carries. The work behind `kvlab forward`. */
#ifndef KVLAB_FORWARD_H
#define KVLAB_FORWARD_H

#include "cache.h"
#include "layer_file.h"
#include "measure.h"

typedef struct {
    Path path;
    CacheParams cache;
    unsigned tiers; /* of kernels: kernel.h */
    int threads;
    size_t memory_bytes;   /* that may be used; what needs more is refused */
    const char *out;       /* safetensors file for the output, or NULL */
    MeasureParams measure; /* samples of prefill and of decode beyond the run that is checked */
} ForwardParams;

/* A relative error and the largest difference, where the file has something to compare with. */
typedef struct {
    bool compared;
    double rel_error, max_abs_error;
} ForwardError;

typedef struct {
    Model model;
    size_t sequences, prefill_tokens, decode_tokens;
    ForwardError output;   /* against `output` */
    ForwardError absorbed; /* against `output_absorbed` */
    ForwardError latent;   /* cached rows against `cache_latent`; paths that keep the latent */
    CacheBytes bytes;      /* after the last token */
    size_t resident_bytes; /* of the pool, as the system counts */
    size_t cache_bytes;    /* held for the sequences: payload, waste in their blocks, tables */
    size_t payload_bytes_per_token;
    size_t samples; /* of the times below: medians */
    double prefill_ns;
    double decode_ns_per_token; /* one step: one token in each sequence */
} ForwardResult;

/* The path that an MLA layer takes by default, and any other. */
Path forward_default_path(const Model *model);

/* Runs it over an open file. Errors: ERR_INPUT for values that are not finite, a path that does not
 * apply or sizes beyond memory_bytes; ERR_MACHINE. Nothing is written unless all went well. */
Status forward_run(ForwardResult *result, const LayerFile *file, const ForwardParams *params,
                   Error *err);

#endif
