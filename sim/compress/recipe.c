/* recipe.c -- reads the name of a conversion; see recipe.h.
 *
 * A name is a base, which model_contender knows or which begins with "lowrank-", and options, each
 * behind a '-'. */
#include "recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* What is left of a name, and the whole of it for messages. */
typedef struct {
    const char *name, *at;
} Reader;

/* "-word" at the reader's place, followed by nothing, '-' or (where number) a digit: moves past. */
static bool take_word(Reader *r, const char *word, bool number) {
    const size_t length = strlen(word);
    if (*r->at != '-' || strncmp(r->at + 1, word, length) != 0) return false;
    const char next = r->at[1 + length];
    if (number ? next < '0' || next > '9' : next && next != '-') return false;
    r->at += 1 + length;
    return true;
}

static bool take_count(Reader *r, size_t *out) {
    char *end;
    if (*r->at < '0' || *r->at > '9') return false;
    const unsigned long value = strtoul(r->at, &end, 10);
    if (value > 1000000) return false;
    r->at = end;
    *out = value;
    return true;
}

static bool take_real(Reader *r, double *out) {
    size_t length = strspn(r->at, "0123456789.");
    char digits[16], *end;
    if (length == 0 || length >= sizeof digits) return false;
    memcpy(digits, r->at, length);
    digits[length] = '\0';
    *out = strtod(digits, &end);
    r->at += length;
    return *end == '\0';
}

static Status unknown_option(const Reader *r, size_t count, const char *const *options,
                             Error *err) {
    char allowed[160] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof allowed; i++)
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s-%s", i ? ", " : "",
                                 options[i]);
    char word[RECIPE_NAME] = "";
    if (*r->at == '-') snprintf(word, sizeof word, "%.*s", (int)strcspn(r->at + 1, "-"), r->at + 1);
    const char *nearest = *word ? names_nearest(word, options, count) : NULL;
    return fail(err, ERR_INPUT, "%.64s: %.48s: no such option; allowed: %s%s%s%s", r->name, r->at,
                count ? allowed : "none", nearest ? "; did you mean -" : "", nearest ? nearest : "",
                nearest ? "?" : "");
}

static Status read_gamma(Reader *r, Recipe *recipe, Error *err) {
    if (take_real(r, &recipe->gamma) && recipe->gamma <= 1) return OK;
    return fail(err, ERR_INPUT, "%.64s: gamma must be from 0 to 1", r->name);
}

/* ---- groups of heads ---- */

/* Rebuilt keys are rotated: keys and values of G heads from one latent without a rotated part. */
static void set_latent(Model *m, const Model *layer, size_t rank) {
    m->kind = ATTENTION_MLA;
    m->rotates_rebuilt = m->plain_latent = true;
    m->kv_heads = layer->kv_heads;
    m->kv_lora_rank = rank;
    m->q_lora_rank = 0;
    m->nope_dim = m->key_dim = layer->key_dim;
    m->rope_dim = 0;
}

static Status read_groups(Reader *r, Recipe *recipe, const Model *layer, Error *err) {
    static const char *const options[] = { "aligned", "lowrank" };
    const size_t groups = recipe->model.kv_heads;
    if (layer->kv_heads % groups)
        return fail(err, ERR_INPUT, "%.64s: %zu groups do not divide the layer's %zu key heads",
                    r->name, groups, layer->kv_heads);
    recipe->kind = groups == layer->kv_heads ? RECIPE_COPY : RECIPE_POOL;
    if (take_word(r, "aligned", false)) {
        recipe->kind = RECIPE_ALIGNED;
    } else if (take_word(r, "lowrank", false)) {
        recipe->kind = RECIPE_GROUP;
        recipe->key_rank = groups * layer->key_dim;
        recipe->value_rank = groups * layer->value_dim;
        set_latent(&recipe->model, layer, recipe->key_rank + recipe->value_rank);
    }
    return *r->at ? unknown_option(r, 2, options, err) : OK;
}

/* ---- MLA ---- */

