/* test_bench.c -- `kvlab bench`: selection, results in and out, verdicts, the command. Times are
 * never judged here, only what is made of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bench_compare.h"
#include "buffer.h"
#include "hardware.h"
#include "json.h"
#include "machine.h"

static Error err;

/* ---- selection ---- */

static size_t selected(const char *filter, bool checked_too) {
    size_t *numbers, count;
    cr_assert_eq(bench_select(filter, checked_too, &numbers, &count, &err), OK, "%s", err.text);
    buffer_free(numbers);
    return count;
}

Test(bench, selection_takes_all_without_a_filter_and_fewer_with_one) {
    const size_t all = selected(NULL, false), decode = selected("^decode/", false);
    cr_assert_eq(selected(NULL, true), case_count());
    cr_assert_lt(all, case_count());
    cr_assert(decode > 0 && decode < all);
    cr_assert_eq(selected("^decode/mla-v3/absorbed/bf16/4k$", false), 1);
    cr_assert_eq(selected("/(int4|q4_0)/", false),
                 selected("/int4/", false) + selected("/q4_0/", false));
}

Test(bench, a_filter_that_is_none_or_matches_nothing_is_refused_by_name) {
    const char *const filters[] = { "(", "[", "*a{", "no such case" };
    char longest[400];
    for (size_t i = 0; i < 4; i++) {
        size_t *numbers, count;
        cr_assert_eq(bench_select(filters[i], true, &numbers, &count, &err), ERR_INPUT);
        cr_assert(strstr(err.text, "--filter"), "%s", err.text);
    }
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    size_t *numbers, count;
    cr_assert_eq(bench_select(longest, true, &numbers, &count, &err), ERR_INPUT);
}

Test(bench, rows_use_the_fastest_arithmetic_that_the_machine_has) {
    const Peaks all = { .fma_f32_gflops = 1, .dot_bf16_gflops = 2, .dot_int8_gops = 4 };
    const Peaks plain = { .fma_f32_gflops = 1 };
    const Peaks bf16 = { .fma_f32_gflops = 1, .dot_bf16_gflops = 2 };
    cr_assert_eq(bench_arithmetic(&all, ROW_F32), PEAK_FMA_F32);
    cr_assert_eq(bench_arithmetic(&all, ROW_F16), PEAK_DOT_BF16);
    cr_assert_eq(bench_arithmetic(&all, ROW_FP8), PEAK_DOT_BF16);
    cr_assert_eq(bench_arithmetic(&all, ROW_FP8_DS_MLA), PEAK_DOT_BF16);
    cr_assert_eq(bench_arithmetic(&all, ROW_Q4_0), PEAK_DOT_INT8);
    cr_assert_eq(bench_arithmetic(&bf16, ROW_INT8), PEAK_DOT_BF16);
    for (int type = 0; type < ROW_TYPE_COUNT; type++)
        cr_assert_eq(bench_arithmetic(&plain, (RowType)type), PEAK_FMA_F32);
}

/* ---- verdicts ---- */

static BenchCase timed(double q1, double median, double q3, double limit) {
    BenchCase c = {
        .median_ns = median, .min_ns = q1, .q1_ns = q1, .q3_ns = q3, .roofline_ns = limit
    };
    snprintf(c.name, sizeof c.name, "case");
    return c;
}

static BenchVerdict verdict(BenchCase before, BenchCase now) {
    return bench_difference(&before, &now).verdict;
}

Test(bench, a_difference_inside_the_quartiles_is_none) {
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(100, 104, 108, 50)), VERDICT_SAME);
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(95, 100, 105, 50)), VERDICT_SAME);
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(105, 106, 107, 50)), VERDICT_SAME);
}

Test(bench, a_difference_beyond_the_quartiles_is_faster_or_slower) {
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(80, 85, 90, 50)), VERDICT_FASTER);
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(110, 115, 120, 50)), VERDICT_SLOWER);
    cr_assert_eq(verdict(timed(95, 100, 105, 0), timed(80, 85, 90, 0)), VERDICT_FASTER,
                 "a file without limits is compared by time alone");
}

