/* study_run.h -- what the phases of a study share: the machine, the model, how a point is listed,
 * named and handed on. Private to study*.c.
 *
 * A study is a list of points: those of each phase, by number. All are known before anything runs:
 * `plan` says what a point is called and what it takes, from closed forms. `run` then makes its
 * numbers and puts them; points that a phase compares (a group, config.h) come to it together where
 * they are timed, one by one elsewhere. */
#ifndef KVLAB_STUDY_RUN_H
#define KVLAB_STUDY_RUN_H

#include "handout.h"
#include "kernel.h"
#include "machine.h"
#include "method.h"
#include "peaks.h"
#include "recipe.h"
#include "store.h"
#include "study.h"

enum { METRICS_MOST = 192 };

typedef struct {
    Metric metric[METRICS_MOST];
    size_t count;
} MetricList;

/* What a point runs with; the same wherever it runs. */
typedef struct Study {
    const ConfigFile *config;
    Config first; /* values of the keys that are no lists */
    Machine machine;
    Model model;
    Kernels kernels;
    unsigned tiers;
    int threads;             /* of a point that runs now */
    int alone_threads;       /* of points that are timed: nothing runs beside them */
    int shared_threads;      /* of all others */
    size_t memory_bytes;     /* no group of points may hold more */
    bool leave_out;          /* limits.memory is set: points beyond it are left out, not refused */
    Peaks peaks;             /* of this host; zero until they are measured */
    void *kept[PHASE_COUNT]; /* what a phase keeps for its next point */
    Store *store;            /* of who hands out; workers leave it */

    /* Where finished points go. */
    Status (*put)(void *context, const Point *point, const MetricList *metrics, Error *err);
    void *put_context;
} Study;

/* A point of the list. */
typedef struct {
    size_t index; /* in its phase */
    Config config;
    Method method; /* what the contender's name says of codec and eviction */
    bool coded;    /* by a codec of its own; else rows are of the type that the phase gives */
    Model model;   /* the contender */
    Path path;
    Point point;             /* its name; status and message where it is left out */
    size_t tokens;           /* in words for people: what the memory is needed for */
    size_t memory_bytes;     /* held at once while it runs */
    double seconds;          /* estimated of its calls; limits.point_seconds is held against it */
    double more_seconds;     /* estimated of what comes before them */
    size_t metrics, samples; /* that will be stored, about */
} Task;

/* What each phase brings. */
typedef struct {
    bool timed;             /* measures time: nothing else may run beside a group */
    const char *memory_key; /* blamed for a point that memory cannot hold */
    const char *path_key;   /* whose values may name one point twice, or NULL */
    /* Fills a task from its config; reads nothing, allocates nothing. */
    Status (*plan)(const Study *study, Task *task, Error *err);
    /* Runs tasks (timed: of a group; else one) and puts each, failed ones too. Fails only with what
     * study_put says. */
    Status (*run)(Study *study, size_t count, Task *const *tasks, Error *err);
    void (*forget)(void *kept); /* releases Study.kept, or NULL */
} StudyPhase;

extern const StudyPhase study_phases[PHASE_COUNT];

/* ---- the list ---- */

/* Point `index` of a phase. What memory or limits.point_seconds does not allow has the status
 * POINT_LEFT_OUT and says why. Errors: ERR_INPUT where it does not fit and limits.memory is not set
 * to leave it out, at the key's place. */
Status study_plan(const Study *study, Phase phase, size_t index, Task *task, Error *err);

/* The part of the list that a run runs: shard `number` (from 0) of `of`; 0 of 1 is all of it. The
 * shapes are what is handed out, one list a phase. */
typedef struct {
    HandoutList shape[PHASE_COUNT];
    size_t before[PHASE_COUNT]; /* groups of the phases before */
    size_t number, of;
} StudyShard;
StudyShard study_shard(const ConfigFile *config, size_t number, size_t of);
bool study_shard_has(const StudyShard *shard, Phase phase, size_t slot);

/* The sums over its points: numbers, seconds, bytes. Errors: those of study_plan. */
Status study_list(const Study *study, const StudyShard *shard, StudyPreview *sums, Error *err);

/* Seconds that a point takes, estimated. */
double study_seconds(const Task *task, Phase phase);

/* A point's place in the list, and its number in its phase. */
size_t study_place(Phase phase, size_t index);
size_t study_place_index(size_t place);

/* ---- what is stored of the run itself ---- */
Status study_store_facts(const Study *study, const StudyOptions *options, Error *err);
Status study_store_number(const Study *study, const char *name, double value, Error *err);

/* Does the study measure time? */
bool study_is_timed(const ConfigFile *config);

/* Is it the same as an earlier point: one that differs in a path that its contender does not have?
 */
bool study_repeats(const Study *study, Phase phase, const Task *task);

/* ---- points ---- */

