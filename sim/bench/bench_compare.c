/* bench_compare.c -- verdicts from medians and quartiles; see bench_compare.h. */
#include "bench_compare.h"

#include <string.h>

#include "buffer.h"
#include "machine.h"

const char *bench_verdict_name(BenchVerdict verdict) {
    static const char *const names[] = { "no difference", "faster", "slower" };
    return names[verdict];
}

/* Which way two spreads lie apart, in units of each one's limit. */
static BenchVerdict judge(const BenchCase *before, double before_limit, const BenchCase *now,
                          double now_limit) {
    if (now->q3_ns / now_limit < before->q1_ns / before_limit) return VERDICT_FASTER;
    if (now->q1_ns / now_limit > before->q3_ns / before_limit) return VERDICT_SLOWER;
    return VERDICT_SAME;
}

BenchDifference bench_difference(const BenchCase *before, const BenchCase *now) {
    BenchDifference d = { .before = before, .now = now, .limit_ratio = 1 };
    d.speedup = before->median_ns / now->median_ns;
    d.verdict = judge(before, 1, now, 1);
    if (before->roofline_ns > 0 && now->roofline_ns > 0) {
        d.limit_ratio = before->roofline_ns / now->roofline_ns;
        if (judge(before, before->roofline_ns, now, now->roofline_ns) != d.verdict)
            d.verdict = VERDICT_SAME;
    }
    return d;
}

static const BenchCase *find_case(const BenchRun *run, const char *name) {
    for (size_t i = 0; i < run->count; i++)
        if (strcmp(run->cases[i].name, name) == 0) return &run->cases[i];
    return NULL;
}

static Status check_machines(const BenchMachine *before, const char *file, const BenchMachine *now,
                             Error *err) {
    if (strcmp(before->cpu, now->cpu) != 0)
        return fail_at(err, file, 0, 0,
                       "measured on %s, and this is %s: times of two machines are not compared",
                       before->cpu, now->cpu);
    if (before->threads != now->threads)
        return fail_at(err, file, 0, 0,
                       "measured with %.0f threads, and this with %.0f; --threads %.0f compares "
                       "with it",
                       before->threads, now->threads, before->threads);
    return OK;
}

Status bench_compare_check(const BenchRun *before, const char *file, int threads, Error *err) {
    const Machine machine = machine_read();
    BenchMachine now = { .threads = threads };
    snprintf(now.cpu, sizeof now.cpu, "%s", machine.cpu);
    return check_machines(&before->machine, file, &now, err);
}

Status bench_compare(BenchComparison *comparison, const BenchRun *before, const char *file,
                     const BenchRun *now, Error *err) {
    BenchComparison draft = { .only_before = before->count };
    TRY(check_machines(&before->machine, file, &now->machine, err));
    TRY(BUFFER(&draft.differences, now->count, "compared cases", err));
    for (size_t i = 0; i < now->count; i++) {
        const BenchCase *old = find_case(before, now->cases[i].name);
        if (!old) {
            draft.only_now++;
            continue;
        }
        const BenchDifference d = bench_difference(old, &now->cases[i]);
        draft.only_before--;
        draft.faster += d.verdict == VERDICT_FASTER;
        draft.slower += d.verdict == VERDICT_SLOWER;
        draft.differences[draft.count++] = d;
    }
    if (!draft.count) {
        buffer_free(draft.differences);
        return fail_at(err, file, 0, 0, "has no case of this run");
    }
    *comparison = draft;
    return OK;
}

void bench_compare_free(BenchComparison *comparison) {
    buffer_free(comparison->differences);
    *comparison = (BenchComparison){ .count = 0 };
}

void bench_compare_write(const BenchComparison *comparison, FILE *out) {
    fprintf(out, "\n%-48s %9s %9s %8s %8s  %s\n", "case", "before", "now", "speedup", "limit",
            "verdict");
    for (size_t i = 0; i < comparison->count; i++) {
        const BenchDifference *d = &comparison->differences[i];
        char before[24], now[24];
        bench_format_ns(d->before->median_ns, before, sizeof before);
        bench_format_ns(d->now->median_ns, now, sizeof now);
        fprintf(out, "%-48s %9s %9s %7.2fx %7.2fx  %s\n", d->now->name, before, now, d->speedup,
                d->limit_ratio, bench_verdict_name(d->verdict));
    }
    fprintf(out,
            "\n%zu faster, %zu slower, %zu without a difference beyond the quartiles; limit: how "
            "the machine's\nown limit for the case moved between the two.",
            comparison->faster, comparison->slower,
            comparison->count - comparison->faster - comparison->slower);
    if (comparison->only_before || comparison->only_now)
        fprintf(out, " Not compared: %zu cases only before, %zu only now.", comparison->only_before,
                comparison->only_now);
    fputc('\n', out);
}

Json *bench_compare_to_json(const BenchComparison *comparison) {
    Json *list = json_new_array();
    for (size_t i = 0; i < comparison->count; i++) {
        const BenchDifference *d = &comparison->differences[i];
        Json *entry = json_new_object();
        json_put_string(entry, "name", d->now->name);
        json_put_number(entry, "before_ns", d->before->median_ns);
        json_put_number(entry, "now_ns", d->now->median_ns);
        json_put_number(entry, "speedup", d->speedup);
        json_put_number(entry, "limit_ratio", d->limit_ratio);
        json_put_string(entry, "verdict", bench_verdict_name(d->verdict));
        json_append(list, entry);
    }
    return list;
}
