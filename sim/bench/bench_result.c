/* bench_result.c -- rows of keys, and the documents made by walking them; see bench_result.h. */
#include "bench_result.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "buffer.h"
#include "measure.h"

typedef enum { KEY_TEXT, KEY_WHOLE, KEY_REAL } KeyType;
typedef enum {
    ANY,     /* whatever is there is taken */
    NEEDED,  /* must be there */
    POSITIVE /* must be there and be above 0 */
} KeyRule;

typedef struct {
    const char *name;
    KeyType type;
    KeyRule rule;
    size_t at, size; /* in its struct; size of a text's array */
} Key;

#define TEXT(type, field, rule)                                                                    \
    { #field, KEY_TEXT, rule, offsetof(type, field), sizeof(((type *)0)->field) }
#define WHOLE(type, field, rule)                                                                   \
    { #field, KEY_WHOLE, rule, offsetof(type, field), 0 }
#define REAL(type, field, rule)                                                                    \
    { #field, KEY_REAL, rule, offsetof(type, field), 0 }

static const Key machine_keys[] = {
    TEXT(BenchMachine, cpu, NEEDED),
    WHOLE(BenchMachine, threads, POSITIVE),
    TEXT(BenchMachine, isa, NEEDED),
    REAL(BenchMachine, read_gbytes_s, ANY),
    REAL(BenchMachine, l3_read_gbytes_s, ANY),
    REAL(BenchMachine, fma_f32_gflops, ANY),
    REAL(BenchMachine, dot_bf16_gflops, ANY),
    REAL(BenchMachine, dot_int8_gops, ANY),
    WHOLE(BenchMachine, cores, ANY),
    WHOLE(BenchMachine, llc_bytes, ANY),
    WHOLE(BenchMachine, memory_bytes, ANY),
    TEXT(BenchMachine, governor, ANY),
    TEXT(BenchMachine, system, ANY),
    TEXT(BenchMachine, version, ANY),
    TEXT(BenchMachine, commit, ANY),
    TEXT(BenchMachine, compiler, ANY),
    TEXT(BenchMachine, flags, ANY),
    TEXT(BenchMachine, started, ANY),
    REAL(BenchMachine, min_seconds, ANY),
    REAL(BenchMachine, run_seconds, ANY),
    WHOLE(BenchMachine, peak_resident_bytes, ANY),
};

static const Key case_keys[] = {
    TEXT(BenchCase, name, NEEDED),
    TEXT(BenchCase, kind, ANY),
    TEXT(BenchCase, path, ANY),
    TEXT(BenchCase, phase, ANY),
    TEXT(BenchCase, isa, ANY),
    TEXT(BenchCase, kv_dtype, ANY),
    WHOLE(BenchCase, heads, ANY),
    WHOLE(BenchCase, kv_heads, ANY),
    WHOLE(BenchCase, dk, ANY),
    WHOLE(BenchCase, dv, ANY),
    WHOLE(BenchCase, batch, ANY),
    WHOLE(BenchCase, q_tokens, ANY),
    WHOLE(BenchCase, kv_tokens, ANY),
    WHOLE(BenchCase, block_tokens, ANY),
    WHOLE(BenchCase, threads, ANY),
    TEXT(BenchCase, cache, ANY),
    REAL(BenchCase, median_ns, POSITIVE),
    REAL(BenchCase, min_ns, ANY),
    REAL(BenchCase, q1_ns, ANY),
    REAL(BenchCase, q3_ns, ANY),
    WHOLE(BenchCase, samples, ANY),
    REAL(BenchCase, flops, ANY),
    REAL(BenchCase, bytes, ANY),
    REAL(BenchCase, gflops, ANY),
    REAL(BenchCase, gbytes_s, ANY),
    TEXT(BenchCase, bound, ANY),
    REAL(BenchCase, peak_gflops, ANY),
    REAL(BenchCase, bandwidth_gbytes_s, ANY),
    REAL(BenchCase, roofline_ns, ANY),
    REAL(BenchCase, roofline_fraction, ANY),
};

enum {
    MACHINE_KEYS = sizeof machine_keys / sizeof *machine_keys,
    CASE_KEYS = sizeof case_keys / sizeof *case_keys,
    CASES_MOST = 10000 /* of a file; no list of ours is near */
};

void bench_run_free(BenchRun *run) {
    for (size_t i = 0; i < run->count; i++) buffer_free(run->cases[i].samples_ns);
    buffer_free(run->cases);
    *run = (BenchRun){ .count = 0 };
}

static const char *text_of(const void *object, const Key *key) {
    return (const char *)object + key->at;
}

static double number_of(const void *object, const Key *key) {
    double value;
    memcpy(&value, (const char *)object + key->at, sizeof value);
    return value;
}

/* ---- out ---- */

static Json *object_to_json(const void *object, const Key *keys, size_t count) {
    Json *json = json_new_object();
    for (size_t i = 0; i < count; i++) {
        const Key *key = &keys[i];
        if (key->type == KEY_REAL)
            json_put_number(json, key->name, number_of(object, key));
        else if (key->type == KEY_WHOLE)
            json_put_whole(json, key->name, (long long)number_of(object, key));
        else if (text_of(object, key)[0])
            json_put_string(json, key->name, text_of(object, key));
        else
            json_put_number(json, key->name, NAN); /* null: no path, where there is no choice */
    }
    return json;
}

static Json *warnings_to_json(unsigned warnings) {
    Json *list = json_new_array();
    for (unsigned bit = 1; bit <= WARN_ROOFLINE; bit <<= 1) {
        if (!(warnings & bit)) continue;
        json_append(list, json_new_string(measure_warning(bit)));
    }
    return list;
}

Json *bench_to_json(const BenchRun *run) {
    Json *json = json_new_object(), *cases = json_new_array();
    json_put(json, "machine", object_to_json(&run->machine, machine_keys, MACHINE_KEYS));
    for (size_t i = 0; i < run->count; i++) {
        Json *entry = object_to_json(&run->cases[i], case_keys, CASE_KEYS);
        json_put(entry, "warnings", warnings_to_json(run->cases[i].warnings));
        json_append(cases, entry);
    }
    json_put(json, "cases", cases);
    return json;
}

static void put_csv_text(const char *text, FILE *out) {
    const bool quoted = strpbrk(text, ",\"") != NULL;
    if (quoted) fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
}

void bench_write_csv(const BenchRun *run, FILE *out) {
    for (size_t k = 0; k < CASE_KEYS; k++) fprintf(out, "%s%s", k ? "," : "", case_keys[k].name);
    fputc('\n', out);
    for (size_t i = 0; i < run->count; i++) {
        for (size_t k = 0; k < CASE_KEYS; k++) {
            const Key *key = &case_keys[k];
            if (k) fputc(',', out);
            if (key->type == KEY_TEXT)
                put_csv_text(text_of(&run->cases[i], key), out);
            else
                fprintf(out, key->type == KEY_WHOLE ? "%.0f" : "%.9g",
                        number_of(&run->cases[i], key));
        }
        fputc('\n', out);
    }
}

void bench_write_samples(const BenchRun *run, FILE *out) {
    fprintf(out, "name\tsample\tns\n");
    for (size_t i = 0; i < run->count; i++)
        for (size_t s = 0; run->cases[i].samples_ns && s < (size_t)run->cases[i].samples; s++)
            fprintf(out, "%s\t%zu\t%.0f\n", run->cases[i].name, s + 1, run->cases[i].samples_ns[s]);
}

/* ---- in ---- */

static Status wrong_key(const char *file, const char *place, const char *key, const char *what,
                        Error *err) {
    return fail_at(err, file, 0, 0, "%s.%s: %s", place, key, what);
}

static bool is_printable(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) return false;
    return true;
}

static Status read_text(void *object, const Key *key, const Json *value, const char *file,
                        const char *place, Error *err) {
    const char *text = json_text(value);
    if (!text || !is_printable(text))
        return wrong_key(file, place, key->name, "must be a text of printable characters", err);
    if (key->rule != ANY && !text[0]) return wrong_key(file, place, key->name, "is empty", err);
    if (strlen(text) >= key->size) return wrong_key(file, place, key->name, "is too long", err);
    memcpy((char *)object + key->at, text, strlen(text) + 1);
    return OK;
}

static Status read_number(void *object, const Key *key, const Json *value, const char *file,
                          const char *place, Error *err) {
    double number;
    if (!json_number(value, &number) || !isfinite(number) || number < 0)
        return wrong_key(file, place, key->name, "must be a number of at least 0", err);
    if (key->rule == POSITIVE && number == 0)
        return wrong_key(file, place, key->name, "must be above 0", err);
    if (key->type == KEY_WHOLE && (number > 0x1p53 || number != floor(number)))
        return wrong_key(file, place, key->name, "must be a whole number", err);
    memcpy((char *)object + key->at, &number, sizeof number);
    return OK;
}

static Status read_object(void *object, const Key *keys, size_t count, const Json *json,
                          const char *file, const char *place, Error *err) {
    if (!json_is_object(json)) return fail_at(err, file, 0, 0, "%s: must be an object", place);
    for (size_t i = 0; i < count; i++) {
        const Json *value = json_get(json, keys[i].name);
        if (keys[i].rule == ANY && (!value || json_is_null(value))) continue;
        if (!value) return wrong_key(file, place, keys[i].name, "is missing", err);
        if (keys[i].type == KEY_TEXT)
            TRY(read_text(object, &keys[i], value, file, place, err));
        else
            TRY(read_number(object, &keys[i], value, file, place, err));
    }
    return OK;
}

/* Quartiles that a file lacks: as far above the median as the least sample lies below it. */
static void complete_spread(BenchCase *c) {
    if (c->min_ns == 0 || c->min_ns > c->median_ns) c->min_ns = c->median_ns;
    if (c->q1_ns == 0 || c->q1_ns > c->median_ns) c->q1_ns = c->min_ns;
    if (c->q3_ns < c->median_ns) c->q3_ns = 2 * c->median_ns - c->q1_ns;
}

static Status read_case(BenchRun *run, size_t i, const Json *json, const char *file, Error *err) {
    char place[32];
    BenchCase *c = &run->cases[i];
    snprintf(place, sizeof place, "cases[%zu]", i);
    TRY(read_object(c, case_keys, CASE_KEYS, json, file, place, err));
    for (size_t other = 0; other < i; other++)
        if (strcmp(run->cases[other].name, c->name) == 0)
            return fail_at(err, file, 0, 0, "%s.name: %s is there twice", place, c->name);
    complete_spread(c);
    return OK;
}

static Status read_run(BenchRun *run, const Json *json, const char *file, Error *err) {
    const Json *cases = json_get(json, "cases");
    if (!json_is_object(json) || !json_get(json, "machine") || !json_is_array(cases))
        return fail_at(err, file, 0, 0,
                       "is no result of kvlab bench --json: it needs machine and cases");
    TRY(read_object(&run->machine, machine_keys, MACHINE_KEYS, json_get(json, "machine"), file,
                    "machine", err));
    if (json_size(cases) > CASES_MOST)
        return fail_at(err, file, 0, 0, "cases: %zu of them; at most %d are read", json_size(cases),
                       CASES_MOST);
    TRY(BUFFER(&run->cases, json_size(cases), "cases", err));
    for (run->count = 0; run->count < json_size(cases); run->count++)
        TRY(read_case(run, run->count, json_at(cases, run->count), file, err));
    return OK;
}

Status bench_read(BenchRun *run, const char *path, Error *err) {
    Json *json = NULL;
    BenchRun draft = { .count = 0 };
    TRY(json_read(&json, path, err));
    const Status status = read_run(&draft, json, path, err);
    json_free(json);
    if (status == OK)
        *run = draft;
    else
        bench_run_free(&draft);
    return status;
}

/* ---- for people ---- */

void bench_format_ns(double ns, char *text, size_t size) {
    if (ns < 1e3)
        snprintf(text, size, "%.3g ns", ns);
    else if (ns < 999.5e3)
        snprintf(text, size, "%.3g us", ns / 1e3);
    else if (ns < 999.5e6)
        snprintf(text, size, "%.3g ms", ns / 1e6);
    else
        snprintf(text, size, "%.3g s", ns / 1e9);
}

static void write_machine(const BenchMachine *m, FILE *out) {
    fprintf(out, "%s, %.0f thread%s, %s kernels; limits measured in this run:\n", m->cpu,
            m->threads, m->threads == 1 ? "" : "s", m->isa);
    fprintf(out, "  read %.3g GB/s memory, %.3g GB/s last cache; fp32 FMA %.4g GFLOP/s",
            m->read_gbytes_s, m->l3_read_gbytes_s, m->fma_f32_gflops);
    if (m->dot_bf16_gflops > 0) fprintf(out, "; bf16 dot %.4g GFLOP/s", m->dot_bf16_gflops);
    if (m->dot_int8_gops > 0) fprintf(out, "; int8 dot %.4g GOP/s", m->dot_int8_gops);
    fprintf(out, "\n\n");
}

void bench_write_table(const BenchRun *run, FILE *out) {
    bool noisy = false;
    write_machine(&run->machine, out);
    fprintf(out, "%-48s %9s %9s %8s %8s %9s\n", "case", "median", "GFLOP/s", "GB/s", "bound",
            "fraction");
    for (size_t i = 0; i < run->count; i++) {
        const BenchCase *c = &run->cases[i];
        char median[24];
        bench_format_ns(c->median_ns, median, sizeof median);
        const bool wide = c->q3_ns - c->q1_ns > 0.05 * c->median_ns;
        noisy = noisy || wide;
        fprintf(out, "%-48s %9s %9.4g %8.3g %8s %8.2f%s\n", c->name, median, c->gflops, c->gbytes_s,
                c->bound, c->roofline_fraction, wide ? "~" : "");
    }
    fprintf(out,
            "\nmeasured: medians and rates; exact: flops and bytes behind them. fraction: of "
            "what this machine\ncould do, its limit (bound) measured in turns with the case.%s\n",
            noisy ? " ~ quartiles over 5 % apart." : "");
}
