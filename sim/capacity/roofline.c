/* roofline.c -- see roofline.h. */
#include "roofline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"

enum { ROUNDS = 60, STEPS = 2 };

double roofline_seconds(const PartWork *work, const PartRates *rates) {
    const double compute = rates->peak > 0 ? work->flops / rates->peak : 0;
    const double unpack = rates->unpacked > 0 ? work->values / rates->unpacked : 0;
    const double memory = rates->bandwidth > 0 ? work->bytes / rates->bandwidth : 0;
    return fmax(compute + unpack, memory);
}

const char *kernel_class_name(KernelClass class) {
    static const char *const names[] = { "decode of heads", "decode of the latent",
                                         "prefill of heads", "prefill, expanded",
                                         "prefill, absorbed" };
    return names[class];
}

/* ---- fitting ---- */

static double model_ns(const KernelShares *s, const KernelCase *c) {
    const double unpack = s->unpack_s[c->type];
    const PartRates rates = { .peak = c->peak * s->compute[c->class],
                              .bandwidth = c->bandwidth * s->memory,
                              .unpacked = unpack > 0 ? 1 / unpack : 0 };
    return 1e9 * roofline_seconds(&c->work, &rates);
}

/* What a fit makes small: the mean of |log(modelled / measured)| over the fitted cases. */
static double misfit(const KernelCheck *check, const KernelShares *shares) {
    double sum = 0;
    for (size_t i = 0; i < check->count; i++) {
        const KernelCase *c = &check->cases[i];
        if (c->fitted) sum += fabs(log(model_ns(shares, c) / c->median_ns));
    }
    return sum;
}

/* Moves one share up or down while that helps. */
static bool improve(const KernelCheck *check, KernelShares *shares, double *share, double step,
                    double most) {
    bool improved = false;
    double best = misfit(check, shares);
    for (int direction = 0; direction < STEPS; direction++) {
        const double factor = direction ? 1 / step : step;
        for (;;) {
            const double before = *share;
            *share = fmin(before * factor, most);
            const double now = misfit(check, shares);
            if (now >= best * (1 - 1e-12)) {
                *share = before;
                break;
            }
            best = now;
            improved = true;
        }
    }
    return improved;
}

/* One share after another, in steps that become finer; deterministic. */
static KernelShares fit(const KernelCheck *check) {
    KernelShares s = { .memory = 0.7 };
    for (int k = 0; k < KERNELS; k++) s.compute[k] = 0.6;
    for (int t = 0; t < ROW_TYPE_COUNT; t++) s.unpack_s[t] = 3e-11;
    double step = 1.5;
    for (int round = 0; round < ROUNDS; round++) {
        bool improved = improve(check, &s, &s.memory, step, 1);
        for (int k = 0; k < KERNELS; k++) improved |= improve(check, &s, &s.compute[k], step, 1);
        for (int t = 0; t < ROW_TYPE_COUNT; t++)
            improved |= improve(check, &s, &s.unpack_s[t], step, 1e-6);
        if (!improved) step = 1 + (step - 1) / 2;
    }
    return s;
}

static int by_value(const void *a, const void *b) {
    const double one = *(const double *)a, two = *(const double *)b;
    return (one > two) - (one < two);
}

/* The median error of all cases, or of those held out. */
static double median_error(const KernelCheck *check, bool held_out, double *scratch) {
    size_t count = 0;
    for (size_t i = 0; i < check->count; i++)
        if (!held_out || !check->cases[i].fitted) scratch[count++] = check->cases[i].error;
    if (!count) return NAN;
    qsort(scratch, count, sizeof *scratch, by_value);
    return count % 2 ? scratch[count / 2] : (scratch[count / 2 - 1] + scratch[count / 2]) / 2;
}

/* ---- reading ---- */

static bool take_class(const Json *json, KernelClass *class) {
    const char *phase = json_text(json_get(json, "phase")),
               *path = json_text(json_get(json, "path"));
    const bool expanded = path && strcmp(path, "expanded") == 0;
    const bool absorbed = path && strcmp(path, "absorbed") == 0;
    if (!phase) return false;
    if (strcmp(phase, "decode") == 0 && !expanded) {
        *class = absorbed ? KERNEL_DECODE_LATENT : KERNEL_DECODE_HEADS;
        return true;
    }
    if (strcmp(phase, "prefill") != 0) return false;
    *class = expanded   ? KERNEL_PREFILL_EXPANDED
             : absorbed ? KERNEL_PREFILL_ABSORBED
                        : KERNEL_PREFILL_HEADS;
    return true;
}

