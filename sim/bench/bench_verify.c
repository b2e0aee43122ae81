/* bench_verify.c -- cases at other lengths, their checks, and the count of them; see
 * bench_verify.h. The judging of one result is bench_judge.c. */
#include "bench_verify.h"

#include <math.h>
#include <string.h>

#include "bench.h"
#include "bench_expected.h"
#include "bench_judge.h"
#include "buffer.h"
#include "option_values.h"

/* Rows held and query tokens: one token, less than a vector, more than a tile, more than a chunk,
 * several query tokens that see each other. */
typedef struct {
    size_t kv_tokens, q_tokens, batch;
} Lengths;

static const Lengths decode_lengths[] = { { 1, 1, 1 },    { 7, 1, 1 },  { 37, 1, 1 }, { 517, 1, 1 },
                                          { 1030, 1, 1 }, { 70, 3, 1 }, { 67, 1, 3 } };
static const Lengths prefill_lengths[] = {
    { 1, 1, 1 }, { 67, 67, 1 }, { 131, 131, 1 }, { 150, 40, 1 }, { 61, 61, 2 }
};
static const Lengths ragged_lengths[] = { { 201, 1, 3 } };
static const Lengths codec_lengths[] = { { 1, 0, 1 }, { 13, 0, 1 } };

static const size_t block_sizes[] = { 16, 7, 64, 1 };
enum { BLOCK_SIZES = 4, SEED = 7, ACCURACY_SHORT = 1024, ACCURACY_LONG = 32 * 1024 };

typedef struct {
    const VerifyParams *params;
    size_t tables;
    const VerifyTable *table;
    VerifyReport *report;
} Run;

static const Lengths *lengths_of(const Case *c, size_t *count) {
    if (c->work == WORK_ENCODE || c->work == WORK_DECODE) {
        *count = sizeof codec_lengths / sizeof *codec_lengths;
        return codec_lengths;
    }
    if (c->ragged) {
        *count = sizeof ragged_lengths / sizeof *ragged_lengths;
        return ragged_lengths;
    }
    if (strcmp(c->phase, "prefill") == 0) {
        *count = sizeof prefill_lengths / sizeof *prefill_lengths;
        return prefill_lengths;
    }
    *count = sizeof decode_lengths / sizeof *decode_lengths;
    return decode_lengths;
}

/* Cases that differ in length and batch alone are one here; projections keep their rows. */
static bool same_but_length(const Case *a, const Case *b) {
    const bool same_path = a->path == b->path || (a->path && b->path && !strcmp(a->path, b->path));
    return strcmp(a->shape, b->shape) == 0 && strcmp(a->phase, b->phase) == 0 && same_path &&
           a->type == b->type && a->ragged == b->ragged &&
           (a->work != WORK_PROJECTION || a->q_tokens == b->q_tokens);
}

static bool was_before(const size_t *numbers, size_t at) {
    const Case c = case_at(numbers[at]);
    for (size_t i = 0; i < at; i++) {
        const Case before = case_at(numbers[i]);
        if (same_but_length(&before, &c)) return true;
    }
    return false;
}

/* ---- one scene with every table ---- */

static void note_failure(VerifyReport *r, const char *name, const char *isa, const char *what) {
    if (r->failed >= VERIFY_FAILURES_MOST) return;
    VerifyFailure *f = &r->failure[r->failed];
    *f = (VerifyFailure){ .isa = isa };
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->what, sizeof f->what, "%s", what);
}

static void count_check(const Run *run, size_t table, const char *name, const Verdict *verdict) {
    VerifyReport *r = run->report;
    VerifyTier *tier = &r->tier[table];
    r->checks++;
    tier->checks++;
    r->values += verdict->values;
    r->exact += verdict->exact;
    tier->worst = fmax(tier->worst, verdict->worst);
    if (!verdict->what[0]) return;
    note_failure(r, name, tier->isa, verdict->what);
    r->failed++;
    tier->failed++;
}

static void describe(const Scene *s, char *name, size_t size) {
    const Case *c = &s->params.c;
    case_name(c, name, size);
    size_t used = strlen(name);
    if (c->heads && c->q_tokens > 1 && c->q_tokens < c->kv_tokens)
        used += (size_t)snprintf(name + used, size - used, "/q%zu", c->q_tokens);
    snprintf(name + used, size - used, ", %s numbers",
             s->params.input == INPUT_WHOLE ? "whole" : "normal");
}

/* The scene borrows `kernels`, whose contents change from table to table. */
static void check_scene(const Run *run, Scene *s, Kernels *kernels, const Expected *expected) {
    char name[VERIFY_NAME];
    describe(s, name, sizeof name);
    for (size_t i = 0; i < run->tables; i++) {
        Verdict verdict;
        *kernels = run->table[i].kernels;
        judge_scene(s, expected, &verdict);
        count_check(run, i, name, &verdict);
    }
}

