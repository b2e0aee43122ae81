/* sweep.h -- plans by the million: models x engines x hardware x ranks x types x contexts x
 * sequences of a file, streamed as CSV, a row a plan, in constant memory.
 *
 *   models: [DeepSeek-V3, Llama-3.1-8B]   or all
 *   engines: [logical, vllm]
 *   hardware: [h100, h200]                of one device; its count is dp x tp x pp
 *   tp: [1, 2, 4, 8]  dp, dcp, pp         whole numbers
 *   kv_dtypes: [bf16, fp8]
 *   contexts: [1k, 32k]  sequences: [1, 8]
 *   speed: yes                            modelled decode times too
 *
 * What is left out has one value: engine logical, no hardware, one rank, bf16, 32k, one sequence.
 */
#ifndef KVLAB_SWEEP_H
#define KVLAB_SWEEP_H

#include <stdio.h>

#include "plan.h"

typedef struct Sweep Sweep;

/* Reads the file and everything that it names. Release with sweep_free. Errors: ERR_INPUT with its
 * place in the file. */
Status sweep_read(Sweep **sweep, const char *path, Error *err);
void sweep_free(Sweep *sweep);

/* How many rows sweep_write will write. */
double sweep_rows(const Sweep *sweep);

/* Writes the header and every row. A plan that an engine or the ranks do not allow has its reason
 * in the last column and no numbers. Errors: ERR_MACHINE where the stream cannot be written. */
Status sweep_write(const Sweep *sweep, FILE *out, Error *err);

#endif
