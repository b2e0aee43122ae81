/* traces.h -- request traces and histograms of lengths: what lengths of prompt and answer a service
 * sees. The columns or keys of the first line say which format a file has:
 *
 *   TIMESTAMP,ContextTokens,GeneratedTokens               Azure LLM inference traces (CSV)
 *   num_prefill_tokens,num_decode_tokens,...              vidur's processed traces (CSV)
 *   Timestamp,...,Request tokens,Response tokens,...      BurstGPT (CSV)
 *   tokens,count                                          a histogram of whole contexts (CSV)
 *   {"timestamp": ms, "input_length": ..., "output_length": ...}           Mooncake (JSONL)
 *   {"input_toks": ..., "output_toks": ..., "arrival_time_ns": ...}  LLMServingSim (JSONL)
 *
 * Columns and keys beside these are read past. */
#ifndef KVLAB_TRACES_H
#define KVLAB_TRACES_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { TRACE_TOKENS_MOST = 1 << 28 };

typedef struct {
    double arrival_s;       /* after the first request; 0 where the file has no times */
    uint32_t prompt_tokens; /* of a histogram: the whole context */
    uint32_t output_tokens;
    double weight; /* how many requests this row stands for */
} TraceRow;

typedef struct {
    TraceRow *row;
    size_t count;
    char format[32]; /* "azure", "vidur", "burstgpt", "histogram", "mooncake", "llmservingsim" */
} Trace;

/* Reads a file. Release with trace_free. Errors: ERR_INPUT with file:line and what is wrong. */
Status trace_read(Trace *trace, const char *path, Error *err);

/* The same from memory; name stands for the file in messages. */
Status trace_parse(Trace *trace, const char *name, const char *text, size_t length, Error *err);

void trace_free(Trace *trace);

#endif
