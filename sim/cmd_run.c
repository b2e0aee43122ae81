/* cmd_run.c -- `kvlab run`: a study from its file to its report. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "quantity.h"
#include "report.h"
#include "stop.h"
#include "study.h"

enum { JOBS_MOST = 1024, SHARDS_MOST = 1000000 };

/* --out, or runs/<name of the study's file without its ending>. */
static Status name_folder(const char *out, const char *study, char *folder, size_t size,
                          Error *err) {
    const char *slash = strrchr(study, '/');
    const char *name = slash ? slash + 1 : study;
    const char *dot = strrchr(name, '.');
    const size_t length = dot && dot != name ? (size_t)(dot - name) : strlen(name);
    const int used = out ? snprintf(folder, size, "%s", out)
                         : snprintf(folder, size, "runs/%.*s", (int)length, name);
    if (used < 0 || (size_t)used >= size)
        return fail(err, ERR_INPUT, "%.80s...: the path is too long", folder);
    return OK;
}

static void show_progress(void *context, const Progress *progress, const char *line,
                          bool important) {
    progress_show(context, progress, line, important);
}

static Status print_json(const char *folder, const StudySummary *summary,
                         const ReportSummary *report, Error *err) {
    char page[1100];
    snprintf(page, sizeof page, "%s/report.html", folder);
    Json *json = json_new_object();
    json_put_string(json, "folder", folder);
    json_put_string(json, "report", page);
    json_put_whole(json, "done", (long long)summary->done);
    json_put_whole(json, "left_out", (long long)summary->left_out);
    json_put_whole(json, "failed", (long long)summary->failed);
    json_put_whole(json, "figures", report->figures);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

static void print_summary(const char *folder, const StudySummary *summary,
                          const ReportSummary *report) {
    printf("%zu points done", summary->done);
    if (summary->left_out)
        printf(", %zu left out (the report says what they need)", summary->left_out);
    if (summary->failed) printf(", %zu failed", summary->failed);
    printf("\n%d figures in %s/plots\nreport: %s/report.html\n", report->figures, folder, folder);
    if (report->note[0]) printf("note: %s\n", report->note);
}

/* ---- what it takes ---- */

static void print_row(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_row(const char *name, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("  %-18s ", name);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static void print_preview(const StudyPreview *p) {
    char all[48], alone[48], memory[32], limit[32], disk[32], room[32];
    progress_format_seconds(p->seconds, all, sizeof all);
    progress_format_seconds(p->timed_seconds, alone, sizeof alone);
    quantity_format_bytes((double)p->memory_bytes, memory, sizeof memory);
    quantity_format_bytes((double)p->memory_limit_bytes, limit, sizeof limit);
    quantity_format_bytes((double)p->disk_bytes, disk, sizeof disk);
    quantity_format_bytes((double)p->disk_free_bytes, room, sizeof room);
    print_row("points", "%zu", p->points);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (p->phase_points[phase])
            print_row(phase_name((Phase)phase), "  %zu", p->phase_points[phase]);
    if (p->left_out) print_row("left out", "%zu of them, by the study's limits", p->left_out);
    print_row("time", "about %s by %zu worker%s, %s of it measuring alone   modelled", all,
              p->workers, p->workers == 1 ? "" : "s", alone);
    print_row("memory at peak", "%s of %s   modelled", memory, limit);
    print_row("disk", "about %s of %s free", disk, room);
}

static Status print_preview_json(const StudyPreview *p, Error *err) {
    Json *json = json_new_object(), *phases = json_new_object();
    json_put_whole(json, "points", (long long)p->points);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (p->phase_points[phase])
            json_put_whole(phases, phase_name((Phase)phase), (long long)p->phase_points[phase]);
    json_put(json, "phases", phases);
    json_put_whole(json, "left_out", (long long)p->left_out);
    json_put_whole(json, "workers", (long long)p->workers);
    json_put_number(json, "seconds", p->seconds);
    json_put_number(json, "timed_seconds", p->timed_seconds);
    json_put_whole(json, "memory_bytes", (long long)p->memory_bytes);
    json_put_whole(json, "memory_limit_bytes", (long long)p->memory_limit_bytes);
    json_put_whole(json, "disk_bytes", (long long)p->disk_bytes);
    json_put_whole(json, "disk_free_bytes", (long long)p->disk_free_bytes);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

static Status plan_only(const ConfigFile *config, const StudyOptions *options, bool as_json,
                        Error *err) {
    StudyPreview preview;
    Config first;
    TRY(study_preview(config, options, &preview, err));
    if (!preview.points) return OK; /* a rank that does not have the list */
    if (as_json) return print_preview_json(&preview, err);
    config_point(config, PHASE_BYTES, 0, &first);
    printf("%s\n", first.title);
    print_preview(&preview);
    return OK;
}

/* ---- running ---- */

/* Runs the study and writes its report. */
static Status run_study(const ConfigFile *config, const StudyOptions *options, bool as_json,
                        Error *err) {
    StudySummary summary;
    ReportSummary report;
    const Status status = study_run(config, options, &summary, err);
    progress_close(options->context); /* the line kept up to date makes room for the summary */
    if (status != OK) return status;
    if (summary.served) return OK;
    if (summary.stopped)
        return fail(err, ERR_MACHINE,
                    "stopped by %s; %zu points were finished and are stored, --resume goes on",
                    summary.stopped == SIGINT ? "SIGINT" : "SIGTERM", summary.done);
    TRY(report_write(options->folder, &report, err));
    if (as_json)
        TRY(print_json(options->folder, &summary, &report, err));
    else
        print_summary(options->folder, &summary, &report);
    if (summary.failed)
        return fail(err, ERR_MACHINE, "%zu points failed; %s/report.md says why", summary.failed,
                    options->folder);
    return OK;
}

/* --jobs and --shard, which are numbers. */
static Status read_numbers(const char *jobs, const char *shard, StudyOptions *out, Error *err) {
    uint64_t number = 1, of = 1;
    if (jobs && (!quantity_count(jobs, &number) || number < 1 || number > JOBS_MOST))
        return fail(err, ERR_INPUT, "--jobs: %.40s: must be a whole number from 1 to %d", jobs,
                    JOBS_MOST);
    out->jobs = (size_t)number;
    if (!shard) return OK;
    char first[24];
    const size_t length = strcspn(shard, "/");
    snprintf(first, sizeof first, "%.*s", (int)(length < 20 ? length : 20), shard);
    if (shard[length] != '/' || !quantity_count(first, &number) ||
        !quantity_count(shard + length + 1, &of) || number < 1 || number > of || of > SHARDS_MOST)
        return fail(err, ERR_INPUT,
                    "--shard: %.40s: must be I/N, the I-th of N parts, 1 <= I <= N <= %d", shard,
                    SHARDS_MOST);
    out->shard = (size_t)number - 1;
    out->shards = (size_t)of;
    return OK;
}

Status cmd_run(int argc, char **argv, Error *err) {
    const char *out = NULL, *jobs = NULL, *shard = NULL, *study;
    bool resume = false, dry = false, as_json = false, helped;
    OptionValues overrides = { .count = 0 };
    const Option options[] = {
        { "out", "DIR", "folder of the run (default: runs/STUDY)", .text = &out },
        { "set", "KEY=VALUE", "override a key of the study; may be repeated",
          .values = &overrides },
        { "resume", NULL, "go on with a run that was stopped", .flag = &resume },
        { "jobs", "N", "run N points at once; those that measure time run alone", .text = &jobs },
        { "shard", "I/N", "run the I-th of N parts, for kvlab merge", .text = &shard },
        { "dry-run", NULL, "say what the run would take, and stop", .flag = &dry },
        { "json", NULL, "print the summary as one JSON object", .flag = &as_json },
    };
    const Command command = {
        .usage = "run STUDY.yaml [--out DIR] [--set KEY=VALUE]... [options]",
        .summary =
            "Runs every point of a study, stores each as it finishes, and writes the report.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples =
            "  kvlab run configs/studies/quickstart.yaml\n"
            "  kvlab run configs/studies/mla_paths.yaml --set model=MiniCPM3-4B --out runs/cpm\n"
            "  kvlab run configs/studies/quickstart.yaml --set 'cache.type=[bf16, f32]'\n"
            "  kvlab run configs/studies/llama2_7b_16x.yaml --dry-run --jobs 4\n",
    };
    TRY(options_parse(&command, argc, argv, &study, &helped, err));
    if (helped) return OK;
    char folder[1024];
    ProgressView view = progress_view(stderr);
    StudyOptions run = {
        .folder = folder, .resume = resume, .progress = show_progress, .context = &view
    };
    TRY(read_numbers(jobs, shard, &run, err));
    TRY(name_folder(out, study, folder, sizeof folder, err));
    ConfigFile *config = NULL;
    Status status = config_read(&config, study, overrides.count, overrides.value, err);
    if (status != OK) return study_give_up(status, err);
    stop_catch();
    status = dry ? plan_only(config, &run, as_json, err) : run_study(config, &run, as_json, err);
    config_free(config);
    return status;
}
