/* bench_verify_report.c -- a report of checks for people and as JSON; see bench_verify.h. */
#include "bench_verify.h"

void verify_write(const VerifyReport *r, FILE *out) {
    fprintf(out, "%zu checks of %zu cases: %zu values compared with fp64, %zu of them to the bit\n",
            r->checks, r->cases, r->values, r->exact);
    fprintf(out, "\n%-12s %8s %8s   %s\n", "tier", "checks", "failed",
            "worst error over its bound");
    for (size_t i = 0; i < r->tiers; i++)
        fprintf(out, "%-12s %8zu %8zu   %.3f\n", r->tier[i].isa, r->tier[i].checks,
                r->tier[i].failed, r->tier[i].worst);
    if (r->accuracies)
        fprintf(out, "\n%-16s %-12s %-6s  relative error against fp64, by rows held\n", "decode",
                "tier", "type");
    for (size_t i = 0; i < r->accuracies; i++) {
        const VerifyAccuracy *a = &r->accuracy[i];
        fprintf(out, "%-16s %-12s %-6s  %.3g at %zu, %.3g at %zu\n", a->name, a->isa, a->kv_dtype,
                a->rel_error[0], a->tokens[0], a->rel_error[1], a->tokens[1]);
    }
    if (r->failed) fprintf(out, "\nfailed:\n");
    for (size_t i = 0; i < r->failed && i < VERIFY_FAILURES_MOST; i++)
        fprintf(out, "  %s, %s kernels: %s\n", r->failure[i].name, r->failure[i].isa,
                r->failure[i].what);
    if (r->failed > VERIFY_FAILURES_MOST)
        fprintf(out, "  and %zu more\n", r->failed - VERIFY_FAILURES_MOST);
}

static Json *tiers_to_json(const VerifyReport *r) {
    Json *list = json_new_array();
    for (size_t i = 0; i < r->tiers; i++) {
        Json *entry = json_new_object();
        json_put_string(entry, "isa", r->tier[i].isa);
        json_put_whole(entry, "checks", (long long)r->tier[i].checks);
        json_put_whole(entry, "failed", (long long)r->tier[i].failed);
        json_put_number(entry, "worst_error_over_bound", r->tier[i].worst);
        json_append(list, entry);
    }
    return list;
}

static Json *accuracies_to_json(const VerifyReport *r) {
    Json *list = json_new_array();
    for (size_t i = 0; i < r->accuracies; i++) {
        const VerifyAccuracy *a = &r->accuracy[i];
        for (size_t k = 0; k < 2; k++) {
            Json *entry = json_new_object();
            json_put_string(entry, "name", a->name);
            json_put_string(entry, "isa", a->isa);
            json_put_string(entry, "kv_dtype", a->kv_dtype);
            json_put_whole(entry, "kv_tokens", (long long)a->tokens[k]);
            json_put_number(entry, "rel_error", a->rel_error[k]);
            json_append(list, entry);
        }
    }
    return list;
}

static Json *failures_to_json(const VerifyReport *r) {
    Json *list = json_new_array();
    for (size_t i = 0; i < r->failed && i < VERIFY_FAILURES_MOST; i++) {
        Json *entry = json_new_object();
        json_put_string(entry, "name", r->failure[i].name);
        json_put_string(entry, "isa", r->failure[i].isa);
        json_put_string(entry, "what", r->failure[i].what);
        json_append(list, entry);
    }
    return list;
}

Json *verify_to_json(const VerifyReport *r) {
    Json *json = json_new_object();
    json_put_whole(json, "cases", (long long)r->cases);
    json_put_whole(json, "checks", (long long)r->checks);
    json_put_whole(json, "values", (long long)r->values);
    json_put_whole(json, "exact", (long long)r->exact);
    json_put_whole(json, "failed", (long long)r->failed);
    json_put(json, "tiers", tiers_to_json(r));
    json_put(json, "accuracy", accuracies_to_json(r));
    json_put(json, "failures", failures_to_json(r));
    return json;
}
