/* bench.c -- selection, limits, and a case in turns with the limit that binds it; see bench.h. */
#include "bench.h"

#include <math.h>
#include <regex.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench_scene.h"
#include "buffer.h"
#include "machine.h"
#include "quantity.h"

static const double PEAK_SECONDS = 3;
static const double FLOOR_NS_LEAST = 0.5e6, FLOOR_NS_MOST = 10e6;
enum { COLD_CACHES = 4, FILTER_MOST = 256, PROBE_ROUNDS = 1000, SEED = 1 };

/* ---- which cases ---- */

static Status compile(regex_t *expression, const char *filter, Error *err) {
    if (strlen(filter) > FILTER_MOST)
        return fail(err, ERR_INPUT, "--filter: longer than %d characters", FILTER_MOST);
    const int code = regcomp(expression, filter, REG_EXTENDED | REG_NOSUB);
    if (code == 0) return OK;
    char why[128];
    regerror(code, expression, why, sizeof why);
    return fail(err, ERR_INPUT, "--filter %s: no regular expression: %s", filter, why);
}

Status bench_select(const char *filter, bool checked_too, size_t **numbers, size_t *count,
                    Error *err) {
    regex_t expression;
    TRY(compile(&expression, filter ? filter : "", err));
    size_t *draft, found = 0;
    const Status status = BUFFER(&draft, case_count(), "selected cases", err);
    for (size_t i = 0; status == OK && i < case_count(); i++) {
        const Case c = case_at(i);
        char name[96];
        case_name(&c, name, sizeof name);
        if (c.check_only && !checked_too) continue;
        if (regexec(&expression, name, 0, NULL, 0) == 0) draft[found++] = i;
    }
    regfree(&expression);
    if (status != OK) return status;
    if (!found) {
        buffer_free(draft);
        return fail(err, ERR_INPUT,
                    "--filter %s: matches no case; kvlab bench --list shows them all", filter);
    }
    *numbers = draft;
    *count = found;
    return OK;
}

/* ---- the machine ---- */

