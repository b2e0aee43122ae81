/* cmd_plan_check.c -- `kvlab plan --check-model BENCH.json`: the model of speed against kvlab's own
 * kernels, case by case. */
#include <math.h>
#include <stdio.h>

#include "cmd_plan.h"
#include "json.h"
#include "roofline.h"

static void print_shares(const KernelShares *s) {
    printf("\n  fitted to every other case, in shares of the limits measured beside each:\n");
    for (int k = 0; k < KERNELS; k++)
        printf("    %-22s %.2f of the peak\n", kernel_class_name((KernelClass)k), s->compute[k]);
    printf("    %-22s %.2f of the bandwidth\n    values unpacked, G/s  ", "memory", s->memory);
    for (int t = 0; t < ROW_TYPE_COUNT; t++)
        if (s->unpack_s[t] > 0)
            printf(" %s %.3g", row_type_name((RowType)t), 1e-9 / s->unpack_s[t]);
    printf("\n");
}

static void print_table(const KernelCheck *check) {
    printf("  %-44s %12s %12s %8s\n", "case", "measured us", "modelled us", "error");
    for (size_t i = 0; i < check->count; i++) {
        const KernelCase *c = &check->cases[i];
        printf("  %-44s %12.1f %12.1f %+7.1f%%%s\n", c->name, c->median_ns / 1e3,
               c->modelled_ns / 1e3, 100 * (c->modelled_ns / c->median_ns - 1),
               c->fitted ? "" : "  held out");
    }
    print_shares(&check->shares);
    printf("\n  median error %.1f %% of all %zu cases, %.1f %% of those held out\n",
           100 * check->median_error, check->count, 100 * check->median_error_held_out);
}

static Status print_json(const KernelCheck *check, Error *err) {
    Json *json = json_new_object(), *cases = json_new_array();
    json_put_number(json, "median_error", check->median_error);
    json_put_number(json, "median_error_held_out", check->median_error_held_out);
    for (size_t i = 0; i < check->count; i++) {
        const KernelCase *c = &check->cases[i];
        Json *entry = json_new_object();
        json_put_string(entry, "name", c->name);
        json_put_number(entry, "measured_ns", c->median_ns);
        json_put_number(entry, "modelled_ns", c->modelled_ns);
        json_put_number(entry, "error", c->error);
        json_put_bool(entry, "held_out", !c->fitted);
        json_append(cases, entry);
    }
    json_put(json, "cases", cases);
    const Status status = json_print(json, err);
    json_free(json);
    return status;
}

Status plan_check_model(const char *path, bool as_json, Error *err) {
    KernelCheck check;
    TRY(roofline_check(&check, path, err));
    Status status = OK;
    if (as_json)
        status = print_json(&check, err);
    else
        print_table(&check);
    roofline_check_free(&check);
    return status;
}
