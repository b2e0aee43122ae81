/* stored_weights.h -- the weights of a model as its tensors store them: to which part each belongs,
 * by its name, and the sum of each part. */
#ifndef KVLAB_STORED_WEIGHTS_H
#define KVLAB_STORED_WEIGHTS_H

#include "architecture.h"

/* Sums over the tensors that were added. */
typedef struct {
    double bytes[WEIGHT_PARTS];
    double elements[WEIGHT_PARTS]; /* of tensors that hold one weight in each element */
    bool packed[WEIGHT_PARTS];     /* some hold several in one: integers */
    char type[16];                 /* the type with most bytes so far */
    double type_bytes;
    struct {
        char name[16];
        double bytes;
    } types[32];
} StoredWeights;

/* How a tensor's elements count. */
typedef enum {
    STORED_WEIGHTS, /* one weight each, or one value of a norm or bias */
    STORED_PACKED,  /* several weights each */
    STORED_SCALES   /* scales, zero points, permutations: bytes and no weights */
} StoredAs;

/* The part that a tensor belongs to, by its name under Hugging Face or in a GGUF file. */
WeightPart stored_weights_part(const Architecture *model, const char *name);

/* Adds a tensor of some type ("BF16", "Q4_K"). */
void stored_weights_add(StoredWeights *sum, const Architecture *model, const char *name,
                        const char *type, StoredAs as, double elements, double bytes);

/* Puts the sums in the place of what was derived from shapes: bytes exactly; parameters where no
 * element holds several. Errors: ERR_INPUT naming `file` where a part that the model cannot be
 * without has no tensor, or tensors of under a thousandth of the elements that its shapes ask for.
 * Where a tenth is missing of all of them, the model has a note of it. */
Status stored_weights_apply(const StoredWeights *sum, Architecture *model, const char *file,
                            Error *err);

/* The tensors of a checkpoint's folder, by their headers alone. */
Status stored_weights_of_folder(Architecture *model, const char *folder, Error *err);

#endif
