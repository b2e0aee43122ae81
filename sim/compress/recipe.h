/* recipe.h -- how a layer is brought to another shape: the conversions by name.
 *
 *   model, mha            as it is
 *   gqa-G, mqa            mean-pool: a group of key/value heads shares their mean (Ainslie et al.
 *                         2023, arXiv 2305.13245)
 *     -aligned            after turning each head towards the others: values by any rotation, keys
 *                         by a phase a frequency, which RoPE lets through (arXiv 2412.20677)
 *     -lowrank            PCA of each group's keys and of its values to the width of one head, at
 *                         the bytes of gqa-G (Palu's G-LRD, arXiv 2407.21118)
 *   mla-C+R               latent C and one shared rotated key R: complex principal components a
 *                         frequency, the rest by balanced joint PCA
 *     -real               real components, as TransMLA (arXiv 2502.07864)
 *     -foldN              N neighbouring frequencies taken as one (FreqFold); the least is d / R
 *     -norm               the latent's RMSNorm is kept, its weight the latents' mean size
 *   lowrank-KIND-N        N values a token, cached before RoPE; keys are rebuilt, then rotated
 *     separate            PCA of keys to N/2 and of values to N/2; -N+M: to N and to M
 *     joint               PCA of [K | V]
 *     balanced            PCA of [K / a^gamma | V], a = |K| / |V|, the best gamma of 0 to 1
 *     whitened            SVD of whitened weights (SVD-LLM): the same map as separate
 *     weights             SVD of the weights alone, without data
 *     aware               keys by the logits, values by the output of W_O that they change
 *     filled              aware, with ranks by water-filling
 *   -gammaX               for mla and lowrank-balanced: that gamma (mla: 1)
 */
#ifndef KVLAB_RECIPE_H
#define KVLAB_RECIPE_H

#include "model.h"

typedef enum {
    RECIPE_COPY,
    RECIPE_POOL,
    RECIPE_ALIGNED,
    RECIPE_GROUP,
    RECIPE_MLA,
    RECIPE_SEPARATE,
    RECIPE_JOINT,
    RECIPE_BALANCED,
    RECIPE_WHITENED,
    RECIPE_WEIGHTS,
    RECIPE_AWARE,
    RECIPE_FILLED
} RecipeKind;

enum { RECIPE_NAME = 64 };

typedef struct {
    char name[RECIPE_NAME];
    RecipeKind kind;
    size_t key_rank, value_rank; /* of separate kinds: their sum is the latent */
    size_t fold;                 /* of MLA: frequencies taken together */
    size_t kept;                 /* rotated components of each fold */
    bool real, norm;             /* of MLA */
    double gamma;                /* of the balance; NAN: the best is looked for */
    Model model;                 /* of the layer that comes out */
} Recipe;

/* Reads a conversion for a layer; recipe->model is then what comes out of it. A layer of MLA takes
 * "model" alone. Errors: ERR_INPUT naming the specification, what is allowed and the nearest right
 * name: an unknown kind or option, a rank above the width, groups that do not divide the heads, a
 * fold that does not divide the frequencies. */
Status recipe_parse(Recipe *recipe, const char *text, const Model *layer, Error *err);

/* The same recipe for a layer whose widths are divided by a number (model_divide). Errors:
 * ERR_INPUT for a rank or a fold that it does not divide. */
Status recipe_divide(Recipe *recipe, size_t by, Error *err);

#endif
