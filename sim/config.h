/* config.h -- a study file read, checked and resolved: every value of every key with its place, and
 * the points that its lists span.
 *
 * The rows of schema.h are the only source of keys. A key may be given a list wherever its row
 * allows one; the points of a phase are the product of the lists that matter to that phase, so a
 * list of decode contexts does not multiply the prefill points. `base:` names a study to start
 * from, relative to the file. */
#ifndef KVLAB_CONFIG_H
#define KVLAB_CONFIG_H

#include <stdint.h>

#include "cache.h"
#include "measure.h"
#include "real_layer.h"
#include "sequences.h"

typedef enum {
    PHASE_BYTES,       /* cache bytes: closed form and counted on a held cache */
    PHASE_DECODE,      /* attention of few query tokens over a long cache */
    PHASE_PREFILL,     /* attention of a prompt */
    PHASE_PROJECTIONS, /* the projections around it */
    PHASE_ERROR,       /* what getting to a contender from its MHA teacher loses */
    PHASE_PLAN,        /* what fits on some hardware, and how fast it would be */
    PHASE_COUNT
} Phase;

const char *phase_name(Phase phase);

/* One point's values: what a stage is handed is its own part. */
typedef struct {
    char title[160];
    uint64_t seed;
    uint32_t threads; /* 0: all cores */
    char isa[16];
    char model[512];
    char device[64]; /* a file under configs/hardware, its memory drawn as a line; "" none */
    unsigned phases; /* bits 1 << Phase: what the study runs */
    bool published;  /* points of papers are laid beside the errors, in a panel of their own */
    char contender[METHOD_NAME];
    CacheParams cache;
    struct {
        uint32_t tokens; /* the one sequence that is held and counted */
    } bytes;
    struct {
        uint32_t context, query_tokens, sequences;
        Path path;
        bool cold;
    } decode;
    struct {
        uint32_t tokens, sequences;
        Path path;
    } prefill;
    struct {
        uint32_t tokens;
    } projections;
    struct {
        uint32_t shrink; /* the model's widths are divided by it, its heads stay */
        uint32_t tokens, calibration_tokens;
        uint32_t queries; /* the last so many tokens ask; 0: all */
        uint32_t layer;   /* of a checkpoint */
        uint32_t draws;   /* synthetic layers and texts that are pooled */
        bool spectra;     /* of the teacher's keys and values are stored too */
        bool as_model;    /* the teacher is the model as it is, not MHA of its widths */
        char contender[METHOD_NAME];
        KvType type;
    } error;
    struct {
        char hardware[64], engine[32]; /* "8xh200"; a file under configs/engines */
        uint32_t context;              /* tokens of a user */
        uint32_t tp, dp, dcp, pp;      /* 0: what the hardware's devices leave */
    } plan;
    TensorParams tensors;
    uint32_t expand_tokens;
    SequencesParams sequences;
    MeasureParams measure;
    struct {
        uint64_t memory_bytes; /* 0: what the machine has available */
        double point_seconds;
    } limits;
    struct {
        bool share_host; /* points that measure time may run beside others */
        double lost_seconds;
    } cluster;
} Config;

typedef struct ConfigFile ConfigFile;

/* Reads a study and lays `--set key=value` overrides over it (a list as [a, b]). All checks pass
 * before it returns: unknown or repeated keys, types, ranges, rules over several keys; cyclic
 * aliases, deep nesting and oversized files are refused. Errors: ERR_INPUT, file:line:column. */
Status config_read(ConfigFile **file, const char *path, size_t overrides,
                   const char *const *override, Error *err);

/* The same from memory; name stands for the file in messages, `base:` is refused. For fuzzing. */
Status config_parse(ConfigFile **file, const char *name, const char *text, size_t length,
                    Error *err);
void config_free(ConfigFile *file);

/* Does the study run this phase, and with how many points? 0 when not. */
size_t config_points(const ConfigFile *file, Phase phase);

/* Point `index` of a phase; keys that do not matter to the phase have their first value. */
void config_point(const ConfigFile *file, Phase phase, size_t index, Config *out);

/* Points of a phase that differ only in keys that it compares (Field.compared: contenders, types,
 * paths) form a group; every group has the same number of points, groups times members are the
 * points. What is compared by time is timed in turns, what is compared by error shares its teacher.
 * config_member gives the number of a point in its phase. */
size_t config_groups(const ConfigFile *file, Phase phase);
size_t config_group_points(const ConfigFile *file, Phase phase);
size_t config_member(const ConfigFile *file, Phase phase, size_t group, size_t member);

/* The point that differs from `index` only in `key`, which has the value number `pick` of its list.
 * False when that value is not before the point's own: a loop from 0 visits all earlier ones. */
bool config_earlier(const ConfigFile *file, Phase phase, size_t index, const char *key, size_t pick,
                    Config *out);

/* Every key in the order of the schema with its values as text ("[1024, 2048]" for a list) and
 * where they came from: "default", "file:line:column" or "--set". */
size_t config_keys(const ConfigFile *file);
void config_key(const ConfigFile *file, size_t index, const char **key, const char **value,
                const char **source);

/* Where the value that a key has at point `index` of a phase was written, as config_key says it; of
 * a list's value its own line and column. */
void config_value_place(const ConfigFile *file, Phase phase, size_t index, const char *key,
                        char *place, size_t room);

/* The resolved study as text, `key: value` a line: what a resumed run must equal. Borrowed. */
const char *config_text(const ConfigFile *file);

#endif