static void describe(const BenchParams *params, const Machine *machine, BenchMachine *m) {
    *m = (BenchMachine){ .threads = params->threads,
                         .cores = machine->cores,
                         .llc_bytes = (double)machine->llc_bytes,
                         .memory_bytes = (double)machine->memory_bytes,
                         .min_seconds = params->measure.min_seconds };
    snprintf(m->cpu, sizeof m->cpu, "%s", machine->cpu);
    snprintf(m->isa, sizeof m->isa, "%s", kernels_name(params->tiers));
    snprintf(m->system, sizeof m->system, "%s", machine->system);
    snprintf(m->governor, sizeof m->governor, "%s", machine->governor);
    snprintf(m->version, sizeof m->version, "%s", machine->version);
    snprintf(m->commit, sizeof m->commit, "%s", machine->commit);
    snprintf(m->compiler, sizeof m->compiler, "%s", machine->compiler);
    snprintf(m->flags, sizeof m->flags, "%s", machine->flags);
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(m->started, sizeof m->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static Peaks peaks_of(const BenchMachine *m) {
    return (Peaks){ m->read_gbytes_s, m->l3_read_gbytes_s, m->fma_f32_gflops, m->dot_bf16_gflops,
                    m->dot_int8_gops };
}

Status bench_machine(const BenchParams *params, BenchMachine *m, Error *err) {
    const Machine machine = machine_read();
    const double seconds = fmin(PEAK_SECONDS, 6 * params->measure.min_seconds);
    void *scratch = buffer_new(peaks_scratch_bytes(machine.llc_bytes), 1, "the limits", err);
    if (!scratch) return ERR_MACHINE;
    describe(params, &machine, m);
    const Peaks peaks =
        peaks_measure(params->tiers, params->threads, machine.llc_bytes, seconds, scratch);
    buffer_free(scratch);
    m->read_gbytes_s = peaks.read_gbytes_s;
    m->l3_read_gbytes_s = peaks.l3_read_gbytes_s;
    m->fma_f32_gflops = peaks.fma_f32_gflops;
    m->dot_bf16_gflops = peaks.dot_bf16_gflops;
    m->dot_int8_gops = peaks.dot_int8_gops;
    return OK;
}

PeakKind bench_arithmetic(const Peaks *peaks, RowType type) {
    static const bool whole[ROW_TYPE_COUNT] = {
        [ROW_INT8] = true, [ROW_INT4] = true,  [ROW_Q8_0] = true,
        [ROW_Q4_0] = true, [ROW_MXFP4] = true, [ROW_NVFP4] = true
    };
    if (type == ROW_F32) return PEAK_FMA_F32;
    PeakKind kind = whole[type] ? PEAK_DOT_INT8 : PEAK_DOT_BF16;
    while (kind != PEAK_FMA_F32 && peaks_rate(peaks, kind) == 0) kind--;
    return kind;
}

/* ---- a case and its limit ---- */

typedef struct {
    Scene *scene;
    const Kernels *kernels;
    int threads;
    bool memory;
    PeakKind arithmetic;
    size_t rounds; /* of arithmetic in a sample */
    double work;   /* bytes or flops of a sample */
} Limit;

static void run_case(void *context, size_t i) {
    scene_run(context, i);
}

/* Reads the copy that was out of use for longest, or computes. */
static void run_limit(void *context, size_t i) {
    Limit *limit = context;
    if (!limit->memory) {
        limit->work =
            peaks_compute(limit->kernels, limit->arithmetic, limit->threads, limit->rounds);
        return;
    }
    size_t bytes;
    const void *cold = scene_cold(limit->scene, i + limit->scene->copies / 2, &bytes);
    static volatile uint64_t seen;
    seen = peaks_read(limit->threads, cold, bytes);
    (void)seen;
    limit->work = (double)bytes;
}

/* Which limit binds the case, and how long a sample of it is: about as long as the case at best. */
static Limit choose_limit(const BenchParams *params, const BenchMachine *m, const Kernels *kernels,
                          Scene *scene, const Cost *cost) {
    const Peaks peaks = peaks_of(m);
    Limit limit = { .scene = scene, .kernels = kernels, .threads = params->threads };
    limit.arithmetic = bench_arithmetic(&peaks, scene->params.c.type);
    const double rate = peaks_rate(&peaks, limit.arithmetic), compute_ns = cost->flops / rate;
    limit.memory = cost->bytes / m->read_gbytes_s > compute_ns;
    const double sample_ns = fmin(fmax(compute_ns, FLOOR_NS_LEAST), FLOOR_NS_MOST);
    const double probe = peaks_compute(kernels, limit.arithmetic, params->threads, PROBE_ROUNDS);
    limit.rounds = 1 + (size_t)(sample_ns * rate / probe * PROBE_ROUNDS);
    return limit;
}

static void name_case(const BenchParams *params, const Scene *scene, BenchCase *out) {
    const Case *c = &scene->params.c;
    case_name(c, out->name, sizeof out->name);
    snprintf(out->kind, sizeof out->kind, "%s", c->kind);
    snprintf(out->path, sizeof out->path, "%s", c->path ? c->path : "");
    snprintf(out->phase, sizeof out->phase, "%s", c->phase);
    snprintf(out->isa, sizeof out->isa, "%s", kernels_name(params->tiers));
    snprintf(out->kv_dtype, sizeof out->kv_dtype, "%s", row_type_name(c->type));
    snprintf(out->cache, sizeof out->cache, "%s", case_is_cold(c) ? "cold" : "warm");
    out->heads = (double)c->heads;
    out->kv_heads = (double)c->kv_heads;
    out->dk = (double)c->dk;
    out->dv = (double)c->dv;
    out->batch = (double)c->batch;
    out->q_tokens = (double)c->q_tokens;
    out->kv_tokens = (double)c->kv_tokens;
    out->block_tokens = c->heads ? BENCH_BLOCK_TOKENS : 0;
    out->threads = params->threads;
}

static void rate_case(const BenchMachine *m, const Limit *limit, const Measurement *beside,
                      BenchCase *out) {
    const Peaks peaks = peaks_of(m);
    /* Other load can only slow arithmetic down; memory drifts, for the case as well. */
    const double rate = limit->work / (limit->memory ? beside->median_ns : beside->min_ns);
    out->peak_gflops = limit->memory ? peaks_rate(&peaks, limit->arithmetic) : rate;
    out->bandwidth_gbytes_s = limit->memory ? rate : m->read_gbytes_s;
    snprintf(out->bound, sizeof out->bound, "%s", limit->memory ? "memory" : "compute");
    out->gflops = out->flops / out->median_ns;
    out->gbytes_s = out->bytes / out->median_ns;
    out->roofline_ns = fmax(out->flops / out->peak_gflops, out->bytes / out->bandwidth_gbytes_s);
    out->roofline_fraction = out->roofline_ns / out->median_ns;
}

static Status time_scene(const BenchParams *params, const BenchMachine *m, const Kernels *kernels,
                         Scene *scene, BenchCase *out, Error *err) {
    const Cost cost = case_cost(&scene->params.c);
    Limit limit = choose_limit(params, m, kernels, scene, &cost);
    const MeasureCase timed = { run_case, scene }, yardstick = { run_limit, &limit };
    Measurement result, beside;
    TRY(measure_beside(&params->measure, &timed, &yardstick, &result, &beside, err));
    name_case(params, scene, out);
    out->flops = cost.flops;
    out->bytes = cost.bytes;
    out->median_ns = result.median_ns;
    out->min_ns = result.min_ns;
    out->q1_ns = result.q1_ns;
    out->q3_ns = result.q3_ns;
    out->samples = (double)result.samples;
    out->samples_ns = result.samples_ns;
    out->warnings = result.warnings;
    rate_case(m, &limit, &beside, out);
    measure_free(&beside);
    return OK;
}

/* ---- all of them ---- */

static void tell(const BenchParams *params, const char *line) {
    if (params->progress) params->progress(params->context, line);
}

/* Times a case into *out, or says that it is left out; *timed tells which. */
static Status time_case(const BenchParams *params, const BenchMachine *m, const Kernels *kernels,
                        size_t number, BenchCase *out, bool *timed, Error *err) {
    SceneParams made = { .c = case_at(number),
                         .kernels = kernels,
                         .threads = params->threads,
                         .block_tokens = BENCH_BLOCK_TOKENS,
                         .seed = SEED };
    if (case_is_cold(&made.c)) made.cold_bytes = COLD_CACHES * (size_t)m->llc_bytes;
    char name[96], line[200], bytes[32];
    case_name(&made.c, name, sizeof name);
    *timed = scene_bytes(&made) <= (double)params->memory_bytes;
    if (!*timed) {
        quantity_format_bytes(scene_bytes(&made), bytes, sizeof bytes);
        snprintf(line, sizeof line, "%s: left out, would need %s of memory", name, bytes);
        tell(params, line);
        return OK;
    }
    Scene *scene;
    TRY(scene_new(&scene, &made, err));
    const Status status = time_scene(params, m, kernels, scene, out, err);
    scene_free(scene);
    return status;
}

static void tell_case(const BenchParams *params, size_t i, size_t count, const BenchCase *c) {
    char line[200], median[24];
    bench_format_ns(c->median_ns, median, sizeof median);
    snprintf(line, sizeof line, "[%zu/%zu] %s: %s, %.2f of the limit (%s)", i + 1, count, c->name,
             median, c->roofline_fraction, c->bound);
    tell(params, line);
}

static Status time_all(const BenchParams *params, size_t count, const size_t *numbers,
                       BenchRun *run, Error *err) {
    const Kernels kernels = kernels_select(params->tiers);
    TRY(BUFFER(&run->cases, count, "results", err));
    TRY(bench_machine(params, &run->machine, err));
    for (size_t i = 0; i < count; i++) {
        BenchCase *out = &run->cases[run->count];
        bool timed;
        TRY(time_case(params, &run->machine, &kernels, numbers[i], out, &timed, err));
        if (!timed) continue;
        run->count++;
        tell_case(params, i, count, out);
    }
    return OK;
}

/* KiB, as Linux counts them. */
static double peak_resident_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss * 1024 : 0;
}

Status bench_run(const BenchParams *params, BenchRun *run, Error *err) {
    const double begin = measure_now_ns();
    BenchRun draft = { .count = 0 };
    size_t *numbers, count;
    TRY(bench_select(params->filter, false, &numbers, &count, err));
    const Status status = time_all(params, count, numbers, &draft, err);
    buffer_free(numbers);
    draft.machine.run_seconds = (measure_now_ns() - begin) * 1e-9;
    draft.machine.peak_resident_bytes = peak_resident_bytes();
    if (status == OK)
        *run = draft;
    else
        bench_run_free(&draft);
    return status;
}
