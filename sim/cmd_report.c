/* cmd_report.c -- kvlab report: redraws figures and pages from what a run stored. */
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "report.h"
#include "textfile.h"

static Status print_json(const ReportSummary *summary, const char *folder, const char *html,
                         Error *err) {
    Json *json = json_new_object();
    json_put_whole(json, "figures", summary->figures);
    json_put_string(json, "folder", folder);
    json_put_string(json, "html", html);
    if (summary->note[0]) json_put_string(json, "note", summary->note);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

Status cmd_report(int argc, char **argv, Error *err) {
    bool as_json = false, helped = false;
    const char *folder = NULL;
    const Option options[] = {
        { .name = "json", .help = "print what was written as JSON", .flag = &as_json },
    };
    const Command command = {
        .usage = "report DIR [options]",
        .summary = "Redraws the figures and pages of the run in DIR from its store alone.",
        .options = options,
        .option_count = 1,
        .least = 1,
        .most = 1,
        .examples = "  kvlab report runs/deepseek_v3_16x\n",
    };
    TRY(options_parse(&command, argc, argv, &folder, &helped, err));
    if (helped) return OK;

    ReportSummary summary = { 0 };
    char html[PATH_SIZE];
    TRY(textfile_path(html, folder, "report.html", err));
    TRY(report_write(folder, &summary, err));
    if (summary.note[0]) fprintf(stderr, "kvlab: %s\n", summary.note);
    if (as_json) return print_json(&summary, folder, html, err);
    printf("%d figure%s in %s/plots, report %s\n", summary.figures, summary.figures == 1 ? "" : "s",
           folder, html);
    return OK;
}