Test(bench, a_machine_that_was_slower_as_a_whole_is_no_slower_kernel) {
    cr_assert_eq(verdict(timed(95, 100, 105, 50), timed(145, 150, 155, 75)), VERDICT_SAME);
    cr_assert_eq(verdict(timed(95, 100, 105, 75), timed(65, 67, 70, 50)), VERDICT_SAME);
    const BenchCase before = timed(95, 100, 105, 50), now = timed(45, 50, 55, 25);
    const BenchDifference d = bench_difference(&before, &now);
    cr_assert_float_eq(d.speedup, 2, 1e-12);
    cr_assert_float_eq(d.limit_ratio, 2, 1e-12);
}

/* ---- files ---- */

static const char *write_text(const char *text) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/kvlab_bench_%d.json", (int)getpid());
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static Status read_text(const char *text, BenchRun *run) {
    const char *path = write_text(text);
    const Status status = bench_read(run, path, &err);
    unlink(path);
    return status;
}

#define MACHINE "\"machine\": {\"cpu\": \"A\", \"threads\": 2, \"isa\": \"avx2\"}"

Test(bench, hostile_results_are_refused_with_the_key) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "JSON" },
        { "[1, 2]", "machine and cases" },
        { "{}", "machine and cases" },
        { "{" MACHINE "}", "machine and cases" },
        { "{\"machine\": 3, \"cases\": []}", "machine" },
        { "{\"machine\": {}, \"cases\": []}", "machine.cpu: is missing" },
        { "{\"machine\": {\"cpu\": \"\", \"threads\": 2, \"isa\": \"a\"}, \"cases\": []}",
          "machine.cpu: is empty" },
        { "{\"machine\": {\"cpu\": \"A\", \"threads\": 0, \"isa\": \"a\"}, \"cases\": []}",
          "machine.threads: must be above 0" },
        { "{\"machine\": {\"cpu\": \"A\", \"threads\": 1.5, \"isa\": \"a\"}, \"cases\": []}",
          "machine.threads: must be a whole number" },
        { "{" MACHINE ", \"cases\": [7]}", "cases[0]: must be an object" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\"}]}", "cases[0].median_ns: is missing" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": 0}]}",
          "cases[0].median_ns: must be above 0" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": -4}]}", "median_ns" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": \"4\"}]}", "median_ns" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\\u001b[31m\", \"median_ns\": 4}]}", "name" },
        { "{" MACHINE ", \"cases\": [{\"name\": 4, \"median_ns\": 4}]}", "name" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": 4, \"heads\": 1e300}]}",
          "heads" },
        { "{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": 4},"
          "{\"name\": \"a\", \"median_ns\": 4}]}",
          "there twice" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        BenchRun run;
        cr_assert_eq(read_text(cases[i].text, &run), ERR_INPUT, "%s", cases[i].text);
        cr_assert(strstr(err.text, cases[i].says), "%s: %s", cases[i].text, err.text);
        cr_assert(strstr(err.text, ".json"), "the file is named: %s", err.text);
    }
}

Test(bench, a_name_longer_than_any_of_ours_is_refused) {
    char text[1024], name[300];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text, "{" MACHINE ", \"cases\": [{\"name\": \"%s\", \"median_ns\": 4}]}",
             name);
    BenchRun run;
    cr_assert_eq(read_text(text, &run), ERR_INPUT);
    cr_assert(strstr(err.text, "too long"), "%s", err.text);
}

Test(bench, a_result_of_the_contract_alone_gets_its_spread_from_the_least_sample) {
    BenchRun run;
    cr_assert_eq(read_text("{" MACHINE ", \"cases\": [{\"name\": \"a\", \"median_ns\": 100, "
                           "\"min_ns\": 90}]}",
                           &run),
                 OK, "%s", err.text);
    cr_assert(run.cases[0].q1_ns == 90 && run.cases[0].q3_ns == 110);
    bench_run_free(&run);
}

/* A run with one case in which every number differs. */
static BenchRun made_run(void) {
    BenchRun run = { .count = 1 };
    cr_assert_eq(BUFFER(&run.cases, 1, "cases", &err), OK);
    run.machine = (BenchMachine){ .cpu = "A, \"CPU\"",
                                  .isa = "avx2",
                                  .threads = 2,
                                  .cores = 4,
                                  .read_gbytes_s = 20.5,
                                  .fma_f32_gflops = 100.25 };
    run.cases[0] = timed(95, 100, 105, 50);
    snprintf(run.cases[0].kind, sizeof run.cases[0].kind, "mha");
    snprintf(run.cases[0].bound, sizeof run.cases[0].bound, "memory");
    run.cases[0].samples = 12;
    run.cases[0].flops = 1e9;
    return run;
}

