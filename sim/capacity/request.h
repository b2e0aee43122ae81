/* request.h -- a plan as people ask for it: names and numbers as text, made into a PlanInput with
 * everything that it points at. The same request serves `plan`, `--compare` and `--sweep`. */
#ifndef KVLAB_REQUEST_H
#define KVLAB_REQUEST_H

#include "plan.h"

enum { NOTES_MOST = 18, NOTE_SIZE = ARCHITECTURE_NOTE_SIZE };

/* What was given, NULL where it was not. */
typedef struct {
    const char *model, *hardware, *engine, *context, *sequences, *kv_dtype, *block_tokens;
    const char *gpus, *tp, *dp, *dcp, *pp, *ep;
    const char *utilization, *kv_pool, *batch_tokens;
    bool draft;
} RequestText;

typedef struct {
    Architecture model;
    Engine engine;
    Hardware hardware;
    size_t devices;  /* of the hardware as it was named: 8 of "8xH200" */
    PlanInput input; /* points into this struct: do not copy */
    char note[NOTES_MOST][NOTE_SIZE];
    size_t notes;
} Request;

/* Reads and resolves everything; what was not given has its default: engine logical, bf16, one
 * sequence, the model's longest context or 32k if that is less, one GPU or as many as the hardware
 * names. Errors: ERR_INPUT naming the option and what is allowed. */
Status request_read(Request *request, const RequestText *text, Error *err);

/* The type of cached rows that an option names; nothing where text is NULL. Errors: ERR_INPUT with
 * the types that are allowed and the nearest. */
Status request_read_type(const char *option, const char *text, KvType *out, Error *err);

/* What a reader of the plan should know beside its numbers, in request->note: defaults that were
 * taken, what an engine does to the type, what is not counted. */
void request_note(Request *request, const Plan *plan, const RequestText *text);

#endif
