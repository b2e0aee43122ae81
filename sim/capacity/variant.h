/* variant.h -- a whole model with another attention at the same hidden size, heads and layers: what
 * it would cache and weigh as MHA, GQA, MQA or MLA. `exact`. */
#ifndef KVLAB_VARIANT_H
#define KVLAB_VARIANT_H

#include "architecture.h"

/* Fills *out with a variant of base by its specification, as contenders of studies are named:
 * "model", "mha", "mqa", "gqa-G", "mla-C+R". Each cache of heads or of a latent becomes one of that
 * kind with its reach; states and rows of other kinds stay. Head widths: those of the layer, V
 * where it is MLA; a new MLA has P = V = d and keeps a factored query. Parameters of attention
 * follow. Errors: ERR_INPUT naming what is allowed. */
Status variant_make(Architecture *out, const Architecture *base, const char *specification,
                    Error *err);

#endif