Test(bench, a_result_is_read_as_it_was_written) {
    BenchRun run = made_run(), again;
    Json *json = bench_to_json(&run);
    const char *path = write_text("");
    FILE *file = fopen(path, "w");
    cr_assert_eq(json_write(json, file, &err), OK);
    fclose(file);
    json_free(json);
    cr_assert_eq(bench_read(&again, path, &err), OK, "%s", err.text);
    unlink(path);
    cr_assert_eq(memcmp(&run.machine, &again.machine, sizeof run.machine), 0);
    cr_assert_eq(memcmp(&run.cases[0], &again.cases[0], sizeof run.cases[0]), 0);
    bench_run_free(&run);
    bench_run_free(&again);
}

Test(bench, another_machine_or_number_of_threads_is_not_compared) {
    BenchRun before = made_run(), now = made_run();
    BenchComparison comparison;
    cr_assert_eq(bench_compare(&comparison, &before, "OLD.json", &now, &err), OK);
    cr_assert(comparison.count == 1 && !comparison.faster && !comparison.slower);
    bench_compare_free(&comparison);
    before.machine.threads = 4;
    cr_assert_eq(bench_compare(&comparison, &before, "OLD.json", &now, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "--threads 4"), "%s", err.text);
    snprintf(before.machine.cpu, sizeof before.machine.cpu, "B");
    cr_assert_eq(bench_compare(&comparison, &before, "OLD.json", &now, &err), ERR_INPUT);
    cr_assert(strstr(err.text, "measured on B"), "%s", err.text);
    bench_run_free(&before);
    bench_run_free(&now);
}

Test(bench, results_without_a_common_case_are_not_compared) {
    BenchRun before = made_run(), now = made_run();
    BenchComparison comparison;
    snprintf(before.cases[0].name, sizeof before.cases[0].name, "another");
    cr_assert_eq(bench_compare(&comparison, &before, "OLD.json", &now, &err), ERR_INPUT);
    bench_run_free(&before);
    bench_run_free(&now);
}

