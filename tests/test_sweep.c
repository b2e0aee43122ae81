/* Sweeps: every combination is a row, and each row says what its plan says. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs.h"
#include "csv_row.h"
#include "request.h"
#include "sweep.h"

static char text[1 << 20];

/* Writes `yaml` to a file, sweeps it into text; the status. */
static Status sweep_text(const char *yaml, double *rows, Error *err) {
    char path[] = "/tmp/kvlab-sweep-XXXXXX";
    const int file = mkstemp(path);
    cr_assert_neq(file, -1);
    cr_assert_eq(write(file, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(file);
    Sweep *sweep = NULL;
    Status status = sweep_read(&sweep, path, err);
    if (status == OK) {
        FILE *out = fmemopen(text, sizeof text - 1, "w");
        *rows = sweep_rows(sweep);
        status = sweep_write(sweep, out, err);
        fclose(out);
        sweep_free(sweep);
    }
    unlink(path);
    return status;
}

static const char *line(size_t n) {
    const char *at = text;
    while (n-- && at) at = strchr(at, '\n') + 1;
    return at;
}

/* Field `column` of line `n`. */
static double field(size_t n, const char *name) {
    size_t column = 0;
    const char *at = strstr(text, name);
    for (const char *c = text; c < at; c++) column += *c == ',';
    const char *value = line(n);
    while (column--) value = strchr(value, ',') + 1;
    return strtod(value, NULL);
}

Test(sweep, every_combination_is_a_row_with_its_plan) {
    double rows;
    Error err;
    cr_assert_eq(sweep_text("models: [DeepSeek-V3, Llama-3.1-8B]\nhardware: h200\n"
                            "tp: [1, 8]\ncontexts: [1k, 32k]\nkv_dtypes: [bf16, fp8]\nspeed: yes\n",
                            &rows, &err),
                 OK, "%s", err.text);
    cr_expect_eq(rows, 16);
    size_t newlines = 0, commas = 0, in_header = 0;
    for (const char *c = text; *c; c++) {
        newlines += *c == '\n';
        commas += *c == ',';
        in_header += *c == ',' && newlines == 0;
    }
    cr_expect_eq(newlines, 17);
    cr_expect_eq(commas, 17 * in_header);
    /* the fourth row: DeepSeek-V3, bf16, tp 8, 32k */
    cr_expect_eq(strncmp(line(4), "DeepSeek-V3,logical,H200 SXM,8,", 31), 0, "%.60s", line(4));
    static Request request;
    static Plan plan;
    const RequestText same = {
        .model = "DeepSeek-V3", .hardware = "8xh200", .context = "32k", .tp = "8"
    };
    cr_assert_eq(request_read(&request, &same, &err), OK);
    cr_assert_eq(plan_make(&plan, &request.input, &err), OK);
    cr_expect_eq(field(4, "kv_per_gpu_bytes"), plan.per_gpu);
    cr_expect_eq(field(4, "kv_deployment_bytes"), plan.deployment);
    cr_expect_eq(field(4, "max_sequences"), plan.max_sequences);
    cr_expect_gt(field(4, "decode_ms_high"), field(4, "decode_ms_low"));
}

Test(sweep, what_an_engine_refuses_keeps_its_row_and_says_why) {
    double rows;
    Error err;
    cr_assert_eq(sweep_text("models: Llama-3.1-8B\nkv_dtypes: [fp8_ds_mla, bf16]\n", &rows, &err),
                 OK);
    cr_expect_eq(rows, 2);
    cr_expect_not_null(strstr(line(1), "--kv-dtype fp8_ds_mla"), "%.200s", line(1));
    cr_expect_eq(field(2, "kv_bytes_per_token"), 131072);
}

Test(sweep, a_wrong_file_says_where) {
    const struct {
        const char *yaml, *says;
    } wrong[] = { { "models: []\n", ":1:9: models" },
                  { "tp: 1\n", "models must be given" },
                  { "models: Nowhere-1B\n", ":1:9: Nowhere-1B: no such model" },
                  { "models: DeepSeek-V3\ntp: [1, 0]\n", ":2:9: tp: 0" },
                  { "models: DeepSeek-V3\ntpp: 1\n", ":2:1: tpp: no such key; did you mean" },
                  { "models: DeepSeek-V3\nkv_dtypes: fp9\n", ":2:12: kv_dtypes: fp9" },
                  { "models: DeepSeek-V3\nhardware: [h2000]\n", ":2:12: h2000" },
                  { "models: [[DeepSeek-V3]]\n", "a single value" },
                  { "models: DeepSeek-V3\npp: 65\n", "pp: 65" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        double rows;
        Error err;
        cr_assert_eq(sweep_text(wrong[i].yaml, &rows, &err), ERR_INPUT, "%s", wrong[i].yaml);
        cr_expect_not_null(strstr(err.text, wrong[i].says), "%s", err.text);
    }
}

Test(sweep, the_one_that_ships_holds_a_million_plans) {
    char path[1024];
    Sweep *sweep;
    Error err;
    snprintf(path, sizeof path, "%s/studies/plan_sweep.yaml", configs_folder());
    cr_assert_eq(sweep_read(&sweep, path, &err), OK, "%s", err.text);
    cr_expect_geq(sweep_rows(sweep), 1e6);
    sweep_free(sweep);
}

Test(sweep, fields_are_quoted_where_they_must_be_and_numbers_read_back) {
    static CsvRow row;
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    csv_begin(&row, out, "a\n");
    csv_text(&row, "x,\"y\"");
    csv_number(&row, 9007199254740991.0);
    csv_number(&row, 0);
    csv_number(&row, -3.25);
    csv_number(&row, 1.0 / 0.0);
    csv_empty(&row, 2);
    csv_end(&row);
    cr_assert(csv_flush(&row));
    fclose(out);
    cr_expect_str_eq(text, "a\n\"x,\"\"y\"\"\",9007199254740991,0,-3.25,,,\n");
}

/* Text of a field of line `n`. */
static void field_text(size_t n, const char *name, char *out, size_t size) {
    size_t column = 0;
    const char *at = strstr(text, name);
    for (const char *c = text; c < at; c++) column += *c == ',';
    const char *value = line(n);
    while (column--) value = strchr(value, ',') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(value, ",\n"), value);
}

Test(sweep, as_many_as_fit_fit_and_one_more_does_not) {
    double rows;
    Error err;
    char yaml[256], fits[8];
    cr_assert_eq(sweep_text("models: Llama-3.1-8B\nhardware: h100\n", &rows, &err), OK);
    const double most = field(1, "max_sequences");
    snprintf(yaml, sizeof yaml, "models: Llama-3.1-8B\nhardware: h100\nsequences: [%.0f, %.0f]\n",
             most, most + 1);
    cr_assert_eq(sweep_text(yaml, &rows, &err), OK, "%s", err.text);
    field_text(1, "fits", fits, sizeof fits);
    cr_expect_str_eq(fits, "yes");
    field_text(2, "fits", fits, sizeof fits);
    cr_expect_str_eq(fits, "no");
}

Test(sweep, gpus_are_all_ranks_of_all_stages) {
    double rows;
    Error err;
    cr_assert_eq(sweep_text("models: Llama-3.1-8B\ntp: 2\ndp: 3\npp: 4\n", &rows, &err), OK);
    cr_expect_eq(field(1, "gpus"), 24);
}