static Status check_mla(const Reader *r, const Recipe *recipe, const Model *layer, Error *err) {
    const size_t rope = recipe->model.rope_dim, rotated = layer->rope.dim;
    const size_t width = layer->kv_heads * (layer->key_dim + layer->value_dim);
    if (recipe->model.kv_lora_rank > width)
        return fail(err, ERR_INPUT,
                    "%.64s: a latent of %zu is above the %zu key and value elements of the layer",
                    r->name, recipe->model.kv_lora_rank, width);
    if (rotated == 0)
        return fail(err, ERR_INPUT, "%.64s: the layer's keys are not rotated", r->name);
    if (rotated % rope)
        return fail(err, ERR_INPUT,
                    "%.64s: a rotated key of %zu must divide the %zu rotated values of a head",
                    r->name, rope, rotated);
    if (recipe->fold % (rotated / rope) || rotated / 2 % recipe->fold)
        return fail(err, ERR_INPUT,
                    "%.64s: a fold of %zu frequencies; allowed: multiples of %zu that divide %zu",
                    r->name, recipe->fold, rotated / rope, rotated / 2);
    return OK;
}

static Status read_mla(Reader *r, Recipe *recipe, const Model *layer, Error *err) {
    static const char *const options[] = { "real", "foldN", "norm", "gammaX" };
    const size_t rope = recipe->model.rope_dim;
    recipe->kind = RECIPE_MLA;
    recipe->gamma = 1;
    recipe->fold = layer->rope.dim > rope ? layer->rope.dim / rope : 1;
    recipe->model.nope_dim = layer->key_dim;
    recipe->model.key_dim = layer->key_dim + rope;
    while (*r->at) {
        if (take_word(r, "real", false))
            recipe->real = true;
        else if (take_word(r, "norm", false))
            recipe->norm = true;
        else if (take_word(r, "gamma", true))
            TRY(read_gamma(r, recipe, err));
        else if (!take_word(r, "fold", true) || !take_count(r, &recipe->fold) || !recipe->fold)
            return unknown_option(r, 4, options, err);
    }
    recipe->model.plain_latent = !recipe->norm;
    TRY(check_mla(r, recipe, layer, err));
    recipe->kept = recipe->fold * rope / layer->rope.dim;
    return OK;
}

/* ---- low rank ---- */

static const struct {
    const char *name;
    RecipeKind kind;
    bool split; /* keys and values have ranks of their own */
} kinds[] = { { "separate", RECIPE_SEPARATE, true },  { "joint", RECIPE_JOINT, false },
              { "balanced", RECIPE_BALANCED, false }, { "whitened", RECIPE_WHITENED, true },
              { "weights", RECIPE_WEIGHTS, true },    { "aware", RECIPE_AWARE, true },
              { "filled", RECIPE_FILLED, false } };
enum { KINDS = sizeof kinds / sizeof *kinds };

static Status check_ranks(const Reader *r, const Recipe *recipe, bool split, const Model *layer,
                          Error *err) {
    const size_t keys = layer->kv_heads * layer->key_dim;
    const size_t values = layer->kv_heads * layer->value_dim;
    const size_t rank = recipe->model.kv_lora_rank;
    if (rank == 0) return fail(err, ERR_INPUT, "%.64s: a rank of 0", r->name);
    if (rank > keys + values)
        return fail(err, ERR_INPUT, "%.64s: rank %zu is above the width %zu of keys and values",
                    r->name, rank, keys + values);
    if (split && (recipe->key_rank == 0 || recipe->key_rank > keys))
        return fail(err, ERR_INPUT, "%.64s: rank %zu of the keys; their width is %zu", r->name,
                    recipe->key_rank, keys);
    if (split && (recipe->value_rank == 0 || recipe->value_rank > values))
        return fail(err, ERR_INPUT, "%.64s: rank %zu of the values; their width is %zu", r->name,
                    recipe->value_rank, values);
    return OK;
}

