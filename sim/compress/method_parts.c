/* method_parts.c -- the names of codecs and of evictions, with their parameters; see method.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "method.h"
#include "names.h"
#include "quantity.h"

/* ---- codecs ---- */

enum { /* what may follow a codec's name */
       MAY_GROUP = 1,
       MAY_TOKEN = 2,
       MAY_CHANNEL = 4,
       MAY_WINDOW = 8,
       MAY_SINK = 16,
       MAY_ROTATE = 32,
       MAY_ROPE = 64,
       MAY_STAY_EXACT = MAY_WINDOW | MAY_SINK,
       MAY_FOLLOW_ROWS = MAY_STAY_EXACT | MAY_ROTATE | MAY_ROPE,
       MAY_FOLLOW_INTS = MAY_FOLLOW_ROWS | MAY_GROUP | MAY_TOKEN | MAY_CHANNEL
};

typedef struct {
    const char *name;
    CodecKind kind;
    unsigned bits;
    size_t group;       /* the default */
    size_t residual;    /* the default */
    bool bits_follow;   /* as in kivi-2: name, '-', bits */
    unsigned bit_sizes; /* bits 1 << B that may follow */
    unsigned options;
} CodecRow;

enum { LEAST_GROUP = 32, KIVI_WINDOW = 128 };

static const CodecRow codecs[] = {
    { "f32", CODEC_ROWS, 32, 1, 0, false, 0, MAY_ROPE },
    { "bf16", CODEC_ROWS, 16, 1, 0, false, 0, MAY_ROPE },
    { "f16", CODEC_ROWS, 16, 1, 0, false, 0, MAY_ROPE },
    { "fp8", CODEC_ROWS, 8, 1, 0, false, 0, MAY_FOLLOW_ROWS },
    { "fp8_e5m2", CODEC_ROWS, 8, 1, 0, false, 0, MAY_FOLLOW_ROWS },
    { "q8_0", CODEC_ROWS, 8, 32, 0, false, 0, MAY_FOLLOW_ROWS },
    { "q4_0", CODEC_ROWS, 4, 32, 0, false, 0, MAY_FOLLOW_ROWS },
    { "mxfp4", CODEC_ROWS, 4, 32, 0, false, 0, MAY_FOLLOW_ROWS },
    { "nvfp4", CODEC_ROWS, 4, 64, 0, false, 0, MAY_FOLLOW_ROWS },
    { "fp8_ds_mla", CODEC_ROWS, 8, 128, 0, false, 0, MAY_ROTATE },
    { "fp8_model1", CODEC_ROWS, 8, 64, 0, false, 0, MAY_ROTATE },
    { "int8", CODEC_INTS, 8, LEAST_GROUP, 0, false, 0, MAY_FOLLOW_INTS },
    { "int4", CODEC_INTS, 4, LEAST_GROUP, 0, false, 0, MAY_FOLLOW_INTS },
    { "int3", CODEC_INTS, 3, LEAST_GROUP, 0, false, 0, MAY_FOLLOW_INTS },
    { "int2", CODEC_INTS, 2, LEAST_GROUP, 0, false, 0, MAY_FOLLOW_INTS },
    { "kivi", CODEC_INTS, 0, LEAST_GROUP, KIVI_WINDOW, true, 1 << 2 | 1 << 4,
      MAY_GROUP | MAY_STAY_EXACT },
    { "turboquant", CODEC_TURBOQUANT, 0, 0, 0, true, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
      MAY_STAY_EXACT },
    { "nominal", CODEC_NOMINAL, 0, 1, 0, true, 0xfffffe, MAY_ROPE },
};
enum { CODECS = sizeof codecs / sizeof *codecs, NUMBER_DIGITS = 6 };

/* A whole number from 1 on that fills the text. */
static bool whole_number(const char *text, size_t *out) {
    const size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (digits == 0 || digits > NUMBER_DIGITS || text[digits] || text[0] == '0') return false;
    if (!quantity_count(text, &number)) return false;
    *out = (size_t)number;
    return true;
}

static Status unknown_codec(const char *text, const char *specification, Error *err) {
    const char *names[CODECS];
    char allowed[256] = "";
    for (size_t i = 0; i < CODECS; i++) {
        names[i] = codecs[i].name;
        if (codecs[i].kind == CODEC_NOMINAL) continue; /* no cache holds it */
        const size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s%s", i ? ", " : "", names[i],
                 codecs[i].bits_follow ? "-B" : "");
    }
    const char *nearest = names_nearest(text, names, CODECS);
    return fail(err, ERR_INPUT, "%s: %s: no such codec; allowed: %s%s%s%s", specification,
                *text ? text : "nothing after *", allowed, nearest ? "; did you mean " : "",
                nearest ? nearest : "", nearest ? "?" : "");
}

