/* store_csv.c -- the tidy table; see store_csv.h. */
#include "store_csv.h"

#include <math.h>
#include <string.h>

#include "store_scan.h"
#include "textfile.h"

static const char header[] =
    "key,phase,contender,label,attention,path,kv_dtype,layer,context_tokens,query_tokens,sequences,"
    "status,message,metric,unit,kind,value,low,high,samples\n";

static void put_text(FILE *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
    } else {
        fputc('"', out);
        for (const char *c = text; *c; c++) {
            if (*c == '"') fputc('"', out);
            fputc(*c, out);
        }
        fputc('"', out);
    }
    fputc(',', out);
}

static void put_number(FILE *out, double value) {
    if (isfinite(value)) fprintf(out, "%.17g", value);
    fputc(',', out);
}

static void put_point(FILE *out, const Point *p) {
    const char *const words[] = { p->key,       p->phase, p->contender, p->label,
                                  p->attention, p->path,  p->kv_dtype,  p->layer };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) put_text(out, words[i]);
    fprintf(out, "%zu,%zu,%zu,", p->context_tokens, p->query_tokens, p->sequences);
    put_text(out, point_status_name(p->status));
    put_text(out, p->message);
}

static void put_metric(FILE *out, const Metric *m) {
    put_text(out, m->name);
    put_text(out, m->unit);
    put_text(out, metric_kind_name(m->kind));
    put_number(out, m->value);
    put_number(out, m->low);
    put_number(out, m->high);
    fprintf(out, "%zu\n", m->sample_count);
}

static Status put_rows(void *context, const StoredPoint *p, Error *err) {
    FILE *out = context;
    (void)err; /* what the disk refuses is seen when the file is closed */
    for (size_t j = 0; j < p->metric_count; j++) {
        put_point(out, &p->point);
        put_metric(out, &p->metrics[j]);
    }
    if (p->metric_count) return OK;
    put_point(out, &p->point);
    fputs(",,,,,,\n", out);
    return OK;
}

Status store_csv_write(const Database *db, const char *path, Error *err) {
    TextFile file;
    TRY(textfile_open(&file, path, err));
    fputs(header, file.stream);
    const Status status = store_scan(db, put_rows, NULL, file.stream, err);
    return textfile_close(&file, status, err);
}
