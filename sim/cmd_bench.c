/* cmd_bench.c -- `kvlab bench`: the kernels against this machine's own limits, timed or checked. */
#include "cmd_bench.h"

#include <stdio.h>
#include <string.h>

#include "bench_verify.h"
#include "buffer.h"
#include "commands.h"
#include "machine.h"
#include "option_values.h"
#include "options.h"
#include "quantity.h"
#include "textfile.h"

#define MEMORY_MOST ((size_t)8 << 30)

/* What the command line gives, as text. */
typedef struct {
    const char *file, *filter, *isa, *threads, *seconds, *against, *hardware;
    BenchOutput output;
    bool list, verify;
} Given;

static void print_progress(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static Status parse_seconds(const char *text, double *seconds, Error *err) {
    if (!text) return OK;
    double value;
    if (!quantity_real(text, &value) || value < 0.001 || value > 60)
        return fail(err, ERR_INPUT, "--seconds %.80s: a number from 0.001 to 60 is allowed", text);
    *seconds = value;
    return OK;
}

static Status resolve(const Given *given, BenchParams *params, Error *err) {
    const Machine machine = machine_read();
    *params = (BenchParams){ .filter = given->filter,
                             .measure = { .min_samples = 10, .min_seconds = 0.5 },
                             .progress = print_progress };
    params->memory_bytes =
        machine.available_bytes < MEMORY_MOST ? machine.available_bytes : MEMORY_MOST;
    TRY(option_isa(given->isa, &params->tiers, err));
    TRY(option_threads(given->threads, machine.cores, &params->threads, err));
    return parse_seconds(given->seconds, &params->measure.min_seconds, err);
}

static Status list_cases(const BenchParams *params, Error *err) {
    size_t *numbers, count;
    TRY(bench_select(params->filter, true, &numbers, &count, err));
    for (size_t i = 0; i < count; i++) {
        const Case c = case_at(numbers[i]);
        char name[96];
        case_name(&c, name, sizeof name);
        printf("%s%s\n", name, c.check_only ? "   only checked" : "");
    }
    buffer_free(numbers);
    return OK;
}

static Status write_hardware(const BenchParams *params, const char *path, Error *err) {
    BenchMachine machine;
    TRY(textfile_check(path, err));
    TRY(bench_machine(params, &machine, err));
    TRY(bench_output_hardware(path, &machine, err));
    printf("%s: %s, read %.3g GB/s, fp32 FMA %.4g GFLOP/s   measured\n", path, machine.cpu,
           machine.read_gbytes_s, machine.fma_f32_gflops);
    return OK;
}

static Status print_report(const VerifyReport *report, bool as_json, Error *err) {
    if (!as_json) {
        verify_write(report, stdout);
        return OK;
    }
    Json *json = verify_to_json(report);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

/* A check that fails is a failure of the machine: exit code 1. */
static Status verify(const Given *given, const BenchParams *params, Error *err) {
    const VerifyParams checks = { .filter = params->filter,
                                  .threads = params->threads,
                                  .progress = print_progress };
    VerifyTable *tables;
    VerifyReport *report = NULL;
    size_t count;
    TRY(BUFFER(&tables, VERIFY_TABLES_MOST, "tables of kernels", err));
    Status status = BUFFER(&report, 1, "the report", err);
    if (status == OK) status = verify_tables(given->isa, tables, &count, err);
    if (status == OK) status = bench_verify(&checks, count, tables, report, err);
    if (status == OK) status = print_report(report, given->output.json, err);
    if (status == OK && report->failed)
        status = fail(err, ERR_MACHINE, "%zu of %zu checks failed", report->failed, report->checks);
    buffer_free(tables);
    buffer_free(report);
    return status;
}

/* Compares where that is asked, and writes all. */
static Status put_results(const Given *given, const BenchRun *run, const BenchRun *before,
                          Error *err) {
    BenchComparison comparison = { .count = 0 };
    if (!given->against) return bench_output_write(&given->output, run, NULL, err);
    TRY(bench_compare(&comparison, before, given->against, run, err));
    const Status status = bench_output_write(&given->output, run, &comparison, err);
    bench_compare_free(&comparison);
    return status;
}

/* The results to compare with are read first: a wrong file costs no measurement. */
static Status measure(const Given *given, const BenchParams *params, Error *err) {
    BenchRun run = { .count = 0 }, before = { .count = 0 };
    TRY(bench_output_check(&given->output, err));
    Status status = given->against ? bench_read(&before, given->against, err) : OK;
    if (status == OK && given->against && !given->file)
        status = bench_compare_check(&before, given->against, params->threads, err);
    if (status == OK)
        status = given->file ? bench_read(&run, given->file, err) : bench_run(params, &run, err);
    if (status == OK) status = put_results(given, &run, &before, err);
    bench_run_free(&run);
    bench_run_free(&before);
    return status;
}

/* Options that would have no effect are refused. */
static Status check_together(const Given *given, Error *err) {
    const bool measures = given->filter || given->isa || given->threads || given->seconds;
    if (given->file && measures)
        return fail(err, ERR_INPUT,
                    "%s is measured already: --filter, --isa, --threads and --seconds choose what "
                    "is measured",
                    given->file);
    const int modes = given->list + given->verify + (given->hardware != NULL);
    if (modes > 1)
        return fail(err, ERR_INPUT, "--list, --verify and --hardware: one of them at a time");
    if (modes && (given->file || given->against || given->output.csv || given->output.out))
        return fail(err, ERR_INPUT,
                    "--list, --verify and --hardware time no case: nothing to compare or to write");
    return OK;
}

static Status run(const Given *given, Error *err) {
    BenchParams params;
    TRY(check_together(given, err));
    TRY(resolve(given, &params, err));
    if (given->list) return list_cases(&params, err);
    if (given->verify) return verify(given, &params, err);
    if (given->hardware) return write_hardware(&params, given->hardware, err);
    return measure(given, &params, err);
}

Status cmd_bench(int argc, char **argv, Error *err) {
    Given given = { 0 };
    const Option options[] = {
        { .name = "filter",
          .argument = "RE",
          .help = "only cases whose names match (extended regular expression)",
          .text = &given.filter },
        { .name = "isa",
          .argument = "TIER",
          .help = "kernels up to this tier; auto: the machine's best",
          .text = &given.isa },
        { .name = "threads", .argument = "N", .help = "all cores", .text = &given.threads },
        { .name = "seconds",
          .argument = "S",
          .help = "time of each case at least: 0.5; at least 10 samples",
          .text = &given.seconds },
        { .name = "json",
          .help = "one JSON object instead of the table",
          .flag = &given.output.json },
        { .name = "csv", .argument = "FILE", .help = "a line a case", .text = &given.output.csv },
        { .name = "out",
          .argument = "DIR",
          .help = "table, JSON, CSV, samples and the roofline figure",
          .text = &given.output.out },
        { .name = "against",
          .argument = "OLD.json",
          .help = "compare with an earlier result, case by case",
          .text = &given.against },
        { .name = "verify",
          .help = "check the cases against fp64, every tier, instead of timing",
          .flag = &given.verify },
        { .name = "list", .help = "the names of the cases", .flag = &given.list },
        { .name = "hardware",
          .argument = "FILE.yaml",
          .help = "write this machine's limits for kvlab plan",
          .text = &given.hardware },
    };
    const Command command = {
        .usage = "bench [RESULT.json] [options]",
        .summary = "Times each attention kernel in turns with the limit that binds it on this\n"
                   "machine, or checks it. RESULT.json shows or compares an earlier result.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .most = 1,
        .examples = "  kvlab bench --filter 'decode/mla-v3/absorbed/(bf16|int8)/'\n"
                    "  kvlab bench --json > today.json\n"
                    "  kvlab bench today.json --against yesterday.json\n"
                    "  kvlab bench --verify --filter gqa\n",
    };
    bool helped;
    TRY(options_parse(&command, argc, argv, &given.file, &helped, err));
    return helped ? OK : run(&given, err);
}