/* The next word of a codec, up to '-': *text moves behind it. */
static bool next_word(const char **text, char *word, size_t size) {
    if (!**text) return false;
    const size_t length = strcspn(*text, "-");
    snprintf(word, size, "%.*s", (int)length, *text);
    *text += length + ((*text)[length] == '-' && (*text)[length + 1] != '\0');
    return true;
}

static Status wrong_option(const CodecRow *row, const char *word, const char *specification,
                           Error *err) {
    static const struct {
        unsigned may;
        const char *shown, *name;
    } options[] = { { MAY_GROUP, "gN", "g32" },
                    { MAY_TOKEN, "token", "token" },
                    { MAY_CHANNEL, "channel", "channel" },
                    { MAY_WINDOW, "rN", "r128" },
                    { MAY_SINK, "sinkN", "sink4" },
                    { MAY_ROTATE, "hadamard", "hadamard" },
                    { MAY_ROPE, "rope", "rope" } };
    const char *names[sizeof options / sizeof *options];
    char allowed[128] = "";
    size_t count = 0;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!(row->options & options[i].may)) continue;
        const size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s", count ? ", " : "",
                 options[i].shown);
        names[count++] = options[i].name;
    }
    const char *nearest = names_nearest(word, names, count);
    return fail(err, ERR_INPUT, "%s: %s: %s has no such option; allowed: %s%s%s%s", specification,
                *word ? word : "-", row->name, count ? allowed : "none",
                nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* One option: sets what it says, each at most once (seen holds the MAY_ bits so far). */
static Status take_option(Codec *c, const CodecRow *row, unsigned *seen, const char *word,
                          const char *specification, Error *err) {
    size_t number = 0;
    unsigned option = 0;
    if (word[0] == 'g' && whole_number(word + 1, &number))
        option = MAY_GROUP, c->group = number;
    else if (word[0] == 'r' && whole_number(word + 1, &number))
        option = MAY_WINDOW, c->residual = number;
    else if (strncmp(word, "sink", 4) == 0 && whole_number(word + 4, &number))
        option = MAY_SINK, c->sinks = number;
    else if (strcmp(word, "token") == 0)
        option = MAY_TOKEN, c->group = 0;
    else if (strcmp(word, "channel") == 0)
        option = MAY_CHANNEL, c->k_channel = c->v_channel = true;
    else if (strcmp(word, "hadamard") == 0)
        option = MAY_ROTATE, c->hadamard = true;
    else if (strcmp(word, "rope") == 0)
        option = MAY_ROPE, c->rope = true;
    if (!(row->options & option)) return wrong_option(row, word, specification, err);
    if (*seen & option) return fail(err, ERR_INPUT, "%s: %s is said twice", specification, word);
    *seen |= option;
    return OK;
}

/* What the options must be to each other. */
static Status check_options(Codec *c, unsigned seen, const char *specification, Error *err) {
    if (seen & MAY_TOKEN && seen & (MAY_GROUP | MAY_CHANNEL))
        return fail(err, ERR_INPUT,
                    "%s: -token is one group a row: no -gN and no -channel beside it",
                    specification);
    if (!c->k_channel) return OK;
    if (!c->residual) c->residual = c->group;
    if (c->residual % c->group == 0) return OK;
    const size_t below = c->residual / c->group * c->group;
    return fail(
        err, ERR_INPUT,
        "%s: a window of %zu tokens is no multiple of the groups of %zu; did you mean r%zu?",
        specification, c->residual, c->group, below ? below : c->group);
}

/* The row that the words up to the first option name; its bits. */
static const CodecRow *find_codec(const char **text, const char *specification, unsigned *bits,
                                  Status *status, Error *err) {
    char word[METHOD_NAME] = "";
    const char *whole = *text;
    next_word(text, word, sizeof word);
    const CodecRow *row = NULL;
    for (size_t i = 0; i < CODECS; i++)
        if (strcmp(codecs[i].name, word) == 0) row = &codecs[i];
    if (!row) {
        *status = unknown_codec(whole, specification, err);
        return NULL;
    }
    *bits = row->bits;
    if (!row->bits_follow) return row;
    size_t number = 0;
    const bool given = next_word(text, word, sizeof word) && whole_number(word, &number);
    if (given && number < 32 && row->bit_sizes >> number & 1) {
        *bits = (unsigned)number;
        return row;
    }
    char sizes[64] = "";
    for (unsigned b = 1; b < 32 && row->kind != CODEC_NOMINAL; b++) {
        const size_t used = strlen(sizes);
        if (row->bit_sizes >> b & 1)
            snprintf(sizes + used, sizeof sizes - used, "%s%s-%u", used ? ", " : "", row->name, b);
    }
    *status = fail(err, ERR_INPUT, "%s: %s: how many bits? allowed: %s", specification, whole,
                   *sizes ? sizes : "nominal-1 to nominal-23");
    return NULL;
}

Status codec_parse(Codec *out, const char *text, const char *specification, Error *err) {
    Status status = OK;
    unsigned bits = 0, seen = 0;
    const CodecRow *row = find_codec(&text, specification, &bits, &status, err);
    if (!row) return status;
    Codec draft = {
        .kind = row->kind, .bits = bits, .group = row->group, .residual = row->residual
    };
    snprintf(draft.name, sizeof draft.name, "%s", row->name);
    draft.k_channel = strcmp(row->name, "kivi") == 0;
    char word[METHOD_NAME];
    while (next_word(&text, word, sizeof word))
        TRY(take_option(&draft, row, &seen, word, specification, err));
    TRY(check_options(&draft, seen, specification, err));
    if (draft.kind == CODEC_TURBOQUANT) draft.hadamard = true;
    const bool grouped = seen & (MAY_GROUP | MAY_TOKEN | MAY_CHANNEL);
    if (draft.kind == CODEC_INTS && draft.bits == 8 && !grouped)
        draft.kind = CODEC_ROWS, draft.group = 1; /* the row type of that name */
    *out = draft;
    return OK;
}

bool codec_row_type(const Codec *codec, bool by_channel, RowType *out) {
    enum { INT4_GROUP = 32 };
    if (by_channel) return false;
    if (codec->kind == CODEC_INTS && codec->bits == 4 && codec->group == INT4_GROUP) {
        *out = ROW_INT4;
        return true;
    }
    return codec->kind == CODEC_ROWS && row_type_parse(codec->name, out);
}

/* ---- evictions ---- */

static const char *const evictions[] = { [EVICT_NONE] = "",
                                         [EVICT_STREAMING] = "streaming",
                                         [EVICT_H2O] = "h2o",
                                         [EVICT_SNAPKV] = "snapkv",
                                         [EVICT_ORACLE] = "oracle" };
enum { EVICTIONS = sizeof evictions / sizeof *evictions };

const char *eviction_name(EvictionKind kind) {
    return evictions[kind];
}

/* "1/16", "0.0625"; false where it is no number. */
static bool share(const char *text, double *out) {
    char upper[METHOD_NAME];
    const size_t length = strcspn(text, "/");
    snprintf(upper, sizeof upper, "%.*s", (int)length, text);
    double below = 1;
    if (!quantity_real(upper, out)) return false;
    if (text[length] == '/' && !(quantity_real(text + length + 1, &below) && below > 0))
        return false;
    *out /= below;
    return true;
}

Status eviction_parse(Eviction *out, const char *text, const char *specification, Error *err) {
    char name[METHOD_NAME];
    const size_t length = strcspn(text, "-");
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    EvictionKind kind = EVICT_NONE;
    for (int i = EVICT_STREAMING; i < EVICTIONS; i++)
        if (strcmp(name, evictions[i]) == 0) kind = (EvictionKind)i;
    if (kind == EVICT_NONE) {
        const char *nearest =
            names_nearest(name, evictions + EVICT_STREAMING, EVICTIONS - EVICT_STREAMING);
        return fail(
            err, ERR_INPUT,
            "%s: %s: no such eviction; allowed: streaming-F, h2o-F, snapkv-F, oracle-F%s%s%s",
            specification, *name ? name : "nothing after @", nearest ? "; did you mean " : "",
            nearest ? nearest : "", nearest ? "?" : "");
    }
    double keep;
    if (text[length] != '-' || !share(text + length + 1, &keep))
        return fail(err, ERR_INPUT, "%s: %s keeps what share? as in %s-1/16 or %s-0.0625",
                    specification, text, name, name);
    if (!(keep > 0 && keep <= 1))
        return fail(err, ERR_INPUT,
                    "%s: a share of %g is kept; allowed: above 0 and at most 1, as in %s-1/16",
                    specification, keep, name);
    *out = (Eviction){ kind, keep };
    return OK;
}

size_t eviction_kept(const Eviction *eviction, size_t visible) {
    if (eviction->kind == EVICT_NONE) return visible;
    /* 0.07 of 100 is 7.000000000000001 in doubles, and 7 */
    const size_t kept = (size_t)ceil(eviction->keep * (double)visible * (1 - 1e-12));
    return kept < visible ? kept : visible;
}