static Status read_lowrank(Reader *r, Recipe *recipe, const Model *layer, Error *err) {
    static const char *const options[] = { "gammaX" };
    const char *names[KINDS];
    size_t kind = 0, rank = 0, more = 0;
    for (size_t i = 0; i < KINDS; i++) names[i] = kinds[i].name;
    while (kind < KINDS && !take_word(r, kinds[kind].name, false)) kind++;
    if (kind == KINDS) return unknown_option(r, KINDS, names, err);
    const bool split = kinds[kind].split;
    recipe->kind = kinds[kind].kind;
    if (*r->at++ != '-' || !take_count(r, &rank))
        return fail(err, ERR_INPUT, "%.64s: a rank is missing, as in lowrank-%s-512", r->name,
                    names[kind]);
    recipe->value_rank = rank / 2;
    recipe->key_rank = rank - recipe->value_rank;
    if (split && *r->at == '+') {
        r->at++;
        if (!take_count(r, &more))
            return fail(err, ERR_INPUT, "%.64s: a rank of the values is missing", r->name);
        recipe->key_rank = rank;
        recipe->value_rank = more;
    }
    set_latent(&recipe->model, layer, rank + more);
    if (recipe->kind == RECIPE_BALANCED) {
        recipe->gamma = NAN;
        if (take_word(r, "gamma", true)) TRY(read_gamma(r, recipe, err));
    }
    if (*r->at) return unknown_option(r, recipe->kind == RECIPE_BALANCED, options, err);
    return check_ranks(r, recipe, split, layer, err);
}

/* ---- any ---- */

/* The base of a name: up to the option after its numbers. */
static Status read_base(Reader *r, Recipe *recipe, const Model *layer, Error *err) {
    char base[RECIPE_NAME];
    const char *dash = strchr(r->name, '-');
    const bool sized = dash && dash[1] >= '0' && dash[1] <= '9';
    const size_t length = !dash   ? strlen(r->name)
                          : sized ? (size_t)(dash - r->name) + 1 + strcspn(dash + 1, "-")
                                  : (size_t)(dash - r->name);
    snprintf(base, sizeof base, "%.*s", (int)length, r->name);
    r->at = r->name + length;
    return model_contender(&recipe->model, layer, base, err);
}

static Status read(Reader *r, Recipe *recipe, const Model *layer, Error *err) {
    const bool lowrank = strncmp(r->name, "lowrank", strlen("lowrank")) == 0;
    if (layer->kind == ATTENTION_MLA && strcmp(r->name, "model") != 0)
        return fail(err, ERR_INPUT, "%.64s: the layer is MLA already and stays as it is: model",
                    r->name);
    if (lowrank) {
        r->at = r->name + strlen("lowrank");
        return read_lowrank(r, recipe, layer, err);
    }
    TRY(read_base(r, recipe, layer, err));
    if (recipe->model.kind == ATTENTION_MLA && layer->kind != ATTENTION_MLA)
        return read_mla(r, recipe, layer, err);
    if (layer->kind == ATTENTION_MLA) return OK;
    return read_groups(r, recipe, layer, err);
}

Status recipe_parse(Recipe *recipe, const char *text, const Model *layer, Error *err) {
    Recipe draft = { .kind = RECIPE_COPY, .gamma = NAN, .model = *layer };
    if (strlen(text) >= sizeof draft.name)
        return fail(err, ERR_INPUT, "%.64s...: a conversion has at most %d letters", text,
                    RECIPE_NAME - 1);
    snprintf(draft.name, sizeof draft.name, "%s", text);
    Reader r = { .name = draft.name };
    TRY(read(&r, &draft, layer, err));
    *recipe = draft;
    return OK;
}

Status recipe_divide(Recipe *recipe, size_t by, Error *err) {
    Recipe draft = *recipe;
    Error why;
    const Status status = model_divide(&draft.model, by, &why);
    if (status != OK) return fail(err, status, "%s: %s", recipe->name, why.text);
    if (draft.key_rank % by || draft.value_rank % by)
        return fail(err, ERR_INPUT, "%zu does not divide the ranks %zu and %zu of %s", by,
                    draft.key_rank, draft.value_rank, recipe->name);
    draft.key_rank /= by;
    draft.value_rank /= by;
    if (draft.fold && draft.model.rope.dim) {
        const size_t rotated = draft.model.rope_dim * recipe->fold / recipe->kept;
        if (rotated / 2 % recipe->fold)
            return fail(err, ERR_INPUT,
                        "%s: divided by %zu a fold of %zu does not divide %zu pairs", recipe->name,
                        by, recipe->fold, rotated / 2);
    }
    *recipe = draft;
    return OK;
}