static Status check_case(const Run *run, const Case *c, size_t block_tokens, SceneInput input,
                         Error *err) {
    Kernels kernels = run->table[0].kernels;
    const SceneParams params = { .c = *c,
                                 .kernels = &kernels,
                                 .threads = run->params->threads,
                                 .block_tokens = block_tokens,
                                 .input = input,
                                 .checked = true,
                                 .seed = SEED };
    Scene *scene;
    Expected expected = { .rows = 0 };
    TRY(scene_new(&scene, &params, err));
    Status status = OK;
    if (c->work != WORK_ENCODE && c->work != WORK_DECODE)
        status = expected_make(&expected, scene, err);
    if (status == OK) check_scene(run, scene, &kernels, &expected);
    expected_free(&expected);
    scene_free(scene);
    return status;
}

static Status check_lengths(const Run *run, Case c, Error *err) {
    size_t count;
    const Lengths *lengths = lengths_of(&c, &count);
    if (c.work == WORK_PROJECTION) count = 1;
    for (size_t i = 0; i < count; i++) {
        if (c.work != WORK_PROJECTION) {
            c.kv_tokens = lengths[i].kv_tokens;
            c.q_tokens = lengths[i].q_tokens;
            c.batch = lengths[i].batch;
        }
        for (int input = 0; input < 2; input++)
            TRY(check_case(run, &c, block_sizes[i % BLOCK_SIZES], (SceneInput)input, err));
    }
    run->report->cases++;
    return OK;
}

/* ---- accuracy ---- */

static Status measure_accuracy(const Run *run, const Case *c, size_t at, Error *err) {
    Kernels kernels = run->table[0].kernels;
    const SceneParams params = { .c = *c,
                                 .kernels = &kernels,
                                 .threads = run->params->threads,
                                 .block_tokens = BENCH_BLOCK_TOKENS,
                                 .checked = true,
                                 .seed = SEED };
    Scene *scene;
    Expected expected = { .rows = 0 };
    TRY(scene_new(&scene, &params, err));
    const Status status = expected_make(&expected, scene, err);
    for (size_t i = 0; status == OK && i < run->tables; i++) {
        VerifyAccuracy *a = &run->report->accuracy[run->report->accuracies + i];
        Verdict verdict;
        kernels = run->table[i].kernels;
        judge_scene(scene, &expected, &verdict);
        a->tokens[at] = c->kv_tokens;
        a->rel_error[at] = verdict.rel_error;
        a->isa = run->table[i].isa;
        a->kv_dtype = row_type_name(c->type);
        a->name = c->shape;
        count_check(run, i, c->shape, &verdict);
    }
    expected_free(&expected);
    scene_free(scene);
    return status;
}

/* Decode of one shape of latents and one of heads, f32, bf16 and f16, at both lengths. */
static bool is_for_accuracy(const Case *c) {
    return strcmp(c->phase, "decode") == 0 && c->batch == 1 && c->type <= ROW_F16 &&
           (strcmp(c->shape, "mla-v2-lite") == 0 || strcmp(c->shape, "gqa-32-8-128") == 0);
}

static Status check_accuracy(const Run *run, Case c, Error *err) {
    static const size_t tokens[] = { ACCURACY_SHORT, ACCURACY_LONG };
    if (run->report->accuracies + run->tables > VERIFY_ACCURACIES_MOST) return OK;
    for (size_t i = 0; i < 2; i++) {
        c.kv_tokens = tokens[i];
        TRY(measure_accuracy(run, &c, i, err));
    }
    run->report->accuracies += run->tables;
    return OK;
}

/* ---- all of it ---- */

static Status check_all(const Run *run, size_t count, const size_t *numbers, Error *err) {
    for (size_t i = 0; i < count; i++) {
        if (was_before(numbers, i)) continue;
        const Case c = case_at(numbers[i]);
        char name[96], line[160];
        TRY(check_lengths(run, c, err));
        if (is_for_accuracy(&c)) TRY(check_accuracy(run, c, err));
        if (!run->params->progress) continue;
        case_name(&c, name, sizeof name);
        *strrchr(name, '/') = '\0';
        snprintf(line, sizeof line, "%s: %zu checks so far, %zu failed", name, run->report->checks,
                 run->report->failed);
        run->params->progress(run->params->context, line);
    }
    return OK;
}

Status bench_verify(const VerifyParams *params, size_t count, const VerifyTable *tables,
                    VerifyReport *report, Error *err) {
    size_t *numbers, selected;
    if (!count) return fail(err, ERR_MACHINE, "no tier to check: nothing was verified");
    *report = (VerifyReport){ .tiers = count };
    for (size_t i = 0; i < count; i++) report->tier[i].isa = tables[i].isa;
    TRY(bench_select(params->filter, true, &numbers, &selected, err));
    const Run run = { params, count, tables, report };
    const Status status = check_all(&run, selected, numbers, err);
    buffer_free(numbers);
    return status;
}

Status verify_tables(const char *isa, VerifyTable tables[VERIFY_TABLES_MOST], size_t *count,
                     Error *err) {
    unsigned mask;
    if (isa) {
        TRY(option_isa(isa, &mask, err));
        tables[0] = (VerifyTable){ kernels_name(mask), kernels_select(mask) };
        *count = 1;
        return OK;
    }
    *count = 0;
    for (size_t i = 0; i < kernel_tier_count && *count < VERIFY_TABLES_MOST; i++)
        if (!kernels_parse(kernel_tiers[i].name, &mask))
            tables[(*count)++] = (VerifyTable){ kernel_tiers[i].name, kernels_select(mask) };
    return OK;
}