Test(bench, csv_quotes_what_holds_a_comma) {
    BenchRun run = made_run();
    char text[4096] = "";
    snprintf(run.cases[0].name, sizeof run.cases[0].name, "a,\"b\"");
    FILE *file = tmpfile();
    bench_write_csv(&run, file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cr_assert_eq(strncmp(text, "name,kind,path,phase,isa,kv_dtype,heads,", 40), 0, "%s", text);
    cr_assert(strstr(text, "\n\"a,\"\"b\"\"\",mha,"), "%s", text);
    bench_run_free(&run);
}

/* ---- the command ---- */

static int run_command(const char *arguments, char *output, size_t size) {
    char line[1024];
    snprintf(line, sizeof line, "'%s' bench %s 2>/dev/null", KVLAB_BINARY, arguments);
    FILE *pipe = popen(line, "r");
    cr_assert(pipe);
    output[fread(output, 1, size - 1, pipe)] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

#define BRIEF "--seconds 0.005 --filter '^decode/mla-minicpm3/absorbed/bf16/4k$' "

Test(bench, the_command_prints_the_keys_of_the_contract) {
    static const char *const machine_keys[] = { "cpu",
                                                "threads",
                                                "isa",
                                                "read_gbytes_s",
                                                "l3_read_gbytes_s",
                                                "fma_f32_gflops",
                                                "dot_bf16_gflops",
                                                "dot_int8_gops" };
    static const char *const case_keys[] = {
        "name",      "kind",     "path",      "phase",  "isa",         "kv_dtype",
        "heads",     "kv_heads", "dk",        "dv",     "batch",       "q_tokens",
        "kv_tokens", "threads",  "median_ns", "min_ns", "samples",     "flops",
        "bytes",     "gflops",   "gbytes_s",  "bound",  "roofline_ns", "roofline_fraction"
    };
    static char output[1 << 16];
    Json *json;
    cr_assert_eq(run_command(BRIEF "--json", output, sizeof output), 0);
    cr_assert_eq(json_parse(&json, "output", output, strlen(output), &err), OK, "%s", err.text);
    const Json *machine = json_get(json, "machine"), *c = json_at(json_get(json, "cases"), 0);
    for (size_t i = 0; i < sizeof machine_keys / sizeof *machine_keys; i++)
        cr_assert_not_null(json_get(machine, machine_keys[i]), "machine.%s", machine_keys[i]);
    for (size_t i = 0; i < sizeof case_keys / sizeof *case_keys; i++)
        cr_assert_not_null(json_get(c, case_keys[i]), "%s", case_keys[i]);
    double samples, flops, peak, bytes, bandwidth, roofline;
    cr_assert(json_number(json_get(c, "samples"), &samples) && samples >= 10);
    cr_assert(json_number(json_get(c, "flops"), &flops) && flops == 2.0 * 40 * (288 + 256) * 4096);
    json_number(json_get(c, "peak_gflops"), &peak);
    json_number(json_get(c, "bytes"), &bytes);
    json_number(json_get(c, "bandwidth_gbytes_s"), &bandwidth);
    json_number(json_get(c, "roofline_ns"), &roofline);
    cr_assert_float_eq(roofline, fmax(flops / peak, bytes / bandwidth), 1e-6 * roofline);
    json_free(json);
}

Test(bench, a_result_compared_with_itself_shows_no_difference) {
    static char output[1 << 16], arguments[256];
    char folder[64];
    snprintf(folder, sizeof folder, "/tmp/kvlab_bench_out_%d", (int)getpid());
    snprintf(arguments, sizeof arguments, BRIEF "--out %s --csv %s/also.csv", folder, folder);
    cr_assert_eq(run_command(arguments, output, sizeof output), 2, "the folder is not there yet");
    snprintf(arguments, sizeof arguments, BRIEF "--out %s", folder);
    cr_assert_eq(run_command(arguments, output, sizeof output), 0, "%s", output);
    cr_assert(strstr(output, "fraction"), "%s", output);
    snprintf(arguments, sizeof arguments, "%s/bench.json --against %s/bench.json", folder, folder);
    cr_assert_eq(run_command(arguments, output, sizeof output), 0, "%s", output);
    cr_assert(strstr(output, "no difference"), "%s", output);
    cr_assert(strstr(output, "0 faster, 0 slower"), "%s", output);
    static const char *const files[] = { "bench.json",  "bench.csv",    "bench.txt",
                                         "samples.tsv", "roofline.tsv", "roofline.gp" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        cr_assert_eq(access(path, R_OK), 0, "%s", path);
    }
    snprintf(arguments, sizeof arguments, "rm -r %s", folder);
    cr_assert_eq(system(arguments), 0);
}

Test(bench, wrong_options_end_with_exit_code_2) {
    static const char *const wrong[] = { "--filter '('",         "--filter nothing",
                                         "--isa avx3",           "--threads 0",
                                         "--seconds 0",          "--seconds nan",
                                         "--csv /nowhere/x.csv", "--against /nowhere.json",
                                         "/nowhere.json",        "/nowhere.json --filter a",
                                         "--list --verify",      "--hardware /nowhere/x.yaml",
                                         "--list --out /tmp/x",  "a b" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char output[4096];
        cr_assert_eq(run_command(wrong[i], output, sizeof output), 2, "%s", wrong[i]);
        cr_assert_str_empty(output, "%s: %s", wrong[i], output);
    }
}

Test(bench, the_list_names_every_case) {
    static char output[1 << 16];
    size_t lines = 0;
    cr_assert_eq(run_command("--list", output, sizeof output), 0);
    for (const char *at = output; *at; at++) lines += *at == '\n';
    cr_assert_eq(lines, case_count());
}

Test(bench, the_hardware_file_is_one_that_the_planner_reads) {
    char path[64], arguments[128], output[4096];
    Hardware hardware;
    snprintf(path, sizeof path, "/tmp/kvlab_bench_%d.yaml", (int)getpid());
    snprintf(arguments, sizeof arguments, "--seconds 0.01 --hardware %s", path);
    cr_assert_eq(run_command(arguments, output, sizeof output), 0, "%s", output);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    const size_t length = fread(output, 1, sizeof output, file);
    fclose(file);
    unlink(path);
    cr_assert_eq(hardware_parse_file(&hardware, path, output, length, &err), OK, "%s", err.text);
    cr_assert_eq(hardware.memory_bytes, machine_read().memory_bytes);
    cr_assert(hardware.bandwidth_bytes_s > 1e7 && hardware.flops[RATE_F32] > 1e6);
    cr_assert(strstr(hardware.source[FIGURE_PEAKS], "measured by kvlab bench 2"), "%s",
              hardware.source[FIGURE_PEAKS]);
}