static Status need(const Json *json, const char *key, const char *path, const char *name,
                   double *out, Error *err) {
    if (json_number(json_get(json, key), out) && *out > 0) return OK;
    return fail_at(err, path, 0, 0, "%.96s: %s: must be a number above 0", name, key);
}

/* A case; false in *taken where its phase is none that is modelled. */
static Status read_case(KernelCase *c, bool *taken, const Json *json, const Json *machine,
                        const char *path, Error *err) {
    const char *name = json_text(json_get(json, "name")),
               *type = json_text(json_get(json, "kv_dtype"));
    double heads, kv_heads, dk, dv;
    *c = (KernelCase){ .peak = 0 };
    *taken = name && type && take_class(json, &c->class) && row_type_parse(type, &c->type);
    if (!*taken) return OK;
    snprintf(c->name, sizeof c->name, "%s", name);
    TRY(need(json, "flops", path, name, &c->work.flops, err));
    TRY(need(json, "bytes", path, name, &c->work.bytes, err));
    TRY(need(json, "median_ns", path, name, &c->median_ns, err));
    TRY(need(json, "heads", path, name, &heads, err));
    TRY(need(json, "kv_heads", path, name, &kv_heads, err));
    TRY(need(json, "dk", path, name, &dk, err));
    TRY(need(json, "dv", path, name, &dv, err));
    /* a case has limits of its own where they were measured beside it */
    if (!json_number(json_get(json, "peak_gflops"), &c->peak))
        TRY(need(machine, "fma_f32_gflops", path, "machine", &c->peak, err));
    if (!json_number(json_get(json, "bandwidth_gbytes_s"), &c->bandwidth))
        TRY(need(machine, "read_gbytes_s", path, "machine", &c->bandwidth, err));
    c->peak *= 1e9;
    c->bandwidth *= 1e9;
    const double rows = c->work.flops / (2 * (dk + dv) * heads); /* that a query token sees */
    if (c->class == KERNEL_DECODE_HEADS) c->work.values = rows * kv_heads * (dk + dv);
    if (c->class == KERNEL_DECODE_LATENT) c->work.values = rows * dk; /* a tile unpacks them once */
    return OK;
}

static Status read_cases(KernelCheck *check, const Json *json, const char *path, Error *err) {
    const Json *cases = json_get(json, "cases"), *machine = json_get(json, "machine");
    if (!json_is_array(cases) || !json_is_object(machine))
        return fail_at(err, path, 0, 0, "no result of kvlab bench: machine and cases are missing");
    TRY(BUFFER(&check->cases, json_size(cases), "cases of a benchmark", err));
    size_t of_class[KERNELS] = { 0 };
    for (size_t i = 0; i < json_size(cases); i++) {
        KernelCase *c = &check->cases[check->count];
        bool taken;
        TRY(read_case(c, &taken, json_at(cases, i), machine, path, err));
        if (!taken) continue;
        c->fitted = of_class[c->class]++ % 2 == 0;
        check->count++;
    }
    if (check->count < 4)
        return fail_at(err, path, 0, 0, "%zu decode and prefill cases: at least 4 are needed",
                       check->count);
    return OK;
}

static Status judge(KernelCheck *check, Error *err) {
    double *scratch;
    TRY(BUFFER(&scratch, check->count, "errors of cases", err));
    check->shares = fit(check);
    for (size_t i = 0; i < check->count; i++) {
        KernelCase *c = &check->cases[i];
        c->modelled_ns = model_ns(&check->shares, c);
        c->error = fabs(c->modelled_ns / c->median_ns - 1);
    }
    check->median_error = median_error(check, false, scratch);
    check->median_error_held_out = median_error(check, true, scratch);
    buffer_free(scratch);
    return OK;
}

Status roofline_check(KernelCheck *check, const char *path, Error *err) {
    Json *json;
    KernelCheck draft = { .count = 0 };
    TRY(json_read(&json, path, err));
    Status status = read_cases(&draft, json, path, err);
    json_free(json);
    if (status == OK) status = judge(&draft, err);
    if (status == OK)
        *check = draft;
    else
        roofline_check_free(&draft);
    return status;
}

void roofline_check_free(KernelCheck *check) {
    buffer_free(check->cases);
    *check = (KernelCheck){ .count = 0 };
}
