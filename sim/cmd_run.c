/* cmd_run.c -- `kvlab run`: a study from its file to its report. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "report.h"
#include "study.h"

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

static void print_progress(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "%s\n", line);
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

/* Runs the study and writes its report. */
static Status run_study(const ConfigFile *config, const StudyOptions *options, bool as_json,
                        Error *err) {
    StudySummary summary;
    ReportSummary report;
    TRY(study_run(config, options, &summary, err));
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

Status cmd_run(int argc, char **argv, Error *err) {
    const char *out = NULL;
    bool resume = false, as_json = false, helped;
    OptionValues overrides = { .count = 0 };
    const Option options[] = {
        { .name = "out",
          .argument = "DIR",
          .help = "folder of the run (default: runs/STUDY)",
          .text = &out },
        { .name = "set",
          .argument = "KEY=VALUE",
          .help = "override a key of the study; may be repeated",
          .values = &overrides },
        { .name = "resume", .help = "go on with a run that was stopped", .flag = &resume },
        { .name = "json", .help = "print the summary as one JSON object", .flag = &as_json },
    };
    const Command command = {
        .usage = "run STUDY.yaml [--out DIR] [--set KEY=VALUE]... [--resume] [--json]",
        .summary =
            "Runs every point of a study, stores each as it finishes, and writes the report.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .examples =
            "  kvlab run configs/studies/quickstart.yaml\n"
            "  kvlab run configs/studies/mla_paths.yaml --set model=MiniCPM3-4B --out runs/cpm\n"
            "  kvlab run configs/studies/quickstart.yaml --set 'cache.type=[bf16, f32]'\n",
    };
    const char *study;
    TRY(options_parse(&command, argc, argv, &study, &helped, err));
    if (helped) return OK;
    char folder[1024];
    TRY(name_folder(out, study, folder, sizeof folder, err));
    ConfigFile *config = NULL;
    TRY(config_read(&config, study, overrides.count, overrides.value, err));
    const StudyOptions run = { .folder = folder, .resume = resume, .progress = print_progress };
    const Status status = run_study(config, &run, as_json, err);
    config_free(config);
    return status;
}