/* Appends a single number. */
void metric_add(MetricList *list, const char *name, const char *unit, double value,
                MetricKind kind);
/* Appends a measured quantity with its quartiles and samples (borrowed). */
void metric_add_samples(MetricList *list, const char *name, const char *unit,
                        const Measurement *measurement);

/* The path a contender really takes: materialised unless it keeps a latent, expanded where keys are
 * rotated once rebuilt. */
Path study_path(const Model *model, Path asked);

/* Fills a task's method and model from a contender's name, for the model of a study. A shape that
 * model_contender knows is that; what it does not know is what MHA of the model's widths becomes.
 * Errors: ERR_INPUT of method_parse, model_contender or recipe_parse. */
Status study_contender(const Model *base, const char *name, Task *task, Error *err);

/* Does the method of a task fit its rows in blocks of that many tokens? Errors: method_check's. */
Status study_fits(const Task *task, size_t block_tokens, Error *err);

/* Can the cache of a planned task hold rows in the type of its point? Errors: ERR_INPUT, why not.
 */
Status study_type_fits(const Task *task, Phase phase, Error *err);

/* What a task's cache is made with, where rows that its method does not code are of a type. */
CacheParams study_cache(const Task *task, KvType type, size_t block_tokens);

/* The accountant's bytes of one sequence of a task in one layer. `exact`. */
MethodBytes study_method_bytes(const Task *task, KvType type, size_t tokens, size_t block_tokens);

/* bf16 MHA of the same heads and value width over the stored bytes, and over those that a decode
 * step reads; GQA with 8 heads over the stored ones. */
void study_add_ratios(const Task *task, const MethodBytes *bytes, size_t tokens, MetricList *list);

/* A contender's name for figures: "MLA-512+64 int4-g32", "GQA-2 aligned", "joint-512 h2o-1/16". */
void study_label(const char *name, const Model *model, char *label, size_t size);

/* Names a point: key, labels, layer in words. */
void study_name_point(Point *point, Phase phase, const char *specification, const Model *model,
                      Path path, KvType type, size_t block_tokens, size_t context,
                      size_t query_tokens, size_t sequences);

/* Hands a finished point on. */
Status study_put(Study *study, const Point *point, const MetricList *metrics, Error *err);

/* Hands on as failed what went wrong with a point. */
Status study_put_failed(Study *study, Point *point, const Error *why, Error *err);

/* A point in a line, with the number that people wait for or why there is none. */
void study_describe(const Point *point, const MetricList *metrics, char *text, size_t size);

/* Puts the place of a key and its name before what is wrong with its value; returns status. */
Status study_blame(const ConfigFile *config, const char *key, Status status, Error *err);

/* The same for the value that the key has at point `index` of a phase: of a list, that item. */
Status study_blame_point(const ConfigFile *config, Phase phase, size_t index, const char *key,
                         Status status, Error *err);

/* ---- timing ---- */

/* How a phase makes a point ready and calls it. */
typedef struct {
    size_t size; /* of what a point is made into, zeroed before `prepare` */
    Status (*prepare)(const Study *study, const Task *task, void *ready, Error *err);
    void (*release)(void *ready); /* also after a failure */
    void (*call)(void *ready, size_t i);
    void (*score)(const Study *study, const Task *task, const Measurement *m, MetricList *list);
    bool (*apart)(const Task *task); /* timed with nothing else in memory, or NULL */
} Timing;

/* Times a group in turns, in batches that memory holds at once, and puts each point. */
Status study_time(Study *study, const Timing *timing, size_t count, Task *const *tasks, Error *err);

/* ---- the phases ---- */

/* How the MHA teacher becomes the contender of an error point: at the model's true size, or at the
 * error layer's, divided by error.shrink. Errors: ERR_INPUT as recipe_parse, and where a width is
 * not divisible. */
Status study_error_recipe(const Model *base, const Config *point, bool true_size, Recipe *recipe,
                          Error *err);

Status study_bytes_plan(const Study *study, Task *task, Error *err);
Status study_bytes_run(Study *study, size_t count, Task *const *tasks, Error *err);
void study_bytes_forget(void *kept);
Status study_decode_plan(const Study *study, Task *task, Error *err);
Status study_prefill_plan(const Study *study, Task *task, Error *err);
Status study_latency_run(Study *study, size_t count, Task *const *tasks, Error *err);
Status study_projections_plan(const Study *study, Task *task, Error *err);
Status study_projections_run(Study *study, size_t count, Task *const *tasks, Error *err);
Status study_error_plan(const Study *study, Task *task, Error *err);
Status study_error_run(Study *study, size_t count, Task *const *tasks, Error *err);
void study_error_forget(void *kept);
Status study_capacity_plan(const Study *study, Task *task, Error *err);
Status study_capacity_run(Study *study, size_t count, Task *const *tasks, Error *err);

#endif
