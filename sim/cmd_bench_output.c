/* cmd_bench_output.c -- files and pages of `kvlab bench`; see cmd_bench.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench_figure.h"
#include "buffer.h"
#include "cmd_bench.h"
#include "textfile.h"

Status bench_output_check(const BenchOutput *output, Error *err) {
    if (output->csv) TRY(textfile_check(output->csv, err));
    return output->out ? textfile_make_folder(output->out, err) : OK;
}

static Json *to_json(const BenchRun *run, const BenchComparison *comparison) {
    Json *json = bench_to_json(run);
    if (comparison) json_put(json, "comparison", bench_compare_to_json(comparison));
    return json;
}

/* A file by a function that only prints. */
static Status write_file(const char *path, void (*print)(const BenchRun *run, FILE *out),
                         const BenchRun *run, Error *err) {
    TextFile file;
    TRY(textfile_open(&file, path, err));
    print(run, file.stream);
    return textfile_close(&file, OK, err);
}

static Status write_json(const char *path, const Json *json, Error *err) {
    TextFile file;
    TRY(textfile_open(&file, path, err));
    return textfile_close(&file, json_write(json, file.stream, err), err);
}

static Status draw_roofline(const char *folder, const BenchRun *run, Error *err) {
    const BenchMachine *m = &run->machine;
    const BenchRoofs roofs = { m->cpu,
                               m->read_gbytes_s,
                               m->l3_read_gbytes_s,
                               m->fma_f32_gflops,
                               m->dot_bf16_gflops,
                               m->dot_int8_gops };
    BenchMark *marks;
    char note[400];
    TRY(BUFFER(&marks, run->count, "marks", err));
    for (size_t i = 0; i < run->count; i++) {
        const BenchCase *c = &run->cases[i];
        marks[i] = (BenchMark){ c->name, c->kind, c->phase, c->bytes > 0 ? c->flops / c->bytes : 0,
                                c->gflops };
    }
    const Status status =
        bench_figure_write(folder, &roofs, run->count, marks, note, sizeof note, err);
    buffer_free(marks);
    if (status == OK && note[0]) fprintf(stderr, "kvlab: %s\n", note);
    return status;
}

static Status write_folder(const char *folder, const BenchRun *run, const Json *json, Error *err) {
    static const struct {
        const char *name;
        void (*print)(const BenchRun *run, FILE *out);
    } files[] = { { "bench.csv", bench_write_csv },
                  { "bench.txt", bench_write_table },
                  { "samples.tsv", bench_write_samples } };
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TRY(textfile_path(path, folder, files[i].name, err));
        TRY(write_file(path, files[i].print, run, err));
    }
    TRY(textfile_path(path, folder, "bench.json", err));
    TRY(write_json(path, json, err));
    return draw_roofline(folder, run, err);
}

Status bench_output_write(const BenchOutput *output, const BenchRun *run,
                          const BenchComparison *comparison, Error *err) {
    Json *json = to_json(run, comparison);
    Status status = OK;
    if (output->csv) status = write_file(output->csv, bench_write_csv, run, err);
    if (status == OK && output->out) status = write_folder(output->out, run, json, err);
    if (status == OK && output->json) status = json_print(json, err);
    json_free(json);
    if (status != OK || output->json) return status;
    bench_write_table(run, stdout);
    if (comparison) bench_compare_write(comparison, stdout);
    return OK;
}

/* ---- hardware ---- */

/* A name as a single-quoted scalar of YAML. */
static void put_quoted(FILE *out, const char *text) {
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'') fputc('\'', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

Status bench_output_hardware(const char *path, const BenchMachine *m, Error *err) {
    TextFile file;
    TRY(textfile_open(&file, path, err));
    FILE *out = file.stream;
    char name[64];
    snprintf(name, sizeof name, "%.40s, %.0f threads", m->cpu, m->threads);
    fprintf(out, "name: ");
    put_quoted(out, name);
    fprintf(out, "\nmemory: %.0fB\nmemory_bandwidth: %.4gGB/s\npeaks: { f32: %.4gGFLOPS",
            m->memory_bytes, m->read_gbytes_s, m->fma_f32_gflops);
    if (m->dot_bf16_gflops > 0) fprintf(out, ", bf16: %.4gGFLOPS", m->dot_bf16_gflops);
    if (m->dot_int8_gops > 0) fprintf(out, ", int8: %.4gGFLOPS", m->dot_int8_gops);
    fprintf(out, " }\nsources:\n  memory: the system's own count\n");
    static const char *const measured[] = { "memory_bandwidth", "peaks" };
    for (size_t i = 0; i < 2; i++)
        fprintf(out, "  %s: measured by kvlab bench %.10s, %s kernels\n", measured[i], m->started,
                m->isa);
    return textfile_close(&file, OK, err);
}
