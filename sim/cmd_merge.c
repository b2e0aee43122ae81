/* cmd_merge.c -- `kvlab merge`: the shards of a study into one run, and its report. */
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "report.h"
#include "store_merge.h"

enum { FOLDERS_MOST = 4096 };

static Status print_json(const char *folder, const MergeSummary *merged,
                         const ReportSummary *report, Error *err) {
    Json *json = json_new_object();
    json_put_string(json, "folder", folder);
    json_put_whole(json, "points", (long long)merged->points);
    json_put_whole(json, "failed", (long long)merged->failed);
    json_put_whole(json, "figures", report->figures);
    if (merged->note[0]) json_put_string(json, "note", merged->note);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

static Status merge(const char *out, size_t count, const char *const *folders, bool as_json,
                    Error *err) {
    MergeSummary merged;
    ReportSummary report;
    TRY(store_merge(out, count, folders, &merged, err));
    TRY(report_write(out, &report, err));
    if (merged.note[0]) fprintf(stderr, "note: %s\n", merged.note);
    if (as_json)
        TRY(print_json(out, &merged, &report, err));
    else
        printf("%zu points of %zu runs\n%d figures in %s/plots\nreport: %s/report.html\n",
               merged.points, count, report.figures, out, out);
    if (merged.failed)
        return fail(err, ERR_MACHINE, "%zu points failed; %s/report.md says why", merged.failed,
                    out);
    return OK;
}

Status cmd_merge(int argc, char **argv, Error *err) {
    const char *out = NULL;
    static const char *folders[FOLDERS_MOST];
    bool as_json = false, helped;
    const Option options[] = {
        { "out", "DIR", "folder of the merged run", .text = &out },
        { "json", NULL, "print the summary as one JSON object", .flag = &as_json },
    };
    const Command command = {
        .usage = "merge DIR... --out DIR [--json]",
        .summary = "Puts the shards of a study (run --shard I/N) together into the run that one\n"
                   "process would have made, and writes its report.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least = 1,
        .most = FOLDERS_MOST,
        .examples = "  kvlab merge runs/part-* --out runs/whole\n",
    };
    TRY(options_parse(&command, argc, argv, folders, &helped, err));
    if (helped) return OK;
    if (!out) return fail(err, ERR_INPUT, "--out: must be given: the folder of the merged run");
    size_t count = 0;
    while (count < FOLDERS_MOST && folders[count]) count++;
    return merge(out, count, folders, as_json, err);
}
